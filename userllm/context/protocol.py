"""What a way of giving a user to a language model must offer.

A context is two choices: how the user memory enters the model (not at all, as soft prompt, by
cross-attention) and how many recent events are also written as text.

Shape suffixes: B batch, P prefix positions, D text width.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.summarizer.protocol import Summarizer


@dataclass(frozen=True)
class ContextFlops:
    """Forward work of a context for one question.

    Attributes:
        memory: Done once per user; can be cached.
        compression: The part of it that comes before the vectors that are stored.
        reading: Done by every text token, in all reading blocks together.
        first_block: The lowest block whose input depends on the user; None when none does.
        learned_inputs: Whether something of the context's own learns in front of the memory's
            products, so that a gradient passes through them even when the encoder is frozen.
    """

    memory: Flops
    reading: Flops
    first_block: int | None
    learned_inputs: bool
    compression: Flops = field(default_factory=Flops)


class Context(Protocol):
    """One way a user reaches the language model; every option of ``context=`` is one.

    Attributes:
        text_events: How many of the last events are written into the prompt.
        reads_memory: Whether an encoder is needed at all.
        memory_events: How many of the encoder's last vectors it asks for; None is all.
        memory_width: Width of the vectors of :meth:`compress`; 0 where there are none.
        keys_values_width: Numbers that blocks store for each vector that they read by
            cross-attention; 0 where none does.
        summarizer: Who writes the summary that stands in the prompt; None writes none.
    """

    text_events: int
    reads_memory: bool
    memory_events: int | None
    memory_width: int
    keys_values_width: int
    summarizer: Summarizer | None

    def attach(self, model: PreTrainedModel) -> None:
        """Connect to the language model, once, without changing its weights or its keys."""
        ...

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory | None:
        """Return what the language model will read of the users.

        Args:
            encoded: What the encoder made of the events; None for contexts that need no encoder.
            events: The events themselves, for contexts with their own way to read them.
        """
        ...

    def bind(self, memory: UserMemory | None) -> None:
        """Give the memory that the following forward passes of the language model read."""
        ...

    def prefix(self, memory: UserMemory | None, batch: int) -> tuple[Tensor, Tensor] | None:
        """Return input vectors ``[B, P, D]`` and their mask, to stand before the text, or None."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield its weights, as any module does."""
        ...

    def vectors(self, given: Count) -> Count:
        """Return how many user vectors are read.

        Args:
            given: Vectors that the encoder hands over; events for contexts without an encoder.
        """
        ...

    def prefix_length(self, given: Count) -> Count:
        """Return how many positions stand before the text; ``given`` as in :meth:`vectors`."""
        ...

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """Return the work of making the memory once, and of reading it with every token."""
        ...

    def per_block(self) -> dict[str, dict[int, float]]:
        """Return learned numbers worth looking at, by name and block: the gates."""
        ...

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return every parameter of this context under ``memory`` or ``gates``."""
        ...
