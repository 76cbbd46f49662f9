"""Softmax over every class, made in chunks of rows.

Shape suffixes: R rows (events), F feature width, V classes, C rows of one chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BYTES = 4
"""Of one score; scores are always float32."""


class ExactSoftmax:
    """Compares every row with every class and keeps one chunk of scores at a time.

    A step grows with rows x classes, but its memory with classes x width only.

    A step of 1,600 events at width 128 took 0.8 CPU seconds with 27 thousand items and 7.3 with
    271 thousand, where the process peaked at 0.9 and 1.3 GiB. There, chunks of 256 MiB
    instead of 64 saved a tenth of the time and took 0.8 GiB more.

    Source: User-LLM section 3.1; paper.md 2.1 (softmax over up to 271 thousand items).

    Args:
        memory_mib: MiB of one chunk of scores; making it takes about three times as much, and one
            row always fits.
    """

    def __init__(self, *, memory_mib: int) -> None:
        if memory_mib < 1:
            raise ValueError(f"memory_mib ({memory_mib}) must be at least 1")
        self.memory_mib = memory_mib

    def loss(self, hidden_RF: Tensor, table_VF: Tensor, bias_V: Tensor, target_R: Tensor) -> Tensor:
        """Return the mean cross-entropy; 0 without rows."""
        rows = max(1, self.memory_mib * 2**20 // (BYTES * max(1, len(table_VF))))
        return linear_cross_entropy(hidden_RF, table_VF, bias_V, target_R, rows=rows)

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
        target_R: Tensor,
        rows: int,
    ) -> Tensor:
        grad_hidden_RF = torch.empty_like(hidden_RF)
        grad_table_VF = torch.zeros_like(table_VF)
        grad_bias_V = torch.zeros_like(bias_V)
        total = hidden_RF.new_zeros(())
        scale = 1.0 / max(1, len(target_R))
        for start in range(0, len(target_R), rows):
            part = slice(start, start + rows)
            hidden_CF, target_C1 = hidden_RF[part], target_R[part, None]
            scores_CV = torch.addmm(bias_V, hidden_CF, table_VF.T)
            log_sum_C1 = scores_CV.logsumexp(dim=1, keepdim=True)
            total += (log_sum_C1 - scores_CV.gather(1, target_C1)).sum()
            # Softmax minus one-hot, in place: the gradient of the loss by the scores.
            grad_CV = scores_CV.sub_(log_sum_C1).exp_()
            grad_CV.scatter_add_(
                1, target_C1, grad_CV.new_full((1, 1), -1.0).expand(target_C1.shape)
            )
            grad_CV.mul_(scale)
            torch.mm(grad_CV, table_VF, out=grad_hidden_RF[part])
            grad_table_VF.addmm_(grad_CV.T, hidden_CF)
            grad_bias_V += grad_CV.sum(dim=0)
        ctx.save_for_backward(grad_hidden_RF, grad_table_VF, grad_bias_V)
        return total * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden_RF, table_VF, bias_V = ctx.saved_tensors
        return hidden_RF * grad, table_VF * grad, bias_V * grad, None, None


def linear_cross_entropy(
    hidden_RF: Tensor, table_VF: Tensor, bias_V: Tensor, target_R: Tensor, *, rows: int
) -> Tensor:
    """Return the mean of ``cross_entropy(hidden @ table.T + bias, target)``; 0 without rows.

    Args:
        hidden_RF: What is compared with the table.
        table_VF: One vector per class.
        bias_V: One number per class.
        target_R: The right class of each row.
        rows: Rows of scores that exist at the same time.
    """
    # Exponentials of scores do not survive half precision.
    with torch.autocast(hidden_RF.device.type, enabled=False):
        tensors = (hidden_RF.float(), table_VF.float(), bias_V.float())
        loss: Tensor = _LinearCrossEntropy.apply(*tensors, target_R, rows)  # type: ignore[no-untyped-call]
    return loss
