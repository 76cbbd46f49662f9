"""Proj: only what connects the encoder with the language model learns (paper §3.2)."""

from userllm.context.model import UserLLM
from userllm.tuning.parts import train_only


class Projection:
    """Let the new layers (projection, Perceiver, cross-attention) and an item head learn."""

    name = "projection"

    def apply(self, model: UserLLM) -> None:
        """Freeze the language model and the encoder."""
        train_only(model, {"memory", "gates", "head"})
