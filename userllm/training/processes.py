"""Set up a process; have several join for one training run and part afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from userllm.training.memory import keep_freed_memory

GROUP_VARIABLES = (
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def set_up_process(threads: int | None) -> None:
    """Set the CPU threads, None for torch's choice, and keep freed memory for large tensors."""
    if threads is not None:
        torch.set_num_threads(threads)
    keep_freed_memory()


@contextmanager
def process_group() -> Iterator[None]:
    """Dissolve the group that Lightning forms, so that a later training can form another.

    Lightning leaves the group and its environment variables behind; a second trainer in the same
    process would take them for its own and wait for helpers that have gone home.
    """
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
    """End the other devices' processes; the first one alone writes what came out."""
    if not trainer.is_global_zero:
        raise SystemExit(0)
