"""Events as vectors of their texts, mapped into a soft prompt; no user encoder.

Shape suffixes: B batch, L events, U user vectors, P prefix positions, D text width, I items incl.
3 special ids, W sentence width.
"""

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.memory import last_events
from userllm.context.protocol import ContextFlops
from userllm.context.soft_prompt import SoftPrompt
from userllm.cost.flops import Count
from userllm.data.catalogue import Catalogue
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import ITEM_FEATURE, RATING_FEATURE, Vocabulary
from userllm.encoder.memory import UserMemory
from userllm.sentence.items import item_vectors
from userllm.sentence.protocol import SentenceEncoder
from userllm.summarizer.protocol import Summarizer


class TextEvents(nn.Module):
    """A frozen vector per event through an adapter, before the text (PERSOMA).

    The sentence encoder reads title and categories. The rating is added as a learned vector
    instead of a word: one text per item is encoded instead of one per item and rating, and these
    are the same vectors as in ``encoder=autoregressive_text``. A second learned vector says how
    long ago an event was, since a Perceiver cannot see the order. Both start at zero.

    Source: PERSOMA (arXiv 2408.00960), which found an MLP adapter best; paper.md 8.2.

    Args:
        text_dim: Width D of the language model.
        vocabulary: Sizes of the id spaces.
        catalogue: Titles and names of categories.
        sentence: Makes a text's vector; never trained.
        events: How many of the last events are read.
        learned_vectors: Learned vectors in front, the same for every user.
        hidden_width: Width of the adapter's hidden layer; None maps linearly.
        perceiver_latents: Perceiver latents; 0 leaves the Perceiver out.
        perceiver_layers: Perceiver layers.
        perceiver_heads: Perceiver attention heads; must divide W.
    """

    text_events = 0
    reads_memory = False
    keys_values_width = 0
    summarizer: Summarizer | None = None
    memory_events: int | None = None
    vectors_IW: Tensor

    def __init__(
        self,
        *,
        text_dim: int,
        vocabulary: Vocabulary,
        catalogue: Catalogue,
        sentence: SentenceEncoder,
        events: int,
        learned_vectors: int,
        hidden_width: int | None,
        perceiver_latents: int,
        perceiver_layers: int,
        perceiver_heads: int,
    ) -> None:
        super().__init__()
        if events < 1:
            raise ValueError(f"events ({events}) must be at least 1; context=none is 0")
        self.events = events
        vectors_IW = item_vectors(sentence, catalogue, vocabulary)
        self.register_buffer("vectors_IW", vectors_IW, persistent=False)
        width = self.memory_width = vectors_IW.shape[1]
        self.rating = nn.Embedding(vocabulary.sizes[RATING_FEATURE], width)
        self.recency = nn.Embedding(events, width)
        nn.init.zeros_(self.rating.weight)
        nn.init.zeros_(self.recency.weight)
        self.prompt = SoftPrompt(
            text_dim=text_dim,
            user_dim=width,
            learned_vectors=learned_vectors,
            hidden_width=hidden_width,
            memory_events=None,
            perceiver_latents=perceiver_latents,
            perceiver_layers=perceiver_layers,
            perceiver_heads=perceiver_heads,
        )

    def attach(self, model: PreTrainedModel) -> None:
        """Start at the scale of the model's own token embeddings."""
        self.prompt.attach(model)

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory | None:
        """Return the vectors of the last events, or what a Perceiver makes of them."""
        kept = last_events(events, self.events)
        columns_L = torch.arange(kept.mask.shape[1], device=kept.mask.device)
        ago_BL = (kept.mask.sum(dim=1, keepdim=True) - 1 - columns_L).clamp(min=0)
        vectors_BLW = self.vectors_IW[kept.features[ITEM_FEATURE]]
        vectors_BLW = vectors_BLW + self.rating(kept.features[RATING_FEATURE])
        vectors_BLW = vectors_BLW + self.recency(ago_BL)
        return self.prompt.compress(UserMemory(vectors_BLW, kept.mask), kept)

    def bind(self, memory: UserMemory | None) -> None:
        """Nothing inside the blocks reads the memory."""

    def prefix(self, memory: UserMemory | None, batch: int) -> tuple[Tensor, Tensor]:
        """Return the vectors that stand before the text, and which of them are real."""
        return self.prompt.prefix(memory, batch)

    def vectors(self, given: Count) -> Count:
        """Return how many vectors are mapped, of so many events."""
        return self.prompt.vectors(np.minimum(given, self.events))

    def prefix_length(self, given: Count) -> Count:
        """Return the learned and the mapped positions."""
        return self.prompt.prefix_length(np.minimum(given, self.events))

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """Return the work of the adapter; the vectors of texts are ready."""
        return self.prompt.flops(np.minimum(given, self.events), tokens)

    def per_block(self) -> dict[str, dict[int, float]]:
        """Blocks learn nothing of their own here."""
        return {}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters count as projection."""
        return {"memory": list(self.parameters())}
