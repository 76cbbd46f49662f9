"""Let another process say when to train: every peer's script ends in :func:`serve`.

Only torch and NumPy are needed, as peers live in environments of their own. Per line on standard
input, a number of steps, it takes these steps and answers with one line of JSON. So programs can
be measured in turns, a few seconds each, without starting anew.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

WIDTH, LAYERS, HEADS, EVENTS, BATCH, DROPOUT = 128, 2, 2, 50, 32, 0.3
"""What all programs share."""

RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Windows:
    """Runs of at most EVENTS + 1 items of one user each.

    Attributes:
        items: Items from 1, padded with 0 on the right, [windows, EVENTS + 1].
        count: Number of items of the catalogue.
    """

    items: NDArray[np.int64]
    count: int

    def on_the_right(self, number: int) -> NDArray[np.int64]:
        """Return batch ``number`` with its padding on the left, as peers want it."""
        rows = np.arange(number * BATCH, (number + 1) * BATCH) % len(self.items)
        found = self.items[rows]
        shift = EVENTS + 1 - (found > 0).sum(axis=1)
        return np.take_along_axis(found, (np.arange(EVENTS + 1) - shift[:, None]) % (EVENTS + 1), 1)


def arguments() -> Windows:
    """Set the threads, and return the windows: ``<script> FILE.npz THREADS``."""
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    data = np.load(sys.argv[1])
    return Windows(data["items"], int(data["count"]))


def serve(step: Callable[[int], int], packages: Sequence[str]) -> None:
    """Take steps when asked to, until nobody asks.

    Args:
        step: Takes step ``number`` and returns how many targets it had.
        packages: What the figures depend on; their versions are the first line that is written.
    """
    print(json.dumps({name: version(name) for name in packages}), flush=True)
    number = 0
    for line in sys.stdin:
        wall, cpu, targets = time.perf_counter(), time.process_time(), 0
        for _ in range(int(line)):
            targets += step(number)
            number += 1
        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT
        print(json.dumps({"targets": targets, **spent, "peak_bytes": peak}), flush=True)
