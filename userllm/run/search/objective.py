"""What a trial is worth: a number of the validation users, never of the test users."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from userllm.errors import UserError
from userllm.run.folder import read_result
from userllm.training.metrics_file import read_rows

PREFIX = "valid/"


def value_of(run: Path, metric: str, better: Callable[..., float]) -> float:
    """Return a finished run's value: what it scored on validation users, else its best validation.

    Args:
        run: Its folder.
        metric: Such as ``ndcg@10``; the mean over a run's tasks that have it.
        better: ``max`` or ``min``.

    Raises:
        UserError: Nothing of that name was measured on validation users.
    """
    result = read_result(run)
    models = [outcome for outcome in result["outcomes"] if outcome["kind"] == "model"]
    asked = [outcome["metrics"] for outcome in models if outcome["part"] == "valid"]
    values = [float(metrics[metric]["mean"]) for metrics in asked if metric in metrics]
    known = {name for metrics in asked for name in metrics}
    if not values and (points := curve(run, metric)):
        values = [better(points.values())]
    if not values:
        known |= {name.removeprefix(PREFIX) for name in _names(run) if name.startswith(PREFIX)}
        raise UserError(
            f"{metric!r} was not measured on validation users in {run.name}; "
            f"hydra.sweeper.metric can be one of: {', '.join(sorted(known)) or 'none'}"
        )
    return float(np.mean(values))


def curve(run: Path, metric: str) -> dict[int, float]:
    """Return step to finite value of a metric on validation users; empty without validation."""
    wanted = f"{PREFIX}{metric}"
    points = {
        int(step): float(value)
        for step, name, value in read_rows(run / "metrics.csv")
        if name == wanted
    }
    return {step: value for step, value in points.items() if math.isfinite(value)}


def _names(run: Path) -> set[str]:
    return {name for _, name, _ in read_rows(run / "metrics.csv")}
