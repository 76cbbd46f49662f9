"""What an option of ``memory=`` must offer: it stands between the user encoder and the context."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import nn
from transformers import PreTrainedModel

from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.encoder.protocol import UserEncoder


@dataclass(frozen=True)
class MemoryFlops:
    """Forward work for one user, with a ready item table.

    Attributes:
        choosing: Which no gradient passes.
        making: Of vectors from inputs that learn nothing.
    """

    choosing: Flops
    making: Flops


class Memory(Protocol):
    """From what an encoder made of histories to what a context is given of them."""

    def attach(self, model: PreTrainedModel) -> None:
        """Look at the language model that is going to read the vectors, once."""
        ...

    def __call__(self, encoded: UserMemory, events: EventBatch, encoder: UserEncoder) -> UserMemory:
        """Return what the context is given; nothing of a user without events.

        Args:
            encoded: What the encoder made of the events, cut to what the context asks for.
            events: The events.
            encoder: The encoder.
        """
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield its weights, as any module does."""
        ...

    def vectors(self, states: Count) -> Count:
        """Return how many vectors the context is given of so many of the encoder's."""
        ...

    def flops(self, encoder: UserEncoder) -> MemoryFlops:
        """Return the work beside the encoder's own."""
        ...
