"""Times of any usual form as seconds since 1970: numbers, ISO dates, typed columns."""

from typing import Literal

import polars as pl

from userllm.data.columns import TIMESTAMP
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


def seconds_since_1970(times: pl.Series, form: TimeForm) -> tuple[pl.Series, str]:
    """Return Int64 seconds, null where a time cannot be read, and how the times were taken.

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
        seconds = times.cast(pl.Datetime("us")).dt.epoch("s")
        taken = "dates of the file, in UTC where they have no zone"
    elif times.dtype.is_numeric() or (times.dtype == pl.String and form in PER_SECOND):
        seconds, taken = _from_numbers(times, form)
    elif times.dtype == pl.String:
        numbers = times.str.strip_chars().cast(pl.Float64, strict=False)
        if form == "auto" and numbers.count() * 2 >= times.count():
            seconds, taken = _from_numbers(times, form)
        else:
            seconds, taken = _from_iso(times), "ISO dates, in UTC where no offset stands"
    else:
        raise UserError(f"{TIMESTAMP}: expected numbers, dates or text, found {times.dtype}")
    in_range = seconds.is_between(EARLIEST, LATEST)
    return seconds.set(~in_range.fill_null(True), None), taken


def _from_numbers(times: pl.Series, form: TimeForm) -> tuple[pl.Series, str]:
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
    floored = (with_fraction / PER_SECOND[unit]).floor().cast(pl.Int64, strict=False)
    seconds = (whole // PER_SECOND[unit]).zip_with(whole == with_fraction, floored)
    how = "as set" if form != "auto" else f"recognised: their median is {size:,.0f}"
    return seconds, f"{unit} since 1970 ({how})"


def _from_iso(times: pl.Series) -> pl.Series:
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
    return text.to_frame().select(parsed.dt.epoch("s")).to_series()
