"""Multi-head attention from queries to a user's vectors, the one block all readers share.

Shape suffixes: B batch, Q queries (text tokens or latents), U user vectors, D query width,
E user width, H heads, K head width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, attention, linear


class MemoryAttention(nn.Module):
    """Let queries read user vectors whose width differs from theirs.

    Keys and values map from the small user width, which is what makes the memory cheap
    (Source: User-LLM §2.4, efficiency of cross-attention). They depend on the user alone and are
    computed once by :meth:`keys_values`.

    Args:
        query_dim: Width D of the queries and of the output.
        user_dim: Width E of the user vectors.
        inner_dim: Width of all heads together.
        heads: Number of heads H; must divide ``inner_dim``.
        dropout: Probability of dropping an attention weight while training.
        output_std: Standard deviation of the output projection at the start; 0 starts silent.
        norm: Whether queries pass a layer norm first; without it the caller has done that.
    """

    def __init__(
        self,
        *,
        query_dim: int,
        user_dim: int,
        inner_dim: int,
        heads: int,
        dropout: float,
        output_std: float,
        norm: bool,
    ) -> None:
        super().__init__()
        if inner_dim % heads:
            raise ValueError(f"inner_dim ({inner_dim}) must be divisible by heads ({heads})")
        self.heads, self.dropout = heads, dropout
        self.query_norm = nn.LayerNorm(query_dim) if norm else nn.Identity()
        self.to_query = nn.Linear(query_dim, inner_dim, bias=False)
        self.to_keys_values = nn.Linear(user_dim, 2 * inner_dim, bias=False)
        self.to_output = nn.Linear(inner_dim, query_dim, bias=False)
        nn.init.normal_(self.to_output.weight, std=output_std)

    def keys_values(self, vectors_BUE: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values ``[B, H, U, K]`` of the user vectors."""
        keys, values = self.to_keys_values(vectors_BUE).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(
        self, queries_BQD: Tensor, keys_values: tuple[Tensor, Tensor], mask_BU: Tensor | None
    ) -> Tensor:
        """Return what each query read; users without vectors give exactly zero.

        Args:
            queries_BQD: Who reads.
            keys_values: As of :meth:`keys_values`.
            mask_BU: True where there is a vector; None says that none is missing.
        """
        if mask_BU is None:
            return self._read(queries_BQD, keys_values, None)
        has_user_B = mask_BU.any(dim=1)
        # A fully masked row would softmax to NaN, so it is opened here and zeroed below.
        open_BU = mask_BU | ~has_user_B[:, None]
        read_BQD = self._read(queries_BQD, keys_values, open_BU[:, None, None, :])
        return read_BQD * has_user_B[:, None, None]

    def _read(
        self,
        queries_BQD: Tensor,
        keys_values: tuple[Tensor, Tensor],
        open_B11U: Tensor | None,
    ) -> Tensor:
        read_BHQK = F.scaled_dot_product_attention(
            self._split(self.to_query(self.query_norm(queries_BQD))),
            *keys_values,
            attn_mask=open_B11U,
            dropout_p=self.dropout if self.training else 0.0,
        )
        read_BQD: Tensor = self.to_output(read_BHQK.transpose(1, 2).flatten(2))
        return read_BQD

    def flops(self, queries: Count, vectors: Count) -> Flops:
        """Return the work of ``queries`` reading ``vectors``, keys and values apart."""
        weights = self.to_query.weight.numel() + self.to_output.weight.numel()
        return linear(queries, weights) + attention(queries, vectors, self.to_query.out_features)

    def keys_values_flops(self, vectors: Count) -> Flops:
        """Return the work of :meth:`keys_values`."""
        return linear(vectors, self.to_keys_values.weight.numel())

    def _split(self, values: Tensor) -> Tensor:
        split: Tensor = values.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split
