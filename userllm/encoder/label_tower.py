"""The other half of a dual encoder: what an item is, seen as the next event of a history.

Shape suffixes: N items, I real items, G categories per item, E user width, K different labels.
"""

import torch
from torch import Tensor, nn

from userllm.data.vocabulary import CATEGORY_FEATURE, FIRST_ID, ITEM_FEATURE, Vocabulary
from userllm.encoder.embedding import EventEmbedding, check_known

KNOWN_BEFORE = (ITEM_FEATURE, CATEGORY_FEATURE)
PIECE = 65536
"""Items whose vectors are made at once for a whole catalogue."""


class LabelTower(nn.Module):
    """Makes a vector of what is known of an item before somebody meets it.

    That is the item itself and its categories. A rating belongs to an event, not to an item: it
    is not known of a candidate, so no label may read it, in training as in ranking.

    Source: User-LLM section 3.1 and appendix (label tower); paper.md 2.2.

    Args:
        vocabulary: Sizes of the id spaces, and the categories of each item.
        features: Some of item and category; with the category alone, items of equal categories
            are one label.
        feature_width: Width of each feature's table.
        width: Width E of the vectors.
    """

    item_categories_IG: Tensor
    label_of_item_I: Tensor
    item_of_label_K: Tensor

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        features: list[str],
        feature_width: dict[str, int],
        width: int,
    ) -> None:
        super().__init__()
        check_known(features, feature_width, vocabulary)
        if not set(features) <= set(KNOWN_BEFORE):
            raise ValueError(
                f"label features {features}: expected some of {list(KNOWN_BEFORE)}; nothing else "
                "is known of an item that is still to be met"
            )
        self.width = width
        self.features = features
        self.embedding = EventEmbedding(
            vocabulary=vocabulary, features=features, feature_width=feature_width, width=width
        )
        # Not persistent: a checkpoint holds what was learned, the corpus holds the rest.
        categories_IG = vocabulary.item_categories
        self.register_buffer("item_categories_IG", categories_IG, persistent=False)
        item_I = torch.arange(FIRST_ID, len(categories_IG))
        label_I = item_I - FIRST_ID
        if ITEM_FEATURE not in features:
            _, label_I = categories_IG[FIRST_ID:].unique(dim=0, return_inverse=True)
        item_K = torch.empty(int(label_I.max()) + 1, dtype=torch.long)
        item_K[label_I] = item_I
        self.register_buffer("label_of_item_I", label_I, persistent=False)
        self.register_buffer("item_of_label_K", item_K, persistent=False)

    def forward(self, item_N: Tensor) -> Tensor:
        """Return the vectors [N, E] of item ids."""
        ids = {ITEM_FEATURE: item_N, CATEGORY_FEATURE: self.item_categories_IG[item_N]}
        vectors: Tensor = self.embedding({name: ids[name] for name in self.features})
        return vectors

    def catalogue(self) -> Tensor:
        """Return the vectors of all item ids, [I+3, E], made piece by piece."""
        ids = torch.arange(len(self.item_categories_IG), device=self.item_categories_IG.device)
        return torch.cat([self(piece) for piece in ids.split(PIECE)])

    def labels(self, item_N: Tensor) -> Tensor:
        """Return which of the K different labels each real item id is."""
        return self.label_of_item_I[item_N - FIRST_ID]

    def items(self, label_N: Tensor) -> Tensor:
        """Return an item id that has each label."""
        return self.item_of_label_K[label_N]

    @property
    def count(self) -> int:
        """Return how many different labels there are."""
        return len(self.item_of_label_K)
