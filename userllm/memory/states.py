"""The encoder's own vectors, as the paper has it (Source: User-LLM §3.2)."""

from torch import nn
from transformers import PreTrainedModel

from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.encoder.protocol import UserEncoder
from userllm.memory.protocol import MemoryFlops


class States(nn.Module):
    """Hands over what the encoder made, and nothing else."""

    def attach(self, model: PreTrainedModel) -> None:
        """Nothing depends on the language model."""

    def forward(self, encoded: UserMemory, events: EventBatch, encoder: UserEncoder) -> UserMemory:
        """Return the encoder's vectors."""
        return encoded

    def vectors(self, states: Count) -> Count:
        """Return the same number."""
        return states

    def flops(self, encoder: UserEncoder) -> MemoryFlops:
        """No work."""
        return MemoryFlops(Flops(), Flops())
