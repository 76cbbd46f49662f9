"""The output layer of a language model, for the tokens that can be an answer.

A vocabulary of tens of thousands of tokens makes this layer dearer than a block. Where only some
tokens matter, it need not compute the others.

Shape suffixes: B batch, T kept positions, V chosen tokens, D text width.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel


class OutputLayer:
    """Lets a language model compute the logits of some tokens only.

    The model's own forward pass stays in charge: what it does to logits, it does to these.

    Args:
        lm: The language model.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        self.lm = lm
        lm.get_output_embeddings().register_forward_pre_hook(_side_by_side)
        self._tokens_V: Tensor | None = None
        self._some: _SomeTokens | None = None

    @contextmanager
    def limited_to(self, tokens_V: Tensor | None) -> Iterator[None]:
        """Let passes give logits ``[…, V]`` of these tokens, in this order; None is all tokens."""
        if tokens_V is None:
            yield
            return
        whole = self.lm.get_output_embeddings()
        learns = whole.weight.requires_grad
        moved = self._some is not None and self._some.weight_VD.device != whole.weight.device
        if self._some is None or tokens_V is not self._tokens_V or moved or learns:
            # Rows that are made while answering are to be of use in training too.
            with torch.inference_mode(torch.is_inference_mode_enabled() and learns):
                self._tokens_V, self._some = tokens_V, _SomeTokens(whole, tokens_V)
        self.lm.set_output_embeddings(self._some)
        try:
            yield
        finally:
            self.lm.set_output_embeddings(whole)


class _SomeTokens(nn.Module):
    """Some rows of an output layer, without parameters of its own."""

    def __init__(self, whole: nn.Module, tokens_V: Tensor) -> None:
        super().__init__()
        bias = getattr(whole, "bias", None)
        self.weight_VD: Tensor = whole.get_parameter("weight")[tokens_V]
        self.bias_V: Tensor | None = None if bias is None else bias[tokens_V]

    def forward(self, states: Tensor) -> Tensor:
        """Return the logits."""
        return F.linear(states.contiguous(), self.weight_VD, self.bias_V)


def _side_by_side(whole: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Put the kept positions ``[B, T, D]`` of a pass next to each other in memory.

    They are cut out of longer rows; of such, torch multiplies each row apart and reads all
    weights B times.
    """
    return (args[0].contiguous(), *args[1:])
