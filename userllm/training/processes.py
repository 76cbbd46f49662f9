"""Set up a process; have several join for one training run and part afterwards.

Several processes are started in one of two ways. Without a scheduler Lightning, in the first one,
starts the others with its command for each training, and they end with it. ``torchrun`` and
``srun`` start all at once; these stay together from one training to the next.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import (  # type: ignore[attr-defined]
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from userllm.errors import Helped
from userllm.training.memory import keep_freed_memory

GROUP_VARIABLES = (
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
SCHEDULERS = (TorchElasticEnvironment, SLURMEnvironment)
"""Who starts all processes at once."""


def set_up_process(threads: int | None) -> None:
    """Set the CPU threads, None for torch's choice, and keep freed memory for large tensors."""
    if threads is not None:
        torch.set_num_threads(threads)
    keep_freed_memory()


@contextmanager
def process_group() -> Iterator[None]:
    """Dissolve the group that Lightning forms, so that a later training can form another.

    Lightning leaves the group and its environment variables behind; a second trainer in the same
    process would take them for its own and wait for helpers that have gone home. A scheduler's
    processes do not go, and keep it.
    """
    if any(scheduler.detect() for scheduler in SCHEDULERS):
        yield
        return
    before = {name: os.environ.get(name) for name in GROUP_VARIABLES}
    try:
        yield
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def let_helpers_go(trainer: pl.Trainer) -> None:
    """End the part of the other devices' processes; the first one alone writes what came out.

    Raises:
        Helped: This is not the first process.
    """
    if not trainer.is_global_zero:
        raise Helped(0)


def end_helpers(trainer: pl.Trainer) -> None:
    """End the processes that a failed training started, so that the next one can have its own.

    They may wait for this one for good, and one that ends with an error would have Lightning kill
    this one as well, whatever it does by then.
    """
    watched = getattr(trainer.strategy.launcher, "procs", [])
    left = list(watched)
    watched.clear()
    for process in left:
        process.kill()
        process.wait()
