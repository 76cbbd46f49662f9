"""Time by part, where parts run inside one another: every moment belongs to the innermost one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn

METHODS = ("forward", "loss", "pretraining_loss", "compress", "bind")
"""What parts of our models are entered by; those that a module has are timed."""


class Stopwatch:
    """Adds up the seconds of named parts; what is in none of them has the name "".

    Args:
        device: A GPU works behind our back, so it is waited for whenever a part begins or ends.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self._open: list[str] = [""]
        self._since = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as this part."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a part, for callers that cannot use ``with``."""
        self._lap()
        self._open.append(name)

    def leave(self) -> None:
        """End the part that was entered last."""
        self._lap()
        if len(self._open) > 1:
            self._open.pop()

    def restart(self) -> None:
        """Forget all seconds; parts that are open stay open."""
        self._lap()
        self.seconds = {}

    def read(self) -> dict[str, float]:
        """Return the seconds of each part up to now."""
        self._lap()
        return dict(self.seconds)

    def _lap(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


@contextmanager
def timed(watch: Stopwatch, root: nn.Module, parts: dict[str, str]) -> Iterator[None]:
    """Let a stopwatch know when parts of a module are at work.

    Args:
        watch: The stopwatch.
        root: The module.
        parts: Path of a module inside the root to its part; what is inside it belongs to it too,
            unless a longer path says otherwise.
    """
    # In a module's own dictionary an attribute comes before the method of its class.
    before: list[tuple[nn.Module, str, Any]] = []
    for path, module in root.named_modules():
        part = part_of(path, parts)
        if part is None:
            continue
        for name in METHODS:
            method = getattr(module, name, None)
            if callable(method) and not isinstance(method, nn.Module):
                before.append((module, name, module.__dict__.get(name)))
                module.__dict__[name] = _timed(watch, part, method)
    try:
        yield
    finally:
        for module, name, own in before:
            if own is None:
                del module.__dict__[name]
            else:
                module.__dict__[name] = own


def part_of(path: str, parts: dict[str, str]) -> str | None:
    """Return the part of the longest given path that leads to a module or to what it is in."""
    inside = [given for given in parts if f"{path}.".startswith(f"{given}.")]
    return parts[max(inside, key=len)] if inside else None


def _timed(watch: Stopwatch, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def inner(*args: Any, **kwargs: Any) -> Any:
        with watch.part(part):
            return method(*args, **kwargs)

    return inner
