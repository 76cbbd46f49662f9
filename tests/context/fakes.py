"""A user encoder that needs no corpus: fixed random item vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.context.cross_attention import CrossAttention
from userllm.context.hybrid import Hybrid
from userllm.context.none import NoMemory
from userllm.context.protocol import Context
from userllm.context.soft_prompt import SoftPrompt
from userllm.context.text_prompt import TextPrompt
from userllm.cost.flops import Count, Flops, linear
from userllm.data.catalogue import Catalogue
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import Vocabulary
from userllm.encoder.memory import UserMemory

TEXT_DIM, USER_DIM, BLOCKS = 32, 16, 3
COMPRESSION = {
    "memory_events": None,
    "perceiver_latents": 0,
    "perceiver_layers": 2,
    "perceiver_heads": 2,
}


ITEMS, KINDS, RATINGS = 47, 4, 5
ITEM_CATEGORIES = torch.tensor(
    [[0, 0]] * 3 + [[3 + item % KINDS, 3 + item // 7 % KINDS] for item in range(ITEMS)]
)
VOCABULARY = Vocabulary(
    {"item": ITEMS + 3, "category": KINDS + 3, "rating": RATINGS + 3}, ITEM_CATEGORIES
)
CATALOGUE = Catalogue(
    titles=["", "", "", *(f"Thing {item}" for item in range(ITEMS))],
    categories=["", "", "", *(f"kind {kind}" for kind in range(KINDS))],
    ratings=["", "", "", *(str(rating) for rating in range(1, RATINGS + 1))],
)


class BagEncoder(nn.Module):
    """Embeds each event on its own and projects it; enough to carry a user into a context."""

    width = USER_DIM

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, USER_DIM)
        self.project = nn.Linear(USER_DIM, USER_DIM, bias=False)

    def forward(self, events: EventBatch) -> UserMemory:
        """Return one vector per event, and the last one as the state."""
        vectors_BLE = self.project(self.table(events.features["item"]))
        last_B = (events.mask.sum(dim=1) - 1).clamp(min=0)
        state_BE = vectors_BLE[torch.arange(len(last_B)), last_B]
        return UserMemory(vectors_BLE, events.mask, state_BE)

    @property
    def item_table(self) -> Tensor:
        """Return the vectors that items are read with."""
        return self.table.weight

    @property
    def item_bias(self) -> Tensor:
        """Return no preference among the real items."""
        return F.pad(torch.zeros(ITEMS), (3, 0), value=-torch.inf)

    def item_scores(
        self, state_BE: Tensor, events: EventBatch, answer_B: Tensor | None = None
    ) -> Tensor:
        """Return one score per item id."""
        return F.linear(state_BE, self.item_table, self.item_bias)

    def item_flops(self, states: Count) -> Flops:
        """Return the work of scoring the real items."""
        return linear(states, ITEMS * USER_DIM)

    def vectors(self, events: Count) -> Count:
        """Return one vector per event."""
        return events

    def flops(self, events: Count) -> Flops:
        """Return the work of the projection."""
        return linear(events, self.project.weight.numel())


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
    soft = {"text_dim": TEXT_DIM, "user_dim": USER_DIM, "learned_vectors": 2, "hidden_width": None}
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
    features = {
        "item": items_BL * mask_BL,
        "rating": (3 + items_BL % 5) * mask_BL,
        "category": ITEM_CATEGORIES[items_BL] * mask_BL[:, :, None],
    }
    return EventBatch(features, mask_BL)


def memory_of(lengths: list[int], seed: int = 5) -> UserMemory:
    """Return random user vectors of these lengths."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(lengths), max(lengths), USER_DIM, generator=generator)
    return UserMemory(vectors, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])
