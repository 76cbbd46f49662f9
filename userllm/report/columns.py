"""What the tables show: columns in five groups, and one grid of cells for every renderer.

The terminal, Markdown and the page print the same grid, so they cannot disagree.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from userllm.metric.interval import Interval
from userllm.report import units
from userllm.report.comparison import Table
from userllm.report.extras import extra, reported
from userllm.report.machines import machine, machines_of
from userllm.report.results import Unfinished
from userllm.report.rows import Row, lower_is_better

Group = Literal["method", "quality", "other metrics", "reading one user", "learning"]

_P_HELP = "Chance of such a Δ without a difference; Holm-corrected over the rows of the table"

_ALIKE = 1.05
"""Rows whose costs differ by less cost the same."""


@dataclass(frozen=True)
class Cell:
    """One entry: the text, a smaller addition (an interval), and what sorting compares."""

    text: str = units.EMPTY
    detail: str = ""
    order: float | None = None
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """A heading with its explanation, and how a row fills it."""

    group: Group
    title: str
    help: str
    cell: Callable[[Row], Cell]
    numeric: bool = True


@dataclass(frozen=True)
class Line:
    """One printed row of a grid."""

    kind: Literal["model", "reference", "missing"]
    cells: list[Cell]


@dataclass(frozen=True)
class Grid:
    """Columns and lines, ready to be printed; a column in which nothing stands is left out."""

    columns: list[Column]
    lines: list[Line]

    def only(self, *groups: Group) -> "Grid":
        """Return the part of the grid that belongs to ``groups``."""
        return self.pick(i for i, column in enumerate(self.columns) if column.group in groups)

    def pick(self, keep: Iterable[int]) -> "Grid":
        """Return a grid of some of the columns, by their numbers."""
        kept = list(keep)
        return Grid(
            [self.columns[index] for index in kept],
            [Line(line.kind, [line.cells[index] for index in kept]) for line in self.lines],
        )

    def has(self, group: Group) -> bool:
        """Return whether something stands in a column of ``group``."""
        return any(column.group == group for column in self.columns)

    def models(self) -> "Grid":
        """Drop lines that cannot have a cost."""
        return Grid(self.columns, [line for line in self.lines if line.kind == "model"])


def grid(table: Table) -> Grid:
    """Lay out one table: models, then references, then what is missing."""
    columns = [*_method(), *_accuracy(table), *_reading(table), *_learning()]
    lines = lines_of(table.rows, columns)
    filled = [
        index
        for index, column in enumerate(columns)
        if column.title in ("method", table.setting.primary)
        or any(line.cells[index].text not in ("", units.EMPTY) for line in lines)
        or (column.title == "settings" and table.missing)
    ]
    shown = Grid(columns, lines).pick(filled)
    missing = [_missing_line(run, len(filled)) for run in table.missing]
    return Grid(shown.columns, [*shown.lines, *missing])


def lines_of(rows: Iterable[Row], columns: Sequence[Column]) -> list[Line]:
    """Return the printed lines of models and references."""
    return [
        Line("reference" if row.kind == "reference" else "model", [c.cell(row) for c in columns])
        for row in rows
    ]


def scorers_of(table: Table) -> list[str]:
    """Return how answers were scored; one name stands in the notes, several in a column."""
    return sorted({row.scorer for row in table.models})


def interval_text(value: Interval, write: Callable[[float], str] = units.score) -> str:
    """Return ``[low, high]``, or nothing where no per-user values exist."""
    return "" if isnan(value.low) else f"[{write(value.low)}, {write(value.high)}]"


def _missing_line(run: Unfinished, width: int) -> Line:
    """Show what was asked for, and why there are no numbers."""
    seed = "" if run.seed is None else f"seed={run.seed}"
    which = ", ".join(filter(None, (seed, run.settings)))
    why = run.error.splitlines()[0] if run.error else ""
    said = [
        Cell(run.method),
        Cell(": ".join(filter(None, (which, why)))),
        Cell(run.state, mark="missing"),
    ]
    return Line("missing", [*said, *(Cell("") for _ in range(width - len(said)))])


def _method() -> list[Column]:
    return [
        Column("method", "method", "How the user reaches the model", _named, numeric=False),
        Column("method", "settings", "What tells this row from the others", _settings, False),
    ]


def _named(row: Row) -> Cell:
    return Cell(row.method)


def _settings(row: Row) -> Cell:
    return Cell(row.settings)


def _accuracy(table: Table) -> list[Column]:
    """The primary metric first, its difference to the baseline next to it, then the others."""
    primary = table.setting.primary
    others = dict.fromkeys(name for row in table.rows for name in row.metrics if name != primary)
    short = table.baseline in {row.method for row in table.rows}
    baseline = table.baseline if short else "baseline"
    scorers = scorers_of(table)
    scorer = Column("quality", "scorer", "How answers are scored", _scorer, numeric=False)
    return [
        _metric_column(primary),
        Column("quality", "over seeds", f"{primary}: ± 95 % t interval over training seeds", _over),
        Column("quality", f"Δ {baseline}", f"Paired difference of {primary}, same users", _delta),
        Column("quality", f"× {baseline}", f"Paired ratio of {primary}, same users", _ratio),
        Column("quality", "p", _P_HELP, _p),
        *([scorer] if len(scorers) > 1 else []),
        Column("quality", "n", "Users", lambda row: _number(row.score.n, units.count)),
        Column("quality", "seeds", "Runs averaged, user by user", _seeds),
        *(_metric_column(name, "other metrics") for name in others),
    ]


def _metric_column(name: str, group: Group = "quality") -> Column:
    def cell(row: Row) -> Cell:
        value = row.metrics.get(name)
        if value is None:
            return Cell()
        detail = interval_text(value)
        return Cell(units.score(value.mean), detail, value.mean, row.marks.get(name, ""))

    better = "lower is better" if lower_is_better(name) else "higher is better"
    return Column(group, name, f"Mean over users and 95 % interval; {better}", cell)


def _delta(row: Row) -> Cell:
    if row.delta is None:
        return Cell()
    detail = interval_text(row.delta, units.signed)
    return Cell(units.signed(row.delta.mean), detail, row.delta.mean)


def _ratio(row: Row) -> Cell:
    if row.ratio is None:
        return Cell()
    return Cell(f"{row.ratio.mean:.2f}", interval_text(row.ratio, "{:.2f}".format), row.ratio.mean)


def _over(row: Row) -> Cell:
    """Show half the width of the interval over seeds; the bounds stand in the CSV."""
    found = row.over_seeds(row.primary)
    half = None if found is None else found.high - found.mean
    return _number(half, lambda half: f"± {units.score(half)}")


def _p(row: Row) -> Cell:
    if row.test is None or row.test.adjusted is None:
        return Cell()
    return Cell(units.chance(row.test.adjusted), order=row.test.adjusted)


def _scorer(row: Row) -> Cell:
    return Cell(row.scorer or "")


def _seeds(row: Row) -> Cell:
    return Cell() if row.kind == "reference" else _number(len(row.seeds), units.count)


def _reading(table: Table) -> list[Column]:
    """What one answer costs once everything is trained."""
    measured = Column("reading one user", "measured on", "For latency", _machine, numeric=False)
    return [
        _cost("prompt tokens", "Mean tokens the language model reads per user", units.count),
        _fewer(table, "tokens", "the paper's FLOPs reduction is this ratio", "prompt_tokens"),
        _cost("user vectors", "Vectors handed to the language model per user", units.count),
        _cost("FLOPs / user", "Closed form; a multiply-add is two", units.flops, "flops_per_user"),
        _fewer(table, "FLOPs", "encoder and answers included", "flops_per_user"),
        _cost("latency p50", "Median, one user at a time", units.milliseconds, "latency_ms", "p50"),
        _cost("p95", "95th percentile of the latency", units.milliseconds, "latency_ms", "p95"),
        *([measured] if len(machines_of(table.rows)) > 1 else []),
    ]


def _fewer(table: Table, what: str, text: str, key: str) -> Column:
    """Say how many times less a row needs than the table's dearest one (Source: Table 4)."""
    most = max((row.cost_of(key) or 0.0 for row in table.models), default=0.0)

    def cell(row: Row) -> Cell:
        own = row.cost_of(key)
        # One row alone, or rows alike, have nothing to say.
        return _number(most / own if own and most > _ALIKE * own else None, units.times)

    return Column("reading one user", f"fewer {what}", f"Dearest row over this one; {text}", cell)


def _learning() -> list[Column]:
    """What it took to get there; the encoder's pretraining is charged on its own."""
    flops, seconds = "training_flops", "training_seconds"
    return [
        _learn("trainable", "Weights that learn", units.parameters, "trainable_parameters"),
        _learn("all weights", "Weights in total", units.parameters, "total_parameters"),
        _learn("examples", "Training examples seen", units.count, "training_examples"),
        _learn("steps", "Optimiser steps", units.count, "training_steps"),
        _learn("seconds", "Training time, wall clock", units.duration, seconds),
        _learn(
            "peak memory", "Of the run: resident, or a GPU's", units.memory, "peak_memory_bytes"
        ),
        _learn("FLOPs", "Training, forward and backward", units.flops, flops),
        _learn("pretraining FLOPs", "Spent on the encoder", units.flops, "pretraining_flops"),
        _learn("pretraining time", "Spent on the encoder", units.duration, "pretraining_seconds"),
        _kept("perplexity", "perplexity ×", "Of plain prose, after over before", units.digits),
        _kept("accuracy", "knowledge Δ", "Accuracy on general questions, after − before"),
    ]


def _cost(title: str, text: str, write: Callable[[float], str], *path: str) -> Column:
    keys = path or (title.replace(" ", "_"),)
    return Column("reading one user", title, text, lambda row: _number(row.cost_of(*keys), write))


def _learn(title: str, text: str, write: Callable[[float], str], key: str) -> Column:
    return Column("learning", title, text, lambda row: _number(row.cost_of(key), write))


def _kept(name: str, title: str, text: str, write: Callable[[float], str] = units.signed) -> Column:
    """Say what tuning left of the language model, where that was measured."""

    def cell(row: Row) -> Cell:
        if not (change := (extra(row, "retention") or {}).get(name, {}).get("change")):
            return Cell()
        seeds = [told[name]["change"]["mean"] for told in reported(row, "retention")]
        least, most = write(min(seeds)), write(max(seeds))
        bounds = f"[{write(change['low'])}, {write(change['high'])}]"
        span = f", seeds {least} to {most}" * (least != most)
        return Cell(write(change["mean"]), bounds + span, change["mean"])

    return Column("learning", title, f"{text}; the bare language model, no user", cell)


def _number(value: float | None, write: Callable[[float], str]) -> Cell:
    return Cell() if value is None else Cell(write(value), order=float(value))


def _machine(row: Row) -> Cell:
    return Cell(machine(row) or units.EMPTY)
