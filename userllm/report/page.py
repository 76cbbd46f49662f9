"""One self-contained HTML page: it works from disk, asks no other address for anything."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from userllm.report import (
    curves,
    figure,
    gates,
    history_figure,
    style,
    training_figure,
    units,
)
from userllm.report.columns import Grid, Group, Line, grid
from userllm.report.comparison import Table
from userllm.report.headline import headline
from userllm.report.notes import heading, notes
from userllm.report.results import WITHOUT_USER, Result
from userllm.report.series import MOST_ROWS, number_of
from userllm.report.slice_table import sliced_grid
from userllm.report.slices import View, views

QUESTION = (
    "What is the best way, in accuracy and in cost, to give a language model a user’s history?"
)
WIDE = {"width": 480, "height": 300}
NARROW = {"width": 270, "height": 260}
MOST_EXAMPLES = 12
"""Examples of one task."""
RESULTS: tuple[Group, ...] = ("quality", "other metrics", "reading one user")


@dataclass(frozen=True)
class Figure:
    """One chart, drawn for a wide and for a narrow screen."""

    caption: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class Example:
    """One user: what was asked, what is true, and what every method said."""

    user: str
    history: list[dict[str, Any]]
    question: str
    truth: str
    answers: dict[str, list[str]] = field(default_factory=dict)


def render(tables: Sequence[Table], *, name: str, question: str | None = None) -> str:
    """Return the page for ``tables``; equal results give equal bytes.

    All text comes from data sets and configs, so all of it is escaped.

    Args:
        tables: What `userllm.report.comparison.build_tables` made of the runs.
        name: Name of the report.
        question: What the study asks; None takes the question that all of them share.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    results = _results(tables)
    return environment.get_template("page.html.jinja").render(
        name=name,
        question=question or QUESTION,
        tables=[_section(table, number) for number, table in enumerate(tables)],
        examples=examples(tables),
        commands=_commands(tables),
        environments=_environments(results),
        runs=len(results),
        palette=range(len(style.PALETTE)),
        light=style.PALETTE,
        dark=style.PALETTE_ON_DARK,
    )


def examples(tables: Sequence[Table]) -> list[Example]:
    """Collect the users that runs kept, each with the answers of all rows that asked them.

    What a model answers without knowing the user stands below its answer (Source: User-LLM
    Appendix F).

    Of several seeds the first one speaks. Task by task, users that most methods answered come
    first.
    """
    rows = [row for table in tables for row in table.models]
    kept = [(row, example) for row in rows for example in row.runs[0].examples]
    found: dict[tuple[str, str, str], Example] = {}
    tasks: dict[str, list[Example]] = {}
    # What the rows are about comes before the floors, which every run repeats.
    for own in (True, False):
        for row, one in kept:
            key = (str(one["user"]), one["question"], str(one["truth"]))
            if key not in found:
                found[key] = Example(key[0], one["history"], one["question"], key[2])
                tasks.setdefault(one.get("task", ""), []).append(found[key])
            example = found[key]
            for method, answers in one["answers"].items():
                if (method == row.method) is own:
                    label = row.label if own else method
                    example.answers.setdefault(label, [str(answer) for answer in answers])
            if own and (strange := one.get("unpersonalized")):
                label = f"{row.label}, {WITHOUT_USER}"
                example.answers.setdefault(label, [str(answer) for answer in strange])
    return [
        example
        for task in tasks.values()
        for example in sorted(task, key=lambda example: -len(example.answers))[:MOST_EXAMPLES]
    ]


def _section(table: Table, number: int) -> dict[str, Any]:
    """Collect what the page shows of one table."""
    whole = grid(table)
    learning = whole.only("method", "learning").models() if whole.has("learning") else None
    return {
        "id": f"table-{number}",
        "heading": heading(table),
        "headline": headline(table),
        "figures": _figures(table),
        "results": _block(whole.only("method", *RESULTS)),
        "learning": _block(learning) if learning else None,
        "views": [_sliced(view, table) for view in views(table)],
        "notes": notes(table),
        "series": [number_of(table, row) for row in table.models],
        "crowded": len(table.models) > MOST_ROWS,
    }


def _sliced(view: View, table: Table) -> dict[str, Any]:
    """Arrange one sliced view; its spanning heading says what the columns count."""
    part = _block(sliced_grid(view))
    part["spans"] = [("", 1), (f"{view.unit} (users)", len(view.bins))]
    return {"caption": f"{table.setting.primary} by {view.name}", "block": part}


def _figures(table: Table) -> list[Figure]:
    """Draw accuracy against costs and lengths, gates and losses, each where it was measured."""
    draw: dict[str, Callable[..., Any]] = {
        f"{table.setting.primary} against {axis.caption}": partial(figure.chart, table, axis)
        for axis in figure.AXES
    }
    draw[f"{table.setting.primary} against training"] = partial(training_figure.chart, table)
    draw[f"{table.setting.primary} against history length"] = partial(history_figure.chart, table)
    draw["gates by block"] = partial(gates.chart, table)
    draw["training loss, first seed"] = partial(curves.chart, table)
    drawn = []
    for caption, chart in draw.items():
        wide, narrow = (chart(theme=style.PAGE, **size) for size in (WIDE, NARROW))
        if wide and narrow:
            # The SVG is built by the plotting library, which escapes the labels in it.
            drawn.append(Figure(caption, *(Markup(figure.svg(one)) for one in (wide, narrow))))
    return drawn


def _block(part: Grid) -> dict[str, Any]:
    """Arrange a grid for HTML: spanning headings, and lines of one kind together."""
    part = _settings_below_method(part)
    groups = groupby(part.columns, key=lambda column: column.group)
    kinds = groupby(part.lines, key=lambda line: line.kind)
    return {
        "columns": part.columns,
        "spans": [(group, len(list(columns))) for group, columns in groups],
        "bodies": [(kind, list(lines)) for kind, lines in kinds],
    }


def _settings_below_method(part: Grid) -> Grid:
    """Write settings under the method, where a narrow screen has room for them."""
    if part.columns[1].title != "settings":
        return part
    lines = [
        Line(line.kind, [replace(line.cells[0], detail=line.cells[1].text), *line.cells[2:]])
        for line in part.lines
    ]
    return Grid([part.columns[0], *part.columns[2:]], lines)


def _results(tables: Sequence[Table]) -> list[Result]:
    """Return every run that any row was made from, once."""
    runs = [result for table in tables for row in table.rows for result in row.runs]
    return list({result.folder: result for result in runs}.values())


def _commands(tables: Sequence[Table]) -> list[tuple[str, list[str], tuple[str, ...]]]:
    """Return every row with its tables and the commands that make it again, one per seed.

    A run that gives a row to several tables is named once, with all of them.
    """
    labels: dict[tuple[str, ...], tuple[str, list[str]]] = {}
    for table in tables:
        for row in table.models:
            commands = tuple(result.run["command"] for result in row.runs)
            labels.setdefault(commands, (row.label, []))[1].append(heading(table))
    return [
        (label, list(dict.fromkeys(headings)), commands)
        for commands, (label, headings) in labels.items()
    ]


def _environments(results: Sequence[Result]) -> list[tuple[list[str], dict[str, str]]]:
    """Return each kind of machine and code that was used, with the runs it made."""
    made_by: dict[str, tuple[list[str], dict[str, str]]] = {}
    for result in results:
        facts = _facts(result.environment)
        key = json.dumps(facts, sort_keys=True)
        made_by.setdefault(key, ([], facts))[0].append(result.run["folder"])
    return list(made_by.values())


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    """Say in a few lines what a result was made with."""
    git, memory = environment.get("git"), environment.get("memory_bytes")
    versions = environment.get("versions") or {}
    cores, threads = environment.get("cores"), environment.get("threads")
    facts = {
        "Data": f"{environment['data_name']} ({environment['data_fingerprint'][:12]})",
        "Language model": environment.get("lm_source"),
        "Processor": environment.get("cpu"),
        "Cores, threads": f"{cores} cores, {threads} threads" if cores else None,
        "Memory": units.memory(memory) if memory else None,
        "GPU": environment.get("gpu"),
        "System": environment.get("platform"),
        "Code": git and f"{git['commit'][:12]}{', changed since' if git.get('dirty') else ''}",
        "Versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
    }
    return {name: str(value) for name, value in facts.items() if value}
