"""The floor of every ranking: what everybody likes.

Shape suffixes: B users of a batch, I real items.
"""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from userllm.data.corpus import Corpus
from userllm.data.split import Split
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.data.windows import training_positions
from userllm.encoder.ranking import Ids


class Popularity:
    """Scores an item by how often it occurs among the training events."""

    def __init__(self) -> None:
        self.counts_I = torch.empty(0)

    def fit(self, corpus: Corpus, split: Split) -> Self:
        """Count the training events."""
        items = corpus.features[ITEM_FEATURE][training_positions(corpus, split)]
        counts = np.bincount(items, minlength=corpus.vocabulary.sizes[ITEM_FEATURE])
        self.counts_I = torch.from_numpy(counts.astype(np.float32))
        self.counts_I[:FIRST_ID] = -torch.inf
        return self

    def scores(self, users: Ids, ends: Ids) -> Tensor:
        """Return the same scores for everybody, [B, I+3]; -inf for the special ids."""
        return self.counts_I.repeat(len(users), 1)


def events_of_targets(corpus: Corpus, split: Split, users: Ids, cuts: Ids) -> Ids:
    """Return in how many training events the item at each cut occurs, [B]; 0 is an unseen item."""
    counts_I = Popularity().fit(corpus, split).counts_I.clamp(min=0).numpy().astype(np.int64)
    at = np.asarray(corpus.offsets)[users] + cuts
    events: Ids = counts_I[corpus.features[ITEM_FEATURE][at]]
    return events
