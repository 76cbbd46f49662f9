"""LoRA: low-rank updates of the language model, with encoder and projections (paper §3.2)."""

from typing import Literal

from peft import LoraConfig, inject_adapter_in_model

from userllm.context.model import UserLLM
from userllm.lm.blocks import decoder_blocks, upper_blocks
from userllm.tuning.parts import train_only


class Lora:
    """Insert LoRA matrices and let them, the encoder and the new layers learn.

    The paper gives the rank, 8; scale and target matrices are not stated there.

    Args:
        rank: Rank of the update.
        alpha: Scale; the update is multiplied by ``alpha / rank``.
        dropout: Dropout in front of the update.
        targets: Names of the linear layers to adapt; None takes peft's choice for the family.
        layers: ``all``, ``upper_half``, or how many of the last blocks. Below the first block that
            learns or reads the user nothing changes while training, so a text that repeats is read
            once there.
    """

    name = "lora"

    def __init__(
        self,
        *,
        rank: int,
        alpha: int,
        dropout: float,
        targets: list[str] | None,
        layers: int | Literal["all", "upper_half"],
    ) -> None:
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, targets
        self.layers = layers

    def apply(self, model: UserLLM) -> None:
        """Insert the matrices, in single precision; at the start they change nothing.

        Raises:
            UserError: There are not so many blocks.
        """
        count = len(decoder_blocks(model.lm))
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.targets,
            layers_to_transform=upper_blocks(count, self.layers, key="tuning.layers"),
            bias="none",
        )
        inject_adapter_in_model(config, model.lm)
        for name, parameter in model.lm.named_parameters():
            if ".lora_" in name:
                # Beside a model in half precision peft makes them so, too, and steps are lost.
                parameter.data = parameter.data.float()
        train_only(model, {"lora", "encoder", "memory", "gates", "head"})
