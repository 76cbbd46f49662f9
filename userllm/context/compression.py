"""From an encoder's memory to a smaller one: the last vectors, and an optional Perceiver."""

import numpy as np
from torch import nn

from userllm.context.memory import last_vectors
from userllm.context.perceiver import Perceiver
from userllm.cost.flops import Count, Flops
from userllm.encoder.memory import UserMemory


class Compression(nn.Module):
    """Keep the last vectors and let a Perceiver shrink them when asked to.

    Args:
        user_dim: Width E of the encoder's vectors.
        memory_events: How many of the last vectors to keep; None keeps all.
        latents: Perceiver latents; 0 leaves the Perceiver out.
        layers: Perceiver layers.
        heads: Perceiver attention heads.
    """

    def __init__(
        self, *, user_dim: int, memory_events: int | None, latents: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.memory_events = memory_events
        self.perceiver = (
            Perceiver(width=user_dim, latents=latents, layers=layers, heads=heads, dropout=0.0)
            if latents
            else None
        )

    def forward(self, memory: UserMemory) -> UserMemory:
        """Return the smaller memory."""
        kept = last_vectors(memory, self.memory_events)
        return kept if self.perceiver is None else self.perceiver(kept)

    def vectors(self, given: Count) -> Count:
        """Return how many vectors are left of so many."""
        if self.perceiver is not None:
            return float(self.perceiver.latents.shape[0])
        return self._kept(given)

    def flops(self, given: Count) -> Flops:
        """Return the work of compressing so many vectors."""
        return Flops() if self.perceiver is None else self.perceiver.flops(self._kept(given))

    def _kept(self, given: Count) -> Count:
        return given if self.memory_events is None else np.minimum(given, self.memory_events)
