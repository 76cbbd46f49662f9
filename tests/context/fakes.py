"""A user encoder that needs no corpus: fixed random item vectors."""

import torch
from torch import Tensor, nn

from userllm.context.cross_attention import CrossAttention
from userllm.context.hybrid import Hybrid
from userllm.context.memory import UserMemory
from userllm.context.none import NoMemory
from userllm.context.protocol import Context
from userllm.context.soft_prompt import SoftPrompt
from userllm.context.text_prompt import TextPrompt
from userllm.cost.flops import Count, Flops, linear
from userllm.data.gather import EventBatch

TEXT_DIM, USER_DIM, BLOCKS = 32, 16, 3
COMPRESSION = {
    "memory_events": None,
    "perceiver_latents": 0,
    "perceiver_layers": 2,
    "perceiver_heads": 2,
}


class BagEncoder(nn.Module):
    """Embeds each event on its own and projects it; enough to carry a user into a context."""

    width = USER_DIM

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, USER_DIM)
        self.project = nn.Linear(USER_DIM, USER_DIM, bias=False)

    def forward(self, events: EventBatch) -> Tensor:
        """Return one vector per event behind one for the start token."""
        items_BL = nn.functional.pad(events.features["item"], (1, 0), value=1)
        projected: Tensor = self.project(self.table(items_BL))
        return projected

    def flops(self, positions: Count) -> Flops:
        """Return the work of the projection."""
        return linear(positions, self.project.weight.numel())


def make_context(kind: str, **changes: object) -> Context:
    """Return a small context of a kind; the weights are always the same."""
    torch.manual_seed(7)
    cross = {
        "text_dim": TEXT_DIM,
        "user_dim": USER_DIM,
        "num_blocks": BLOCKS,
        "form": "gated",
        "layers": "all",
        "every_k": 1,
        "attention_width": 16,
        "heads": 2,
        "dropout": 0.0,
    }
    soft = {"text_dim": TEXT_DIM, "user_dim": USER_DIM, "learned_vectors": 2}
    if kind == "none":
        return NoMemory()
    if kind == "text_prompt":
        return TextPrompt(text_events=3)
    if kind == "soft_prompt":
        return SoftPrompt(**(soft | COMPRESSION | changes))
    if kind == "hybrid":
        return Hybrid(entry=make_context("gated"), text_events=2)
    return CrossAttention(**(cross | COMPRESSION | {"form": kind} | changes))


def open_up(context: Context) -> Context:
    """Move every gate and output off zero, so that the user matters."""
    torch.manual_seed(11)
    for parameter in context.parts().get("gates", []):
        parameter.data.fill_(0.7)
    for parameter in context.parts().get("memory", []):
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return context


def histories(lengths: list[int], seed: int = 3) -> EventBatch:
    """Return random item histories of these lengths, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    longest = max([*lengths, 1])
    items_BL = torch.randint(3, 50, (len(lengths), longest), generator=generator)
    mask_BL = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return EventBatch({"item": items_BL * mask_BL}, mask_BL)


def memory_of(lengths: list[int], seed: int = 5) -> UserMemory:
    """Return random user vectors of these lengths."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(lengths), max(lengths), USER_DIM, generator=generator)
    return UserMemory(vectors, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])
