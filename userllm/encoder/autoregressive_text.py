"""The paper's causal encoder with items that are known by their texts.

Shape suffixes: B batch, L events, E user width, I items incl. 3 special ids, W sentence width.
"""

import torch
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops
from userllm.data.catalogue import Catalogue
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import ITEM_FEATURE, Vocabulary
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.encoder.heads import FeatureHeads
from userllm.encoder.memory import UserMemory
from userllm.encoder.text_table import TextEventEmbedding
from userllm.sentence.items import item_vectors
from userllm.sentence.protocol import SentenceEncoder
from userllm.softmax.protocol import CatalogueSoftmax


class AutoregressiveTextEncoder(nn.Module):
    """The `AutoregressiveEncoder` whose item table is made from titles and categories.

    The same table reads items and predicts them. Without ``item_ids`` nothing is learned about an
    id, so an item that nobody touched in training has a vector as good as its text, can be read in
    a history and can be ranked; there is no bias per item either, since training only lowers the
    bias of items that never come. With ``item_ids`` items that occur are told apart better, and
    those that do not keep a random vector beside their text. In both cases they are wrong answers
    of every training step, so much training lowers them as far as their texts set them apart.

    Source: HLLM (arXiv 2409.12740) for items known by text; paper.md 8.3 and 9 (unseen items).

    Args:
        vocabulary: Sizes of the id spaces.
        catalogue: Titles and names of categories.
        sentence: Makes a text's vector; never trained.
        item_ids: Whether every item has a learned vector of its own beside its text.
        width: Width E of the states.
        layers: Number of blocks.
        heads: Attention heads; must divide ``width``.
        dropout: Probability of dropping a value after the embedding and in every block.
        attention_dropout: Probability of dropping an attention weight; slow on CPU.
        max_events: Most events L it can read.
        features: Names of the features it reads and predicts; the item is one of them.
        feature_width: Width of each feature's table.
        softmax: How a state is compared with all items while training.
    """

    def __init__(  # noqa: PLR0913 - one argument per key of the option's file
        self,
        *,
        vocabulary: Vocabulary,
        catalogue: Catalogue,
        sentence: SentenceEncoder,
        item_ids: bool,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        attention_dropout: float,
        max_events: int,
        features: list[str],
        feature_width: dict[str, int],
        softmax: CatalogueSoftmax,
    ) -> None:
        super().__init__()
        self.width, self.max_events = width, max_events
        self.inner = AutoregressiveEncoder(
            vocabulary=vocabulary,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            attention_dropout=attention_dropout,
            max_events=max_events,
            features=features,
            feature_width=feature_width,
            softmax=softmax,
        )
        self.inner.embedding = TextEventEmbedding(
            vocabulary=vocabulary,
            features=features,
            feature_width=feature_width,
            width=width,
            vectors_IW=item_vectors(sentence, catalogue, vocabulary),
            item_ids=item_ids,
        )
        self.inner.heads = FeatureHeads(
            vocabulary=vocabulary, embedding=self.inner.embedding, width=width, softmax=softmax
        )
        if not item_ids:
            _fix_bias(self.inner.heads[ITEM_FEATURE])

    @property
    def item_table(self) -> Tensor:
        """Return one vector per item id [I, E], in the space of the states; made at every call."""
        return self.inner.item_table

    @property
    def item_bias(self) -> Tensor:
        """Return one bias per item id [I]; -inf for the special ids."""
        return self.inner.item_bias

    def forward(self, events: EventBatch) -> UserMemory:
        """Return one vector per event, and the state after the last one."""
        memory: UserMemory = self.inner(events)
        return memory

    def pretraining_loss(self, events: EventBatch) -> Tensor:
        """Return the plain average over features of the cross-entropy of all events."""
        return self.inner.pretraining_loss(events)

    def item_scores(self, state_BE: Tensor) -> Tensor:
        """Return one score per item id [B, I] as the next item; -inf for the special ids."""
        return self.inner.item_scores(state_BE)

    def vectors(self, events: Count) -> Count:
        """Return one vector per event."""
        return self.inner.vectors(events)

    def flops(self, events: Count) -> Flops:
        """Return the work of reading so many events; their text vectors are ready."""
        return self.inner.flops(events)

    def item_flops(self, states: Count) -> Flops:
        """Return the work of scoring every item with so many states and a ready item table."""
        return self.inner.item_flops(states)

    def pretraining_flops(self, events: Count) -> Flops:
        """Return the forward work of the pretraining loss of a window of so many events.

        Mapping the texts of the whole catalogue, once a step for all windows, is not in it.
        """
        return self.inner.pretraining_flops(events)


def _fix_bias(head: nn.Module) -> None:
    """Put zeros that do not learn, and are not saved, in the place of a head's bias."""
    zeros = torch.zeros_like(head.get_parameter("bias")).detach()
    del head.bias
    head.register_buffer("bias", zeros, persistent=False)
