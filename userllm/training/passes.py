"""Batches that no device holds at once, or that several share, as passes whose gradients add up."""

from collections.abc import Mapping
from typing import Any

import torch

from userllm.errors import UserError


def split_batch(
    batch_size: int, micro_batch: int | None, trainer_options: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Return the rows of one pass, and trainer options that make one step of all passes.

    A step reads the same rows whatever the number of processes and passes: pass p of process r
    takes part ``p · processes + r`` of the batch. Parts are equally large: the rows of a pass are
    the largest divisor of a process's share that is allowed.

    Args:
        batch_size: Rows of a batch, all processes together.
        micro_batch: Most rows of a pass; None is a process's whole share.
        trainer_options: Options of ``pl.Trainer``; gradients that they accumulate come on top.

    Raises:
        UserError: The batch cannot be shared out equally.
    """
    count = processes(trainer_options)
    share, rest = divmod(batch_size, count)
    if rest:
        raise UserError(
            f"training.batch_size={batch_size} does not divide among {count} processes. Expected "
            f"a multiple of {count}; type training.batch_size={max(share, 1) * count}."
        )
    most = min(share, micro_batch or share)
    rows = next(size for size in range(most, 0, -1) if share % size == 0)
    accumulated = added_up(trainer_options) * (share // rows)
    return rows, {**trainer_options, "accumulate_grad_batches": accumulated}


def added_up(trainer_options: Mapping[str, Any]) -> int:
    """Return how many batches, or passes where they are split, one step adds up."""
    return int(trainer_options.get("accumulate_grad_batches", 1))


def processes(trainer_options: Mapping[str, Any]) -> int:
    """Return how many processes a trainer with these options trains with."""
    devices = trainer_options.get("devices", 1)
    nodes = int(trainer_options.get("num_nodes", 1))
    if isinstance(devices, str) and "," in devices:
        devices = [name for name in devices.split(",") if name.strip()]
    if isinstance(devices, list | tuple):
        return nodes * len(devices)
    if devices not in ("auto", -1, "-1"):
        return nodes * int(devices)
    on_cpu = trainer_options.get("accelerator") == "cpu"
    return nodes * (1 if on_cpu else max(1, torch.cuda.device_count()))
