"""Tables for people (terminal, Markdown) and for programs (CSV)."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Literal

import polars as pl
from rich import box
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from userllm.metric.interval import Interval
from userllm.metric.paired import ALPHA, PairedTest
from userllm.report import units
from userllm.report.columns import Cell, Grid, Line, grid, machine, machines_of, scorers_of
from userllm.report.comparison import Table
from userllm.report.extras import extra
from userllm.report.results import Unfinished
from userllm.report.rows import Row
from userllm.report.slice_table import markdown_lines

MARKS = {"best": "", "close": " ≈", "missing": "", "": ""}
_STYLES = {"best": "bold green", "close": "green", "missing": "yellow", "": ""}
_LINE_STYLES = {"model": "", "reference": "dim italic", "missing": "dim"}


def heading(table: Table) -> str:
    """Say what a table is about, in the words of the command line."""
    return f"{table.setting.task} on {table.setting.data}"


def notes(table: Table) -> list[str]:
    """Say under which rules the numbers of a table were made and how to read them."""
    scorers = scorers_of(table)
    scorer = f", {scorers[0]} scorer" if len(scorers) == 1 else ""
    said = [f"Protocol ({table.setting.part} part{scorer}): {table.setting.protocol}"]
    if not table.rows:
        return said
    said += [*_different(table), *_intervals(table), *_tests(table)]
    if table.references:
        said.append("Italic: reference floors, computed without a language model.")
    if any(row.cost for row in table.rows):
        said.append(
            "FLOPs: closed form, a multiply-add is two; embedding lookups, norms and activations "
            "are not counted. The encoder's pretraining is charged in columns of its own."
        )
    return [*said, *_latency_note(table)]


def _kept_apart(table: Table) -> list[str]:
    """Say what keeps a table apart from another one on the same question."""
    return [
        f"Not mixed with another table of this task, whose protocol differs: {text}."
        for text in table.apart
    ]


def _different(table: Table) -> list[str]:
    """Warn where rows are means over other users, or another table has another protocol."""
    sizes = sorted({row.score.n for row in table.rows})
    said = _kept_apart(table)
    if len(sizes) > 1:
        asked = ", ".join(units.count(size) for size in sizes)
        said.append(f"Rows are means over different users (n = {asked}); Δ: those in common.")
    return said


def _intervals(table: Table) -> list[str]:
    """Name both intervals: over users, and over training seeds where there are several."""
    methods = sorted({row.score.method for row in table.rows})
    users = ", ".join(methods)
    said = f"Brackets: 95 % interval over users ({users}), seeds averaged first."
    if any(row.over_seeds(row.primary) for row in table.models):
        said += (
            " Over seeds: half the width of the 95 % t interval over training seeds, each seed's "
            "mean counting once."
        )
    return [said]


def _tests(table: Table) -> list[str]:
    """Name the tests and the correction, and say what the marks mean."""
    said = []
    tests = [row.test for row in table.rows if row.test]
    if tests:
        names = " or ".join(sorted({test.test for test in tests}))
        said.append(
            f"Δ: paired, same users, seeds averaged first. p: {names}, two-sided, corrected for "
            f"{len(tests)} comparison{'' if len(tests) == 1 else 's'} with the baseline (Holm)."
        )
    marks = {mark for row in table.rows for mark in row.marks.values()}
    if "best" in marks:
        close = (
            "; ≈: not distinguishable from it (the same tests, each model against the best, "
            f"Holm-corrected, p ≥ {ALPHA})"
        )
        said.append(f"Bold: best model{close if 'close' in marks else ''}.")
    return said


def _latency_note(table: Table) -> list[str]:
    """Say how latencies were measured, with the load others put on the machine meanwhile."""
    rows = [row for row in table.rows if machine(row)]
    if not rows:
        return []
    places = machines_of(table)
    place = places[0] if len(places) == 1 else "the machines named"
    loads, repeats = (
        sorted({value for row in rows if (value := row.cost_of("latency_ms", key)) is not None})
        for key in ("load", "repeats")
    )
    load = " to ".join(dict.fromkeys(f"{value:.1f}" for value in (*loads[:1], *loads[-1:])))
    return [
        f"Latency: one user at a time on {place}, at least {repeats[0]:.0f} repeats, "
        f"machine load {load or 'unknown'}."
    ]


def terminal(tables: Sequence[Table]) -> RenderableType:
    """Return all tables for `rich`, each group of columns in a block of its own."""
    parts: list[RenderableType] = []
    for table in tables:
        whole = grid(table)
        parts.append(Text(f"\n{heading(table)}", style="bold"))
        parts.extend(Text(text, style="yellow") for text in _kept_apart(table))
        parts.append(_block(whole.only("method", "quality"), table.setting.primary))
        for group in ("other metrics", "reading one user", "learning"):
            part = models_only(whole.only("method", group))
            if len(part.columns) > 2:
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
    """Yield the lines of one table: results and cost per user, then learning."""
    whole = grid(table)
    yield from (f"## {_plain(heading(table))}", "")
    yield from _markdown_block(whole.only("method", "quality", "other metrics", "reading one user"))
    learning = models_only(whole.only("method", "learning"))
    if len(learning.columns) > 2:
        yield from ("", "What learning took:", "")
        yield from _markdown_block(learning)
    yield from markdown_lines(table)
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


def models_only(part: Grid) -> Grid:
    """Drop lines that cannot have a cost."""
    return Grid(part.columns, [line for line in part.lines if line.kind == "model"])


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
    low, high = (bound if isfinite(bound) else None for bound in (value.low, value.high))
    return {name: value.mean, f"{name}_low": low, f"{name}_high": high, f"{name}_n": value.n}


def _flat(node: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the leaves of the cost tree, keys joined by underscores."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}_")
        else:
            yield f"{prefix}{key}", value
