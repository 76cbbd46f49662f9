"""Batches that no device holds at once, as several passes whose gradients are added up."""

from collections.abc import Mapping
from typing import Any


def split_batch(
    batch_size: int, micro_batch: int | None, trainer_options: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Return the rows of one pass, and trainer options that make one step of all passes.

    Passes are equally large, so that their mean gradients add up to the batch's: the rows are the
    largest divisor of the batch that is allowed.

    Args:
        batch_size: Rows of a batch.
        micro_batch: Most rows of a pass; None is the whole batch.
        trainer_options: Options of ``pl.Trainer``; gradients that they accumulate come on top.
    """
    most = min(batch_size, micro_batch or batch_size)
    rows = next(size for size in range(most, 0, -1) if batch_size % size == 0)
    accumulated = trainer_options.get("accumulate_grad_batches", 1) * (batch_size // rows)
    return rows, {**trainer_options, "accumulate_grad_batches": accumulated}
