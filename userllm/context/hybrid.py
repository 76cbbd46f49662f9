"""Memory and text together: the paper's AR50TP10 (§7.7), long term by vectors, last events as text.

Shape suffixes: B batch, P prefix positions, D text width.
"""

from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.protocol import Context, ContextFlops
from userllm.cost.flops import Count
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory


class Hybrid(nn.Module):
    """Any way of entering the memory, with the last events also written into the prompt.

    Args:
        entry: How the memory enters, another option of this group.
        text_events: How many of the last events are written, oldest first.
    """

    def __init__(self, *, entry: Context, text_events: int) -> None:
        super().__init__()
        self.entry = entry
        self.text_events = text_events
        self.reads_memory = entry.reads_memory
        self.memory_events = entry.memory_events
        self.memory_width = entry.memory_width
        self.keys_values_width = entry.keys_values_width
        self.summarizer = entry.summarizer

    def attach(self, model: PreTrainedModel) -> None:
        """Connect the memory's way in."""
        self.entry.attach(model)

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory | None:
        """Return the memory as the entry makes it."""
        return self.entry.compress(encoded, events)

    def bind(self, memory: UserMemory | None) -> None:
        """Hand the memory on."""
        self.entry.bind(memory)

    def prefix(self, memory: UserMemory | None, batch: int) -> tuple[Tensor, Tensor] | None:
        """Return the entry's prefix."""
        return self.entry.prefix(memory, batch)

    def vectors(self, given: Count) -> Count:
        """Return the entry's number of vectors."""
        return self.entry.vectors(given)

    def prefix_length(self, given: Count) -> Count:
        """Return the entry's prefix length."""
        return self.entry.prefix_length(given)

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """Return the entry's work."""
        return self.entry.flops(given, tokens)

    def per_block(self) -> dict[str, dict[int, float]]:
        """Return the entry's numbers."""
        return self.entry.per_block()

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return the entry's parameters."""
        return self.entry.parts()
