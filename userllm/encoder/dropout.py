"""Dropout that does not wait for random numbers on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16
"""Values of 16 random bits, the steps of a probability."""


class Dropout(nn.Module):
    """Drops values while training and scales the others up, as ``nn.Dropout``; faster on a CPU.

    There torch draws one number after another, which took a tenth of an encoder's training time.
    One draw of its generator has 64 random bits, enough for four values, and comparing them fills
    a mask of floats. So the probability is a multiple of 2^-16, and the mean is kept exactly. The
    masks follow from torch's seed.

    Args:
        probability: Of dropping a value; at least 0 and below 1.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"dropout ({probability}) must be at least 0 and below 1")
        self.probability = probability
        self.dropped = min(round(probability * LEVELS), LEVELS - 1)

    def forward(self, values: Tensor) -> Tensor:
        """Return the values, some of them zero while training."""
        if not (self.training and self.dropped):
            return values
        if values.device.type != "cpu":
            return F.dropout(values, self.probability)
        kept: Tensor = values * self._mask(values)
        return kept

    def add(self, base: Tensor, values: Tensor) -> Tensor:
        """Return ``base + self(values)``, in one pass on a CPU."""
        if not (self.training and self.dropped and values.device.type == "cpu"):
            dropped: Tensor = self(values)
            return base + dropped
        return torch.addcmul(base, values, self._mask(values))

    def _mask(self, values: Tensor) -> Tensor:
        """Return what the values are multiplied with: 0, or what keeps the mean."""
        count = values.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[:count].view(values.shape)
        mask = torch.empty(values.shape, dtype=values.dtype)
        # Straight into floats: a mask of booleans costs five times as much to multiply with.
        torch.ge(bits, self.dropped - LEVELS // 2, out=mask)
        return mask.mul_(LEVELS / (LEVELS - self.dropped))
