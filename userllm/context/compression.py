"""From encoder states to user memory: the last events, and an optional Perceiver."""

import numpy as np
from torch import Tensor, nn

from userllm.context.memory import UserMemory, last_events
from userllm.context.perceiver import Perceiver
from userllm.cost.flops import Count, Flops


class Compression(nn.Module):
    """Keep the last events' states and let a Perceiver shrink them when asked to.

    Args:
        user_dim: Width E of the encoder's states.
        memory_events: How many of the last events to keep; None keeps all.
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

    def forward(self, states_BLE: Tensor, mask_BL: Tensor) -> UserMemory:
        """Return the user memory."""
        memory = last_events(states_BLE, mask_BL, self.memory_events)
        return memory if self.perceiver is None else self.perceiver(memory)

    def vectors(self, events: Count) -> Count:
        """Return how many user vectors so many events give."""
        if self.perceiver is not None:
            return float(self.perceiver.latents.shape[0])
        return self._kept(events)

    def flops(self, events: Count) -> Flops:
        """Return the work of compressing the states of so many events."""
        return Flops() if self.perceiver is None else self.perceiver.flops(self._kept(events))

    def _kept(self, events: Count) -> Count:
        return events if self.memory_events is None else np.minimum(events, self.memory_events)
