"""Give the values of a file's rows the types of the project, and find rows that are no events."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, TITLE, USER, YEAR
from userllm.data.table_times import TimeForm, since_1970
from userllm.errors import UserError

ABSENT: dict[str, pl.DataType] = {
    RATING: pl.Float32(),
    TITLE: pl.String(),
    CATEGORIES: pl.String(),
    YEAR: pl.Int32(),
}


@dataclass(frozen=True)
class BadRow:
    """The first row of a file that is no event.

    Attributes:
        row: Its place among the rows that were read, from 0.
        why: What is wrong with it.
    """

    row: int
    why: str


@dataclass(frozen=True)
class Events:
    """The rows of a file as events.

    Attributes:
        rows: Columns user, item, timestamp, rating, title, categories, year, and text if the file
            has it.
        times: How the timestamps were taken.
        skipped: What is wrong -> number of rows; they are not among ``rows``.
        first_bad: The first of them, or None.
    """

    rows: pl.DataFrame
    times: str
    skipped: dict[str, int]
    first_bad: BadRow | None


def as_events(values: pl.DataFrame, form: TimeForm) -> Events:
    """Read the values of rows.

    Args:
        values: Columns user, item and timestamp, and any of the optional ones.
        form: What the timestamps are.

    Raises:
        UserError: A column is of a type that cannot be read.
    """
    _refuse_nested(values)
    instants, times = since_1970(values[TIMESTAMP], form)
    typed = values.with_columns(
        *(_ids(values[name]) for name in (USER, ITEM)),
        *instants,
        *(
            _numbers(values[name], kind)
            for name, kind in ABSENT.items()
            if kind.is_numeric() and name in values
        ),
        *(values[name].cast(pl.String) for name in (TITLE, TEXT) if name in values),
        *(_categories(values[name]) for name in (CATEGORIES,) if name in values),
    ).with_columns(pl.lit(None, kind).alias(n) for n, kind in ABSENT.items() if n not in values)
    good = pl.repeat(True, values.height, eager=True)
    skipped: dict[str, int] = {}
    first: BadRow | None = None
    for why, column, bad in _checks(values, typed, times):
        found = bad & good
        if number := int(found.sum()):
            skipped[why] = number
            row = int(found.arg_max() or 0)
            if first is None or row < first.row:
                first = BadRow(row, f"{why}, found {values[column][row]!r}")
        good &= ~bad
    return Events(typed.filter(good), times, skipped, first)


def _refuse_nested(values: pl.DataFrame) -> None:
    """Refuse values that hold others, but for lists of categories."""
    for name, kind in values.schema.items():
        simple = kind.inner if name == CATEGORIES and isinstance(kind, pl.List) else kind
        if simple.is_nested():
            expected = "text or lists of text" if name == CATEGORIES else "one value a row"
            raise UserError(f"column '{name}': expected {expected}, found {kind}")


def _checks(
    values: pl.DataFrame, typed: pl.DataFrame, times: str
) -> Iterator[tuple[str, str, pl.Series]]:
    """Yield what can be wrong, with which column, and in which rows it is."""
    for column in (USER, ITEM):
        yield f"no {column}", column, typed[column].is_null()
    yield f"no {TIMESTAMP}", TIMESTAMP, values[TIMESTAMP].is_null()
    for column, expected in ((TIMESTAMP, times), (RATING, "a number"), (YEAR, "a whole number")):
        if column in values:
            unread = typed[column].is_null() & values[column].is_not_null()
            yield f"{column} should be {expected}", column, unread


def _ids(values: pl.Series) -> pl.Series:
    """Return ids as they are: text or whole numbers; an empty text is none."""
    kind = values.dtype
    if kind.is_integer():
        return values
    if kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
        return values.cast(pl.String).replace("", None)
    raise UserError(
        f"column '{values.name}': expected text or whole numbers, found {kind}; numbers with a "
        "fraction may have lost digits of the ids, so write them as text"
    )


def _numbers(values: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return finite numbers, null where there is none."""
    text = values.str.strip_chars() if values.dtype == pl.String else values
    numbers = text.cast(pl.Float64, strict=False)
    usable = numbers.is_finite()
    if kind.is_integer():
        usable &= numbers == numbers.floor()
    return numbers.set(~usable.fill_null(True), None).cast(kind, strict=False)


def _categories(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.List):
        return values.cast(pl.List(pl.String))
    return values.cast(pl.String)
