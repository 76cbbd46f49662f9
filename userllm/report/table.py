"""Tables for people (terminal, Markdown) and for programs (CSV)."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import polars as pl
from rich import box
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from userllm.metric.interval import Interval
from userllm.metric.paired import PairedTest
from userllm.report.columns import Cell, Grid, Group, Line, grid
from userllm.report.comparison import Table
from userllm.report.extras import extra
from userllm.report.notes import heading, kept_apart, notes
from userllm.report.results import Unfinished
from userllm.report.rows import Row
from userllm.report.slice_table import caption, sliced_grid
from userllm.report.slices import views

MARKS = {"best": "", "close": " ≈", "missing": "", "": ""}
_STYLES = {"best": "bold green", "close": "green", "missing": "yellow", "": ""}
LATER: tuple[Group, ...] = ("other metrics", "reading one user", "learning")
"""Groups of columns that the terminal prints below the quality, each on its own."""
_LINE_STYLES = {"model": "", "reference": "dim italic", "missing": "dim"}


def terminal(tables: Sequence[Table]) -> RenderableType:
    """Return all tables for `rich`, each group of columns in a block of its own."""
    parts: list[RenderableType] = []
    for table in tables:
        whole = grid(table)
        parts.append(Text(f"\n{heading(table)}", style="bold"))
        parts.extend(Text(text, style="yellow") for text in kept_apart(table))
        parts.append(_block(whole.only("method", "quality"), table.setting.primary))
        for group in LATER:
            if whole.has(group):
                part = whole.only("method", group).models()
                parts.append(Text(group, style="dim"))
                parts.append(_block(part, table.setting.primary))
        parts.extend(Padding(Text(note, style="dim"), (0, 2)) for note in notes(table))
    return Stack(*parts)


def markdown(tables: Sequence[Table]) -> str:
    """Return all tables as GitHub Markdown, equal results giving equal bytes."""
    return "\n".join(line for table in tables for line in _markdown(table))


def csv(tables: Sequence[Table]) -> str:
    """Return one flat table with unrounded numbers, one line per row and missing run."""
    return pl.DataFrame(records(tables), infer_schema_length=None).write_csv()


def records(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return every row as a flat mapping; all have the same keys, None where there is nothing."""
    flat = [
        {**table.setting._asdict(), **record}
        for table in tables
        for record in (*map(_row_record, table.rows), *map(_missing_record, table.missing))
    ]
    keys = dict.fromkeys(key for record in flat for key in record)
    return [{key: record.get(key) for key in keys} for record in flat]


def _block(part: Grid, primary: str) -> RichTable:
    """Return one rich table; intervals are printed for the primary metric and its difference."""
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in part.columns:
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        table.add_column(
            column.title, justify=justify, no_wrap=column.title not in ("settings", "measured on")
        )
    previous = "model"
    for line in part.lines:
        if line.kind != previous:
            table.add_section()
        previous = line.kind
        table.add_row(*_terminal_cells(part, line, primary), style=_LINE_STYLES[line.kind])
    return table


def _terminal_cells(part: Grid, line: Line, primary: str) -> Iterable[Text]:
    for column, cell in zip(part.columns, line.cells, strict=True):
        detailed = column.title == primary or column.title.startswith("Δ")
        detail = f" {cell.detail}" if cell.detail and detailed else ""
        yield Text.assemble(
            (f"{cell.text}{MARKS[cell.mark]}", _STYLES[cell.mark]), (detail, "not bold dim")
        )


def _markdown(table: Table) -> Iterable[str]:
    """Yield the lines of one table: results and cost per user, learning, then views."""
    whole = grid(table)
    yield from (f"## {_plain(heading(table))}", "")
    yield from _markdown_block(whole.only("method", "quality", "other metrics", "reading one user"))
    if whole.has("learning"):
        yield from ("", "What learning took:", "")
        yield from _markdown_block(whole.only("method", "learning").models())
    for view in views(table):
        yield from ("", f"{caption(view, table)}:", "")
        yield from _markdown_block(sliced_grid(view))
    yield ""
    yield from (f"- {_plain(note)}" for note in notes(table))
    yield ""


def _markdown_block(part: Grid) -> Iterable[str]:
    yield _markdown_line(_plain(column.title) for column in part.columns)
    yield _markdown_line("--:" if column.numeric else ":--" for column in part.columns)
    for line in part.lines:
        yield _markdown_line(_markdown_cell(cell, line) for cell in line.cells)


def _markdown_cell(cell: Cell, line: Line) -> str:
    text = " ".join(filter(None, (_plain(cell.text), _plain(cell.detail))))
    if cell.mark == "best":
        return f"**{text}**"
    italic = line.kind != "model" and cell is line.cells[0]
    return f"*{text}*" if italic else f"{text}{MARKS[cell.mark]}"


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Keep text from being read as table structure or HTML."""
    text = " ".join(text.split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _row_record(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "method": row.method,
        "settings": row.settings,
        "scorer": row.scorer,
        "state": "finished",
        "seeds": " ".join(map(str, row.seeds)),
        **{
            key: value
            for name, metric in row.metrics.items()
            for key, value in _interval_record(name, metric).items()
        },
        "baseline": row.baseline,
        **(_interval_record("delta", row.delta) if row.delta else {}),
        **(_interval_record("ratio", row.ratio) if row.ratio else {}),
        **(_test_record(row.test) if row.test else {}),
        **{
            f"{name}_seeds_{end}": value
            for name in row.metrics
            if (over := row.over_seeds(name))
            for end, value in (("low", over.low), ("high", over.high))
        },
        **dict(_flat(row.cost or {})),
        **dict(_flat({"retention": extra(row, "retention") or {}})),
        "folders": " ".join(str(result.run["folder"]) for result in row.runs),
        "command": row.runs[0].run["command"],
    }


def _test_record(test: PairedTest) -> dict[str, Any]:
    return {"test": test.test, "p": test.p, "p_holm": test.adjusted}


def _missing_record(run: Unfinished) -> dict[str, Any]:
    return {
        "kind": "missing",
        "method": run.method,
        "settings": run.settings,
        "state": run.state,
        "error": run.error,
        "seeds": "" if run.seed is None else str(run.seed),
        "folders": run.folder.name,
    }


def _interval_record(name: str, value: Interval) -> dict[str, float | None]:
    low, high = value.bounds
    return {name: value.mean, f"{name}_low": low, f"{name}_high": high, f"{name}_n": value.n}


def _flat(node: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the leaves of the cost tree, keys joined by underscores."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}_")
        else:
            yield f"{prefix}{key}", value
