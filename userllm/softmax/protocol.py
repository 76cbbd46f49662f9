"""What every way of comparing states with a catalogue offers to a training loss.

Shape suffixes: R rows (events), F feature width, V classes, P pairs of a row and a class.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shift:
    """One learned number that is added to some scores of some rows.

    Attributes:
        row_P: Rows, ascending.
        class_P: A class of each of them; no pair comes twice.
        value: What is added, a scalar.
    """

    row_P: Tensor
    class_P: Tensor
    value: Tensor

    def rows(self, start: int, end: int) -> "Shift":
        """Return what concerns the rows from ``start`` up to ``end``, counted from there."""
        first, last = torch.searchsorted(self.row_P, self.row_P.new_tensor([start, end])).tolist()
        return Shift(self.row_P[first:last] - start, self.class_P[first:last], self.value)

    def of(self, kept_R: Tensor) -> "Shift":
        """Return what concerns some of the rows, counted among these.

        Args:
            kept_R: True where a row is kept.
        """
        kept_P = kept_R[self.row_P]
        row_P = (kept_R.cumsum(0) - 1)[self.row_P[kept_P]]
        return Shift(row_P, self.class_P[kept_P], self.value)

    def among(self, class_C: Tensor, classes: int) -> "Shift":
        """Return what concerns some of the classes, by their places among these.

        Args:
            class_C: Different classes.
            classes: How many there are in all.
        """
        place_V = class_C.new_full((classes,), -1)
        place_V[class_C] = torch.arange(len(class_C), device=class_C.device)
        place_P = place_V[self.class_P]
        return Shift(self.row_P[place_P >= 0], place_P[place_P >= 0], self.value)


class CatalogueSoftmax(Protocol):
    """Cross-entropy of rows against one vector per class; every option of ``softmax`` is one."""

    def loss(
        self,
        hidden_RF: Tensor,
        table_VF: Tensor,
        bias_V: Tensor,
        target_R: Tensor,
        shift: Shift | None = None,
    ) -> Tensor:
        """Return the mean cross-entropy of ``hidden @ table.T + bias``; 0 without rows.

        Args:
            hidden_RF: What is compared with the table.
            table_VF: One vector per class.
            bias_V: One number per class.
            target_R: The right class of each row.
            shift: What is added to some of the scores.
        """

    def compared(self, classes: int) -> int:
        """Return with how many of so many classes a row is compared, for counting FLOPs."""
