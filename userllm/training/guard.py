"""Makes every step repeatable and stops before a broken one can do harm."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from userllm.errors import UserError
from userllm.training.batches import step_seed
from userllm.training.checkpoint import Checkpoints


class StepGuard(pl.Callback):
    """Seeds torch for each batch, so that dropout after a resume is what it would have been.

    Args:
        seed: Decides the randomness of step k together with k.
        checkpoints: Named when a loss is not finite.
        processes: How many share a batch.
    """

    def __init__(self, *, seed: int, checkpoints: Checkpoints, processes: int) -> None:
        self.seed = seed
        self.checkpoints = checkpoints
        self.processes = processes
        self._batch: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to train with fewer or more processes than a batch was divided for.

        Raises:
            UserError: With both numbers.
        """
        if trainer.world_size != self.processes:
            raise UserError(
                f"trainer.devices and trainer.num_nodes ask for {self.processes} processes, but "
                f"{trainer.world_size} were started. Expected as many: start the command once per "
                "device, as in srun --ntasks-per-node=<devices> userllm …"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Number passes by finished steps: a checkpoint has them as its own run divided steps."""
        passes = trainer.fit_loop.epoch_loop.batch_progress.current
        done = trainer.global_step * trainer.accumulate_grad_batches
        passes.increment_by(done - passes.ready)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Seed the step; each process has batches, and so randomness, of its own."""
        torch.manual_seed(
            step_seed(self.seed, batch_idx * trainer.world_size + trainer.global_rank)
        )
        self._batch = batch

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Refuse a loss that would turn every weight into NaN.

        Raises:
            UserError: With the step, the users of the batch, and where the last good weights are.
        """
        if bool(torch.isfinite(loss)):
            return
        users = list(map(int, getattr(self._batch, "users", ())))
        last = self.checkpoints.last
        raise UserError(
            f"The loss of step {trainer.global_step + 1} is {loss.item()}, in a batch of the users "
            f"{users}. Last checkpoint: {last if last.exists() else 'none yet'}. "
            "Try a lower learning rate, or trainer.gradient_clip_val=1."
        )
