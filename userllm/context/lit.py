"""Training a user-contextualized language model: the loss, and nothing else."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from userllm.context.model import UserLLM
from userllm.training.module import ParameterGroup, TrainableModule


class ContextModule(TrainableModule):
    """Trains whatever the tuning left unfrozen, and saves only that.

    Args:
        model: The joined model.
        loss: From model and batch to the training loss.
        groups: Parameter groups, one per part that learns.
        steps: Optimiser steps of the whole run.
        betas: AdamW's decay rates.
        eps: AdamW's guard against division by zero.
        warmup: Share of the steps in which the learning rate climbs.
    """

    def __init__(
        self,
        *,
        model: UserLLM,
        loss: Callable[[UserLLM, Any], Tensor],
        groups: Sequence[ParameterGroup],
        steps: int,
        betas: Sequence[float],
        eps: float,
        warmup: float,
    ) -> None:
        super().__init__(groups=groups, steps=steps, betas=betas, eps=eps, warmup=warmup)
        self.model = model
        self.loss = loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        return self.loss(self.model, batch)

    def on_train_start(self) -> None:
        """Switch dropout off in a frozen language model and in the encoder, pretrained or random.

        What reads their states meets in training what it meets in use, and a pretrained encoder
        differs from a random one in its weights alone. New layers and low-rank updates keep theirs.
        """
        if not any(p.requires_grad for p in self.model.lm.parameters()):
            self.model.lm.eval()
        if self.model.encoder is not None:
            cast(nn.Module, self.model.encoder).eval()
