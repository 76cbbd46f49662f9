"""Soft prompt: user vectors projected to the text width and put before the text.

Shape suffixes: B batch, U user vectors, P prefix positions, D text width.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.compression import Compression
from userllm.context.projector import Projector
from userllm.context.protocol import ContextFlops
from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.lm.token_scale import token_scale
from userllm.summarizer.protocol import Summarizer


class SoftPrompt(nn.Module):
    """Prepend ``[learned vectors] + [projected user vectors]`` (Source: User-LLM §4.4, Table 6).

    The paper sets a "task prompt length" of 10 without saying whether these are extra learned
    vectors; here they are (``learned_vectors=10``). With ``perceiver_latents=10`` and
    ``learned_vectors=0`` the history itself is compressed to ten vectors, the other reading.

    Args:
        text_dim: Width D of the language model.
        user_dim: Width E of the encoder.
        learned_vectors: Learned vectors in front, the same for every user.
        hidden_width: Width of the adapter's hidden layer; None projects linearly.
        memory_events: How many of the last events to keep; None keeps all.
        perceiver_latents: Perceiver latents; 0 leaves the Perceiver out.
        perceiver_layers: Perceiver layers.
        perceiver_heads: Perceiver attention heads.
    """

    text_events = 0
    reads_memory = True
    keys_values_width = 0
    summarizer: Summarizer | None = None

    def __init__(
        self,
        *,
        text_dim: int,
        user_dim: int,
        learned_vectors: int,
        hidden_width: int | None,
        memory_events: int | None,
        perceiver_latents: int,
        perceiver_layers: int,
        perceiver_heads: int,
    ) -> None:
        super().__init__()
        self.memory_events = memory_events
        self.memory_width = user_dim
        self.compression = Compression(
            user_dim=user_dim,
            latents=perceiver_latents,
            layers=perceiver_layers,
            heads=perceiver_heads,
        )
        self.projector = Projector(user_dim=user_dim, text_dim=text_dim, hidden_width=hidden_width)
        self.learned = nn.Parameter(torch.empty(learned_vectors, text_dim))

    def attach(self, model: PreTrainedModel) -> None:
        """Start every vector at the scale of the model's own token embeddings."""
        scale = token_scale(model).std
        nn.init.normal_(self.learned, std=scale)
        self.projector.start(scale)

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory | None:
        """Return the vectors to project."""
        return None if encoded is None else self.compression(encoded)

    def bind(self, memory: UserMemory | None) -> None:
        """Nothing inside the blocks reads the memory."""

    def prefix(self, memory: UserMemory | None, batch: int) -> tuple[Tensor, Tensor]:
        """Return the vectors that stand before the text, and which of them are real."""
        learned_BPD = self.learned.expand(batch, -1, -1)
        mask_BP = torch.ones(learned_BPD.shape[:2], dtype=torch.bool, device=self.learned.device)
        if memory is None:
            return learned_BPD, mask_BP
        return (
            torch.cat([learned_BPD, self.projector(memory.vectors_BUE)], dim=1),
            torch.cat([mask_BP, memory.mask_BU], dim=1),
        )

    def vectors(self, given: Count) -> Count:
        """Return how many vectors are projected."""
        return self.compression.vectors(given)

    def prefix_length(self, given: Count) -> Count:
        """Return the learned and the projected positions."""
        return self.learned.shape[0] + self.vectors(given)

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """Return the work of compressing and projecting; reading is the blocks' own work."""
        projecting = self.projector.flops(self.vectors(given))
        compression = self.compression.flops(given)
        return ContextFlops(
            compression + projecting,
            Flops(),
            first_block=0,
            learned_inputs=True,
            compression=compression,
        )

    def per_block(self) -> dict[str, dict[int, float]]:
        """Blocks learn nothing of their own here."""
        return {}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters count as projection."""
        return {"memory": list(self.parameters())}
