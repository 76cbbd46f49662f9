"""Rank a whole catalogue in one forward pass, beside or instead of spelling titles.

Shape suffixes: B batch, D text width, E user width, I item ids.
Source: the item-projection head of E4SRec (arXiv 2312.02443).
"""

import torch
from torch import Tensor, nn


class ItemHead(nn.Module):
    """Project a hidden state to the item space and multiply with an item table.

    The table starts from the encoder's, so what pretraining learned about items is kept. With
    ``skip`` the encoder's scores are added to the head's, which start at zero: at the first step
    the ranking is the encoder's own, counts and repeat scores included, and training shows what
    the language model adds.

    Args:
        text_dim: Width D of the language model.
        table_IE: Item vectors to start from, one row per item id.
        bias_I: Item biases to start from; zeros where the encoder's scores have them already.
        skip: Whether the encoder's scores are added.
    """

    def __init__(self, *, text_dim: int, table_IE: Tensor, bias_I: Tensor, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.norm = nn.LayerNorm(text_dim)
        self.projection = nn.Linear(text_dim, table_IE.shape[1])
        if skip:
            nn.init.zeros_(self.projection.weight)
            nn.init.zeros_(self.projection.bias)
        self.table_IE = nn.Parameter(table_IE.detach().clone())
        self.bias_I = nn.Parameter(bias_I.detach().clone())

    def forward(self, hidden_BD: Tensor, scores_BI: Tensor | None) -> Tensor:
        """Return one score per item id ``[B, I]``.

        Args:
            hidden_BD: What the language model makes of the last token.
            scores_BI: The encoder's; None where there is none.
        """
        # The language model may run in half precision, the head does not.
        hidden_BD = hidden_BD.to(self.norm.weight.dtype)
        projected_BE = self.projection(self.norm(hidden_BD))
        own_BI = torch.addmm(self.bias_I, projected_BE, self.table_IE.T)
        return own_BI + scores_BI if self.skip and scores_BI is not None else own_BI

    def weight_count(self) -> int:
        """Return the weights that one question is multiplied with."""
        return self.projection.weight.numel() + self.table_IE.numel()
