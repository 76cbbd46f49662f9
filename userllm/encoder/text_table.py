"""A table of item vectors that are made from texts, and an event embedding that reads with it.

Shape suffixes: R events of a batch without padding, E user width, F feature width, I items incl.
3 special ids, W sentence width.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, TEXT_FEATURE, Vocabulary
from userllm.encoder.embedding import INITIAL_STD, EventEmbedding
from userllm.encoder.event_text_table import EventTextTable


class TextTable(nn.Module):
    """Item vectors that are a learned map of frozen text vectors, in place of an embedding.

    Text vectors are a buffer outside of checkpoints: the sentence encoder makes them again.

    Args:
        vectors_IW: Text vectors; those of the special ids are zero.
        width: Width F of the item vectors.
        item_ids: Whether every item has a learned vector of its own beside its text.
    """

    vectors_IW: Tensor

    def __init__(self, *, vectors_IW: Tensor, width: int, item_ids: bool) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = len(vectors_IW), width
        self.item_ids = item_ids
        self.register_buffer("vectors_IW", vectors_IW, persistent=False)
        self.map = nn.Linear(vectors_IW.shape[1], width, bias=False)
        nn.init.normal_(self.map.weight, std=INITIAL_STD)
        # Special ids have no text, so they need vectors of their own in any case.
        self.own = nn.Embedding(self.num_embeddings if item_ids else FIRST_ID, width)
        nn.init.normal_(self.own.weight, std=INITIAL_STD)

    @property
    def weight(self) -> Tensor:
        """Return the vector of every item, [I, F]; made anew, so ask once a step."""
        if self.item_ids:
            return torch.addmm(self.own.weight, self.vectors_IW, self.map.weight.T)
        mapped_IF: Tensor = self.map(self.vectors_IW)
        mapped_IF[:FIRST_ID] += self.own.weight
        return mapped_IF

    def forward(self, ids_R: Tensor) -> Tensor:
        """Return the vectors of some items, [R, F], without making the others."""
        mapped_RF: Tensor = self.map(self.vectors_IW[ids_R])
        if self.item_ids:
            own_RF: Tensor = self.own(ids_R)
            return mapped_RF + own_RF
        special_RF: Tensor = self.own(ids_R.clamp(max=FIRST_ID - 1))
        return mapped_RF + special_RF * (ids_R < FIRST_ID)[:, None]


class TextEventEmbedding(EventEmbedding):
    """An event embedding that reads items, and what users wrote, by texts; see `EventEmbedding`.

    What was written is in none of ``tables``, which are what heads predict with.

    Args:
        vocabulary: Sizes of the id spaces.
        features: Names of the features to read, without the text.
        feature_width: Width F of each feature's table.
        width: Width E of the result.
        vectors_IW: Text vectors of the items.
        item_ids: Whether every item also has a learned vector.
        written: Reads what users wrote, of width ``feature_width["text"]``; None reads none of it.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        features: Sequence[str],
        feature_width: Mapping[str, int],
        width: int,
        vectors_IW: Tensor,
        item_ids: bool,
        written: EventTextTable | None,
    ) -> None:
        super().__init__(
            vocabulary=vocabulary, features=features, feature_width=feature_width, width=width
        )
        self.tables[ITEM_FEATURE] = TextTable(
            vectors_IW=vectors_IW, width=feature_width[ITEM_FEATURE], item_ids=item_ids
        )
        self.written = written
        if written is not None:
            fused = self.project.in_features + feature_width[TEXT_FEATURE]
            self.project = nn.Linear(fused, width)

    def _parts(self, ids: Mapping[str, Tensor]) -> list[Tensor]:
        parts = super()._parts(ids)
        return parts if self.written is None else [*parts, self.written(ids[TEXT_FEATURE])]

    def _look_up(self, name: str, ids: Tensor) -> Tensor:
        if name != ITEM_FEATURE:
            return super()._look_up(name, ids)
        # The whole table would be made for a few events of it.
        found: Tensor = self.tables[name](ids)
        return found
