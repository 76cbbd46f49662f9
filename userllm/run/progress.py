"""How far runs are, read off their files: state, steps, time, the number they are judged by.

Clocks of machines may be set back while a run is under way, so times that a run took come from
its own stopwatch, and no time is ever below zero.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from userllm.run.folder import read_result, read_status, write_text
from userllm.run.lock import held_since, seconds_since
from userllm.run.planned import state_of

PLAN = "progress.json"
"""File of a run that says how many steps it will take."""
TAIL = 4096
"""Bytes at the end of metrics.csv that surely hold a whole line."""


@dataclass(frozen=True)
class Progress:
    """One run.

    Attributes:
        label: What is special about it.
        state: One of ``userllm.run.planned.STATES``.
        step: Optimiser steps that metrics.csv tells of.
        steps: Steps it will take; None where it does not train, or where its budget is in FLOPs and
            it has not worked out yet how many steps that pays for.
        seconds: What it took, or takes so far.
        scores: Task and metric to the mean that tables show.
        error: Why it failed.
    """

    folder: Path
    label: str
    state: str
    step: int = 0
    steps: int | None = None
    seconds: float = 0.0
    scores: tuple[tuple[str, float], ...] = ()
    error: str = ""


def read_progress(folder: Path, label: str) -> Progress:
    """Return how far a run is."""
    state, status = state_of(folder), read_status(folder)
    before = _took(status)
    if state == "finished":
        return Progress(folder, label, state, seconds=before, scores=_scores(folder))
    if state == "new":
        return Progress(folder, label, state)
    step, steps = _last_step(folder / "metrics.csv"), _steps(folder)
    error = str(status.get("error") or "") if state == "failed" else ""
    now = (seconds_since(held_since(folder)) or 0.0) if state == "running" else 0.0
    return Progress(folder, label, state, step, steps, before + now, error=error)


def record_steps(folder: Path, steps: int) -> None:
    """Note how many steps a run will take, which its config may say in FLOPs only."""
    write_text(folder / PLAN, json.dumps({"steps": steps}) + "\n")


def seconds_left(runs: Sequence[Progress]) -> float | None:
    """Return how long the rest takes with as many runs at a time as there are now.

    A run takes what finished ones took on average; until one is finished, what those under way will
    have taken when they are trained. None where nothing tells it.
    """
    times = [run.seconds for run in runs if run.state == "finished" and run.seconds > 0]
    times = times or [
        run.seconds * run.steps / run.step
        for run in runs
        if run.state == "running" and run.step and run.steps
    ]
    if not times:
        return None
    mean = sum(times) / len(times)
    rest = [_rest(run, mean) for run in runs if run.state != "finished"]
    at_once = max(1, sum(run.state == "running" for run in runs))
    return max([sum(rest) / at_once, *(_rest(r, mean) for r in runs if r.state == "running")])


def _took(status: Mapping[str, Any]) -> float:
    """Return the seconds of a run's attempts so far; runs of older versions name only times."""
    if status.get("seconds"):
        return float(status["seconds"])
    try:
        ended, started = (datetime.fromisoformat(status[key]) for key in ("ended", "started"))
    except (KeyError, TypeError, ValueError):
        return 0.0
    return max(0.0, (ended - started).total_seconds())


def _rest(run: Progress, mean: float) -> float:
    return max(0.0, mean - run.seconds) if run.state == "running" else mean


def _last_step(file: Path) -> int:
    """Return the last step that a metrics.csv tells of, 0 where there is none."""
    try:
        with file.open("rb") as handle:
            handle.seek(max(0, file.stat().st_size - TAIL))
            lines = handle.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return 0
    steps = [line.partition(",")[0] for line in lines]
    return next((int(step) for step in reversed(steps) if step.isdigit()), 0)


def _steps(folder: Path) -> int | None:
    """Return the steps that a run noted or that its config asks for, None where it names FLOPs."""
    try:
        return int(json.loads((folder / PLAN).read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it has not come so far, or is of an older version
    try:
        config = OmegaConf.load(folder / "config.yaml")
        flops, steps = (OmegaConf.select(config, f"training.{key}") for key in ("flops", "steps"))
    except Exception:  # half a file fails in many ways
        return None
    return steps if flops is None and isinstance(steps, int) else None


def _scores(folder: Path) -> tuple[tuple[str, float], ...]:
    """Return what a result says of the model itself, on each task's primary metric."""
    try:
        outcomes = read_result(folder)["outcomes"]
        scores = [_score(outcome) for outcome in outcomes if outcome["kind"] == "model"]
        # An encoder is ranked twice; the first way is the one that tables show.
        return tuple(dict(reversed(scores)).items())[::-1]
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _score(outcome: dict[str, Any]) -> tuple[str, float]:
    primary = outcome["primary"]
    return f"{outcome['task']} {primary}", float(outcome["metrics"][primary]["mean"])
