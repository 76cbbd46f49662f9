"""Read files of one object a line, compressed or not, and find the lines that hold none.

Files may be larger than memory.
"""

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, cast

from userllm.data.decoding import Decode, decode_json
from userllm.data.progress import new_progress
from userllm.errors import UserError

Row = dict[str, Any]
OnBadLine = Literal["fail", "skip"]

ENDINGS = (".json.gz", ".jsonl.gz", ".json", ".jsonl")
BATCH_LINES = 100_000
# What a cut-off compressed file may lose before its end.
BUFFER_BYTES = 1 << 16
GZIP_START = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NAME_OF = {int: "a whole number", float: "a number", str: "text", type(None): "null"}


class BadLines:
    """Stops at the first line that cannot be used, or leaves such lines out and counts them.

    Args:
        on_bad_line: "fail" or "skip".

    Attributes:
        skipped: How many lines of each file (by name) were left out.
    """

    def __init__(self, on_bad_line: OnBadLine) -> None:
        self.on_bad_line = on_bad_line
        self.skipped: dict[str, int] = {}

    def report(self, path: Path, line: int, problem: str) -> None:
        """Raise ``UserError`` or count, as the user chose."""
        if self.on_bad_line == "fail":
            raise UserError(
                f"{path}, line {line}: {problem}\n"
                "Get the file again, or type data.on_bad_line=skip to leave such lines out and "
                "have them counted on the data card."
            )
        self.skipped[path.name] = self.skipped.get(path.name, 0) + 1


@dataclass(frozen=True)
class Field:
    """One value that every line of a file should have.

    Attributes:
        name: Key of the object.
        kinds: Types it may have; ``NoneType`` stands for null and for a missing key.
        low: Smallest number.
        high: Largest number.
    """

    name: str
    kinds: tuple[type, ...]
    low: float = float("-inf")
    high: float = float("inf")

    def all_good(self, values: list[Any]) -> bool:
        """Return whether every value is of a right type and in range."""
        if not set(map(type, values)) <= set(self.kinds):
            return False
        if float not in self.kinds and int not in self.kinds:
            return "" not in values or type(None) in self.kinds
        return all(self.low <= value <= self.high for value in set(values) if value is not None)

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with one value, or None."""
        if self.all_good([value]):
            return None
        shown = [kind for kind in self.kinds if kind is not int or float not in self.kinds]
        kinds = " or ".join(NAME_OF[kind] for kind in shown)
        bounds = f" from {self.low} to {self.high}" if abs(self.low) < float("inf") else ""
        found = "null or nothing" if value is None else _short(repr(value))
        return f"{self.name} should be {kinds}{bounds}, found {found}"


def read_objects(path: Path, decode: Decode, bad: BadLines) -> Iterator[tuple[int, Row]]:
    """Yield the number and the object of every line; lines without an object go to ``bad``.

    Raises:
        UserError: The file is empty, or it was cut off or damaged and ``bad`` says to stop.
    """
    number = 0
    try:
        for number, line in enumerate(_lines(path), start=1):
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            try:
                row = decode(line.decode())
            except ValueError as error:
                reason = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
                if line.strip():
                    bad.report(path, number, _describe(reason, line))
                continue
            if isinstance(row, dict):
                yield number, row
            else:
                bad.report(path, number, f"expected an object, found {_short(line)}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        bad.report(path, number + 1, f"the compressed file is damaged or cut off here ({error})")
        return
    if not number:
        raise UserError(f"{path} is empty: get it again")


def read_columns(
    path: Path, fields: Sequence[Field], bad: BadLines
) -> Iterator[dict[str, list[Any]]]:
    """Yield the wanted values of many lines at a time, one list per field, all of them checked.

    The lists are used again: take what you need out of them before you ask for the next ones.

    Args:
        path: A file of JSON lines.
        fields: What to read; a key that a line lacks counts as null.
        bad: What to do with lines that lack a value or have another type of it.
    """
    numbers: list[int] = []
    columns: dict[str, list[Any]] = {field.name: [] for field in fields}
    appends = [(field.name, columns[field.name].append) for field in fields]
    try:
        for number, row in read_objects(path, decode_json, bad):
            numbers.append(number)
            for name, append in appends:
                append(row.get(name))
            if len(numbers) == BATCH_LINES:
                yield _only_good(path, fields, numbers, columns, bad)
                for values in (numbers, *columns.values()):
                    values.clear()
    except UserError:
        # The first bad line is to be named, and it may be among those not checked yet.
        _only_good(path, fields, numbers, columns, bad)
        raise
    if numbers:
        yield _only_good(path, fields, numbers, columns, bad)


def first_object(path: Path) -> Row:
    """Return the object on the first line, to see the format; empty when there is none."""
    try:
        _, row = next(read_objects(path, decode_json, BadLines("skip")), (0, {}))
    except UserError:
        return {}
    return row


def _lines(path: Path) -> Iterator[bytes]:
    shown = f"reading {path.name}"
    with new_progress() as progress, progress.open(path, "rb", description=shown) as file:
        packed = io.BufferedReader(cast(io.RawIOBase, file), BUFFER_BYTES)
        if packed.peek(len(GZIP_START)).startswith(GZIP_START):
            unpacked = cast(io.RawIOBase, gzip.GzipFile(fileobj=packed))
            yield from io.BufferedReader(unpacked, BUFFER_BYTES)
        else:
            yield from packed


def _only_good(
    path: Path,
    fields: Sequence[Field],
    numbers: list[int],
    columns: dict[str, list[Any]],
    bad: BadLines,
) -> dict[str, list[Any]]:
    """Return the columns without the rows that ``bad`` was told about."""
    if all(field.all_good(columns[field.name]) for field in fields):
        return columns
    good = []
    for row, number in enumerate(numbers):
        problems = (field.problem(columns[field.name][row]) for field in fields)
        found = next((problem for problem in problems if problem), None)
        if found is None:
            good.append(row)
        else:
            bad.report(path, number, found)
    take = itemgetter(*good) if len(good) > 1 else lambda values: [values[row] for row in good]
    return {name: list(take(values)) for name, values in columns.items()}


def _describe(problem: str, line: bytes) -> str:
    cut = "" if line.endswith(b"\n") else "; the file ends here, so it may have been cut off"
    return f"{problem}: {_short(line)}{cut}"


def _short(value: bytes | str) -> str:
    text = value.decode(errors="replace").strip() if isinstance(value, bytes) else value
    return text if len(text) <= 120 else f"{text[:120]}..."
