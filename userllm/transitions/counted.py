"""What usually follows the last events, counted, as a part of an encoder's ranking.

Shape suffixes: B batch, L events, S events that vote, I item ids incl. 3 special ones, K followers.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from userllm.data.corpus import Corpus
from userllm.data.gather import EventBatch
from userllm.data.split import Split
from userllm.data.vocabulary import ITEM_FEATURE
from userllm.data.windows import training_positions


class Transitions(nn.Module):
    """Adds ``weight`` times the log-probability that an item follows a user's last events.

    p(j) = sum over the k-th last event i of decay^(k-1) P(j | i), divided by the sum of the decays,
    where P(j | i) is the share of j among the items seen up to ``window`` training events after i.
    States generalize and counts remember: together they rank better than either.

    Counted from training events alone whenever an encoder is made or loaded, so no checkpoint holds
    them; nothing of it is learned. Every pair of a training window is among the counts, so what
    learns beside them as they are trusts them too much. The pretraining loss is that of the states
    alone, and what learns behind the ranking leaves each question's own answer out of the counts.

    Source: ours, beyond the paper; the counts are those of `WindowedMarkov`, and scores of both are
    added as in Fossil (arXiv 1609.09152).

    Args:
        window: Events after an item that count as following it.
        last: Events of a history that vote.
        decay: How much less each earlier event's vote weighs.
        weight: Of the counts; the encoder's own scores weigh 1.
        floor: Probability added to every item, so that what never followed is possible.
        followers: Most followers K kept of an item, the most frequent ones.
    """

    follower_IK: Tensor
    share_IK: Tensor
    total_I: Tensor

    def __init__(
        self, *, window: int, last: int, decay: float, weight: float, floor: float, followers: int
    ) -> None:
        super().__init__()
        self.window, self.last, self.decay = window, last, decay
        self.weight, self.floor, self.followers = weight, floor, followers
        self.register_buffer("follower_IK", torch.empty(0, 0, dtype=torch.int32), persistent=False)
        self.register_buffer("share_IK", torch.empty(0, 0), persistent=False)
        self.register_buffer("total_I", torch.empty(0), persistent=False)

    def fit(self, corpus: Corpus, split: Split) -> None:
        """Count the pairs among the training events of each user."""
        shares_II, total_I = shares_of_followers(corpus, split, self.window)
        items = shares_II.shape[0]
        shape = (items, min(self.followers, items))
        follower_IK, share_IK = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        for item in range(items):
            part = slice(*shares_II.indptr[item : item + 2])
            share, follower = shares_II.data[part], shares_II.indices[part]
            best = np.argsort(-share, kind="stable")[: shape[1]]
            follower_IK[item, : len(best)] = follower[best]
            share_IK[item, : len(best)] = share[best]
        device = self.share_IK.device
        self.follower_IK = torch.from_numpy(follower_IK).to(device)
        self.share_IK = torch.from_numpy(share_IK).to(device)
        self.total_I = torch.from_numpy(total_I.astype(np.float32)).to(device)

    def add(self, scores_BI: Tensor, events: EventBatch, answer_B: Tensor | None = None) -> Tensor:
        """Return the scores of the next item with what the counts say of it.

        Args:
            scores_BI: The encoder's own.
            events: What it read.
            answer_B: Ids of the items that came next, of training questions: their pairs with the
                events are left out. None counts all.
        """
        age_BL = events.mask.flip(1).cumsum(dim=1).flip(1) - 1
        row_S, place_S = (events.mask & (age_BL < self.last)).nonzero(as_tuple=True)
        age_S, item_S = age_BL[row_S, place_S], events.features[ITEM_FEATURE][row_S, place_S]
        vote_S, share_SK = self.decay ** age_S.float(), self.share_IK[item_S]
        if answer_B is not None:
            share_SK = self._without(answer_B[row_S], row_S, item_S, age_S)
        total_B = vote_S.new_zeros(len(scores_BI)).index_add_(0, row_S, vote_S)
        given_SK = (vote_S / total_B[row_S])[:, None] * share_SK
        place_SK = (self.follower_IK[item_S].long(), row_S[:, None].expand_as(given_SK))
        prob_BI = torch.zeros_like(scores_BI, dtype=torch.float32)
        prob_BI.index_put_(place_SK[::-1], given_SK, accumulate=True)
        return scores_BI + self.weight * (prob_BI + self.floor).log().to(scores_BI.dtype)

    def _without(self, answer_S: Tensor, row_S: Tensor, item_S: Tensor, age_S: Tensor) -> Tensor:
        """Return the shares [S, K] as if the events' own pairs with the answer were not counted."""
        total_S = self.total_I[item_S]
        _, same_S = torch.unique(torch.stack([row_S, item_S]), dim=1, return_inverse=True)
        near_S = (age_S < self.window).to(total_S.dtype)
        own_S = torch.zeros_like(near_S).index_add_(0, same_S, near_S)[same_S]
        is_answer_SK = self.follower_IK[item_S] == answer_S[:, None]
        count_SK = self.share_IK[item_S] * total_S[:, None] - is_answer_SK * own_S[:, None]
        # Rounding may leave a little less than nothing.
        return count_SK.clamp(min=0) / (total_S - own_S).clamp(min=1)[:, None]


def fit_transitions(encoder: object, corpus: Corpus, split: str) -> None:
    """Count what the encoder's ranking needs counted, where it has such a part.

    Args:
        encoder: Any encoder.
        corpus: The data.
        split: Name of the split whose training events are counted.
    """
    transitions = getattr(encoder, "transitions", None)
    if transitions is not None:
        transitions.fit(corpus, corpus.split(split))


def shares_of_followers(
    corpus: Corpus, split: Split, window: int
) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """Return the share of each item among all that follow an item [I+3, I+3], and their number.

    Args:
        corpus: The data.
        split: Which events may be counted: each user's training events.
        window: Events after an item that count as following it.
    """
    items = corpus.features[ITEM_FEATURE][training_positions(corpus, split)]
    users = np.repeat(np.arange(len(split.train_end)), split.train_end)
    size = corpus.vocabulary.sizes[ITEM_FEATURE]
    counts_II = sparse.csr_array((size, size), dtype=np.float64)
    for distance in range(1, window + 1):
        same = users[distance:] == users[:-distance]
        pair = (items[:-distance][same], items[distance:][same])
        counts_II += sparse.csr_array((np.ones(int(same.sum())), pair), shape=(size, size))
    total_I = counts_II.sum(axis=1)
    shares_II = sparse.csr_array(sparse.diags_array(1.0 / np.maximum(total_I, 1.0)) @ counts_II)
    return shares_II, total_I
