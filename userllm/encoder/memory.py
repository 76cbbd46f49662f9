"""User memory: what an encoder hands to a language model.

Shape suffixes: B batch, U user vectors, E user width, I item ids.
"""

from dataclasses import dataclass

from torch import Tensor

from userllm.errors import UserError


@dataclass
class UserMemory:
    """Vectors that stand for a user, and which of them are real.

    Attributes:
        vectors_BUE: User vectors, oldest first where they stand for events; padded ones may hold
            anything.
        mask_BU: True where a vector is real. A user without events has none.
        state_BE: One vector for the whole history, for whoever ranks the next item with it; None
            where nobody can.
        scores_BI: The encoder's of each item as the next one, where an answer starts from them.
    """

    vectors_BUE: Tensor
    mask_BU: Tensor
    state_BE: Tensor | None = None
    scores_BI: Tensor | None = None

    def state_for(self, option: str) -> Tensor:
        """Return the vector for the whole history, [B, E].

        Args:
            option: What needs it, as it is typed.

        Raises:
            UserError: The encoder gives none, so it ranks no items.
        """
        if self.state_BE is None:
            raise UserError(
                f"{option}: this encoder gives no vector for a whole history. Expected an encoder "
                "that ranks the next item, such as encoder=autoregressive."
            )
        return self.state_BE
