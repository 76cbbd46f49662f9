"""LoRA: low-rank updates of the language model, with encoder and projections (paper §3.2)."""

from peft import LoraConfig, inject_adapter_in_model

from userllm.context.model import UserLLM
from userllm.tuning.parts import train_only


class Lora:
    """Insert LoRA matrices and let them, the encoder and the new layers learn.

    The paper gives the rank, 8; scale and target matrices are not stated there.

    Args:
        rank: Rank of the update.
        alpha: Scale; the update is multiplied by ``alpha / rank``.
        dropout: Dropout in front of the update.
        targets: Names of the linear layers to adapt; None takes peft's choice for the family.
    """

    name = "lora"

    def __init__(self, *, rank: int, alpha: int, dropout: float, targets: list[str] | None) -> None:
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, targets

    def apply(self, model: UserLLM) -> None:
        """Insert the matrices; at the start they change nothing."""
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.targets,
            bias="none",
        )
        inject_adapter_in_model(config, model.lm)
        train_only(model, {"lora", "encoder", "memory", "gates", "head"})
