"""Read columns of one CSV, TSV or Parquet file as they stand in it.

Text files are read twice at most: fast and, when that fails or a value is bad, record by record,
which is slow but knows the line of every record and goes on behind one that cannot be read.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import polars as pl

from userllm.check import suggest
from userllm.errors import UserError

LINE = "line"
SEPARATORS = {".csv": ",", ".tsv": "\t"}
PIECE = 100_000
MOST_CHARACTERS = 2**31 - 1


@dataclass(frozen=True)
class Rows:
    """What was read.

    Attributes:
        values: The wanted columns, strings if the file is text, and perhaps ``line`` (in Parquet
            the row, from 1).
        unreadable: (line, number of lines, why) of each record that is no row.
    """

    values: pl.DataFrame
    unreadable: list[tuple[int, int, str]] = field(default_factory=list)


class TableFile:
    """One file with a header.

    Args:
        path: The file; its suffix says of which kind it is.
        separator: Between the values; None for a comma or, in .tsv, a tab.

    Raises:
        UserError: There is no such file, it is of another kind, or it is empty.
    """

    def __init__(self, path: Path, separator: str | None) -> None:
        if not path.is_file():
            near = path.parent.iterdir() if path.parent.is_dir() else []
            hint = suggest(path.name, [other.name for other in near])
            raise UserError(f"data.path={path} is not a file; {hint}")
        suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
        self.path = path
        self.is_parquet = suffix == ".parquet"
        self.separator = separator or SEPARATORS.get(suffix, "")
        if not self.is_parquet and len(self.separator) != 1:
            raise UserError(
                f"data.path={path}: expected a .csv or .tsv file (also .gz), a .parquet file, or "
                f"any text file with data.separator=<one character>, found {separator!r}"
            )
        self.header = self._parquet_header() if self.is_parquet else self._text_header()

    def read(self, columns: dict[str, str]) -> Rows | None:
        """Return some columns under other names (new name -> name in the header), fast.

        Returns:
            None when there is something that the fast reader cannot read.
        """
        if self.is_parquet:
            chosen = [pl.col(column).alias(name) for name, column in columns.items()]
            frame = pl.scan_parquet(self.path, row_index_name=LINE, row_index_offset=1)
            return Rows(frame.select(LINE, *chosen).collect())
        names = [f"column {place}" for place in range(len(self.header))]
        places = ((name, self.header.index(column)) for name, column in columns.items())
        try:
            frame = pl.scan_csv(
                self.path,
                separator=self.separator,
                has_header=False,
                skip_rows=1,
                schema=dict.fromkeys(names, pl.String()),
                missing_columns="insert",
                glob=False,
            )
            chosen = [pl.col(names[place]).alias(name) for name, place in places]
            return Rows(frame.select(chosen).collect(engine="streaming"))
        except (pl.exceptions.PolarsError, OSError):
            return None

    def read_carefully(self, columns: dict[str, str]) -> Rows:
        """Return the same record by record, with lines."""
        if self.is_parquet:
            rows = self.read(columns)
            assert rows is not None
            return rows
        places = [self.header.index(column) for column in columns.values()]
        schema = {LINE: pl.Int64(), **dict.fromkeys(columns, pl.String())}
        unreadable: list[tuple[int, int, str]] = []

        def rows_of_file() -> Iterator[tuple[int | str | None, ...]]:
            for line, lines, values in islice(self._records(), 1, None):
                if isinstance(values, str):
                    unreadable.append((line, lines, values))
                elif len(values) > len(self.header):
                    problem = f"expected {len(self.header)} values, found {len(values)}"
                    unreadable.append((line, lines, problem))
                else:
                    # Like the fast reader: what is missing at the end of a line is empty.
                    values += [""] * (len(self.header) - len(values))
                    yield line, *(values[place] or None for place in places)

        left, pieces = rows_of_file(), [pl.DataFrame(schema=schema)]
        while piece := list(islice(left, PIECE)):
            by_name = dict(zip(schema, zip(*piece, strict=True), strict=True))
            pieces.append(pl.DataFrame(by_name, schema=schema))
        return Rows(pl.concat(pieces), unreadable)

    def _parquet_header(self) -> list[str]:
        try:
            return list(pl.read_parquet_schema(self.path))
        except pl.exceptions.PolarsError as error:
            raise UserError(f"{self.path} is no whole Parquet file: {error}") from error

    def _text_header(self) -> list[str]:
        for line, _, values in self._records():
            if isinstance(values, str):
                raise UserError(f"{self.path}, line {line}: {values}")
            return [name.strip() for name in values]
        raise UserError(f"{self.path} is empty; expected a header and rows")

    def _records(self) -> Iterator[tuple[int, int, list[str] | str]]:
        """Yield (line, number of lines, values) of every record that is not blank.

        The values of a record that cannot be read are the reason why.
        """
        # Reviews can be longer than what the module takes for an accident.
        csv.field_size_limit(MOST_CHARACTERS)
        broken: list[str] = []
        reader = csv.reader(self._lines(broken), delimiter=self.separator, strict=True)
        while True:
            before = reader.line_num
            try:
                values: list[str] | str = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                values = str(error)
            if broken:
                values = broken.pop()
            if values:
                yield before + 1, reader.line_num - before, values

    def _lines(self, broken: list[str]) -> Iterator[str]:
        """Yield the lines as text; note in ``broken`` why the latest one is none."""
        compressed = self.path.suffix == ".gz"
        with self.path.open("rb") as raw, gzip.open(raw) if compressed else raw as file:
            try:
                for number, content in enumerate(file):
                    try:
                        line = content.decode("utf-8")
                    except UnicodeDecodeError as error:
                        broken.append(f"expected UTF-8 text ({error.reason})")
                        line = "\n"
                    yield line.removeprefix("\ufeff") if number == 0 else line
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise UserError(f"{self.path} is no whole gzip file ({error})") from error
