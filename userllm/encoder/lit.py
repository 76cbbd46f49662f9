"""Pretraining a user encoder: the loss, the batches and which weights decay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from userllm.data.gather import EventBatch, HistoryGather
from userllm.data.split import Split
from userllm.data.windows import training_windows
from userllm.encoder.protocol import UserEncoder
from userllm.training.batches import EpochBatches
from userllm.training.module import ParameterGroup, TrainableModule


@dataclass
class WindowBatch:
    """Training windows and whose they are.

    Attributes:
        users: User codes, [B]; named when a loss is not finite.
        events: The windows; every event is a target.
    """

    users: NDArray[np.int64]
    events: EventBatch

    def to(self, device: torch.device | str, **_: Any) -> "WindowBatch":
        """Return the batch on another device."""
        return WindowBatch(self.users, self.events.to(device))


class WindowBatches:
    """Makes batch k of pretraining: consecutive windows, cut at another phase in every epoch.

    Args:
        gather: The corpus's histories.
        split: What may be trained on.
        length: Most targets in a window; an encoder of L events learns from L+1.
        batch_size: Windows per batch.
        seed: Decides phases and order.
    """

    def __init__(
        self, *, gather: HistoryGather, split: Split, length: int, batch_size: int, seed: int
    ) -> None:
        self.gather = gather
        self.length = length
        self.rows = EpochBatches(
            lambda rng: training_windows(split, gather.offsets, length, stride=None, rng=rng),
            batch_size=batch_size,
            seed=seed,
        )

    def __call__(self, number: int) -> WindowBatch:
        """Return one batch."""
        users, starts, ends = self.rows(number)
        return WindowBatch(users, self.gather(users, ends, self.length, starts))

    def weights(self, numbers: Sequence[int]) -> NDArray[np.float64]:
        """Return how much the parts of one step count: as much as they have targets."""
        windows = (self.rows(number) for number in numbers)
        targets = np.array([float((ends - starts).sum()) for _, starts, ends in windows])
        weights: NDArray[np.float64] = targets / targets.mean()
        return weights


class EncoderModule(TrainableModule):
    """Trains an encoder by its own loss over windows of events.

    Args:
        encoder: The encoder.
        groups: Its parameters, see `encoder_groups`.
        steps: Optimiser steps of the whole run.
        betas: AdamW's decay rates.
        eps: AdamW's guard against division by zero.
        warmup: Share of the steps in which the learning rate climbs.
    """

    def __init__(
        self,
        *,
        encoder: UserEncoder,
        groups: Sequence[ParameterGroup],
        steps: int,
        betas: Sequence[float],
        eps: float,
        warmup: float,
    ) -> None:
        super().__init__(groups=groups, steps=steps, betas=betas, eps=eps, warmup=warmup)
        self.encoder = encoder

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        return self.encoder.pretraining_loss(batch.events)


def encoder_groups(
    encoder: UserEncoder, *, learning_rate: float, weight_decay: float
) -> list[ParameterGroup]:
    """Return the matrices, which decay, and the rest, which does not.

    Tables do not decay either: a rare item's row would shrink at every step it is not in.
    """
    module = cast(nn.Module, encoder)
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    parameters = list(module.parameters())
    matrices = [p for p in parameters if p.dim() > 1 and id(p) not in tables]
    chosen = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in chosen]
    return [
        ParameterGroup(
            name="matrices", params=matrices, lr=learning_rate, weight_decay=weight_decay
        ),
        ParameterGroup(name="tables, norms", params=others, lr=learning_rate, weight_decay=0.0),
    ]
