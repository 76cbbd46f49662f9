"""Runs to tables: what may stand in one table, in which order, against which baseline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import polars.selectors as cs

from userllm.errors import UserError
from userllm.report.results import Result, Unfinished, parts
from userllm.report.rows import Row, lower_is_better, merge_seeds, paired
from userllm.report.settings import differing_settings, identity

DEFAULT_BASELINE = "none"


class Setting(NamedTuple):
    """What all rows of a table share; results that differ here are never in one table."""

    data: str
    task: str
    part: str
    protocol: str
    primary: str


@dataclass(frozen=True)
class Table:
    """One comparison: models best first, reference floors, and runs without a result."""

    setting: Setting
    models: list[Row]
    references: list[Row]
    missing: list[Unfinished]

    @property
    def rows(self) -> list[Row]:
        """Models, then references."""
        return [*self.models, *self.references]


def build_tables(loaded: Sequence[Result | Unfinished], baseline: str | None = None) -> list[Table]:
    """Merge seeds, separate what is not comparable, compare the rest with the baseline.

    Args:
        loaded: What `userllm.report.results.load` returned, in any order.
        baseline: Method to compare with; None takes ``none`` where it is present.

    Raises:
        UserError: Nothing has finished, one data name stands for two data sets, or no table has
            the named baseline.
    """
    results = [item for item in loaded if isinstance(item, Result)]
    missing = [item for item in loaded if isinstance(item, Unfinished)]
    if not results:
        states = "\n".join(f"  {run.folder}: {run.state} {run.error or ''}" for run in missing)
        raise UserError(f"None of the {len(missing)} runs has a result yet:\n{states}")
    _refuse_mixed_data(results)
    tables = [
        _table(setting, rows, missing, baseline or DEFAULT_BASELINE)
        for setting, rows in sorted(_merge(results).items())
    ]
    methods = sorted({row.method for table in tables for row in table.rows})
    if baseline and baseline not in methods:
        raise UserError(f"baseline={baseline}: no run has this method. Choose from: {methods}")
    return [*tables, *_tables_without_results(tables, missing)]


def _refuse_mixed_data(results: Iterable[Result]) -> None:
    """One data name must mean one data set, or rows would answer different questions."""
    seen: dict[str, Result] = {}
    for result in results:
        name = result.environment["data_name"]
        first = seen.setdefault(name, result)
        one, other = (item.environment["data_fingerprint"] for item in (first, result))
        if one != other:
            raise UserError(
                f"These runs call different data {name!r}, so they cannot be compared:\n"
                f"  {one}  {first.folder}\n  {other}  {result.folder}\n"
                "Compare them separately, or run one of them again on the other's data."
            )


def _merge(results: Sequence[Result]) -> dict[Setting, list[Row]]:
    """Group outcomes that differ in the seed only and average each group."""
    groups: dict[Setting, dict[tuple[str, ...], list[tuple[Result, Mapping[str, Any]]]]] = {}
    for result in sorted(results, key=lambda item: (item.run["seed"] or 0, item.folder.name)):
        same = identity(result.run)
        for outcome in result.outcomes:
            setting = Setting(
                result.environment["data_name"],
                *(outcome[key] for key in ("task", "part", "protocol", "primary")),
            )
            cell = (outcome["kind"], outcome["method"], outcome["scorer"] or "", same)
            groups.setdefault(setting, {}).setdefault(cell, []).append((result, outcome))
    return {
        setting: [merge_seeds(cells[cell]) for cell in sorted(cells)]
        for setting, cells in groups.items()
    }


def _table(
    setting: Setting, rows: Sequence[Row], missing: Sequence[Unfinished], baseline: str
) -> Table:
    """Name, compare, mark and sort the rows of one table."""
    sign = 1 if lower_is_better(setting.primary) else -1
    models = _named([row for row in rows if row.kind == "model"])
    references = _named_by_method(_once(row for row in rows if row.kind == "reference"))
    against = [row for row in (*models, *references) if row.method == baseline]
    models, references = (
        sorted(
            (_compared(row, against) for row in group),
            key=lambda row: (sign * row.score.mean, row.label),
        )
        for group in (models, references)
    )
    here = [run for run in missing if _belongs(run, rows)]
    return Table(setting, _marked(models), references, here)


def _once(references: Iterable[Row]) -> list[Row]:
    """Keep one of the references that every run of a task repeats.

    They are compared by content: a floor that depends on, say, the visible history stays.
    """
    kept: dict[tuple[str, str], Row] = {}
    for row in references:
        content = row.users.with_columns(cs.float().round(9)).write_csv()
        kept.setdefault((row.method, content), row)
    return list(kept.values())


def _named(rows: Sequence[Row]) -> list[Row]:
    """Give every row the settings that tell it from the others, and a label of its own."""
    methods = [row.method for row in rows]
    settings = differing_settings([row.runs[0].run for row in rows], methods)
    labels = [
        row.method if methods.count(row.method) == 1 else f"{row.method} ({text or row.scorer})"
        for row, text in zip(rows, settings, strict=True)
    ]
    unique = [
        label if labels.count(label) == 1 else f"{label} #{labels[: index + 1].count(label)}"
        for index, label in enumerate(labels)
    ]
    return [
        replace(row, settings=text, label=label)
        for row, text, label in zip(rows, settings, unique, strict=True)
    ]


def _named_by_method(rows: Sequence[Row]) -> list[Row]:
    """Name references, which differ from each other only where one method stands twice."""
    methods = dict.fromkeys(row.method for row in rows)
    return [
        named
        for method in methods
        for named in _named([row for row in rows if row.method == method])
    ]


def _compared(row: Row, baselines: Sequence[Row]) -> Row:
    """Add the paired difference to the baseline that shares the most choices with ``row``."""
    if not baselines or row in baselines:
        return row
    own = row.runs[0].run["choices"].items()
    nearest = max(baselines, key=lambda other: len(own & other.runs[0].run["choices"].items()))
    return replace(row, baseline=nearest.label, delta=paired(row, nearest, row.primary))


def _marked(models: Sequence[Row]) -> list[Row]:
    """Mark the best model of each metric, and who cannot be told from it on the primary one.

    Where all models are equal none is marked.
    """
    marks: dict[Row, dict[str, str]] = {row: {} for row in models}
    for metric in {name: None for row in models for name in row.metrics}:
        having = [row for row in models if metric in row.metrics]
        means = {row: row.metrics[metric].mean for row in having}
        best = min(means.values()) if lower_is_better(metric) else max(means.values())
        if len(set(means.values())) > 1:
            marks |= {row: {**marks[row], metric: "best"} for row in having if means[row] == best}
    leaders = [row for row in models if row.primary in marks[row]]
    for row in models if leaders else []:
        gap = paired(row, leaders[0], row.primary)
        if gap and gap.low <= 0 <= gap.high:
            marks[row].setdefault(row.primary, "close")
    return [replace(row, marks=marks[row]) for row in models]


def _belongs(run: Unfinished, rows: Iterable[Row]) -> bool:
    """Tell whether a run without a result would have given a row of this table."""
    others = [result.run for row in rows for result in row.runs]
    return (run.verb, *_subject(run.parts)) in {
        (other["verb"], *_subject(parts(other["config"]))) for other in others
    }


def _subject(found: Mapping[str, str]) -> tuple[str, str]:
    return found.get("data", "unknown"), found.get("task", "unknown")


def _tables_without_results(tables: Sequence[Table], missing: Sequence[Unfinished]) -> list[Table]:
    """Make an empty table for what was asked for and has not finished anywhere."""
    shown = {id(run) for table in tables for run in table.missing}
    waiting: dict[Setting, list[Unfinished]] = {}
    for run in missing:
        if id(run) not in shown:
            setting = Setting(*_subject(run.parts), "none", "no run has finished yet", "result")
            waiting.setdefault(setting, []).append(run)
    return [Table(setting, [], [], runs) for setting, runs in sorted(waiting.items())]
