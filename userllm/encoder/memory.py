"""User memory: what an encoder hands to a language model.

Shape suffixes: B batch, U user vectors, E user width, A real items.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class UserMemory:
    """Vectors that stand for a user, and which of them are real.

    Attributes:
        vectors_BUE: User vectors, oldest first where they stand for events; padded ones may hold
            anything.
        mask_BU: True where a vector is real. A user without events has none.
        state_BE: One vector for the whole history, for whoever ranks the next item with it; None
            where nobody can.
        log_prob_BA: Of each item as the next one, where an answer starts from it.
    """

    vectors_BUE: Tensor
    mask_BU: Tensor
    state_BE: Tensor | None = None
    log_prob_BA: Tensor | None = None
