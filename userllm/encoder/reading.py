"""One more event without reading the history again: what causal encoders keep of it.

Shape suffixes: B histories, P positions (the begin of history comes first), W width of what is
kept of a position.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.encoder.protocol import UserEncoder
from userllm.errors import UserError


class Reading:
    """What was made of B histories so far: per layer keys and values, and the states.

    A causal encoder never changes them when an event follows, so the event costs one position
    instead of all. Histories may differ in length.

    Args:
        mask_BP: True where a position was read; the begin of history is one.
        room: Most positions of a history.

    Attributes:
        count_B: Positions of each history.
        most: Width of the padded batch; no history has more positions.
        equal: Whether every history has as many as that.
    """

    def __init__(self, mask_BP: Tensor, *, room: int) -> None:
        self.room = room
        self.count_B = mask_BP.sum(dim=1)
        # Known from here on without asking a device.
        self.equal = bool(mask_BP.all())
        self.most = mask_BP.shape[1]
        self._kept: dict[nn.Module, Tensor] = {}

    def mask(self) -> Tensor:
        """Return which positions are real, [B, P]."""
        return torch.arange(self.most, device=self.count_B.device) < self.count_B[:, None]

    def keep(self, maker: nn.Module, made_BPW: Tensor) -> None:
        """Keep what a module made of the first positions."""
        room_BPW = made_BPW.new_zeros(len(made_BPW), self.room, made_BPW.shape[2])
        room_BPW[:, : made_BPW.shape[1]] = made_BPW
        self._kept[maker] = room_BPW

    def extend(self, maker: nn.Module, made_BW: Tensor) -> Tensor:
        """Keep what a module made of the next position; return all of its, [B, P, W]."""
        room_BPW = self._kept[maker]
        if self.equal:
            room_BPW[:, self.most - 1] = made_BW
        else:
            room_BPW[torch.arange(len(made_BW), device=made_BW.device), self.count_B - 1] = made_BW
        return room_BPW[:, : self.most]

    def advance(self) -> "Step":
        """Make room for one more event of every history, and say where it is.

        Raises:
            ValueError: If a history is as long as the encoder can read.
        """
        if self.most == self.room:
            raise ValueError(
                f"a history is full ({self.room - 1} events): positions are learned, so dropping "
                "its first event changes all vectors; start again with its latest events, fewer "
                "of them to have room for more"
            )
        self.count_B, self.most = self.count_B + 1, self.most + 1
        return Step(self)


class Step:
    """A layout of one new position per history; see `userllm.encoder.transformer.Layout`."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.shape = torch.Size((len(reading.count_B), reading.most))
        self.position_R = reading.count_B - 1

    def pack(self, one_B1E: Tensor) -> Tensor:
        """Return the new position of everybody as rows."""
        return one_B1E.flatten(0, 1)


@runtime_checkable
class AppendingEncoder(UserEncoder, Protocol):
    """A user encoder that reads one more event in one step."""

    def start(self, events: EventBatch) -> tuple[UserMemory, Reading]:
        """Return the memory of histories, and what `append` needs."""

    def append(self, reading: Reading, event: EventBatch) -> UserMemory:
        """Return the memory after one more event [B, 1] of everybody; changes ``reading``."""

    def append_flops(self, events: Count) -> Flops:
        """Return the work of one more event behind so many."""


def appending(encoder: UserEncoder) -> AppendingEncoder:
    """Return the encoder if it can read one more event in a step.

    Raises:
        UserError: If a new event changes what it made of the earlier ones.
    """
    if not isinstance(encoder, AppendingEncoder):
        raise UserError(
            f"{type(encoder).__name__} cannot append an event: it is not causal, so every vector "
            "changes with it. Read the whole history again, or take encoder=autoregressive or "
            "encoder=dual."
        )
    return encoder
