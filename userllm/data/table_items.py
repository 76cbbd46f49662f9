"""Make an item table out of what the rows of a file say about their items.

Rows may contradict each other. What most rows say holds; between equally many it is the first in
text order, so that row order in the file does not matter.
"""

import polars as pl

from userllm.data.columns import CATEGORIES, ITEM, TITLE, YEAR

ROWS = "rows"
# Stands between categories while they are one text; no name holds it.
JOINT = "\x1f"


def item_table(rows: pl.DataFrame, category_separator: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the item table, and how many items have no title or several.

    Args:
        rows: Columns item, title (String), categories (String or List[String]) and year (Int32);
            null where a row says nothing.
        category_separator: Between categories that are one text.
    """
    category = pl.element().str.strip_chars()
    categories = pl.col(CATEGORIES)
    if rows.schema[CATEGORIES] == pl.String:
        categories = categories.str.split(category_separator)
    names = categories.list.eval(category.filter(category != "").unique().sort())
    titles = _count(rows, TITLE, pl.col(TITLE).str.strip_chars().replace("", None))
    items = rows.select(pl.col(ITEM).unique().sort())
    for said in (
        titles,
        _count(rows, CATEGORIES, names.list.join(JOINT).replace("", None)),
        _count(rows, YEAR, pl.col(YEAR)),
    ):
        items = items.join(_most_frequent(said), on=ITEM, how="left", maintain_order="left")
    without_title = items[TITLE].null_count()
    with_one_title = int(titles[ITEM].is_unique().sum())
    counts = {
        "items_without_title": without_title,
        "items_with_several_titles": items.height - without_title - with_one_title,
    }
    title = pl.col(TITLE).fill_null("item " + pl.col(ITEM).cast(pl.String))
    lists = pl.col(CATEGORIES).str.split(JOINT).fill_null(pl.lit([], pl.List(pl.String)))
    return items.select(ITEM, title, lists, YEAR), counts


def _count(rows: pl.DataFrame, column: str, value: pl.Expr) -> pl.DataFrame:
    """Return (item, value, rows) for everything that is said about an item."""
    # Most rows repeat each other, so that values are looked at once and not once a row.
    distinct = rows.lazy().group_by(ITEM, column).agg(pl.len().alias(ROWS))
    said = distinct.with_columns(value.alias(column)).drop_nulls(column)
    return said.group_by(ITEM, column).agg(pl.col(ROWS).sum()).collect()


def _most_frequent(said: pl.DataFrame) -> pl.DataFrame:
    """Return the one value of each item that most rows have, without the counts."""
    item, value, _ = said.columns
    best = said.sort(item, ROWS, value, descending=[False, True, False])
    return best.unique(item, keep="first", maintain_order=True).drop(ROWS)
