"""A strong baseline without a single learned weight: what usually follows within a few events.

Shape suffixes: B users of a batch, I real items.
"""

from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from userllm.data.corpus import Corpus
from userllm.data.gather import HistoryGather
from userllm.data.split import Split
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.encoder.ranking import Ids
from userllm.transitions.counted import shares_of_followers


class WindowedMarkov:
    """Counts which items follow which within a window, and sums over a user's last events.

    score(j) = sum over the k-th last event i of decay^(k-1) * P(j | i), where P(j | i) is the
    share of j among all items seen up to ``window`` events after i.

    Args:
        window: Events after an item that count as following it.
        last: Events of a history that vote.
        decay: How much less each earlier event's vote weighs.
    """

    def __init__(self, *, window: int, last: int, decay: float) -> None:
        self.window = window
        self.last = last
        self.decay = decay
        self.follows_II = sparse.csr_array((0, 0))

    def fit(self, corpus: Corpus, split: Split) -> Self:
        """Count the pairs among the training events of each user."""
        self.gather = HistoryGather(corpus)
        self.follows_II, _ = shares_of_followers(corpus, split, self.window)
        return self

    def scores(self, users: Ids, ends: Ids) -> Tensor:
        """Return [B, I+3] from the last events before ``ends``; -inf for the special ids."""
        events = self.gather(users, ends, self.last)
        item_BL, mask_BL = events.features[ITEM_FEATURE].numpy(), events.mask.numpy()
        row_S, column_S = np.nonzero(mask_BL)
        weight_S = self.decay ** (mask_BL.sum(axis=1)[row_S] - 1 - column_S)
        shape = (len(users), self.follows_II.shape[0])
        votes_BI = sparse.csr_array((weight_S, (row_S, item_BL[row_S, column_S])), shape=shape)
        scores_BI = torch.from_numpy((votes_BI @ self.follows_II).toarray()).float()
        scores_BI[:, :FIRST_ID] = -torch.inf
        return scores_BI
