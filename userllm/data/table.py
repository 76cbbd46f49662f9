"""Your own data: one file with a row per event, and what it says about the item.

The columns and the rules are in docs/data.md, "Your own data".
"""

from pathlib import Path
from typing import Literal

from userllm.check import suggest
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
from userllm.data.download import sha256
from userllm.data.progress import stage
from userllm.data.protocol import RawData
from userllm.data.table_file import LINE, Rows, TableFile
from userllm.data.table_items import item_table
from userllm.data.table_rows import Events, as_events
from userllm.data.table_times import TimeForm
from userllm.errors import UserError

REQUIRED = (USER, ITEM, TIMESTAMP)
OPTIONAL = (RATING, TITLE, CATEGORIES, TEXT, YEAR)
ALSO = {CATEGORIES: "category"}
UNREADABLE = "unreadable lines"


class Table:
    """One CSV, TSV or Parquet file of a person's own.

    Args:
        name: Names the dataset in cards and tables.
        path: The file; its suffix says what it is (.csv, .tsv, both also .gz, or .parquet).
        columns: What the columns user, item, timestamp, rating, title, categories, text and year
            are called in the file; None = the same.
        timestamp: What the times are; "auto" finds out.
        separator: Between the values of a text file; None goes by the suffix.
        category_separator: Between the categories of an item where they are one text.
        on_bad_line: Whether a line that cannot be used ends the reading, or is skipped and counted.
        nouns: What an "item" and a "category" are called in prompts.
        min_user_events: See ``Dataset``.
        min_item_events: See ``Dataset``.
    """

    def __init__(
        self,
        *,
        name: str,
        path: str,
        columns: dict[str, str | None],
        timestamp: TimeForm,
        separator: str | None,
        category_separator: str,
        on_bad_line: Literal["fail", "skip"],
        nouns: dict[str, str],
        min_user_events: int,
        min_item_events: int,
    ) -> None:
        if not category_separator:
            raise UserError("data.category_separator is empty; expected something like '|'")
        self.name = name
        self.path = Path(path).expanduser()
        self.columns = columns
        self.timestamp: TimeForm = timestamp
        self.separator = separator
        self.category_separator = category_separator
        self.skips = on_bad_line == "skip"
        self.nouns = nouns
        self.min_user_events = min_user_events
        self.min_item_events = min_item_events

    def read(self) -> RawData:
        """Read the file; raise ``UserError`` for a column or a line that cannot be used."""
        file = TableFile(self.path, self.separator)
        columns = find_columns(file, self.columns)
        with stage(f"reading {self.path.name}"):
            events, unreadable = self._events(file, columns)
            items, doubtful = item_table(events.rows, self.category_separator)
            hashes = {self.path.name: sha256(self.path)}
        provenance = {
            "source": f"own file {self.path}",
            "licence": "not known: own data",
            "files": hashes,
            "column": columns,
            "timestamps": events.times,
            "skipped": {**events.skipped, **({UNREADABLE: unreadable} if unreadable else {})},
            **doubtful,
        }
        finer = [NANOSECOND] if (events.rows[NANOSECOND] > 0).any() else []
        wanted = [USER, ITEM, TIMESTAMP, *finer, RATING, *([TEXT] if TEXT in columns else [])]
        read = events.rows.select(wanted)
        return RawData(read, items, provenance, self.nouns, files=(self.path,))

    def _events(self, file: TableFile, columns: dict[str, str]) -> tuple[Events, int]:
        """Return the events and the number of unreadable lines."""
        read = file.read(columns)
        events = None if read is None else as_events(read.values, self.timestamp)
        if read is None or events is None or events.first_bad:
            # Only this way of reading knows lines.
            read = file.read_carefully(columns)
            events = as_events(read.values, self.timestamp)
        if not self.skips:
            _refuse_bad(file, read, events)
        if not events.rows.height:
            raise UserError(f"{self.path} has no row that is an event; {events.skipped or 'empty'}")
        return events, sum(lines for _, lines, _ in read.unreadable)


def find_columns(file: TableFile, given: dict[str, str | None]) -> dict[str, str]:
    """Return role -> column of the file, for the roles that the file has.

    Args:
        file: The file.
        given: Role -> column as set by the user; None for a column called like the role.

    Raises:
        UserError: With a line for every column that should be there and is not.
    """
    found, problems = {}, []
    for role in (*REQUIRED, *OPTIONAL):
        wanted = given.get(role)
        names = [wanted] if wanted else [role, *([ALSO[role]] if role in ALSO else [])]
        name = next((name for name in names if name in file.header), None)
        if name is not None and file.header.count(name) > 1:
            problems.append(f"column '{name}' is there {file.header.count(name)} times")
        elif name is not None:
            found[role] = name
        elif wanted or role in REQUIRED:
            hint = suggest(names[0], file.header)
            problems.append(f"no column '{names[0]}': type data.columns.{role}=<column>; {hint}")
    if problems and len(file.header) == 1:
        problems = ["that is one column: type data.separator='<what stands between columns>'"]
    if problems:
        lines = "\n  ".join(problems)
        raise UserError(f"{file.path} has the columns {', '.join(file.header)}:\n  {lines}")
    return found


def _refuse_bad(file: TableFile, read: Rows, events: Events) -> None:
    """Raise ``UserError`` with the first line that is no event, if there is one."""
    bad = [(line, why) for line, _, why in read.unreadable[:1]]
    if events.first_bad:
        bad.append((read.values[LINE][events.first_bad.row], events.first_bad.why))
    if bad:
        line, why = min(bad)
        unit = "row" if file.is_parquet else "line"
        number = sum(events.skipped.values()) + len(read.unreadable)
        raise UserError(
            f"{file.path}, {unit} {line}: {why}. {number:,} {unit}(s) of the file cannot be used: "
            "repair them, or type data.on_bad_line=skip to leave them out"
        )
