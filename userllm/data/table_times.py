"""Times of any usual form since 1970, to the nanosecond: numbers, ISO dates, typed columns."""

from typing import Literal

import polars as pl

from userllm.data.columns import NANOSECOND, TIMESTAMP
from userllm.errors import UserError

TimeForm = Literal["auto", "seconds", "milliseconds", "microseconds", "nanoseconds", "iso"]

KEY = "data.timestamp"
PER_SECOND = {
    "seconds": 1,
    "milliseconds": 1_000,
    "microseconds": 1_000_000,
    "nanoseconds": 1_000_000_000,
}
# So many of a unit are taken for the next smaller one: 100 billion seconds are 3,000 years, and
# 100 billion milliseconds three.
TOO_MANY = 10**11
# From year 1 to 9999, which is what dates can be printed for.
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
DATE = r"^\d{4}-\d{2}-\d{2}$"
WITHOUT_SECONDS = r"^(\d{4}-\d{2}-\d{2} \d{2}:\d{2})(Z|[+-]\d{2}:?\d{2})?$"
WITHOUT_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"


def since_1970(times: pl.Series, form: TimeForm) -> tuple[pl.DataFrame, str]:
    """Return seconds (Int64) and nanoseconds behind them (Int32), and how the times were taken.

    Both are null where a time cannot be read.

    Args:
        times: Numbers, strings, dates or datetimes.
        form: What they are; "auto" goes by their type, by what most of them look like, and the
            unit of numbers by their median.

    Raises:
        UserError: The type of the column does not go with the form.
    """
    if times.dtype == pl.Date or isinstance(times.dtype, pl.Datetime):
        if form not in ("auto", "iso"):
            raise UserError(f"{KEY}={form}: the column holds {times.dtype}; drop it")
        instants = _parts(times.cast(pl.Datetime("us")).dt.epoch("us"), "microseconds")
        taken = "dates of the file, in UTC where they have no zone"
    elif times.dtype.is_numeric() or (times.dtype == pl.String and form in PER_SECOND):
        instants, taken = _from_numbers(times, form)
    elif times.dtype == pl.String:
        numbers = times.str.strip_chars().cast(pl.Float64, strict=False)
        if form == "auto" and numbers.count() * 2 >= times.count():
            instants, taken = _from_numbers(times, form)
        else:
            instants, taken = _from_iso(times), "ISO dates, in UTC where no offset stands"
    else:
        raise UserError(f"{TIMESTAMP}: expected numbers, dates or text, found {times.dtype}")
    in_range = pl.col(TIMESTAMP).is_between(EARLIEST, LATEST)
    return instants.select(pl.when(in_range).then(pl.all())), taken


def _parts(units: pl.Series, unit: str) -> pl.DataFrame:
    """Return whole seconds, and the rest in nanoseconds, of Int64 units."""
    per_second = PER_SECOND[unit]
    rest = (units % per_second) * (PER_SECOND["nanoseconds"] // per_second)
    return pl.DataFrame(
        {TIMESTAMP: units // per_second, NANOSECOND: rest.cast(pl.Int32)},
    )


def _from_numbers(times: pl.Series, form: TimeForm) -> tuple[pl.DataFrame, str]:
    if form == "iso":
        raise UserError(f"{KEY}=iso: the column holds numbers; expected one of {list(PER_SECOND)}")
    numbers = times.str.strip_chars() if times.dtype == pl.String else times
    # Whole numbers as such: a float cannot hold every microsecond.
    whole = numbers.cast(pl.Int64, strict=False)
    with_fraction = numbers.cast(pl.Float64, strict=False)
    size: float = with_fraction.to_frame().select(pl.all().abs().median()).item() or 0
    unit: str = form
    if form == "auto":
        unit = next((u for u, n in PER_SECOND.items() if size < TOO_MANY * n), "nanoseconds")
    seconds = with_fraction / PER_SECOND[unit]
    behind = (seconds - seconds.floor()) * PER_SECOND["nanoseconds"]
    floored = pl.DataFrame(
        {
            TIMESTAMP: seconds.floor().cast(pl.Int64, strict=False),
            NANOSECOND: behind.cast(pl.Int32, strict=False),
        }
    )
    exact = _parts(whole, unit)
    parts = [exact[name].zip_with(whole == with_fraction, floored[name]) for name in exact.columns]
    how = "as set" if form != "auto" else f"recognised: their median is {size:,.0f}"
    return pl.DataFrame(parts), f"{unit} since 1970 ({how})"


def _from_iso(times: pl.Series) -> pl.DataFrame:
    """Read dates, and dates with a time after a space or a T, with or without an offset."""
    text = times.str.strip_chars().str.replace("T", " ", literal=True).alias(TIMESTAMP)
    column = pl.col(TIMESTAMP)
    full = (
        pl.when(column.str.contains(DATE))
        .then(column + " 00:00:00")
        .otherwise(column.str.replace(WITHOUT_SECONDS, "${1}:00${2}"))
    )
    zoned = (
        pl.when(full.str.contains(WITHOUT_ZONE))
        .then(full.str.replace("Z$", "+00:00"))
        .otherwise(full + "+00:00")
    )
    parsed = zoned.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", strict=False)
    return _parts(text.to_frame().select(parsed.dt.epoch("us")).to_series(), "microseconds")
