"""What sets two rows of one table apart, in as few words as possible."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from userllm.schema import says_nothing

LABELS = ("name", "group", "paths", "logger", "threads", "pack_weights", "hydra")
"""Top-level keys that label a run or say where it goes, and change nothing in its outcome."""
NO_PART = ("cache", "profiler")
"""Where a copy is kept and what is watched is no part of what a run is, at any depth."""
_NOT_CELL = ("seed", *NO_PART)
# Groups a table's heading already says, or that only label the run.
# The task is said where one of the runs learned several, and its table is of one of them.
_SILENT_GROUPS = {*LABELS, "data", "split", "experiment", "study", "debug"}


def identity(run: Mapping[str, Any]) -> str:
    """Return one string that is equal for runs which differ in nothing but the seed.

    Every key called ``seed`` is left out, at any depth, because interpolations copy the run's
    seed into the parts that draw random numbers. So is the data's config: whether two runs had the
    same data is told by its hash, wherever it lay on their machines; and the verb and how often
    answers were timed, since a run that was measured again is the run that it was.
    """
    config = {
        key: value
        for key, value in run["config"].items()
        if key not in (*LABELS, "data", "cost") and not says_nothing(key, value)
    }
    return json.dumps(_without(_NOT_CELL, config), sort_keys=True, ensure_ascii=False)


def question(config: Mapping[str, Any]) -> str:
    """Return one string that is equal for runs whose questions stand in one table."""
    told = [config.get("task"), config.get("split"), config.get("metric")]
    asked = config.get("evaluation") or {}
    told += [asked.get("part"), asked.get("users")]
    return json.dumps(_without(_NOT_CELL, told), sort_keys=True)


def differing_settings(runs: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> list[str]:
    """Return, for each run of a table, the settings that tell it from the others.

    First the choices that differ, then those that only some of otherwise equal runs made, then,
    among runs of equal choices, the values that differ, which other runs of the method say, too,
    where they were typed.
    Values that only follow another one through an interpolation are said once.
    """
    choices = [_choices(run, method) for run, method in zip(runs, methods, strict=True)]
    varying = _varying(choices)
    said = [{key: row[key] for key in varying if key in row} for row in choices]
    for twins in _groups([{"method": m, **row} for m, row in zip(methods, said, strict=True)]):
        shared = set.intersection(*(set(choices[index]) for index in twins))
        for index in twins:
            said[index] |= {
                key: choices[index][key] for key in sorted(set(choices[index]) - shared)
            }
    for twins in _groups([{"method": m, **c} for m, c in zip(methods, choices, strict=True)]):
        values = [dict(leaves(runs[index]["config"])) for index in twins]
        typed = {key for index in twins for key in _typed(runs[index])}
        for key in _representatives(values, typed):
            for index, row in zip(twins, values, strict=True):
                said[index][key] = row.get(key, "unset")
    for alike in _groups([{"method": method} for method in methods]):
        named = dict.fromkeys(key for index in alike for key in said[index])
        for index in alike:
            own = dict(leaves(runs[index]["config"]))
            asked = set(_typed(runs[index]))
            said[index] |= {key: own[key] for key in named if key in own and key in asked}
    short = _shorten({key for row in said for key in row})
    return [", ".join(f"{short[key]}={value}" for key, value in row.items()) for row in said]


def _choices(run: Mapping[str, Any], method: str) -> dict[str, str]:
    """Return the choices worth saying; an option that is the method's own name is not.

    Nor is the context that a ``method=`` of this name stands for, nor how its verb trains.
    """
    silent = _SILENT_GROUPS | ({"context"} if run["choices"].get("method") == method else set())
    return {
        group: option
        for group, option in run["choices"].items()
        if group not in silent and option not in (method, run["verb"])
    }


def _varying(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys whose value is not the same in all rows that have one."""
    keys = sorted({key for row in rows for key in row})
    return [key for key in keys if len({row[key] for row in rows if key in row}) > 1]


def _groups(rows: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """Return the indices of rows that are equal, for every value that occurs."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(json.dumps(row, sort_keys=True), []).append(index)
    return list(groups.values())


def _representatives(leaves: Sequence[Mapping[str, str]], typed: set[str]) -> list[str]:
    """Return one key for each way in which the values differ: a typed one, else the shortest."""
    alike: dict[tuple[str | None, ...], list[str]] = {}
    for key in sorted({key for row in leaves for key in row}):
        values = tuple(row.get(key) for row in leaves)
        if len(set(values)) > 1:
            alike.setdefault(values, []).append(key)

    def rank(key: str) -> tuple[bool, int, int]:
        return key not in typed, key.count("."), len(key)

    return sorted(min(keys, key=rank) for keys in alike.values())


def leaves(node: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield (dotted key, value as text) for everything that can change a result."""
    if not isinstance(node, Mapping):
        yield prefix, node if isinstance(node, str) else _written(node)
        return
    for key, value in node.items():
        if key not in (*_NOT_CELL, "_target_") and (prefix or key not in LABELS):
            yield from leaves(value, f"{prefix}.{key}" if prefix else key)


def _written(value: Any) -> str:
    """Return a value as a person would type it: 1.6e+14, not a row of zeros."""
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return json.dumps(value, ensure_ascii=False)


def _typed(run: Mapping[str, Any]) -> list[str]:
    """Return the keys of the overrides, as they were typed."""
    return [override.partition("=")[0].lstrip("+~") for override in run["overrides"]]


def _without(keys: Collection[str], node: Any) -> Any:
    """Copy ``node`` without some keys, at any depth."""
    if isinstance(node, Mapping):
        return {key: _without(keys, value) for key, value in node.items() if key not in keys}
    return [_without(keys, value) for value in node] if isinstance(node, list) else node


def _shorten(keys: set[str]) -> dict[str, str]:
    """Keep the last word of a dotted key when no other key ends in it."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: end if last.count(end := key.rpartition(".")[2]) == 1 else key for key in keys}
