"""No user memory: the language model sees the question alone.

Shape suffixes: B batch, L events, E user width.
"""

from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.memory import UserMemory
from userllm.context.protocol import ContextFlops
from userllm.cost.flops import Count, Flops


class NoMemory(nn.Module):
    """The unpersonalized language model, the floor of every comparison."""

    text_events = 0
    reads_memory = False

    def attach(self, model: PreTrainedModel) -> None:
        """Nothing to connect."""

    def compress(self, states_BLE: Tensor, mask_BL: Tensor) -> UserMemory:
        """Never called, because this context asks for no memory."""
        raise RuntimeError("a context without memory was asked to compress one")

    def bind(self, memory: UserMemory | None) -> None:
        """Nothing is read."""

    def prefix(self, memory: UserMemory | None, batch: int) -> None:
        """Nothing stands before the text."""

    def vectors(self, events: Count) -> Count:
        """No user vectors."""
        return 0.0

    def prefix_length(self, events: Count) -> Count:
        """No prefix."""
        return 0.0

    def flops(self, events: Count, tokens: Count) -> ContextFlops:
        """No work."""
        return ContextFlops(Flops(), Flops(), first_block=None)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """No parameters."""
        return {}
