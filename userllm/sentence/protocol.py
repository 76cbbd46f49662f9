"""What every sentence encoder offers to encoders and contexts that read texts.

Shape suffixes: N texts, W sentence width.
"""

from typing import Protocol

from torch import Tensor


class SentenceEncoder(Protocol):
    """Turns texts into vectors that never learn; every option of ``sentence=`` is one."""

    @property
    def width(self) -> int:
        """Return W, which is known before any model is loaded."""
        ...

    def encode(self, texts: list[str]) -> Tensor:
        """Return one float32 vector per text, [N, W]; the vector of "" is zero.

        A text's vector does not depend on the other texts.

        Raises:
            UserError: The model is not to be had.
        """
        ...
