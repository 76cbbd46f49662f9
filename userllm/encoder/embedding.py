"""From the ids of an event's features to one vector.

Shape suffixes: R events of a batch without padding, G categories per item, E user width.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, PAD, TEXT_FEATURE, UNKNOWN, Vocabulary

INITIAL_STD = 0.02


class EventEmbedding(nn.Module):
    """Looks every feature up, concatenates, and projects to the encoder's width.

    Source: User-LLM section 3.1 (early fusion).

    Args:
        vocabulary: Sizes of the id spaces, and which features have several values.
        features: Names of the features to read.
        feature_width: Width F of each feature's table.
        width: Width E of the result.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        features: Sequence[str],
        feature_width: Mapping[str, int],
        width: int,
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(vocabulary.sizes[name], feature_width[name]) for name in features}
        )
        for name in features:
            nn.init.normal_(self.table(name).weight, std=INITIAL_STD)
        self.project = nn.Linear(sum(feature_width[name] for name in features), width)

    def forward(self, ids: Mapping[str, Tensor]) -> Tensor:
        """Return [R, E] from ids [R], or [R, G] where a feature has several values."""
        fused: Tensor = self.project(torch.cat(self._parts(ids), dim=-1))
        return fused

    def table(self, name: str) -> nn.Embedding:
        """Return the table of one feature."""
        return cast(nn.Embedding, self.tables[name])

    def _parts(self, ids: Mapping[str, Tensor]) -> list[Tensor]:
        return [self._look_up(name, ids[name]) for name in self.tables]

    def _look_up(self, name: str, ids: Tensor) -> Tensor:
        table = self.table(name).weight
        if ids.dim() == 1:
            return F.embedding(ids, table)
        # Padding is left out of the mean; an event without any value gets zeros.
        return F.embedding_bag(ids, table, mode="mean", padding_idx=PAD)


def hide_items(item_R: Tensor, share: float) -> Tensor:
    """Return items of which a random share is unknown, so that no state leans on one of them."""
    if share == 0.0:
        return item_R
    hidden_R = torch.rand(item_R.shape, device=item_R.device) < share
    return item_R.masked_fill(hidden_R & (item_R >= FIRST_ID), UNKNOWN)


def check_features(
    features: Sequence[str], feature_width: Mapping[str, int], vocabulary: Vocabulary
) -> None:
    """Refuse features without the item, that the data does not have, or that have no width.

    Raises:
        ValueError: Naming what was given and what there is.
    """
    if ITEM_FEATURE not in features:
        raise ValueError(
            f"features {list(features)}: expected 'item' and any of {sorted(vocabulary.sizes)}"
        )
    check_known(features, feature_width, vocabulary)


def check_known(
    features: Sequence[str], feature_width: Mapping[str, int], vocabulary: Vocabulary
) -> None:
    """Refuse features that the data does not have or that have no width.

    Raises:
        ValueError: Naming what was given and what there is.
    """
    if not features or [name for name in features if name not in vocabulary.sizes]:
        hint = f"; {TEXT_FEATURE}: encoder=autoregressive_text" if TEXT_FEATURE in features else ""
        given = f"features {list(features)}: expected any of {sorted(vocabulary.sizes)}"
        raise ValueError(given + hint)
    without = [name for name in features if name not in feature_width]
    if without:
        raise ValueError(f"feature_width has no entry for {without}")
