"""A run in the words of trackers: its id, study, method, tags and numbers."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from userllm.run.folder import RunFolder

TAGGED = ("data", "size", "task", "method", "context", "encoder", "lm")
"""Groups whose choices become tags."""


def run_id(folder: RunFolder) -> str:
    """Return the same id for the same folder, so that an interrupted run goes on as itself."""
    return hashlib.sha256(f"{folder.verb}/{folder.name}".encode()).hexdigest()[:16]


def study_of(folder: RunFolder) -> str | None:
    """Return the study that a run belongs to; a comparison of one study belongs to that."""
    words = folder.config.get("runs", ())
    if folder.verb == "compare" and len(words) == 1:
        return Path(str(words[0])).name
    return folder.config.get("group")


def method_name(choices: Mapping[str, str]) -> str | None:
    """Return what tables call a run: its method, else its context, else its encoder."""
    named = (choices.get(group) for group in ("method", "context", "encoder"))
    return next((name for name in named if name), None)


def tags(choices: Mapping[str, str]) -> list[str]:
    """Return one tag per choice that tells runs apart, such as ``task=next_item``."""
    return [f"{group}={choices[group]}" for group in TAGGED if choices.get(group)]


def settings(folder: RunFolder) -> dict[str, Any]:
    """Return a run's config without secrets, and what finds, groups and repeats the run."""
    return {
        **folder.redactor.tree(folder.config),
        "verb": folder.verb,
        "study": study_of(folder),
        "method": method_name(folder.choices),
        "choices": folder.choices,
        "folder": folder.name,
        "command": folder.command,
    }


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Return a flat name for every metric and cost in a result.json.

    A model's own are ``<task>/<metric>`` and ``<task>/cost/<name>``, equal for all methods so
    that one chart can hold them; those of references end in the method's name. Of several
    protocols the first counts; all are in the table of outcomes.
    """
    found: dict[str, float] = {}
    for outcome in result.get("outcomes", ()):
        task, is_model = outcome["task"], outcome.get("kind", "model") == "model"
        own = "" if is_model else f"/{outcome['method']}"
        values = {f"{task}/{n}{own}": m["mean"] for n, m in outcome["metrics"].items()}
        cost = (outcome.get("cost") or {}) if is_model else {}
        values |= dict(_flat(f"{task}/cost", cost))
        for name, value in values.items():
            if _is_number(value):
                found.setdefault(name, float(value))
    return found


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}/{name}", value)
        else:
            yield f"{prefix}/{name}", value


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
