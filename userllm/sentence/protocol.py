"""What every sentence encoder offers to encoders and contexts that read texts.

Shape suffixes: N texts, W sentence width.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

Encode = Callable[[list[str]], Tensor]
"""A loaded model: from texts to one vector per text, [N, W] on the CPU; nothing is kept on disk."""


class SentenceEncoder(Protocol):
    """Turns texts into vectors that never learn; every option of ``sentence=`` is one."""

    @property
    def width(self) -> int:
        """Return W, which is known before any model is loaded."""
        ...

    @property
    def identity(self) -> str:
        """Return everything that decides a text's vector beside the text: weights, pooling, ..."""
        ...

    def load(self) -> Encode:
        """Return the model itself, for whoever has texts by the million and keeps vectors.

        Raises:
            UserError: The model is not to be had.
        """
        ...

    def encode(self, texts: list[str]) -> Tensor:
        """Return one float32 vector per text, [N, W]; the vector of "" is zero.

        A text's vector does not depend on the other texts.

        Raises:
            UserError: The model is not to be had.
        """
        ...
