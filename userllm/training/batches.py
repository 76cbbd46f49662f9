"""Batches as pure functions of (seed, number), so that a resumed run sees what it would have seen.

Nothing about the data is kept in a checkpoint: the number of finished steps says it all.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

MakeBatch = Callable[[int], Any]
"""From the number of a batch to the batch; the same number always gives the same batch."""

EpochItems = Callable[[np.random.Generator], Sequence[np.ndarray]]
"""From an epoch's own generator to parallel arrays, one row per training window or example."""

STRETCH = 50
"""Batches among whose rows like lengths are looked for."""


def step_rng(seed: int, *path: int) -> np.random.Generator:
    """Return a generator of its own for one place in a run, such as ``(seed, epoch)``."""
    return np.random.default_rng([seed, *path])


def step_seed(seed: int, number: int) -> int:
    """Return the seed for torch's generators while batch ``number`` is worked on."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


class StepBatches:
    """The stream Lightning trains on; it starts where the restored run stopped.

    Args:
        make_batch: Makes batch ``number`` of the run.
        total: Number of batches in the whole run. Lightning counts those of the earlier part of
            a resumed run itself, so the length does not shrink with them.
        first: Read when iteration starts, because only then is the checkpoint restored.
        stride: Number of processes; each takes every ``stride``-th batch.
        offset: Which of the processes this is.
    """

    def __init__(
        self,
        make_batch: MakeBatch,
        *,
        total: int,
        first: Callable[[], int],
        stride: Callable[[], int] = lambda: 1,
        offset: Callable[[], int] = lambda: 0,
    ) -> None:
        self.make_batch = make_batch
        self.total = total
        self.first = first
        self.stride = stride
        self.offset = offset

    def __len__(self) -> int:
        """Return the number of batches of the whole run, finished ones included."""
        return self.total

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches that are still to be trained on."""
        for number in range(self.first(), self.total):
            yield self.make_batch(number * self.stride() + self.offset())


class EpochBatches:
    """Cuts an endless series of shuffled epochs into batches that can be asked for by number.

    An epoch's rows may differ from the last one's (windows with a random phase do), so the
    number at which an epoch starts is found by counting through the epochs before it.

    Args:
        epoch_items: Makes the rows of one epoch.
        batch_size: Rows per batch; the remainder of an epoch is dropped, a different one each time.
        seed: Decides the rows and their order together with the number of the epoch.
        lengths: Gives each row a length, so that rows of like length share a batch and little is
            padded; None leaves who shares one to chance.
    """

    def __init__(
        self,
        epoch_items: EpochItems,
        *,
        batch_size: int,
        seed: int,
        lengths: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None,
    ) -> None:
        self.epoch_items = epoch_items
        self.batch_size = batch_size
        self.seed = seed
        self.lengths = lengths
        self._starts = [0]
        # The parts of one step may be of two epochs.
        self._rows = lru_cache(maxsize=2)(self._make_rows)

    def __call__(self, number: int) -> list[np.ndarray]:
        """Return the rows of one batch, one array per column."""
        while self._starts[-1] <= number:
            rows = self._rows(len(self._starts) - 1)
            self._starts.append(self._starts[-1] + max(1, len(rows[0]) // self.batch_size))
        epoch = int(np.searchsorted(self._starts, number, side="right")) - 1
        start = (number - self._starts[epoch]) * self.batch_size
        return [column[start : start + self.batch_size] for column in self._rows(epoch)]

    def _make_rows(self, epoch: int) -> list[np.ndarray]:
        rng = step_rng(self.seed, epoch)
        columns = self.epoch_items(rng)
        order = rng.permutation(len(columns[0]))
        if not len(order):
            raise ValueError(f"epoch {epoch} has no rows to train on")
        if self.lengths is not None:
            order = grouped(order, self.lengths(columns), self.batch_size, rng)
        return [column[order] for column in columns]


def grouped(
    order: np.ndarray, lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a shuffled order in which rows of like length share a batch.

    Rows are sorted within stretches of :data:`STRETCH` batches, whose order is then drawn: who
    learns together stays close to chance, and long batches come at any time.

    Args:
        order: Shuffled rows.
        lengths: Length of each row.
        batch_size: Rows per batch; what fills no batch is left at the end.
        rng: Draws the order of batches.
    """
    whole = len(order) // batch_size * batch_size
    stretches = []
    for start in range(0, whole, STRETCH * batch_size):
        rows = order[start : min(start + STRETCH * batch_size, whole)]
        batches = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, batch_size)
        stretches.append(rng.permutation(batches))
    return np.concatenate([*(one.ravel() for one in stretches), order[whole:]])
