"""A soft prompt with as many parameters as another context, the control for cross-attention.

Cross-attention adds weights in every block, so part of its lead over a soft prompt may be
capacity; the paper has no control for that (Source: User-LLM Table 11).
"""

import logging

from torch import nn
from transformers import PreTrainedModel

from userllm.context.projector import Projector
from userllm.context.protocol import Context
from userllm.context.soft_prompt import SoftPrompt
from userllm.errors import UserError

log = logging.getLogger(__name__)
TOLERANCE = 0.01


class MatchedSoftPrompt(SoftPrompt):
    """Widen the adapter's hidden layer until the totals differ by less than one percent.

    One unit of the hidden layer has E + D + 1 parameters, so with E = 128 and D = 576 the default
    cross-attention in 30 blocks, 10.8 million parameters, is met by about 15 thousand units.
    The counts of a built one are printed with it and logged when it is attached.

    Args:
        text_dim: Width D of the language model.
        user_dim: Width E of the encoder.
        reference: The context whose parameters are counted; it is not used otherwise.
        learned_vectors: Learned vectors in front, the same for every user.
        memory_events: How many of the last events to keep; None keeps all.
        perceiver_latents: Perceiver latents; 0 leaves the Perceiver out.
        perceiver_layers: Perceiver layers.
        perceiver_heads: Perceiver attention heads.

    Attributes:
        parameter_count: Parameters of this context.
        reference_count: Parameters of the reference.

    Raises:
        UserError: No width comes near enough, because the reference is too small.
    """

    def __init__(
        self,
        *,
        text_dim: int,
        user_dim: int,
        reference: Context,
        learned_vectors: int,
        memory_events: int | None,
        perceiver_latents: int,
        perceiver_layers: int,
        perceiver_heads: int,
    ) -> None:
        super().__init__(
            text_dim=text_dim,
            user_dim=user_dim,
            learned_vectors=learned_vectors,
            hidden_width=1,
            memory_events=memory_events,
            perceiver_latents=perceiver_latents,
            perceiver_layers=perceiver_layers,
            perceiver_heads=perceiver_heads,
        )
        self.reference_count = sum(p.numel() for p in reference.parameters())
        missing = self.reference_count - _count(self)
        width = max(1, 1 + round(missing / (user_dim + text_dim + 1)))
        self.projector = Projector(user_dim=user_dim, text_dim=text_dim, hidden_width=width)
        self.parameter_count = _count(self)
        if abs(self.parameter_count - self.reference_count) >= TOLERANCE * self.reference_count:
            raise UserError(
                f"context=soft_prompt_matched: the reference has {self.reference_count:,} "
                f"parameters and the nearest soft prompt {self.parameter_count:,}. Expected less "
                "than 1 % between them. Type a larger context.reference.attention_width or a "
                "smaller context.learned_vectors."
            )

    def attach(self, model: PreTrainedModel) -> None:
        """Start as a soft prompt does, and say what was matched."""
        super().attach(model)
        log.info("soft_prompt_matched: %s", self.extra_repr())

    def extra_repr(self) -> str:
        """Return both counts."""
        return f"{self.parameter_count:,} parameters, {self.reference_count:,} in the reference"


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
