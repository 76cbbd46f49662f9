"""The blocks of a language model below the first one that reads the user: its trunk.

What the trunk makes of a text is the same for every user, so it needs to run once for a text
that repeats. Like the hooks of contexts, this leaves modules and checkpoint keys alone.

Shape suffixes: B batch, S positions, D text width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.protocol import Context
from userllm.lm.blocks import decoder_blocks


class _Reached(Exception):  # noqa: N818 - not an error: it ends a pass that has what it was for
    """Carries the hidden states that arrive above the trunk."""

    def __init__(self, states_BSD: Tensor) -> None:
        self.states_BSD = states_BSD


class Trunk:
    """Runs a language model's lower blocks alone, or leaves them out.

    Args:
        lm: The language model.
        blocks: How many of its blocks are the trunk.
    """

    def __init__(self, lm: PreTrainedModel, blocks: int) -> None:
        self.lm, self.blocks = lm, blocks
        self._stop = False
        self._given_BSD: Tensor | None = None
        layers = decoder_blocks(lm)
        for block in layers[:blocks]:
            block.forward = partial(self._lower, block.forward)
        # In front of what contexts hooked: they change what is put here.
        layers[blocks].register_forward_pre_hook(self._enter, with_kwargs=True, prepend=True)

    def states(self, **inputs: Any) -> Tensor:
        """Return what arrives above the trunk ``[B, S, D]``; a cache is filled up to there.

        In the weights' own precision always: what is kept in mixed-precision training is read in
        scoring, which has full precision.

        Args:
            inputs: As of the language model itself.
        """
        self._stop = True
        try:
            with torch.autocast(self.lm.device.type, enabled=False):
                self.lm.base_model(**inputs)
        except _Reached as reached:
            return reached.states_BSD
        finally:
            self._stop = False
        raise RuntimeError(f"{type(self.lm).__name__} did not run its block {self.blocks}")

    @contextmanager
    def left_out(self, states_BSD: Tensor | None) -> Iterator[None]:
        """Let passes of the language model start above the trunk; None lets them run it."""
        self._given_BSD = states_BSD
        try:
            yield
        finally:
            self._given_BSD = None

    def _lower(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._given_BSD is None:
            return forward(*args, **kwargs)
        return args[0] if args else kwargs["hidden_states"]

    def _enter(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._stop:
            raise _Reached(args[0] if args else kwargs["hidden_states"])
        if self._given_BSD is None:
            return None
        if args:
            return (self._given_BSD, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": self._given_BSD}


def trunk_of(lm: PreTrainedModel, context: Context) -> Trunk | None:
    """Return the part of a tuned model that need not read a repeated text again.

    Where no block reads the user, the last one stays outside, so that there is something above.

    Args:
        lm: The language model, frozen as far as it will be.
        context: Attached to it.

    Returns:
        None where the user is read from the first block on, stands in the text, or where what the
        trunk makes of a text changes while it is trained.
    """
    blocks = decoder_blocks(lm)
    first = context.flops(1.0, 1.0).first_block
    count = len(blocks) - 1 if first is None else first
    trunk = [lm.get_input_embeddings(), *blocks[:count]]
    learns = any(p.requires_grad for module in trunk for p in module.parameters())
    in_text = context.text_events > 0 or context.summarizer is not None
    return None if count == 0 or learns or in_text else Trunk(lm, count)
