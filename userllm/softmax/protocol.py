"""What every way of comparing states with a catalogue offers to a training loss.

Shape suffixes: R rows (events), F feature width, V classes.
"""

from typing import Protocol

from torch import Tensor


class CatalogueSoftmax(Protocol):
    """Cross-entropy of rows against one vector per class; every option of ``softmax`` is one."""

    def loss(self, hidden_RF: Tensor, table_VF: Tensor, bias_V: Tensor, target_R: Tensor) -> Tensor:
        """Return the mean cross-entropy of ``hidden @ table.T + bias``; 0 without rows.

        Args:
            hidden_RF: What is compared with the table.
            table_VF: One vector per class.
            bias_V: One number per class.
            target_R: The right class of each row.
        """

    def compared(self, classes: int) -> int:
        """Return with how many of so many classes a row is compared, for counting FLOPs."""
