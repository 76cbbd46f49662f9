"""The dual encoder's loss: which labels a state is told apart from, and how.

Shape suffixes: R events, E user width, C labels that are compared, O other labels.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from userllm.cost.flops import Count, Flops, linear, weight_count
from userllm.encoder.label_tower import LabelTower
from userllm.softmax.exact import linear_cross_entropy
from userllm.softmax.sampled import draw_others


class BatchContrast:
    """Softmax over similarities to the labels of a batch and to random others.

    Equal labels of a batch are one class, so none is a negative of itself. A class weighs as many
    events as it has in the batch. With ``log_q`` the logarithm of its share of the batch is
    subtracted from its score, so all classes weigh the same, and a random label stands for all
    that were not drawn: an unbiased estimate of the softmax's denominator over the catalogue.

    Source: paper.md 2.2, which says softmax over similarities; negatives, temperature and logQ
    correction (as in arXiv 1412.2007) are our choice.

    Args:
        temperature: What cosines are divided by.
        rows: Events whose labels are negatives of each other; bounds memory.
        random_items: Random labels of the catalogue that are negatives as well; 0 for none.
        log_q: Whether labels are corrected for how often a batch holds them.
    """

    def __init__(self, *, temperature: float, rows: int, random_items: int, log_q: bool) -> None:
        if temperature <= 0:
            raise ValueError(f"temperature ({temperature}) must be above 0")
        if rows < 1:
            raise ValueError(f"rows ({rows}) must be at least 1")
        self.temperature = temperature
        self.rows = rows
        self.random_items = random_items
        self.log_q = log_q

    def directions(self, vectors_RE: Tensor) -> Tensor:
        """Return vectors of such a length that their product is cosine / temperature."""
        return F.normalize(vectors_RE, dim=-1) * cast(float, self.temperature**-0.5)

    def loss(self, state_RE: Tensor, item_R: Tensor, label: LabelTower) -> Tensor:
        """Return the mean cross-entropy; 0 without rows.

        Args:
            state_RE: States, as :meth:`directions` returns them.
            item_R: The real item id that follows each.
            label: Makes the vectors of items.
        """
        total = state_RE.new_zeros(())
        for states, items in zip(state_RE.split(self.rows), item_R.split(self.rows), strict=True):
            share = len(items) / max(1, len(item_R))
            total = total + share * self._loss(states, items, label)
        return total

    def flops(self, events: Count, label: LabelTower, width: int) -> Flops:
        """Return the forward work of so many events, as in a batch of ``rows`` different labels."""
        compared = self.rows + self.random_items
        made = compared / self.rows * weight_count(label)
        return linear(events, round(made) + compared * width)

    def _loss(self, state_RE: Tensor, item_R: Tensor, label: LabelTower) -> Tensor:
        label_C, at_R, count_C = label.labels(item_R).unique(
            return_inverse=True, return_counts=True
        )
        other_O, log_weight = draw_others(label_C, label.count, self.random_items)
        log_label_C = count_C.float().log() * (not self.log_q)
        log_other_O = torch.full_like(other_O, log_weight * self.log_q, dtype=torch.float32)
        return linear_cross_entropy(
            state_RE,
            self.directions(label(label.items(torch.cat([label_C, other_O])))),
            torch.cat([log_label_C, log_other_O]),
            at_R,
            rows=self.rows,
        )
