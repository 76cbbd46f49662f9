"""The page that a profile is read as: time by part, then the dearest operators."""

import operator
from collections.abc import Mapping
from typing import Any

SHOWN = 20
"""Operators in the table."""


def page(steps: int, seconds: Mapping[str, float], operators: Any, traced: int, trace: str) -> str:
    """Return the page as Markdown.

    Args:
        steps: Steps that were timed.
        seconds: Part to the seconds of these steps; each moment counts once.
        operators: Averages of PyTorch's profiler.
        traced: Steps that they are of.
        trace: Name of the file with every call.
    """
    return "\n".join(
        [
            "# Where the time of training goes",
            "",
            f"{steps} steps after warm-up, {1000 * sum(seconds.values()) / steps:.2f} ms each. "
            "Every moment is counted once, for the innermost part; what a softmax in chunks does "
            "of the backward pass counts as its own.",
            "",
            *_parts(steps, seconds),
            "",
            f"## Operators of {traced} more steps",
            "",
            f"Recording slows steps down. `{trace}` has every call: open it in chrome://tracing or "
            "at ui.perfetto.dev.",
            "",
            *_operators(traced, operators),
            "",
        ]
    )


def _parts(steps: int, seconds: Mapping[str, float]) -> list[str]:
    total = sum(seconds.values())
    ordered = sorted(seconds.items(), key=operator.itemgetter(1), reverse=True)
    rows = [
        f"| {name or 'between steps'} | {1000 * spent / steps:.3f} | {spent / total:.1%} |"
        for name, spent in ordered
    ]
    whole = f"| **all** | {1000 * total / steps:.3f} | 100.0% |"
    return ["| part | ms a step | share |", "|---|--:|--:|", *rows, whole]


def _operators(traced: int, averages: Any) -> list[str]:
    # On a GPU the processor only waits for it, so there its own time is what counts.
    on_gpu = any(one.self_device_time_total for one in averages)
    field = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    ordered = sorted(averages, key=operator.attrgetter(field), reverse=True)[:SHOWN]
    total = sum(getattr(one, field) for one in averages) or 1.0
    rows = [
        f"| `{one.key}` | {one.count / traced:.1f} | {getattr(one, field) / 1000 / traced:.3f} "
        f"| {getattr(one, field) / total:.1%} |"
        for one in ordered
    ]
    where = "GPU" if on_gpu else "CPU"
    return [
        f"| operator | calls a step | own {where} ms a step | share |",
        "|---|--:|--:|--:|",
        *rows,
    ]
