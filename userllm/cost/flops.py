"""FLOPs in closed form, because counters miss fused attention on CPU.

Convention, stated in every table: one multiply-add is 2 FLOPs; causal attention is counted in
full; embedding look-ups, norms and activations are not counted. The forms need shapes only, so
they also hold on the meta device, for models that no machine here can load. Every model part has
a ``flops`` method that adds up these three; lengths may be arrays, one entry per example.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Count = float | NDArray[np.float64]


@dataclass(frozen=True)
class Flops:
    """Work of one pass: multiplications with weights, and attention between activations.

    They are kept apart because the backward pass of attention costs twice its forward pass, while
    a weight matrix costs once for its input's gradient and once for its own.
    """

    weights: Count = 0.0
    attention: Count = 0.0

    def __add__(self, other: "Flops") -> "Flops":
        """Return the work of both."""
        return Flops(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Flops)))

    @property
    def total(self) -> Count:
        """All FLOPs of the forward pass."""
        return self.weights + self.attention

    def training(self, *, inputs: bool, learned_share: float) -> Count:
        """Return forward and backward FLOPs.

        Args:
            inputs: Whether the gradient passes through to the input.
            learned_share: Share of the weights that learn.
        """
        backward = self.weights + 2.0 * self.attention if inputs else 0.0
        return self.total + backward + learned_share * self.weights


def weight_count(*modules: nn.Module, learned: bool = False) -> int:
    """Return the number of weights that multiply activations; with ``learned``, that learn."""
    return sum(weight.numel() for weight in _weights(modules, learned))


def _weights(modules: Iterable[nn.Module], learned: bool) -> Iterator[Tensor]:
    for module in modules:
        for inner in module.modules():
            if isinstance(inner, nn.Linear | Conv1D):
                weight = inner.get_parameter("weight")
                if weight.requires_grad or not learned:
                    yield weight


def learned_share(*modules: nn.Module) -> float:
    """Return the share of multiplying weights that learn."""
    return weight_count(*modules, learned=True) / max(weight_count(*modules), 1)


def linear(rows: Count, weights: int) -> Flops:
    """Return the work of multiplying ``rows`` activation rows with so many weights."""
    return Flops(weights=2.0 * rows * weights)


def attention(queries: Count, keys: Count, width: int) -> Flops:
    """Return the work of scores and weighted sum; ``width`` is that of all heads together."""
    return Flops(attention=4.0 * queries * keys * width)
