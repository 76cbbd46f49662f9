"""One soft token per user (E2P, arXiv 2505.17051).

Shape suffixes: B batch, U user vectors (one), D text width, E user width.
"""

from typing import cast

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.projector import Projector
from userllm.context.protocol import Context, ContextFlops
from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError
from userllm.lm.token_scale import token_scale
from userllm.memory.protocol import Memory
from userllm.memory.states import States
from userllm.summarizer.protocol import Summarizer


class OneToken(nn.Module):
    """Project the one vector that stands for a whole history, and put it before the text.

    The method keeps the language model and the embedding frozen: choose ``tuning=projection``.

    Args:
        text_dim: Width D of the language model.
        user_dim: Width E of the encoder.
        hidden_width: Width of the projector's hidden layer; None projects linearly.
    """

    text_events = 0
    reads_memory = True
    keys_values_width = 0
    summarizer: Summarizer | None = None
    memory_events: int | None = None

    def __init__(self, *, text_dim: int, user_dim: int, hidden_width: int | None) -> None:
        super().__init__()
        self.memory_width = user_dim
        self.projector = Projector(user_dim=user_dim, text_dim=text_dim, hidden_width=hidden_width)

    def attach(self, model: PreTrainedModel) -> None:
        """Start the token at the scale of the model's own token embeddings."""
        self.projector.start(token_scale(model).std)

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory | None:
        """Return the state of each history as its only vector; none for an empty history.

        Raises:
            UserError: The encoder has no vector for a whole history.
        """
        if encoded is None:
            return None
        state_BE = encoded.state_for("context=one_token")
        has_user_B1 = encoded.mask_BU.any(dim=1, keepdim=True)
        return UserMemory(state_BE[:, None], has_user_B1, state_BE)

    def bind(self, memory: UserMemory | None) -> None:
        """Nothing inside the blocks reads the memory."""

    def prefix(self, memory: UserMemory | None, batch: int) -> tuple[Tensor, Tensor] | None:
        """Return the user's token."""
        return None if memory is None else (self.projector(memory.vectors_BUE), memory.mask_BU)

    def vectors(self, given: Count) -> Count:
        """Return one, or none for an empty history."""
        return np.minimum(given, 1.0)

    def prefix_length(self, given: Count) -> Count:
        """Return the one position."""
        return self.vectors(given)

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """Return the work of projecting; reading is the blocks' own work."""
        memory = self.projector.flops(self.vectors(given))
        return ContextFlops(memory, Flops(), first_block=0, learned_inputs=True)

    def per_block(self) -> dict[str, dict[int, float]]:
        """Blocks learn nothing of their own here."""
        return {}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters count as projection."""
        return {"memory": list(self.parameters())}


def refuse_unread(context: Context, memory: Memory) -> None:
    """Refuse vectors that stand between the encoder and a context that would not read them.

    Raises:
        UserError: The context reads the state of a history, and the memory adds to its vectors.
    """
    readers = cast(nn.Module, context).modules()
    if not isinstance(memory, States) and any(isinstance(one, OneToken) for one in readers):
        raise UserError(
            "context=one_token reads the encoder's state and no other vector, but memory is "
            f"{type(memory).__name__}. Expected memory=states, or another context such as "
            "context=soft_prompt."
        )
