"""What a user wrote about an event, as one more feature that is read of it.

Shape suffixes: R events of a batch without padding, F feature width, D different texts, W sentence
width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from userllm.data.vocabulary import FIRST_ID
from userllm.encoder.embedding import INITIAL_STD


class EventTextTable(nn.Module):
    """A learned map of frozen text vectors; what stands for no text is learned.

    That nothing was written says something itself, so it has a vector of its own, and so has the
    begin of history. The text vectors stay on disk: they are in no checkpoint and on no GPU, and
    a batch's rows are read and sent over when they are needed.

    Args:
        vectors_DW: Text vectors, float16; id ``FIRST_ID + d`` reads row d. May be memory-mapped.
        width: Width F of the result.
    """

    def __init__(self, *, vectors_DW: NDArray[np.float16], width: int) -> None:
        super().__init__()
        self.vectors_DW = vectors_DW
        self.map = nn.Linear(vectors_DW.shape[1], width, bias=False)
        nn.init.normal_(self.map.weight, std=INITIAL_STD)
        self.special = nn.Embedding(FIRST_ID, width)
        nn.init.normal_(self.special.weight, std=INITIAL_STD)

    def forward(self, ids_R: Tensor) -> Tensor:
        """Return [R, F] from the text id of every event."""
        weight = self.map.weight
        mapped_RF: Tensor = self.map(self._rows(ids_R).to(weight.device, weight.dtype))
        special_RF: Tensor = self.special(ids_R.clamp(max=FIRST_ID - 1))
        return torch.where((ids_R < FIRST_ID)[:, None], special_RF, mapped_RF)

    def _rows(self, ids_R: Tensor) -> Tensor:
        """Return the text vectors of some events [R, W] on the CPU; zeros without a text."""
        row_R = ids_R.cpu().numpy() - FIRST_ID
        rows_RW = np.zeros((len(row_R), self.vectors_DW.shape[1]), np.float16)
        has_text_R = row_R >= 0
        rows_RW[has_text_R] = self.vectors_DW[row_R[has_text_R]]
        return torch.from_numpy(rows_RW)
