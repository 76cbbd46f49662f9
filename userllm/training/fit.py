"""The one training loop: Lightning, made exactly resumable."""

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException

from userllm.training.batches import MakeBatch, StepBatches
from userllm.training.checkpoint import Checkpoints
from userllm.training.guard import StepGuard
from userllm.training.interrupt import StopRequest
from userllm.training.memory import peak_memory_bytes
from userllm.training.metrics_file import MetricsFile
from userllm.training.module import TrainableModule
from userllm.training.parts import PartWeights
from userllm.training.passes import processes
from userllm.training.processes import end_helpers, let_helpers_go, process_group
from userllm.training.profile import NAME, OPTION, StepProfile
from userllm.training.record import TrainingRecord, Validate
from userllm.training.sharding import ShardedClipping, ShardedStrategy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitSummary:
    """What a finished training run cost and where its weights are.

    Times count the steps of all parts of a resumed run, without validation and saving.
    """

    seconds: float
    cpu_seconds: float
    steps: int
    resumed_from: int
    peak_memory_bytes: int
    best_checkpoint: Path
    best_step: int
    best_value: float | None
    history: list[dict[str, float]]


def fit(
    module: TrainableModule,
    make_batch: MakeBatch,
    *,
    steps: int,
    seed: int,
    folder: Path,
    trainer_options: Mapping[str, Any],
    loggers: Sequence[Any],
    checkpoint_every: int,
    validate: Validate | None,
    validate_every: int,
    monitor: str,
) -> FitSummary:
    """Train for ``steps`` optimiser steps, or for what is left of them.

    A run stopped at any step and called again ends with the weights and the metrics.csv of one
    that was never stopped (bit for bit on CPU).

    Args:
        module: The model and its parameter groups; left with the weights of the last step.
        make_batch: Makes part k of a batch, which may have ``users`` for error messages. Where a
            step takes several, ``make_batch.weights`` may say how much each counts.
        steps: Optimiser steps of the whole run.
        seed: Decides dropout and the like, step by step.
        folder: The run's folder; gets ``metrics.csv`` and ``checkpoints/``.
        trainer_options: Handed to ``pl.Trainer``: accelerator, devices, strategy, precision, ...
        loggers: Lightning loggers beside the CSV file.
        checkpoint_every: Optimiser steps between two saves of ``last.ckpt``.
        validate: Gives the values the best step is chosen by; None keeps the last weights only.
        validate_every: Optimiser steps between two validations.
        monitor: Which of the values; higher is better.

    Raises:
        UserError: If a loss is not finite, a checkpoint cannot be read or written.
        KeyboardInterrupt: If asked to stop, after saving (SystemExit after SIGTERM).
    """
    with StopRequest() as stop, quiet_lightning(), process_group():
        checkpoints = Checkpoints(folder / "checkpoints", every=checkpoint_every, stop=stop)
        newest, resumed_from = checkpoints.newest_readable() or (None, 0)
        parts = PartWeights(getattr(make_batch, "weights", None))
        record = TrainingRecord(
            file=MetricsFile(folder / "metrics.csv", resumed_from=resumed_from),
            log_every=trainer_options.get("log_every_n_steps", 50),
            checkpoints=checkpoints,
            validate=validate,
            validate_every=validate_every,
            monitor=monitor,
            parts=parts,
        )
        count = processes(trainer_options)
        guard = StepGuard(seed=seed, checkpoints=checkpoints, processes=count)
        callbacks = [guard, parts, record, checkpoints]
        trainer = make_trainer(steps, trainer_options, loggers, callbacks, folder)
        run_trainer(trainer, module, make_batch, newest, stop)
    stop.deliver()
    let_helpers_go(trainer)
    checkpoints.discard_previous()
    return summarize(record, checkpoints, trainer.global_step, resumed_from)


def summarize(
    record: TrainingRecord, checkpoints: Checkpoints, steps: int, resumed_from: int
) -> FitSummary:
    """Return what a finished run cost; without validation its last weights are its best."""
    validated = bool(record.history)
    return FitSummary(
        seconds=record.seconds,
        cpu_seconds=record.cpu_seconds,
        steps=steps,
        resumed_from=resumed_from,
        peak_memory_bytes=peak_memory_bytes(),
        best_checkpoint=checkpoints.best if validated else checkpoints.last,
        best_step=record.best_step if validated else steps,
        best_value=record.best_value if validated else None,
        history=record.history,
    )


def make_trainer(
    steps: int,
    options: Mapping[str, Any],
    loggers: Sequence[Any],
    callbacks: Sequence[pl.Callback],
    folder: Path,
) -> pl.Trainer:
    """Return a trainer of one epoch of ``steps`` steps that does nothing behind our back."""
    # A bar in a log file is a wall of half-finished lines.
    bar = [RichProgressBar(leave=True)] if sys.stderr.isatty() else []
    given, clipping = with_own_parts(options, folder)
    if options.get("accelerator") == "cpu" and torch.cuda.is_available():
        log.warning("this machine has a GPU and trains on its CPU; trainer=gpu uses the GPU")
    return pl.Trainer(
        **given,
        max_steps=steps,
        max_epochs=1,
        logger=list(loggers) or False,
        callbacks=[*callbacks, *clipping, *bar],
        enable_progress_bar=bool(bar),
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


def with_own_parts(
    options: Mapping[str, Any], folder: Path
) -> tuple[dict[str, Any], list[pl.Callback]]:
    """Return trainer options with our own profile and way of splitting a model where asked for."""
    given, clipping = dict(options), list[pl.Callback]()
    if given.get(OPTION) == NAME:
        given[OPTION] = StepProfile(folder)
    if given.get("strategy") == "fsdp":
        given["strategy"] = ShardedStrategy()
        longest = given.pop("gradient_clip_val", None)
        # As for Lightning, 0 clips nothing.
        if longest:
            clipping.append(ShardedClipping(longest))
    return given, clipping


def run_trainer(
    trainer: pl.Trainer,
    module: TrainableModule,
    make_batch: MakeBatch,
    checkpoint: Path | None,
    stop: StopRequest,
) -> None:
    """Let Lightning train, and undo its own ideas of how an interrupted process should end."""
    accumulate = trainer.accumulate_grad_batches
    batches = StepBatches(
        make_batch,
        total=trainer.max_steps * accumulate,
        first=lambda: trainer.global_step * accumulate,
        stride=lambda: trainer.world_size,
        offset=lambda: trainer.global_rank,
    )
    profile = getattr(trainer, "profiler", None)
    own = profile if isinstance(profile, StepProfile) else None
    try:
        with own.attached(trainer, module) if own else nullcontext():
            trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
        if not stop and trainer.global_step < trainer.max_steps:
            done = f"{trainer.global_step} of {trainer.max_steps}"
            raise RuntimeError(f"training ended after {done} steps, and nobody asked it to")
        if isinstance(trainer.strategy, ShardedStrategy):
            trainer.strategy.gather()
    except SIGTERMException:
        if not stop:
            raise
    except SystemExit as end:
        # Lightning answers Ctrl-C (the second one, here) with exit(1), which reads as a failure.
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise
    except Exception:
        end_helpers(trainer)
        raise


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips, hardware list and advice about data loaders off the terminal."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)

    with warnings.catch_warnings():
        for text in (
            ".*does not have many workers.*",
            ".*resuming from a checkpoint that ended before the epoch ended.*",
            ".*smaller than the logging interval.*",
            ".*in eval mode at the start of training.*",
            ".*LeafSpec.*is deprecated.*",
        ):
            warnings.filterwarnings("ignore", text)
        try:
            yield
        finally:
            logger.setLevel(level)
