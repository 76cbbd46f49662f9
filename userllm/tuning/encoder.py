"""Enc: the language model is frozen, the encoder and the projections learn (paper §3.2)."""

from userllm.context.model import UserLLM
from userllm.tuning.parts import train_only


class Encoder:
    """Let the user encoder, the new layers around it and an item head learn."""

    name = "encoder"

    def apply(self, model: UserLLM) -> None:
        """Freeze the language model."""
        train_only(model, {"encoder", "memory", "gates", "head"})
