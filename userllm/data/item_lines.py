"""Make an item table out of metadata lines: names and categories, cleaned, one row per item."""

import html
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from userllm.data.columns import CATEGORIES, ITEM, TITLE, YEAR
from userllm.data.decoding import Decode
from userllm.data.json_lines import BadLines, Row, read_objects

# A title (None = there is none) and categories.
Description = tuple[str | None, tuple[str, ...]]

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z]\w{1,30});")
# Pages were cut into pieces, so a tag may lack its end.
TAG = re.compile(
    r"</?(?:a|b|br|div|em|font|h\d|hr|i|img|input|li|ol|p|script|small|span|strong|style|table|td"
    r"|tr|u|ul)\b[^<>]*(?:>|$)|<!--.*?(?:-->|$)",
    re.IGNORECASE,
)
SCRIPT = re.compile(r"\bfunction\s*\(|\bvar \w+ ?=|\.getTime\(|\b(?:document|window)\.\w+|@media")


@dataclass(frozen=True)
class ItemFormat:
    """Which key of a metadata line holds what.

    Attributes:
        item: The item's id (text).
        title: Its name.
        categories: Returns its categories, not cleaned.
        decode: Makes an object of a line.
        root: A category that all items have, which is left out; "" for none.
    """

    item: str
    title: str
    categories: Callable[[Row], Iterable[str]]
    decode: Decode
    root: str


def read_items(path: Path, form: ItemFormat, bad: BadLines) -> tuple[pl.DataFrame, dict[str, int]]:
    """Read a whole file.

    Of several lines for one item the best described one is kept, in whatever order they come.

    Args:
        path: A file of one object a line, compressed or not.
        form: Its keys.
        bad: What to do with lines that are not of this format.

    Returns:
        The item table (see ``RawData``), title null where there is none, and what was counted.

    Raises:
        UserError: A line is not of this format.
    """
    found: dict[str, Description] = {}
    repeated = 0
    for number, row in read_objects(path, form.decode, bad):
        item = row.get(form.item)
        if not isinstance(item, str) or not item:
            bad.report(path, number, f"{form.item} should be text, found {item!r}")
            continue
        new = (clean(row.get(form.title)), _categories(form, row))
        if item in found:
            repeated += 1
            new = min(found[item], new, key=_worse)
        found[item] = new
    return _table(found), {"repeated metadata lines, dropped": repeated}


def add_missing(
    items: pl.DataFrame, events: pl.DataFrame, noun: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Add a row for every item of the events that has none, and a name to every item without one.

    Args:
        items: The item table; title may be null.
        events: Events, of which the items are looked at.
        noun: An item without a name is called this and its id.

    Returns:
        The whole table and what was counted.
    """
    strangers = events.select(pl.col(ITEM).unique()).join(items, on=ITEM, how="anti")
    empty = titles_only(strangers.with_columns(pl.lit(None, pl.String).alias(TITLE)))
    table = pl.concat([items, empty])
    notes = {
        "reviewed items without metadata": strangers.height,
        f"items without a usable title, called '{noun} <id>'": table[TITLE].null_count(),
        "items without a category": int((table[CATEGORIES].list.len() == 0).sum()),
    }
    return table.with_columns(pl.col(TITLE).fill_null(pl.lit(f"{noun} ") + pl.col(ITEM))), notes


def without_common(
    items: pl.DataFrame, events: pl.DataFrame, share: float
) -> tuple[pl.DataFrame, list[str]]:
    """Leave out categories that so many items have that they tell none apart.

    Args:
        items: The whole item table.
        events: Events; only items that occur in them are counted.
        share: Categories of more than this share of those items are left out, 0 to 1.

    Returns:
        The table without them, and their names in alphabetical order.
    """
    touched = items.join(events.select(pl.col(ITEM).unique()), on=ITEM, how="semi")
    counts = touched[CATEGORIES].list.unique().explode().drop_nulls().value_counts()
    common = counts.filter(pl.col("count") > share * touched.height)[CATEGORIES].sort()
    names: list[str] = common.to_list()
    return items.with_columns(pl.col(CATEGORIES).list.set_difference(names)), names


def titles_only(names: pl.DataFrame) -> pl.DataFrame:
    """Return the item table for items of which nothing but a title is known."""
    return names.select(
        ITEM,
        TITLE,
        pl.lit([], pl.List(pl.String)).alias(CATEGORIES),
        pl.lit(None, pl.Int32).alias(YEAR),
    )


def clean(text: Any) -> str | None:
    """Return a name without tags, entities and runs of blanks; None when nothing is left of it."""
    if not isinstance(text, str):
        return None
    if "&" in text:
        for _ in range(2):  # some were escaped twice
            text = ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if SCRIPT.search(text):
        return None
    if "<" in text:
        text = TAG.sub(" ", text)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    return " ".join(whole.split()) or None


def flatten(value: Any) -> Iterator[str]:
    """Yield the texts of a list, however deep it is."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from flatten(inner)


@lru_cache(maxsize=100_000)
def category_name(name: str, root: str) -> str | None:
    """Return a category's name, cleaned; None for ``root`` and for what is no name.

    The root is recognised however it is spelt: "Movies_and_TV" is "Movies & TV".
    """
    cleaned = clean(name)
    return None if cleaned is None or _letters(cleaned) == _letters(root) else cleaned


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.replace("&", "and")).lower()


def _categories(form: ItemFormat, row: Row) -> tuple[str, ...]:
    names = (category_name(name, form.root) for name in form.categories(row))
    return tuple(sorted({name for name in names if name}))


def _worse(description: Description) -> tuple[bool, int, str, tuple[str, ...]]:
    title, categories = description
    return title is None, -len(categories), title or "", categories


def _table(found: dict[str, Description]) -> pl.DataFrame:
    # Cleaned names hold no line break; a list of lists takes Polars ten times as long to read.
    joined = [None if not names else "\n".join(names) for _, names in found.values()]
    titles = pl.DataFrame(
        {ITEM: list(found), TITLE: [title for title, _ in found.values()]},
        schema={ITEM: pl.String, TITLE: pl.String},
    )
    categories = pl.Series(joined, dtype=pl.String).str.split("\n").fill_null([])
    return titles_only(titles).with_columns(categories.alias(CATEGORIES))
