"""Check that what a reader returns is what the rest of the project expects."""

import polars as pl

from userllm.data.columns import (
    CATEGORIES,
    ITEM,
    NANOSECOND,
    RATING,
    TEXT,
    TIMESTAMP,
    TITLE,
    USER,
    YEAR,
)
from userllm.data.paper_counts import TABLE_1
from userllm.data.protocol import NOUNS, RawData
from userllm.errors import UserError

EVENT_TYPES: dict[str, pl.DataType] = {TIMESTAMP: pl.Int64(), RATING: pl.Float32()}
ITEM_TYPES: dict[str, pl.DataType] = {
    TITLE: pl.String(),
    CATEGORIES: pl.List(pl.String()),
    YEAR: pl.Int32(),
}
OPTIONAL: dict[str, pl.DataType] = {NANOSECOND: pl.Int32(), TEXT: pl.String()}
REQUIRED = {USER, ITEM, TIMESTAMP, NANOSECOND, TITLE, CATEGORIES}


def check_raw(raw: RawData, name: str) -> None:
    """Raise ``UserError`` with every violation of the contract of ``RawData``."""
    text = {name: kind for name, kind in OPTIONAL.items() if name in raw.events.columns}
    problems = [
        *_column_problems("events", raw.events, [USER, ITEM], EVENT_TYPES | text),
        *_column_problems("items", raw.items, [ITEM], ITEM_TYPES),
    ]
    if raw.nouns.keys() != NOUNS.keys() or not all(raw.nouns.values()):
        problems.append(f"nouns: expected a word for each of {list(NOUNS)}, found {raw.nouns}")
    if raw.paper_dataset not in (None, *TABLE_1):
        given = f"paper_dataset: found {raw.paper_dataset!r}"
        problems.append(f"{given}, expected None or one of: {', '.join(TABLE_1)}")
    if not problems:
        problems = _item_problems(raw)
    if problems:
        lines = "\n  ".join(problems)
        raise UserError(f"data={name}: the reader returned tables that cannot be used:\n  {lines}")


def _column_problems(
    table: str, frame: pl.DataFrame, ids: list[str], types: dict[str, pl.DataType]
) -> list[str]:
    """Return one line per column that is missing, of another type, or null where it may not be."""
    problems = []
    for column in [*ids, *types]:
        if column not in frame.columns:
            problems.append(f"{table}: column '{column}' is missing, found {frame.columns}")
            continue
        found = frame.schema[column]
        if column in types and found != types[column]:
            problems.append(f"{table}.{column}: expected {types[column]}, found {found}")
        if column in ids and not (found.is_integer() or found == pl.String):
            problems.append(f"{table}.{column}: expected integers or strings, found {found}")
        if column in REQUIRED and (nulls := frame[column].null_count()):
            problems.append(f"{table}.{column}: {nulls:,} rows have no value")
    return problems


def _item_problems(raw: RawData) -> list[str]:
    """Return a line for repeated items and one for events whose item is not in the item table."""
    if raw.events.schema[ITEM] != raw.items.schema[ITEM]:
        types = f"{raw.events.schema[ITEM]} in events, {raw.items.schema[ITEM]} in items"
        return [f"item: expected one type, found {types}"]
    problems = []
    repeated = raw.items[ITEM].filter(raw.items[ITEM].is_duplicated())
    if len(repeated):
        problems.append(f"items: {len(repeated):,} rows share an id, for example {repeated[0]!r}")
    strangers = raw.events.select(pl.col(ITEM).unique()).join(raw.items, on=ITEM, how="anti")[ITEM]
    if len(strangers):
        problems.append(
            f"events name {len(strangers):,} items that the item table does not have, for example "
            f"{strangers.min()!r}; the item file looks cut off"
        )
    return problems
