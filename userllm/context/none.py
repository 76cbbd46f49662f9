"""No user memory: the language model sees the question alone."""

from torch import nn
from transformers import PreTrainedModel

from userllm.context.protocol import ContextFlops
from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.summarizer.protocol import Summarizer


class NoMemory(nn.Module):
    """The unpersonalized language model, the floor of every comparison."""

    text_events = 0
    reads_memory = False
    summarizer: Summarizer | None = None
    memory_events: int | None = None
    memory_width = 0
    keys_values_width = 0

    def attach(self, model: PreTrainedModel) -> None:
        """Nothing to connect."""

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> None:
        """Nothing is kept of the user."""

    def bind(self, memory: UserMemory | None) -> None:
        """Nothing is read."""

    def prefix(self, memory: UserMemory | None, batch: int) -> None:
        """Nothing stands before the text."""

    def vectors(self, given: Count) -> Count:
        """No user vectors."""
        return 0.0

    def prefix_length(self, given: Count) -> Count:
        """No prefix."""
        return 0.0

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """No work."""
        return ContextFlops(Flops(), Flops(), first_block=None, learned_inputs=False)

    def per_block(self) -> dict[str, dict[int, float]]:
        """Nothing is learned."""
        return {}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """No parameters."""
        return {}
