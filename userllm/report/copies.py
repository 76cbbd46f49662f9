"""Results of one cell and seed that are there more than once, of two folders or machines.

Equal ones count once. Those that disagree are refused, since a table could show only one of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isclose, isnan
from pathlib import Path
from typing import Any

from userllm.errors import UserError
from userllm.report.results import FACT_COLUMNS, Result

Told = tuple[Result, Mapping[str, Any]]
"""A run, and one of its outcomes."""

DIGITS = 1e-9
"""Relative difference that another machine's rounding may make."""
MOST_COSTS = 3
"""Costs that are named; more would bury the message."""


def doubles(cell: Sequence[Told]) -> Iterator[tuple[Told, Told]]:
    """Yield the first result of each seed with every other one of the same seed."""
    first: dict[int | None, Told] = {}
    for told in cell:
        kept = first.setdefault(told[0].run["seed"], told)
        if kept is not told:
            yield kept, told


def refuse_disagreement(cells: Iterable[Sequence[Told]]) -> None:
    """Let copies be equal.

    Args:
        cells: The results of each cell, of all seeds.

    Raises:
        UserError: Some are not: names every pair of folders and what differs.
    """
    found: dict[tuple[Path, Path], list[str]] = {}
    for cell in cells:
        for first, again in doubles(cell):
            if said := "; ".join(_disagreements(first, again)):
                (one, outcome), (other, _) = first, again
                what = f"{outcome['method']} on {outcome['task']}, seed {one.run['seed']}: {said}"
                found.setdefault((one.folder, other.folder), []).append(what)
    if found:
        pairs = "\n".join(
            "\n    ".join((f"  {one}\n  {other}", *said)) for (one, other), said in found.items()
        )
        raise UserError(
            f"{len(found)} of the compared results are the same cell and seed as another one and "
            f"disagree with it, expected equal copies:\n{pairs}\n"
            "Leave one of the two out of runs=[…], or remove its folder."
        )


def other_costs(cell: Sequence[Told]) -> tuple[str, ...]:
    """Return what copies with equal answers say differently about the cost, a sentence each."""
    said = []
    for (one, outcome), (other, again) in doubles(cell):
        costs = [dict(_leaves(told.get("cost"))) for told in (outcome, again)]
        differing = [key for key in costs[0] if not _same(costs[0][key], costs[1].get(key))]
        if differing:
            values = ", ".join(
                f"{key} {costs[0][key]} and {costs[1].get(key)}" for key in differing[:MOST_COSTS]
            )
            rest = len(differing) - MOST_COSTS
            more = f" and {rest} more" if rest > 0 else ""
            said.append(
                f"{one.folder.name} and {other.folder.name} are one run with equal answers and "
                f"different costs; the first one's are shown ({values}{more})."
            )
    return tuple(said)


def _disagreements(first: Told, again: Told) -> Iterator[str]:
    """Yield which figures differ, and for how many users the answers do."""
    metrics, others = (outcome["metrics"] for _, outcome in (first, again))
    for name in dict.fromkeys([*metrics, *others]):
        if name not in metrics or name not in others:
            yield f"{name} is in {'the second' if name in others else 'the first'} only"
            continue
        keys = [
            key
            for key in dict.fromkeys([*metrics[name], *others[name]])
            if not _same(metrics[name].get(key), others[name].get(key))
        ]
        # The mean says it all where it differs.
        for key in ["mean"] if "mean" in keys else keys:
            what = name if key == "mean" else f"{name} {key}"
            yield f"{what} {metrics[name].get(key)} and {others[name].get(key)}"
    different, asked = _other_answers(first, again)
    if different:
        yield f"other values of {different} of {asked} users"


def _other_answers(first: Told, again: Told) -> tuple[int, int]:
    """Return how many users have other values in two results, and how many there are."""
    frames = [result.users_of(outcome) for result, outcome in (first, again)]
    names = [n for n in frames[0].columns if n not in FACT_COLUMNS and n in frames[1].columns]
    rows = [{user: values for user, *values in frame.select(names).iter_rows()} for frame in frames]
    users = rows[0].keys() | rows[1].keys()
    return sum(not _same(rows[0].get(user), rows[1].get(user)) for user in users), len(users)


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal but for rounding."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return isclose(one, other, rel_tol=DIGITS) or (isnan(one) and isnan(other))
    return bool(one == other)


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a tree, keys joined by dots."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else key)
    elif node is not None:
        yield prefix, node
