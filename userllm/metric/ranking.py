"""Where the held-out item stands in a ranking of the whole catalogue.

Shape suffixes: B users of a batch, I items, N users. Never sampled.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = NDArray[np.float64]


def rank_of_target(scores_BI: Tensor, target_B: Tensor, seen_BI: Tensor | None = None) -> Tensor:
    """Return the 1-based rank of each user's held-out item; ties count against the model.

    Scores that are not numbers count against it too, and an item that may not be ranked at all
    comes last.

    Args:
        scores_BI: One score per user and catalogue item; -inf where there is no such item.
        target_B: Column of the held-out item.
        seen_BI: True where the item is in the user's history and must not be ranked.
    """
    if seen_BI is not None:
        scores_BI = scores_BI.masked_fill(seen_BI, -torch.inf)
    target_B1 = scores_BI.gather(1, target_B[:, None])
    # "Not below" counts the target itself, what it ties with, and comparisons with NaN.
    return (~(scores_BI < target_B1)).sum(dim=1)


class Ranking:
    """Turns ranks into the metrics of a table.

    Args:
        cutoffs: The k of every recall@k.
        mask_seen: Whether items of the user's history are left out of the ranking.
    """

    NDCG_CUTOFF = 10

    def __init__(self, *, cutoffs: Sequence[int], mask_seen: bool) -> None:
        self.cutoffs = tuple(cutoffs)
        self.mask_seen = mask_seen
        if not self.cutoffs or min(self.cutoffs) < 1:
            raise ValueError(f"cutoffs must be numbers from 1 on, got {list(cutoffs)}")

    @property
    def primary(self) -> str:
        """Name of the metric that tables sort by: recall@10, or at the largest cutoff."""
        return f"recall@{10 if 10 in self.cutoffs else max(self.cutoffs)}"

    def per_user(self, rank_N: NDArray[np.int64]) -> dict[str, Values]:
        """Return one value per user and metric, each between 0 and 1.

        With a single relevant item, recall@k is whether it is among the first k, nDCG@10 is
        1 / log2(1 + rank) there, and MRR is 1 / rank over the whole catalogue.
        """
        rank_N = np.asarray(rank_N)
        if len(rank_N) and rank_N.min() < 1:
            raise ValueError(f"ranks start at 1, got {rank_N.min()}")
        metrics = {f"recall@{k}": (rank_N <= k).astype(np.float64) for k in self.cutoffs}
        gain_N = 1.0 / np.log2(1.0 + rank_N)
        metrics[f"ndcg@{self.NDCG_CUTOFF}"] = np.where(rank_N <= self.NDCG_CUTOFF, gain_N, 0.0)
        metrics["mrr"] = 1.0 / rank_N
        return metrics

    def protocol(self, *, mask_seen: bool) -> str:
        """Return what a reader has to know before comparing two tables, in one line."""
        seen = "not ranked" if mask_seen else "ranked"
        cutoffs = ", ".join(map(str, self.cutoffs))
        return f"full catalogue, seen items {seen}, ties count against, k = {cutoffs}"
