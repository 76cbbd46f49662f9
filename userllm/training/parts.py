"""Parts of a batch that count as much as they have targets, so that together they are the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

Weights = Callable[[Sequence[int]], Sequence[float]]
"""From the numbers of the parts of one step to how much each counts; 1 on average."""


class PartWeights(pl.Callback):
    """Scales the gradient of each pass.

    Losses are means over targets, and parts of a batch have unequal numbers of them: the plain
    mean over passes and processes would not be the mean over the batch.

    Args:
        weights: How much the parts of a step count; None lets all count alike.
    """

    def __init__(self, weights: Weights | None) -> None:
        self.weights = weights
        self.weight = 1.0
        self._of_step: tuple[int, Sequence[float]] = (-1, [])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the step that this pass is a part of; no process has to ask another."""
        parts = trainer.accumulate_grad_batches * trainer.world_size
        if self.weights is None or parts == 1:
            return
        step, part = divmod(batch_idx * trainer.world_size + trainer.global_rank, parts)
        if step != self._of_step[0]:
            # Once a step: finding them looks at all of its parts.
            self._of_step = step, self.weights(range(step * parts, (step + 1) * parts))
        self.weight = float(self._of_step[1][part])

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Scale what flows back from the loss."""
        weight = self.weight
        if weight != 1.0:
            loss.register_hook(lambda grad: grad * weight)
