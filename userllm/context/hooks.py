"""Three places in a decoder block where the residual stream can be changed.

Hooks leave the block's modules and checkpoint keys alone. Each function takes a block and what
maps the hidden states ``[B, T, D]`` at that place to what is added to them, or replaces them.

Shape suffixes: B batch, T text tokens, D text width.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from userllm.lm.blocks import attention_branch, feed_forward_branch

Change = Callable[[Tensor], Tensor]


def before_block(block: nn.Module, change: Change) -> None:
    """Add to the hidden states that enter the block."""

    def hook(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden_BTD = _entering(args, kwargs)
        changed_BTD = hidden_BTD + change(hidden_BTD)
        if args:
            return (changed_BTD, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": changed_BTD}

    block.register_forward_pre_hook(hook, with_kwargs=True)


def after_attention(block: nn.Module, change: Change) -> None:
    """Add to the stream between self-attention and feed-forward.

    Where a block runs both in parallel, what is added joins the attention branch.
    """
    hook = _AfterAttention(change)
    block.register_forward_pre_hook(hook.remember, with_kwargs=True)
    attention_branch(block).register_forward_hook(hook.add)


def instead_of_stream(block: nn.Module, replace: Change) -> None:
    """Replace the stream between self-attention and feed-forward, for good.

    The feed-forward reads what ``replace`` makes of the stream, and its output alone leaves the
    block: the residual around it is dropped. Nothing is computed twice and nothing is subtracted,
    which would cost half-precision models the digits of a small output beside a large stream.

    Raises:
        UserError: The block runs attention and feed-forward in parallel, so that nothing that
            changes the stream reaches its feed-forward.
    """
    entry, branch = feed_forward_branch(block)
    hook = _BranchAlone()
    entry.register_forward_pre_hook(lambda _, args: (replace(args[0]), *args[1:]))
    branch.register_forward_hook(hook.remember)
    block.register_forward_hook(hook.leave)


class _AfterAttention:
    """Remembers what enters the block, because the attention branch does not see it."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.entered_BTD: Tensor | None = None

    def remember(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.entered_BTD = _entering(args, kwargs)

    def add(self, branch: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        entered_BTD, attended_BTD = self.entered_BTD, _first(output)
        self.entered_BTD = None
        return _with_first(output, attended_BTD + self.change(entered_BTD + attended_BTD))


class _BranchAlone:
    """Carries the output of the feed-forward past the sum at the end of the block."""

    def __init__(self) -> None:
        self.left_BTD: Tensor | None = None

    def remember(self, branch: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.left_BTD = _first(output)

    def leave(self, block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        left_BTD, self.left_BTD = self.left_BTD, None
        return _with_first(output, left_BTD)


def _entering(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs["hidden_states"]


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def _with_first(output: Any, replacement: Tensor | None) -> Any:
    return (replacement, *output[1:]) if isinstance(output, tuple) else replacement
