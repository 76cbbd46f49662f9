"""Behaviour tokens: every event as a few new words in front of the text (SeqLLM).

Shape suffixes: B batch, L events, U user vectors (fields of events), D text width, G values per
feature.
"""

from typing import Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from userllm.context.memory import last_events
from userllm.context.protocol import ContextFlops
from userllm.cost.flops import Count, Flops, linear, weight_count
from userllm.data.catalogue import Catalogue
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import PAD, UNKNOWN, Vocabulary
from userllm.encoder.memory import UserMemory
from userllm.lm.name_vectors import name_vectors
from userllm.lm.token_scale import token_scale
from userllm.summarizer.protocol import Summarizer

Field = Literal["item", "category", "rating"]


class ItemTokens(nn.Module):
    """Write the last events as ``item category rating item category rating ...``, oldest first.

    Every value of a field is a word of its own with an embedding of the language model's width,
    which starts from the word's name and passes through a residual MLP that starts as the
    identity. Several categories of one item are averaged to one word. No user encoder is needed.

    The item table is what this method costs: I × D numbers in float32, four times that with their
    gradient and Adam's two moments. 271 thousand items at D = 2048 take 2.2 GB, 8.9 GB in
    training, and every optimiser step writes all of it; at D = 576 it is 0.6 and 2.5 GB.

    Source: SeqLLM (arXiv 2608.03063), without its alignment stages.

    Args:
        text_dim: Width D of the language model.
        vocabulary: Sizes of the id spaces.
        catalogue: What items, categories and ratings are called.
        tokenizer: The language model's tokenizer.
        fields: Which features of an event become words, in this order.
        events: How many of the last events are written.
        semantic_init: Whether words start from their names; else they start at random.
        projector: Whether the residual MLP is there.
        projector_factor: Width of its hidden layer in multiples of D.
    """

    text_events = 0
    reads_memory = False
    keys_values_width = 0
    summarizer: Summarizer | None = None
    memory_events: int | None = None

    def __init__(
        self,
        *,
        text_dim: int,
        vocabulary: Vocabulary,
        catalogue: Catalogue,
        tokenizer: PreTrainedTokenizerBase,
        fields: list[Field],
        events: int,
        semantic_init: bool,
        projector: bool,
        projector_factor: int,
    ) -> None:
        super().__init__()
        if not fields or len(set(fields)) < len(fields) or events < 1:
            raise ValueError(
                f"fields {fields} and events {events}: expected one to three different fields of "
                "item, category, rating, and at least one event"
            )
        self.fields, self.events, self.semantic_init = fields, events, semantic_init
        self.tokenizer = tokenizer
        self.memory_width = text_dim
        self.names = {
            "item": catalogue.titles,
            "category": catalogue.categories,
            "rating": catalogue.ratings,
        }
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(vocabulary.sizes[name], text_dim) for name in fields}
        )
        self.projector = _residual(text_dim, projector_factor * text_dim) if projector else None

    def attach(self, model: PreTrainedModel) -> None:
        """Start every word at the scale of the model's own, and with a meaning where asked to."""
        scale = token_scale(model)
        table_VD = model.get_input_embeddings().get_parameter("weight").detach()
        with torch.no_grad():
            for field in self.fields:
                weight = self._table(field)
                if self.semantic_init:
                    names = self.names[field]
                    weight.copy_(
                        name_vectors(
                            names, tokenizer=self.tokenizer, table_VD=table_VD, scale=scale
                        )
                    )
                else:
                    weight.normal_(std=scale.std).add_(scale.mean_D)

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory:
        """Return the words of the last events, ``len(fields)`` vectors for each."""
        kept = last_events(events, self.events)
        words_BLFD = torch.stack([self._words(f, kept.features[f]) for f in self.fields], dim=2)
        mask_BU = kept.mask.repeat_interleave(len(self.fields), dim=1)
        return UserMemory(words_BLFD.flatten(1, 2), mask_BU)

    def bind(self, memory: UserMemory | None) -> None:
        """Nothing inside the blocks reads the memory."""

    def prefix(self, memory: UserMemory | None, batch: int) -> tuple[Tensor, Tensor] | None:
        """Return the words, projected where that is asked for."""
        if memory is None:
            return None
        words_BUD = memory.vectors_BUE
        if self.projector is not None:
            words_BUD = words_BUD + self.projector(words_BUD)
        return words_BUD, memory.mask_BU

    def vectors(self, given: Count) -> Count:
        """Return the number of words of so many events."""
        return len(self.fields) * np.minimum(given, float(self.events))

    def prefix_length(self, given: Count) -> Count:
        """Return one position per word."""
        return self.vectors(given)

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """Return the work of the projector; reading is the blocks' own work."""
        weights = 0 if self.projector is None else weight_count(self.projector)
        memory = linear(self.vectors(given), weights)
        return ContextFlops(memory, Flops(), first_block=0, learned_inputs=True)

    def per_block(self) -> dict[str, dict[int, float]]:
        """Blocks learn nothing of their own here."""
        return {}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters count as projection."""
        return {"memory": list(self.parameters())}

    def _table(self, field: str) -> Tensor:
        return cast(nn.Embedding, self.tables[field]).weight

    def _words(self, field: str, ids: Tensor) -> Tensor:
        """Return one vector per event from ids [B, L], or [B, L, G] with several values."""
        weight = self._table(field)
        if ids.dim() == 2:
            return F.embedding(ids, weight)
        # An event without a value is an unknown word: zeros would enter the blocks as nothing.
        has_value = (ids != PAD).any(dim=2, keepdim=True)
        ids = torch.where(has_value, ids, UNKNOWN)
        bags = F.embedding_bag(ids.flatten(0, 1), weight, mode="mean", padding_idx=PAD)
        words_BLD: Tensor = bags.unflatten(0, ids.shape[:2])
        return words_BLD


def _residual(width: int, hidden_width: int) -> nn.Sequential:
    """Return an MLP whose output starts at zero."""
    last = nn.Linear(hidden_width, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, hidden_width), nn.GELU(), last)
