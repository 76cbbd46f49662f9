"""Make events out of lines that hold one review each, a batch of lines at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from userllm.data.columns import ITEM, NANOSECOND, RATING, TEXT, TIMESTAMP, TITLE, USER
from userllm.data.json_lines import BadLines, Field, first_object, read_columns
from userllm.errors import UserError

# The years 1 to 9999 in seconds since 1970, which is what dates can show.
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
MOST_STARS = 5
NULL = type(None)


@dataclass(frozen=True)
class ReviewFormat:
    """Which key of a line holds what.

    Attributes:
        user: Who wrote the review (text).
        item: What it is about (text).
        rating: Stars (null or 0 = not rated).
        time: When it was written (a whole number).
        ticks: Units of ``time`` in a second.
        text: The words to keep; None keeps none.
        text_chars: Characters kept of a text; None keeps all.
        item_title: The item's name, where reviews carry one; None where they do not.
        nameless: Whether the user may be null; such reviews are dropped and counted.
    """

    user: str
    item: str
    rating: str
    time: str
    ticks: int
    text: str | None
    text_chars: int | None
    item_title: str | None = None
    nameless: bool = False

    def fields(self) -> list[Field]:
        """Return what to read from every line."""
        limits = (EARLIEST * self.ticks, LATEST * self.ticks)
        return [
            Field(self.user, (str, NULL) if self.nameless else (str,)),
            Field(self.item, (str,)),
            Field(self.rating, (int, float, NULL), 0, MOST_STARS),
            Field(self.time, (int,), *limits),
            *(Field(name, (str, NULL)) for name in (self.text, self.item_title) if name),
        ]


def read_reviews(
    path: Path, form: ReviewFormat, bad: BadLines
) -> tuple[pl.DataFrame, pl.DataFrame | None, dict[str, int]]:
    """Read a whole file.

    Args:
        path: A file of JSON lines, compressed or not.
        form: Its keys.
        bad: What to do with lines that are not of this format.

    Returns:
        The events (user, item, timestamp, rating and, if wanted, text; see ``RawData``), the
        names of the items (item, title) where the reviews carry them, and what was counted.

    Raises:
        UserError: A line is not of this format, or no line is.
    """
    _check_keys(path, form)
    notes: dict[str, int] = {}
    batches, names = [], []
    for columns in read_columns(path, form.fields(), bad):
        batch = _events(columns, form)
        if form.item_title is not None:
            title = _strings(columns[form.item_title])
            names.append(batch.select(ITEM, title.alias(TITLE)).drop_nulls())
        batches.append(_counted(batch, form, notes))
    if not sum(batch.height for batch in batches):
        raise UserError(f"{path} has no line with a review of a known user")
    # A category takes 4 bytes a row while reading; as text again, equal ids share their letters.
    events = pl.concat(batches, rechunk=False).with_columns(pl.col(ITEM).cast(pl.String))
    pairs = pl.col(USER).hash(0) ^ pl.col(ITEM).hash(1)
    notes["further reviews of the same item by the same user"] = events.height - int(
        events.select(pairs.n_unique()).item()
    )
    return events, _most_frequent(names) if names else None, notes


def _check_keys(path: Path, form: ReviewFormat) -> None:
    """Raise ``UserError`` when the first line has nobody and no time: it is something else."""
    wanted = [form.user, form.item, form.rating, form.time]
    found = first_object(path)
    if found and not found.keys() & {form.user, form.time}:
        raise UserError(
            f"{path}, line 1: expected a review with {', '.join(wanted)}; "
            f"found an object with {', '.join(map(str, list(found)[:10]))}"
        )


def _events(columns: dict[str, list[Any]], form: ReviewFormat) -> pl.DataFrame:
    """Return a batch in our columns, as the file has it but in seconds."""
    text = [] if form.text is None else [_strings(columns[form.text]).alias(TEXT)]
    return pl.DataFrame(
        [
            _strings(columns[form.user]).alias(USER),
            _strings(columns[form.item]).cast(pl.Categorical).alias(ITEM),
            pl.Series(TIMESTAMP, columns[form.time], pl.Int64),
            pl.Series(RATING, columns[form.rating], pl.Float32, strict=False),
            *text,
        ]
    ).with_columns(_instants(form.ticks))


def _instants(ticks: int) -> list[pl.Expr]:
    """Return seconds and, of finer times, the nanoseconds behind them."""
    behind = (pl.col(TIMESTAMP) % ticks * (1_000_000_000 // ticks)).cast(pl.Int32)
    seconds = pl.col(TIMESTAMP).floordiv(ticks)
    return [seconds] if ticks == 1 else [seconds, behind.alias(NANOSECOND)]


def _counted(batch: pl.DataFrame, form: ReviewFormat, notes: dict[str, int]) -> pl.DataFrame:
    """Return the batch with nulls where nothing was said, and count these."""

    def note(what: str, number: Any) -> None:
        notes[what] = notes.get(what, 0) + int(number)

    batch = batch.with_columns(pl.col(USER).replace("", None))
    note("reviews without a user, dropped", batch[USER].null_count())
    batch = batch.drop_nulls(USER).with_columns(
        pl.when(pl.col(RATING) > 0).then(pl.col(RATING)).cast(pl.Float32)
    )
    note("reviews without a rating", batch[RATING].null_count())
    if form.text is None:
        return batch
    text = pl.col(TEXT).str.strip_chars()
    batch = batch.with_columns(pl.when(text != "").then(text))
    note("reviews without a text", batch[TEXT].null_count())
    if form.text_chars is not None:
        note("texts cut", (batch[TEXT].str.len_chars() > form.text_chars).sum())
        batch = batch.with_columns(pl.col(TEXT).str.slice(0, form.text_chars))
    return batch


def _strings(values: list[str | None]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.String)
    except UnicodeEncodeError:  # JSON can hold halves of a character, text in memory cannot
        return pl.Series(list(_whole_characters(values)), dtype=pl.String)


def _whole_characters(values: list[str | None]) -> Iterator[str | None]:
    for value in values:
        yield value and value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _most_frequent(names: list[pl.DataFrame]) -> pl.DataFrame:
    """Return one title per item: the most frequent, of equally frequent ones the first by text."""
    count = "count"
    return (
        pl.concat(names)
        .with_columns(pl.col(ITEM).cast(pl.String))
        .group_by(ITEM, TITLE)
        .agg(pl.len().alias(count))
        .sort(ITEM, count, TITLE, descending=[False, True, False])
        .unique(ITEM, keep="first", maintain_order=True)
        .drop(count)
    )
