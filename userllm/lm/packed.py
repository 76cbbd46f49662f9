"""Read weights in the layout that a CPU multiplies fastest, while nothing learns.

A question is a few tokens, and torch's product of a few rows spends its time on arranging the
weights, anew in each call. oneDNN can keep them arranged: on one core of an AMD EPYC products of
14 rows take half of the time, those of 700 rows six sevenths. Public torch arranges weights only
inside `torch.compile`, which writes kernels anew for each length of a text; so the two operators
that it does that with are called here.
"""

import logging
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
ROWS = 16
"""Rows that the layout is chosen for. Of those tried that for 16 and for 256 are equally fast with
any number of rows; that for one is not."""


def pack(models: Iterable[nn.Module]) -> None:
    """Give linear layers a second copy of their weights that is read while no gradient is recorded.

    Only float32 on a CPU, where torch was built with oneDNN. Results differ from the plain ones in
    the last digits, as they do with another number of threads. Layers of equal storage share a
    copy. Weights that change afterwards are not noticed.

    Args:
        models: Models that will not learn any more.
    """
    if not available():
        log.info("this build of torch has no oneDNN: weights are read as they are")
        return
    copies: dict[int, Tensor] = {}
    for layer in (layer for model in models for layer in model.modules()):
        if type(layer) is nn.Linear and _can_be_packed(layer.weight.data):
            weight = layer.weight.data
            packed = copies.get(weight.data_ptr())
            if packed is None:
                with torch.inference_mode(False):
                    packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
                copies[weight.data_ptr()] = packed
            layer.forward = partial(_forward, layer, packed)  # type: ignore[method-assign]


def available() -> bool:
    """Return whether the operators are there."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in names
    )


def _can_be_packed(weight: Tensor) -> bool:
    # A part of a sharded weight is of another type.
    plain = type(weight) is Tensor and weight.layout is torch.strided
    return plain and weight.device.type == "cpu" and weight.dtype is torch.float32


def _forward(layer: nn.Linear, packed: Tensor, states: Tensor) -> Tensor:
    if torch.is_grad_enabled() or states.dtype is not torch.float32 or not states.numel():
        return nn.Linear.forward(layer, states)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        states.contiguous(), packed, layer.bias, "none", [], ""
    )
    return product
