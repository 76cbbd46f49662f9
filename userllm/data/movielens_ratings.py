"""Read the ratings file of any MovieLens release, fast, and name the first bad line if there is."""

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

from userllm.data.columns import ITEM, RATING, TIMESTAMP, USER
from userllm.errors import UserError

TYPES: dict[str, pl.DataType] = {
    USER: pl.Int32(),
    ITEM: pl.Int32(),
    RATING: pl.Float32(),
    TIMESTAMP: pl.Int64(),
}
FIELDS = (
    ("user", re.compile(r"\d{1,9}"), "a whole number"),
    ("item", re.compile(r"\d{1,9}"), "a whole number"),
    ("rating", re.compile(r"(0\.5|[1-4](\.[05]0*)?|5(\.0+)?)"), "0.5, 1, 1.5, ... 5"),
    ("timestamp", re.compile(r"\d{1,10}"), "seconds since 1970"),
)


@dataclass(frozen=True)
class RatingsFormat:
    """How the ratings file of a release looks; its fields are user, item, rating, timestamp.

    Attributes:
        name: File name.
        separator: Between the fields.
        header: First line, or None when the ratings start at once.
    """

    name: str
    separator: str
    header: str | None


def read_ratings(path: Path, form: RatingsFormat) -> pl.DataFrame:
    """Return the events (Int32 ids) in file order.

    Raises:
        UserError: The file is empty, cut off or of another format; names the file and the line.
    """
    check_whole(path)
    if form.header is not None:
        _check_header(path, form.header)
    try:
        events = _parse(path, form)
        rating, time = events[RATING], events[TIMESTAMP]
        good = (
            not sum(events.null_count().row(0))
            and rating.is_between(0.5, 5).all()
            and (rating * 2 == (rating * 2).round()).all()
            and time.is_between(0, 9_999_999_999).all()
            and events.select((pl.col(USER, ITEM) >= 0).all()).row(0) == (True, True)
        )
        reason = "values out of range"
    except pl.exceptions.PolarsError as error:
        good, reason = False, str(error)
    if not good:
        raise UserError(_first_bad_line(path, form) or f"{path} cannot be read: {reason}")
    if not events.height:
        raise UserError(f"{path} has no ratings, only a header")
    return events


def _parse(path: Path, form: RatingsFormat) -> pl.DataFrame:
    source: Path | BytesIO = path
    separator = form.separator
    if len(separator) > 1:
        # The reader takes one-byte separators only; a tab appears in no ratings file.
        source, separator = BytesIO(path.read_bytes().replace(separator.encode(), b"\t")), "\t"
    return pl.read_csv(
        source,
        separator=separator,
        has_header=False,
        skip_lines=0 if form.header is None else 1,
        schema=TYPES,
        quote_char=None,
    )


def check_whole(path: Path) -> None:
    """Raise ``UserError`` unless the file has content and ends with a complete line."""
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty (0 bytes): get it again")
    with path.open("rb") as file:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        last = sum(1 for _ in file)
    raise UserError(
        f"{path}, line {last}: the file ends in the middle of a line, so it was cut off: "
        f"get it again (a whole file of {size:,} bytes would end with a line break)"
    )


def _check_header(path: Path, header: str) -> None:
    with path.open("rb") as file:
        found = file.readline(1000).decode("utf-8", errors="replace").rstrip("\r\n")
    if found.removeprefix("\ufeff") != header:
        raise UserError(f"{path}, line 1: expected the header {header!r}, found {found!r}")


def _first_bad_line(path: Path, form: RatingsFormat) -> str | None:
    """Read line by line, which is slow, to say where and why the fast reader gave up."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and form.header is not None:
                continue
            if problem := _problem(line.rstrip("\r\n").split(form.separator)):
                return f"{path}, line {number}: {problem}; the line is {line.rstrip()[:200]!r}"
    return None


def _problem(values: list[str]) -> str | None:
    if len(values) != len(FIELDS):
        return f"expected user, item, rating, timestamp, found {len(values)} field(s)"
    for value, (name, pattern, meaning) in zip(values, FIELDS, strict=True):
        if not pattern.fullmatch(value):
            return f"{name} should be {meaning}, found {value!r}"
    return None
