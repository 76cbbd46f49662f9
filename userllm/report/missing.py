"""Cells of a study that have no result: which were never started, and where they belong.

A sweep is a product of choices (method x task x seed). Every run says what was typed for it, so
the product can be told from the runs that are there. What it lacks is missing, unless a run of
another study is the same cell in other words.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from userllm.report.results import Result, Unfinished, parts
from userllm.report.rows import Row
from userllm.report.settings import LABELS, question

NEVER_STARTED = "not run"
LEAST_FILLED = 0.5
"""Share of a product that must be there: less is a list of single choices, not a grid. Whatever
a sweep did before it was stopped fills at least half of what it has touched."""

_METHOD_KEYS = ("method", "context")
_NAMED = (*_METHOD_KEYS, "data", "task", "seed")


@dataclass(frozen=True)
class _Cell:
    """A run as it was typed."""

    item: Result | Unfinished
    typed: Mapping[str, str]

    @property
    def sweep(self) -> tuple[str, str, frozenset[str]]:
        """What cells of one sweep share: stage, study, and which keys were typed."""
        verb, group = _labels(self.item)
        return verb, group or "", frozenset(self.typed)

    def value(self, key: str) -> str | None:
        """Return a key's value as it would be typed: as it was, or as choices and config say."""
        if key in self.typed:
            return self.typed[key]
        if isinstance(self.item, Unfinished):
            return self.item.parts.get(key)
        if key in self.item.run["choices"]:
            return str(self.item.run["choices"][key])
        node: Any = self.item.run["config"]
        for word in key.split("."):
            node = node.get(word) if isinstance(node, Mapping) else None
        return node if isinstance(node, str) else json.dumps(node)


def never_started(
    loaded: Sequence[Result | Unfinished], groups: Collection[str] = ()
) -> list[Unfinished]:
    """Return the cells of each sweep's grid that no run stands for, in the grid's order.

    Args:
        loaded: All runs that are compared.
        groups: Names of the studies that are compared. A study may hold runs that were first made
            for another one, whose own grid is not asked for; empty takes all grids.
    """
    cells = [_Cell(item, _typed(item)) for item in loaded]
    verbs = {cell.sweep[0] for cell in cells}
    # Where there is a later stage, encoders were pretrained as it needed them.
    swept = [cell for cell in cells if len(verbs) == 1 or cell.sweep[0] != "pretrain"]
    known = {cell.sweep[1] for cell in swept} & set(groups)
    sweeps: dict[Any, list[_Cell]] = {}
    for cell in swept:
        if not known or cell.sweep[1] in known:
            sweeps.setdefault(cell.sweep, []).append(cell)
    return [lost for own in sweeps.values() for lost in _holes(own, swept)]


def belongs(run: Unfinished, rows: Iterable[Row]) -> bool:
    """Tell whether a run without a result would have given a row of these."""
    others = [result.run for row in rows for result in row.runs]
    return (run.verb, run.question, *subject(run.parts)) in {
        (other["verb"], question(other["config"]), *subject(parts(other["config"])))
        for other in others
    }


def subject(found: Mapping[str, str]) -> tuple[str, str]:
    """Return data and task of a run's parts."""
    return found.get("data", "unknown"), found.get("task", "unknown")


def _holes(cells: Sequence[_Cell], everywhere: Sequence[_Cell]) -> Iterable[Unfinished]:
    """Yield what is missing of the product of all values that occur."""
    values = {key: list(dict.fromkeys(cell.typed[key] for cell in cells)) for key in cells[0].typed}
    varying = {
        key: found
        for key, found in values.items()
        if len(found) > 1 and not _belongs_to_the_method(key, cells)
    }
    there = {tuple(map(cell.value, varying)) for cell in everywhere}
    there &= set(product(*varying.values()))
    if len(there) < LEAST_FILLED * prod(map(len, varying.values())):
        return
    for choice in product(*varying.values()):
        if choice not in there:
            yield _hole(dict(zip(varying, choice, strict=True)), cells)


def _belongs_to_the_method(key: str, cells: Sequence[_Cell]) -> bool:
    """Tell whether methods differ in a key of which each has one value, as in its own rate."""
    method = next((name for name in _METHOD_KEYS if name in cells[0].typed), None)
    if method is None or key in (*_METHOD_KEYS, "seed"):
        return False
    chosen: dict[str, set[str]] = {}
    for cell in cells:
        chosen.setdefault(cell.typed[method], set()).add(cell.typed[key])
    return all(len(own) == 1 for own in chosen.values())


def _hole(choice: Mapping[str, str], cells: Sequence[_Cell]) -> Unfinished:
    """Describe a cell by the run that is most like it, another seed mattering least."""

    def likeness(cell: _Cell) -> int:
        return sum(
            1 if key == "seed" else len(choice)
            for key, value in choice.items()
            if cell.typed[key] == value
        )

    near = max(cells, key=likeness)
    differs = {key: value for key, value in choice.items() if near.typed[key] != value}
    other = _unfinished(near.item)
    name = next((differs[key] for key in _METHOD_KEYS if key in differs), other.method)
    typed = {**near.typed, **choice}
    return replace(
        other,
        folder=other.folder.parent / " ".join(f"{key}={value}" for key, value in choice.items()),
        state=NEVER_STARTED,
        error=None,
        parts={**other.parts, **differs},
        seed=int(typed["seed"]) if typed.get("seed", "").isdecimal() else other.seed,
        overrides=tuple(f"{key}={value}" for key, value in typed.items()),
        name=name,
        settings=", ".join(f"{key}={value}" for key, value in choice.items() if key not in _NAMED),
    )


def _unfinished(item: Result | Unfinished) -> Unfinished:
    """Return what a finished run was before it finished."""
    if isinstance(item, Unfinished):
        return item
    verb, group = _labels(item)
    return Unfinished(
        folder=item.folder,
        verb=verb,
        state="finished",
        error=None,
        parts=parts(item.run["config"]),
        seed=item.run["seed"],
        group=group,
        question=question(item.run["config"]),
        name=next((o["method"] for o in item.outcomes if o["kind"] == "model"), None),
    )


def _labels(item: Result | Unfinished) -> tuple[str, str | None]:
    if isinstance(item, Unfinished):
        return item.verb, item.group
    return item.run["verb"], item.run.get("group")


def _typed(item: Result | Unfinished) -> dict[str, str]:
    """Return what was typed for a run, without labels and places."""
    texts = item.overrides if isinstance(item, Unfinished) else item.run["overrides"]
    pairs = (text.lstrip("+").split("=", 1) for text in texts if "=" in text)
    return {key: value for key, value in pairs if key.partition(".")[0] not in LABELS}
