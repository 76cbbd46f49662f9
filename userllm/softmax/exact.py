"""Softmax over every class, made in chunks of rows.

Shape suffixes: R rows (events), F feature width, V classes, C rows of one chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from userllm.softmax.protocol import Shift

BYTES = 4
"""Of one score; scores are always float32."""

CACHED_ROWS = 256
"""Rows whose scores a CPU keeps near while it works on them; more are slower, not faster."""


class ExactSoftmax:
    """Compares every row with every class and keeps one chunk of scores at a time.

    A step grows with rows x classes, but its memory with classes x width only.

    A training step of 1,150 events at width 128 took 0.5 CPU seconds with 27 thousand items and 3.7
    with 271 thousand, where the process peaked at 0.7 and 1.7 GB; one product and
    ``F.cross_entropy`` took 0.5 and 8.8 and peaked at 1.3 and 7.7 GB. Two thirds of it are matrix
    products at the processor's full rate, so no exact softmax can be much faster there.

    Source: User-LLM section 3.1; paper.md 2.1 (softmax over up to 271 thousand items).

    Args:
        memory_mib: Most MiB of one chunk of scores; one row always fits.
    """

    def __init__(self, *, memory_mib: int) -> None:
        if memory_mib < 1:
            raise ValueError(f"memory_mib ({memory_mib}) must be at least 1")
        self.memory_mib = memory_mib

    def loss(
        self,
        hidden_RF: Tensor,
        table_VF: Tensor,
        bias_V: Tensor,
        target_R: Tensor,
        shift: Shift | None = None,
    ) -> Tensor:
        """Return the mean cross-entropy; 0 without rows."""
        rows = max(1, self.memory_mib * 2**20 // (BYTES * max(1, len(table_VF))))
        return linear_cross_entropy(hidden_RF, table_VF, bias_V, target_R, rows=rows, shift=shift)

    def compared(self, classes: int) -> int:
        """Return all of them."""
        return classes


class _LinearCrossEntropy(torch.autograd.Function):
    """Makes the gradients chunk by chunk in the forward pass, so that no scores are kept.

    Memory is rows x V instead of R x V. Because one buffer serves all chunks, it is also faster:
    a fresh score matrix at every step costs more in page faults than in arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_RF: Tensor,
        table_VF: Tensor,
        bias_V: Tensor,
        value: Tensor | None,
        target_R: Tensor,
        rows: int,
        shift: Shift | None,
    ) -> Tensor:
        grad_hidden_RF = torch.empty_like(hidden_RF)
        grad_table_VF = torch.zeros_like(table_VF)
        grad_bias_V = torch.zeros_like(bias_V)
        grad_value = None if value is None else torch.zeros_like(value)
        total = hidden_RF.new_zeros(())
        buffer_CV = hidden_RF.new_empty(min(rows, len(target_R)), len(table_VF))
        for start in range(0, len(target_R), rows):
            part = slice(start, start + rows)
            hidden_CF, target_C1 = hidden_RF[part], target_R[part, None]
            scores_CV = torch.addmm(bias_V, hidden_CF, table_VF.T, out=buffer_CV[: len(target_C1)])
            moved = None if shift is None else shift.rows(start, start + len(target_C1))
            if moved is not None and value is not None:
                values_P = value.expand(len(moved.row_P))
                scores_CV.index_put_((moved.row_P, moved.class_P), values_P, accumulate=True)
            total += _softmax_minus_target(scores_CV, target_C1)
            if moved is not None and grad_value is not None:
                grad_value += scores_CV[moved.row_P, moved.class_P].sum()
            torch.mm(scores_CV, table_VF, out=grad_hidden_RF[part])
            grad_table_VF.addmm_(scores_CV.T, hidden_CF)
            grad_bias_V += scores_CV.sum(dim=0)
        scale = ctx.scale = 1.0 / max(1, len(target_R))
        ctx.save_for_backward(grad_hidden_RF, grad_table_VF, grad_bias_V, grad_value)
        return total * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden_RF, table_VF, bias_V, value = ctx.saved_tensors
        grad = grad * ctx.scale
        of_value = None if value is None else value * grad
        return hidden_RF * grad, table_VF * grad, bias_V * grad, of_value, None, None, None


def _softmax_minus_target(scores_CV: Tensor, target_C1: Tensor) -> Tensor:
    """Put the loss's gradient in the place of scores, and return the sum of the losses.

    Exponentials are made once: the largest score and its probability give the normalizer, and as
    that probability is at least 1 / V, its logarithm is exact.
    """
    right_C1 = scores_CV.gather(1, target_C1)
    most_C1 = scores_CV.amax(dim=1, keepdim=True)
    torch.softmax(scores_CV, dim=1, out=scores_CV)
    log_sum_C1 = most_C1 - scores_CV.amax(dim=1, keepdim=True).log()
    minus_one_C1 = scores_CV.new_full((1, 1), -1.0).expand(target_C1.shape)
    scores_CV.scatter_add_(1, target_C1, minus_one_C1)
    total: Tensor = (log_sum_C1 - right_C1).sum()
    return total


def linear_cross_entropy(
    hidden_RF: Tensor,
    table_VF: Tensor,
    bias_V: Tensor,
    target_R: Tensor,
    *,
    rows: int,
    shift: Shift | None = None,
) -> Tensor:
    """Return the mean of ``cross_entropy(hidden @ table.T + bias, target)``; 0 without rows.

    Args:
        hidden_RF: What is compared with the table.
        table_VF: One vector per class.
        bias_V: One number per class.
        target_R: The right class of each row.
        rows: Most rows of scores that exist at the same time.
        shift: What is added to some of the scores.
    """
    # Exponentials of scores do not survive half precision.
    with torch.autocast(hidden_RF.device.type, enabled=False):
        tensors = (hidden_RF.float(), table_VF.float(), bias_V.float())
        if hidden_RF.device.type == "cpu":
            rows = min(rows, CACHED_ROWS)
        value = None if shift is None else shift.value.float()
        loss: Tensor = _LinearCrossEntropy.apply(*tensors, value, target_R, rows, shift)  # type: ignore[no-untyped-call]
    return loss
