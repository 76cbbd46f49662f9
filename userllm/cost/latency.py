"""How long users wait: wall time after warm-up, several methods in turn."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch

from userllm.cost.neighbours import Neighbours

Ask = Callable[[int], Any]
"""Does number i of what is timed, completely."""


@dataclass(frozen=True)
class Timed:
    """What is timed, and what has to be done each time before the clock runs.

    Attributes:
        ready: What has to be done.
        ask: What is timed. With parts it returns the seconds that each took, by :func:`now`.
        parts: Names of parts of it that it times itself.
    """

    ready: Ask
    ask: Ask
    parts: tuple[str, ...] = ()


class Latency:
    """Times whatever it is given, in turns.

    Args:
        repeats: Timed repeats, each with another user.
        warmup: Repeats before the clock counts.
    """

    def __init__(self, *, repeats: int, warmup: int) -> None:
        if repeats < 1:
            raise ValueError(f"repeats ({repeats}) must be at least 1")
        self.repeats, self.warmup = repeats, warmup

    def measure(self, ask: Ask, device: torch.device) -> dict[str, Any]:
        """Return what :meth:`interleave` does of one thing."""
        return self.interleave({"": Timed(ready=lambda _: None, ask=ask)}, device)[""]

    def interleave(
        self, asks: Mapping[str, Timed], device: torch.device, *, seconds: float = inf
    ) -> dict[str, dict[str, Any]]:
        """Return p50 and p95 in milliseconds of each, with what a reader needs to judge them.

        Parts are among the names that it returns.

        One after the other does its first repeat, then all do their second: what slows the
        machine down for a minute slows all of them.

        Args:
            asks: Name to what is timed.
            device: Where the model is; a GPU is synchronized before each reading of the clock.
            seconds: Who took so long in all is not asked again. When that was in the warm-up, its
                last call is what counts.
        """
        watch = Neighbours()
        taken: dict[str, list[float]] = {
            each: [] for name, timed in asks.items() for each in (name, *timed.parts)
        }
        for number in range(self.warmup + self.repeats):
            for name, timed in asks.items():
                if sum(taken[name]) < 1000.0 * seconds:
                    times = self._time(timed, number, device)
                    for each, milliseconds in zip((name, *timed.parts), times, strict=True):
                        taken[each].append(milliseconds)
        machine = {
            "threads": torch.get_num_threads(),
            "device": str(device),
            **watch.report(),
        }
        return {name: self._summary(times) | machine for name, times in taken.items()}

    def _summary(self, times: list[float]) -> dict[str, Any]:
        warm = min(self.warmup, len(times) - 1)
        counted = times[warm:]
        return {
            "p50": float(np.percentile(counted, 50)),
            "p95": float(np.percentile(counted, 95)),
            "repeats": len(counted),
            "warmup": warm,
        }

    @staticmethod
    def _time(timed: Timed, number: int, device: torch.device) -> list[float]:
        """Return the milliseconds of all, and of each part."""
        timed.ready(number)
        start = now(device)
        parts = timed.ask(number)
        whole = now(device) - start
        return [1000.0 * seconds for seconds in (whole, *(parts if timed.parts else ()))]


def now(device: torch.device) -> float:
    """Return the clock's reading in seconds, once the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
