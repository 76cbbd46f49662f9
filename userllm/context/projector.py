"""From a user's vectors to input vectors of the language model: what a soft prompt learns.

Shape suffixes: B batch, U user vectors, E user width, D text width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, linear, weight_count

GELU_RMS = 0.652
"""Root mean square of GELU(z) for a standard normal z."""


class Projector(nn.Module):
    """A norm and a linear map, or a norm and an MLP with one hidden layer.

    Args:
        user_dim: Width E of the user vectors.
        text_dim: Width D of the language model.
        hidden_width: Width of the hidden layer; None maps linearly.
    """

    def __init__(self, *, user_dim: int, text_dim: int, hidden_width: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(user_dim)
        self.hidden = None if hidden_width is None else nn.Linear(user_dim, hidden_width)
        self.output = nn.Linear(hidden_width or user_dim, text_dim)

    def start(self, scale: float) -> None:
        """Draw weights that give vectors of about this standard deviation, none of them zero.

        A vector of zeros in first place stays zero through all blocks of a bias-free model, and
        each RMSNorm then multiplies its gradient by 1/sqrt(eps) until it is not a number.
        """
        gain = scale
        if self.hidden is not None:
            nn.init.normal_(self.hidden.weight, std=self.hidden.in_features**-0.5)
            nn.init.zeros_(self.hidden.bias)
            gain = scale / GELU_RMS
        nn.init.normal_(self.output.weight, std=gain * self.output.in_features**-0.5)
        nn.init.normal_(self.output.bias, std=scale)

    def forward(self, vectors_BUE: Tensor) -> Tensor:
        """Return one input vector per user vector, ``[B, U, D]``."""
        normed_BUE = self.norm(vectors_BUE)
        if self.hidden is not None:
            normed_BUE = F.gelu(self.hidden(normed_BUE))
        projected_BUD: Tensor = self.output(normed_BUE)
        return projected_BUD

    def flops(self, vectors: Count) -> Flops:
        """Return the work of projecting so many vectors."""
        return linear(vectors, weight_count(self))
