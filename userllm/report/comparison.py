"""Runs to tables: what may stand in one table, in which order, against which baseline."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import polars.selectors as cs

from userllm.errors import UserError
from userllm.report import units
from userllm.report.copies import Told, refuse_disagreement
from userllm.report.missing import belongs, never_started, subject
from userllm.report.results import Result, Unfinished, lm_origin
from userllm.report.rows import Averaged, Row, average, lower_is_better, row_of
from userllm.report.settings import differing_settings, identity
from userllm.report.verdicts import compared_with, marked

AGAIN = ("evaluate", "benchmark")
"""Verbs that write the result of another run again."""
UNPERSONALIZED = "none"
"""The context without a user, whatever the method that has it is called."""


class Setting(NamedTuple):
    """What all rows of a table share; results that differ here are never in one table."""

    data: str
    task: str
    part: str
    protocol: str
    primary: str


@dataclass(frozen=True, eq=False)
class Table:
    """One comparison: models best first, reference floors, and runs without a result.

    Attributes:
        apart: What sets this table's protocol apart from those of tables on the same question.
        own: Words of its protocol that not all of them share.
    """

    setting: Setting
    models: list[Row]
    references: list[Row]
    missing: list[Unfinished]
    apart: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """Models, then references."""
        return [*self.models, *self.references]

    @property
    def baseline(self) -> str:
        """Label of the row that others are compared with; empty where that is none or several."""
        labels = {row.baseline for row in self.rows if row.baseline}
        return labels.pop() if len(labels) == 1 else ""


def build_tables(
    loaded: Sequence[Result | Unfinished],
    baseline: str | None = None,
    studies: Collection[str] = (),
) -> list[Table]:
    """Merge seeds, separate what is not comparable, compare the rest with the baseline.

    Args:
        loaded: What `userllm.report.results.load` returned, in any order.
        baseline: Method to compare with, or the label of one of its rows; None takes the method
            without a user where there is one.
        studies: What is compared, by name: only the grids of these can lack cells.

    Raises:
        UserError: Nothing has finished, one data name stands for two data sets, two results of one
            cell disagree, or no table has the named baseline.
    """
    results = [item for item in loaded if isinstance(item, Result)]
    missing = [item for item in loaded if isinstance(item, Unfinished)]
    missing += never_started(loaded, studies)
    if not results:
        states = "\n".join(f"  {run.folder}: {run.state} {run.error or ''}" for run in missing)
        raise UserError(f"None of the {len(missing)} runs has a result yet:\n{states}")
    if not any(result.outcomes for result in results):
        raise UserError(
            f"None of the {len(results)} runs was scored, so there is nothing to compare; what "
            "userllm benchmark measured is in the tables that it prints and in its result.json."
        )
    _refuse_mixed(results)
    tables = [
        _table(setting, rows, missing, baseline)
        for setting, rows in sorted(_merge(results).items())
    ]
    names = sorted({n for table in tables for row in table.rows for n in (row.method, row.label)})
    if baseline and baseline not in names:
        bracketed = next((name for name in names if "(" in name), None)
        said = f"baseline={baseline}: no method or row has this name. Choose from: {names}."
        if bracketed:
            said += f" A name with brackets wants two pairs of quotes: 'baseline=\"{bracketed}\"'"
        raise UserError(said)
    return [*map(partial(_set_apart, tables), tables), *_waiting(tables, missing)]


def _refuse_mixed(results: Iterable[Result]) -> None:
    """One name must mean one data set and one language model, or rows cannot be held together."""
    seen: dict[tuple[str, str, str], tuple[str, Result]] = {}
    for result in results:
        told, lm = result.environment, json.dumps(result.run["config"].get("lm"))
        marks = {("data", told["data_name"], ""): told["data_fingerprint"]}
        if origin := lm_origin(told):
            marks["language models", told["lm_source"]["name"], lm] = origin
        for named, mark in marks.items():
            one, first = seen.setdefault(named, (mark, result))
            if one != mark:
                raise UserError(
                    f"These runs call different {named[0]} {named[1]!r}, so they cannot be "
                    f"compared:\n  {one}  {first.folder}\n  {mark}  {result.folder}\n"
                    "Compare them separately, or run one of them again with the other's."
                )


def _merge(results: Sequence[Result]) -> dict[Setting, list[Row]]:
    """Group outcomes that differ in the seed only and average each group.

    Raises:
        UserError: Two results of one cell and seed disagree.
    """
    groups: dict[Setting, dict[tuple[str, ...], list[Told]]] = {}
    for result in sorted(results, key=_order):
        same = identity(result.run)
        for outcome in result.outcomes:
            setting = Setting(
                result.environment["data_name"],
                *(outcome[key] for key in ("task", "part", "protocol", "primary")),
            )
            cell = (outcome["kind"], outcome["method"], outcome["scorer"] or "", same)
            groups.setdefault(setting, {}).setdefault(cell, []).append((result, outcome))
    refuse_disagreement(told for cells in groups.values() for told in cells.values())
    return {
        setting: [row_of(one) for one in _once(average(cells[cell]) for cell in sorted(cells))]
        for setting, cells in groups.items()
    }


def _order(result: Result) -> tuple[int, bool, str]:
    """Return where a result stands: of a run that was measured again, what it said itself first."""
    again = result.run["verb"] in AGAIN
    return result.run["seed"] or 0, again, result.folder.name


def _table(
    setting: Setting, rows: Sequence[Row], missing: Sequence[Unfinished], baseline: str | None
) -> Table:
    """Name, compare, mark and sort the rows of one table."""
    sign = 1 if lower_is_better(setting.primary) else -1
    models = _named([row for row in rows if row.kind == "model"])
    references = _named_by_method([row for row in rows if row.kind == "reference"])
    against = [row for row in (*models, *references) if _is_baseline(row, baseline)]
    compared = compared_with(against, [*models, *references])
    models, references = (
        sorted(
            (row for row in compared if row.kind == kind),
            key=lambda row: (sign * row.score.mean, row.label),
        )
        for kind in ("model", "reference")
    )
    here = [run for run in missing if belongs(run, rows)]
    return Table(setting, marked(models), references, here)


def _is_baseline(row: Row, baseline: str | None) -> bool:
    """Say whether a row is what the others are compared with."""
    if baseline is not None:
        return baseline in (row.method, row.label)
    return row.kind == "model" and row.runs[0].run["choices"].get("context") == UNPERSONALIZED


def _once(cells: Iterable[Averaged]) -> Iterator[Averaged]:
    """Yield the cells, and of the references that every run of a task repeats only the first.

    They are compared by content: a floor that depends on, say, the visible history stays. It is
    done before intervals are estimated, which takes longer than all else.
    """
    known: set[tuple[str, bytes]] = set()
    for cell in cells:
        if cell.outcomes[0]["kind"] == "reference":
            text = cell.users.with_columns(cs.float().round(9)).write_csv()
            content = (cell.outcomes[0]["method"], hashlib.sha256(text.encode()).digest())
            if content in known:
                continue
            known.add(content)
        yield cell


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


def _set_apart(tables: Sequence[Table], table: Table) -> Table:
    """Say how the protocol of a table differs from those of tables on the same data and task."""
    own = table.setting
    same = [other.setting for other in tables if other.setting[:2] == own[:2]]
    rivals = [setting for setting in same if setting != own]
    words = [text for text in _words(own) if any(text not in _words(one) for one in rivals)]
    said = tuple(_difference(own, rival) for rival in rivals)
    return replace(table, apart=said, own=tuple(words))


def _difference(own: Setting, rival: Setting) -> str:
    """Return what only one of two protocol lines says, this table's part first."""
    here, there = _words(own), _words(rival)
    only_here = ", ".join(text for text in here if text not in there)
    only_there = ", ".join(text for text in there if text not in here)
    return f"here {only_here or units.EMPTY}; there {only_there or units.EMPTY}"


def _words(setting: Setting) -> list[str]:
    """Return what a protocol line consists of."""
    # Cutoffs are a list in one of the words: k = 1, 5, 10.
    words = re.split(r", (?!\d)", setting.protocol)
    return [f"{setting.part} part", *words, f"judged by {setting.primary}"]


def _waiting(tables: Sequence[Table], missing: Sequence[Unfinished]) -> list[Table]:
    """Make an empty table for what was asked for and has not finished anywhere."""
    shown = {id(run) for table in tables for run in table.missing}
    waiting: dict[Setting, list[Unfinished]] = {}
    for run in missing:
        if id(run) not in shown:
            setting = Setting(*subject(run.parts), "none", "no run has finished yet", "result")
            waiting.setdefault(setting, []).append(run)
    return [Table(setting, [], [], runs) for setting, runs in sorted(waiting.items())]
