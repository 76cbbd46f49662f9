"""Perceiver: learned latent queries that compress a history into a few vectors.

Shape suffixes: B batch, U user vectors, Q latents, E user width.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from userllm.context.attention import MemoryAttention
from userllm.cost.flops import Count, Flops, linear, weight_count
from userllm.encoder.memory import UserMemory


class PerceiverLayer(nn.Module):
    """Latents read the user vectors, then pass through a feed-forward network."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = MemoryAttention(
            query_dim=width,
            user_dim=width,
            inner_dim=width,
            heads=heads,
            dropout=dropout,
            output_std=width**-0.5,
            norm=True,
        )
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )

    def forward(self, latents_BQE: Tensor, memory: UserMemory) -> Tensor:
        """Return the latents after one round of reading."""
        keys_values = self.attention.keys_values(memory.vectors_BUE)
        latents_BQE = latents_BQE + self.attention(latents_BQE, keys_values, memory.mask_BU)
        out: Tensor = latents_BQE + self.feed_forward(latents_BQE)
        return out


class Perceiver(nn.Module):
    """Shrink L event vectors to a fixed number of latents (Source: User-LLM §3.2, Table 5).

    The paper's setting is 6 layers and 16 latents ("query dimension"); latent width is the
    encoder's, since none is stated.

    Args:
        width: Width E of the user vectors and of the latents.
        latents: Number of latents.
        layers: Rounds of cross-attention.
        heads: Attention heads; must divide ``width``.
        dropout: Dropout in attention and feed-forward.
    """

    def __init__(
        self, *, width: int, latents: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width) * width**-0.5)
        self.vector_norm = nn.LayerNorm(width)
        self.stack = [
            PerceiverLayer(width=width, heads=heads, dropout=dropout) for _ in range(layers)
        ]
        self.layers = nn.ModuleList(self.stack)

    def forward(self, memory: UserMemory) -> UserMemory:
        """Return ``latents`` vectors per user; a user without events keeps an empty memory."""
        memory = replace(memory, vectors_BUE=self.vector_norm(memory.vectors_BUE))
        batch = memory.vectors_BUE.shape[0]
        latents_BQE = self.latents.expand(batch, -1, -1)
        for layer in self.stack:
            latents_BQE = layer(latents_BQE, memory)
        has_user_BQ = memory.mask_BU.any(dim=1, keepdim=True).expand(-1, latents_BQE.shape[1])
        return UserMemory(latents_BQE, has_user_BQ, memory.state_BE)

    def flops(self, vectors: Count) -> Flops:
        """Return the work of compressing ``vectors`` user vectors."""
        latents = self.latents.shape[0]
        total = Flops()
        for layer in self.stack:
            total += layer.attention.flops(latents, vectors)
            total += layer.attention.keys_values_flops(vectors)
            total += linear(latents, weight_count(layer.feed_forward))
        return total
