"""Softmax over a sample of the classes, for catalogues whose whole softmax takes too long.

Shape suffixes: R rows (events), F feature width, V classes, C classes of one sample, S samples,
T different targets, O other classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from userllm.softmax.exact import linear_cross_entropy
from userllm.softmax.protocol import Shift


class SampledSoftmax:
    """Compares rows with the targets of their group and with random other classes.

    The targets of a group, each once, fill up to half of a sample; classes drawn uniformly and
    without repetition from all others fill the rest. The former stand for themselves; each of the
    latter stands for (other classes) / (others drawn), so the logarithm of that is added to its
    score (logQ correction, arXiv 1412.2007). Given the batch, the estimate of the softmax's
    denominator is unbiased for every row; a class is in a sample at most once, so none is target
    and negative at the same time; and a sample that holds all classes is the exact softmax.

    Popular classes need no counts of their own: targets bring them in as often as they occur.
    A log-uniform draw would need ids in order of frequency, which a vocabulary does not have.

    Scores exist for one group at a time, at most classes^2 / 2 of them. Of the table only the
    sampled rows are multiplied, but its gradient is dense: the same table embeds the events, and
    AdamW moves every row at every step, since the moments of an absent row decay as well. It is
    made once a step, from all groups together.

    A training step of 1,150 events at width 128 took 0.19 CPU seconds with 27 thousand items and
    0.25 with 271 thousand, for samples of 8,192 (exact: 0.5 and 3.7); the process peaked at 0.7 and
    1.7 GB.

    Args:
        classes: Classes that a row is compared with; at least 2.
    """

    def __init__(self, *, classes: int) -> None:
        if classes < 2:
            raise ValueError(f"classes ({classes}) must be at least 2: a target and another one")
        self.classes = classes

    def loss(
        self,
        hidden_RF: Tensor,
        table_VF: Tensor,
        bias_V: Tensor,
        target_R: Tensor,
        shift: Shift | None = None,
    ) -> Tensor:
        """Return an estimate of the mean cross-entropy; 0 without rows."""
        groups = target_R.split(self.rows)
        drawn = [self._draw(target, len(table_VF)) for target in groups]
        class_SC = torch.cat([class_C for class_C, _, _ in drawn])
        sizes = [len(class_C) for class_C, _, _ in drawn]
        parts = zip(
            hidden_RF.split(self.rows),
            F.embedding(class_SC, table_VF).split(sizes),
            bias_V[class_SC].split(sizes),
            drawn,
            strict=True,
        )
        total = hidden_RF.new_zeros((), dtype=torch.float32)
        start = 0
        for hidden, table_CF, bias_C, (class_C, log_weight_C, at_R) in parts:
            end = start + len(at_R)
            moved = None if shift is None else shift.rows(start, end).among(class_C, len(table_VF))
            mean = linear_cross_entropy(
                hidden, table_CF, bias_C + log_weight_C, at_R, rows=self.rows, shift=moved
            )
            start = end
            total = total + mean * (len(at_R) / max(1, len(target_R)))
        return total

    @property
    def rows(self) -> int:
        """Return how many rows share a sample, so few that others fill half of it."""
        return self.classes // 2

    def compared(self, classes: int) -> int:
        """Return the size of a sample."""
        return min(classes, self.classes)

    def _draw(self, target_R: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a group's sample, the logarithm of its weights, and where the targets are."""
        target_T, at_R = target_R.unique(return_inverse=True)
        other_O, log_weight = draw_others(target_T, classes, self.classes - len(target_T))
        log_weights = (torch.zeros_like(target_T), torch.full_like(other_O, 1))
        return torch.cat([target_T, other_O]), torch.cat(log_weights) * log_weight, at_R


def draw_others(taken_T: Tensor, classes: int, count: int) -> tuple[Tensor, float]:
    """Draw classes that are not taken, uniformly, without repetition, by torch's own generator.

    Args:
        taken_T: Classes to leave out.
        classes: Number of all classes V.
        count: How many to draw; fewer where there are fewer.

    Returns:
        The drawn classes, and the logarithm of how many others each of them stands for.
    """
    is_other_V = torch.ones(classes, dtype=torch.bool, device=taken_T.device)
    is_other_V[taken_T] = False
    other_O = is_other_V.nonzero().squeeze(1)
    drawn_O = other_O[torch.randperm(len(other_O), device=taken_T.device)[:count]]
    return drawn_O, math.log(len(other_O) / len(drawn_O)) if len(drawn_O) else 0.0
