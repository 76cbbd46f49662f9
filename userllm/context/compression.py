"""From an encoder's memory to a smaller one: an optional Perceiver."""

from torch import nn

from userllm.context.perceiver import Perceiver
from userllm.cost.flops import Count, Flops
from userllm.encoder.memory import UserMemory


class Compression(nn.Module):
    """Let a Perceiver shrink the vectors when asked to.

    Args:
        user_dim: Width E of the encoder's vectors.
        latents: Perceiver latents; 0 leaves the Perceiver out.
        layers: Perceiver layers.
        heads: Perceiver attention heads.
    """

    def __init__(self, *, user_dim: int, latents: int, layers: int, heads: int) -> None:
        super().__init__()
        self.perceiver = (
            Perceiver(width=user_dim, latents=latents, layers=layers, heads=heads, dropout=0.0)
            if latents
            else None
        )

    def forward(self, memory: UserMemory) -> UserMemory:
        """Return the smaller memory."""
        return memory if self.perceiver is None else self.perceiver(memory)

    def vectors(self, given: Count) -> Count:
        """Return how many vectors are left of so many."""
        return given if self.perceiver is None else float(self.perceiver.latents.shape[0])

    def flops(self, given: Count) -> Flops:
        """Return the work of compressing so many vectors."""
        return Flops() if self.perceiver is None else self.perceiver.flops(given)
