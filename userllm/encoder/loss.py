"""Cross-entropy over a whole catalogue without a whole score matrix.

Shape suffixes: R rows (events), F feature width, V ids of a feature, C rows of one chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


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
