"""What every training module shares: parameter groups, schedule, and what a checkpoint holds."""

from collections.abc import Sequence
from typing import Any, TypedDict

import pytorch_lightning as pl
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from userllm.training.schedule import warmup_cosine
from userllm.training.weights import check_weights


class ParameterGroup(TypedDict):
    """Parameters that share a learning rate, and what that part of the model is called."""

    name: str
    params: list[nn.Parameter]
    lr: float
    weight_decay: float


class TrainableModule(pl.LightningModule):
    """Trains the parameters of its groups, and saves only those.

    A subclass adds its model and ``training_step``, which returns the loss, or a dict of scalars
    with the loss under ``"loss"``; the others are logged beside it.

    Args:
        groups: Every parameter that learns, in exactly one group.
        steps: Optimiser steps of the whole run, for the schedule.
        betas: AdamW's decay rates of the two moments.
        eps: AdamW's guard against division by zero.
        warmup: Share of ``steps`` in which the learning rate climbs.
    """

    def __init__(
        self,
        *,
        groups: Sequence[ParameterGroup],
        steps: int,
        betas: Sequence[float],
        eps: float,
        warmup: float,
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.steps = steps
        self.betas = (float(betas[0]), float(betas[1]))
        self.eps = eps
        self.warmup = warmup

    def configure_optimizers(self) -> Any:
        """Return AdamW over the groups and the schedule, stepped once per optimiser step."""
        self._check_groups()
        # Lightning's copies: AdamW adds keys of its own to the dicts it is given.
        groups = [dict(group) for group in self.groups if group["params"]]
        # One kernel over all tensors instead of a Python loop, which tells in small models; in
        # mixed precision Lightning refuses to clip the gradients of a fused optimiser.
        is_mixed = self._trainer is not None and "mixed" in str(self.trainer.precision)
        optimizer = AdamW(groups, betas=self.betas, eps=self.eps, fused=not is_mixed)
        schedule = LambdaLR(
            optimizer, lambda step: warmup_cosine(step, steps=self.steps, warmup=self.warmup)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the trainable weights; a tied one appears once, under its first name."""
        prefix = kwargs.get("prefix", "")
        learning = {prefix + name for name, p in self.named_parameters() if p.requires_grad}
        full = super().state_dict(*args, **kwargs)
        return {name: value for name, value in full.items() if name in learning}

    def load_state_dict(
        self,
        state_dict: Any,
        strict: bool = True,
        assign: bool = False,
    ) -> Any:
        """Take the trainable weights over.

        Raises:
            UserError: If a name is missing or left over, or a shape differs.
        """
        check_weights(self.state_dict(), state_dict)
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def _check_groups(self) -> None:
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        grouped = [id(parameter) for group in self.groups for parameter in group["params"]]
        learning = {id(p) for p in self.parameters() if p.requires_grad}
        wrong = {
            "in more than one group": {key for key in grouped if grouped.count(key) > 1},
            "trainable but in no group": learning - set(grouped),
            "frozen or foreign but in a group": set(grouped) - learning,
        }
        for problem, keys in wrong.items():
            if keys:
                listed = ", ".join(sorted(names.get(key, "a parameter of no part") for key in keys))
                raise ValueError(f"parameters {problem}: {listed}")
