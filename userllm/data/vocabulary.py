"""Which numbers stand for which values, so that encoders know how large their tables are.

Shape suffixes: I real items, G categories per item, L events.
"""

from dataclasses import dataclass

from torch import Tensor

PAD = 0
BOS = 1
UNKNOWN = 2
FIRST_ID = 3
"""Ids 0, 1 and 2 are padding, begin of history and unknown; real values start here."""

ITEM_FEATURE = "item"
CATEGORY_FEATURE = "category"
RATING_FEATURE = "rating"
TEXT_FEATURE = "text"
"""What the user wrote; read and never predicted, so no `Vocabulary` has a size for it."""


@dataclass(frozen=True)
class Vocabulary:
    """The sizes of the id spaces of a corpus, the three special ids included.

    Attributes:
        sizes: Ids per feature: ``{"item": I+3, "category": C+3, "rating": R+3}``.
        item_categories: Category ids of each item id, int64 [I+3, G], padded with 0; the rows of
            the special ids are 0. Lets an encoder look categories up by item.
        multi_valued: Features with several values per event, padded to [L, G].
    """

    sizes: dict[str, int]
    item_categories: Tensor
    multi_valued: frozenset[str] = frozenset({CATEGORY_FEATURE})
