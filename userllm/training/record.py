"""What is measured while a run trains: losses, learning rates, validation, time."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch

from userllm.errors import UserError
from userllm.training.checkpoint import Checkpoints
from userllm.training.metrics_file import MetricsFile
from userllm.training.parts import PartWeights

Measured = TypeVar("Measured")

Validate = Callable[[int], dict[str, float]]
"""From the number of finished steps to named values; called with gradients off."""


class TrainingRecord(pl.Callback):
    """Logs, validates, and keeps the best weights; a resumed run goes on with the same record.

    Lightning's own logging comes after the checkpoint of a step is written, so the row of that
    step would be lost on a resume; this callback therefore logs itself, before the checkpoint.

    Args:
        file: The run's metrics.csv.
        log_every: Optimiser steps between two rows of it.
        checkpoints: Where the best weights go.
        validate: Measures the model between steps; None when nothing is to be chosen.
        validate_every: Optimiser steps between two validations; the last step always has one.
        monitor: The name of the value whose highest point is kept.
        parts: How much the pass at hand counts.
    """

    def __init__(
        self,
        *,
        file: MetricsFile,
        log_every: int,
        checkpoints: Checkpoints,
        validate: Validate | None,
        validate_every: int,
        monitor: str,
        parts: PartWeights,
    ) -> None:
        self.parts = parts
        self.file = file
        self.log_every = log_every
        self.checkpoints = checkpoints
        self.validate = validate
        self.validate_every = validate_every
        self.monitor = monitor
        self.history: list[dict[str, float]] = []
        self.best_step = 0
        self.best_value = float("-inf")
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._started = (0.0, 0.0)
        self._passes: list[dict[str, torch.Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know, in plain containers."""
        return {
            "history": self.history,
            "best_step": self.best_step,
            "best_value": self.best_value,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        self.__dict__.update(state_dict)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the file and start the clock."""
        if trainer.is_global_zero:
            self.file.begin()
        self._started = (time.perf_counter(), time.process_time())

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log and validate when it is time."""
        losses = losses_of(trainer, outputs)
        self._passes.append({name: self.parts.weight * loss for name, loss in losses.items()})
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self._stop_clock()
        step, last = trainer.global_step, trainer.global_step == trainer.max_steps
        values: dict[str, float] = {}
        if step % self.log_every == 0 or last:
            values |= training_values(trainer, self._passes)
        if self.validate and (step % self.validate_every == 0 or last):
            values |= self._run_validation(trainer, pl_module, step)
        if values and trainer.is_global_zero:
            self.file.write(step, values)
            for logger in trainer.loggers:
                logger.log_metrics(values, step=step)
        self._passes.clear()
        self._started = (time.perf_counter(), time.process_time())

    def _run_validation(
        self, trainer: pl.Trainer, module: pl.LightningModule, step: int
    ) -> dict[str, float]:
        assert self.validate is not None
        values = evaluated(module, lambda: self.validate(step))  # type: ignore[misc]
        if self.monitor not in values:
            raise UserError(
                f"The value to choose the best step by, {self.monitor!r}, is not measured; "
                f"choose one of {sorted(values)}."
            )
        self.history.append({"step": step, **values})
        if values[self.monitor] > self.best_value:
            self.best_step, self.best_value = step, values[self.monitor]
            self.checkpoints.save_best(trainer)
        return {f"valid/{name}": value for name, value in values.items()}

    def _stop_clock(self) -> None:
        wall, cpu = self._started
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu


def losses_of(
    trainer: pl.Trainer, outputs: torch.Tensor | Mapping[str, Any] | None
) -> dict[str, torch.Tensor]:
    """Return the losses of one pass; Lightning has divided the one that it follows."""
    given = outputs if isinstance(outputs, Mapping) else {"loss": outputs}
    losses = {n: torch.as_tensor(v).detach() for n, v in given.items() if v is not None}
    if "loss" in losses:
        losses["loss"] = losses["loss"] * trainer.accumulate_grad_batches
    return losses


def training_values(
    trainer: pl.Trainer, passes: Sequence[Mapping[str, torch.Tensor]]
) -> dict[str, float]:
    """Return a step's losses, the mean over its passes on all processes, and its learning rates.

    The learning rates are those that the schedule has set for the next step.
    """
    values = {}
    for name in passes[-1]:
        mean = torch.stack([losses[name].float() for losses in passes]).mean()
        values[f"train/{name}"] = float(trainer.strategy.reduce(mean, reduce_op="mean"))
    for group in trainer.optimizers[0].param_groups:
        values[f"train/lr/{group['name']}"] = float(group["lr"])
    return values


def evaluated(module: torch.nn.Module, measure: Callable[[], Measured]) -> Measured:
    """Call ``measure`` in evaluation mode and leave every part in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.inference_mode():
            return measure()
    finally:
        for part, training in modes:
            part.training = training
