"""Turn (user, end) pairs into padded batches with one look-up per feature.

Shape suffixes: B batch, L events, G categories per item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from userllm.data.vocabulary import CATEGORY_FEATURE, ITEM_FEATURE, PAD

if TYPE_CHECKING:
    from userllm.data.corpus import Corpus

Array = NDArray[Any]


@dataclass
class EventBatch:
    """Histories of B users, oldest event first, padded with 0 on the right.

    Attributes:
        features: int64 ids per feature: "item" [B, L], "rating" [B, L], "category" [B, L, G],
            and "text" [B, L] where an encoder reads what users wrote.
        mask: bool [B, L]; False where there is only padding.
    """

    features: dict[str, Tensor]
    mask: Tensor

    def to(self, device: torch.device | str) -> EventBatch:
        """Return the batch on another device."""
        features = {name: value.to(device) for name, value in self.features.items()}
        return EventBatch(features, self.mask.to(device))


def ragged_gather(
    flat: Array, starts_B: Array, lengths_B: Array, *, pad_to: int | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """Return ``flat[start : start + length]`` of every row, padded with 0, and the mask.

    Args:
        flat: One value (or one row of values) per event; may be memory-mapped.
        starts_B: First position of each row.
        lengths_B: Number of positions of each row.
        pad_to: Columns of the result; None for the longest row.
    """
    index_BL, mask_BL = _ragged_index(starts_B, lengths_B, pad_to)
    return _take(flat, index_BL, mask_BL), mask_BL


def _ragged_index(
    starts_B: Array, lengths_B: Array, pad_to: int | None
) -> tuple[Array, NDArray[np.bool_]]:
    columns = int(lengths_B.max(initial=0)) if pad_to is None else pad_to
    position_L = np.arange(columns)
    mask_BL = position_L < lengths_B[:, None]
    return np.where(mask_BL, starts_B[:, None] + position_L, 0), mask_BL


def _take(flat: Array, index_BL: Array, mask_BL: NDArray[np.bool_]) -> Array:
    padded = np.asarray(flat[index_BL])
    padded[~mask_BL] = PAD
    return padded


class HistoryGather:
    """Makes batches of histories straight from a corpus's flat arrays.

    A feature that is added to the corpus later is in the batches made from then on.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.offsets = np.asarray(corpus.offsets)
        self.flat = corpus.features
        self.item_categories = np.asarray(corpus.item_categories)

    def __call__(
        self,
        users: Array,
        ends: Array,
        length: int,
        starts: Array | None = None,
        *,
        pad_to: int | None = None,
    ) -> EventBatch:
        """Return events ``max(start, end - length) .. end - 1`` of every user.

        Args:
            users: User codes, [B].
            ends: Positions in the user's history, [B]; event ``end`` itself is not included.
            length: Largest number of events, the latest ones are kept.
            starts: Earliest positions, [B]; None for the beginning of the history.
            pad_to: Columns of the batch; None for the longest history in it.
        """
        first = np.maximum(ends - length, 0 if starts is None else starts)
        index, mask = _ragged_index(self.offsets[users] + first, ends - first, pad_to)
        taken = {name: _take(flat, index, mask) for name, flat in self.flat.items()}
        taken[CATEGORY_FEATURE] = self.item_categories[taken[ITEM_FEATURE]]
        features = {name: torch.from_numpy(v.astype(np.int64)) for name, v in taken.items()}
        return EventBatch(features, torch.from_numpy(mask))
