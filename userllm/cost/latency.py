"""How long one user waits: wall time of whole answers, batch 1, after warm-up."""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class Latency:
    """Times a question from history to ranked answers.

    Args:
        repeats: Timed repeats, each with another user.
        warmup: Repeats before the clock counts.
    """

    def __init__(self, *, repeats: int, warmup: int) -> None:
        if repeats < 1:
            raise ValueError(f"repeats ({repeats}) must be at least 1")
        self.repeats, self.warmup = repeats, warmup

    def measure(self, ask: Callable[[int], Any], device: torch.device) -> dict[str, Any]:
        """Return p50 and p95 in milliseconds with what a reader needs to judge them.

        Args:
            ask: Answers question number i completely.
            device: Where the model is; a GPU is synchronized before each reading of the clock.
        """
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        for number in range(self.warmup):
            ask(number)
        times = [self._time(ask, self.warmup + n, device) for n in range(self.repeats)]
        return {
            "p50": float(np.percentile(times, 50)),
            "p95": float(np.percentile(times, 95)),
            "repeats": self.repeats,
            "threads": torch.get_num_threads(),
            "device": str(device),
            "load": load,
        }

    @staticmethod
    def _time(ask: Callable[[int], Any], number: int, device: torch.device) -> float:
        _synchronize(device)
        start = time.perf_counter()
        ask(number)
        _synchronize(device)
        return 1000.0 * (time.perf_counter() - start)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
