"""Which checkpoints a run keeps, and how they are written and found again."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from userllm.errors import UserError
from userllm.training.interrupt import StopRequest
from userllm.training.sharding import finite

log = logging.getLogger(__name__)


class Checkpoints(pl.Callback):
    """Saves ``last.ckpt`` regularly, at the end and when the run is asked to stop.

    The one before it stays as ``previous.ckpt`` until the run is finished, in case the machine
    dies while the disk still holds half of the newest.

    Args:
        folder: Where the checkpoints of the run live.
        every: Optimiser steps between two saves; what ``kill -9`` can cost.
        stop: Whether somebody wants the run to stop.
    """

    def __init__(self, folder: Path, *, every: int, stop: StopRequest) -> None:
        self.every = every
        self.stop = stop
        self.last = folder / "last.ckpt"
        self.previous = folder / "previous.ckpt"
        self.best = folder / "best.ckpt"
        folder.mkdir(parents=True, exist_ok=True)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time, and let Lightning end the loop when the run is to stop."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        step = trainer.global_step
        # A signal may reach one process of several; they can only save together.
        stop = trainer.strategy.reduce_boolean_decision(bool(self.stop), all=False)
        if step % self.every == 0 or step == trainer.max_steps or stop:
            self.save_last(trainer)
        trainer.should_stop = stop

    def save_last(self, trainer: pl.Trainer) -> None:
        """Replace ``last.ckpt``, keeping the one it replaces.

        Raises:
            UserError: If weights are not finite, in which case nothing is replaced.
        """
        learning = trainer.lightning_module.named_parameters()
        broken = next((n for n, p in learning if p.requires_grad and not finite(p)), None)
        if trainer.strategy.reduce_boolean_decision(broken is not None, all=False):
            raise UserError(
                f"Weight {broken or '(of another process)'} is not finite after step "
                f"{trainer.global_step}; not saved. The last good checkpoint is {self.last}. "
                "Try a lower learning rate."
            )
        fresh = self.last.with_suffix(".tmp")
        self._write(trainer, fresh, weights_only=False)
        if trainer.is_global_zero:
            if self.last.exists():
                os.replace(self.last, self.previous)
            os.replace(fresh, self.last)

    def save_best(self, trainer: pl.Trainer) -> None:
        """Replace ``best.ckpt`` by the weights of this step, without the optimiser's state."""
        fresh = self.best.with_suffix(".tmp")
        self._write(trainer, fresh, weights_only=True)
        if trainer.is_global_zero:
            os.replace(fresh, self.best)

    def newest_readable(self) -> tuple[Path, int] | None:
        """Return the checkpoint to continue from and the steps it has behind it.

        Raises:
            UserError: If there are checkpoints but none that can be read.
        """
        present = [path for path in (self.last, self.previous) if path.exists()]
        for path in present:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                return path, int(state["global_step"])
            except Exception as error:  # a truncated file fails in many ways
                log.warning("%s cannot be read (%s); trying the one before it.", path, error)
        if present:
            raise UserError(
                f"No checkpoint in {self.last.parent} can be read: "
                f"{', '.join(path.name for path in present)}. "
                f"To start this run again, delete {self.last.parent} and repeat the command."
            )
        return None

    def discard_previous(self) -> None:
        """Free the space of the fallback once the run is complete."""
        self.previous.unlink(missing_ok=True)

    def _write(self, trainer: pl.Trainer, path: Path, *, weights_only: bool) -> None:
        try:
            trainer.save_checkpoint(path, weights_only=weights_only)
            if trainer.is_global_zero:
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        except OSError as error:
            path.unlink(missing_ok=True)
            raise UserError(
                f"Cannot write the checkpoint {path}: {error.strerror or error}. Free space there "
                "and repeat the command; it continues from the last checkpoint."
            ) from error
