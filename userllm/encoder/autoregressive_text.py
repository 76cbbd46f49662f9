"""The paper's causal encoder with items that are known by their texts.

Shape suffixes: I items incl. 3 special ids, W sentence width.
"""

import torch
from torch import nn

from userllm.data.catalogue import Catalogue
from userllm.data.vocabulary import ITEM_FEATURE, Vocabulary
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.encoder.heads import FeatureHeads
from userllm.encoder.text_table import TextEventEmbedding
from userllm.sentence.items import item_vectors
from userllm.sentence.protocol import SentenceEncoder
from userllm.softmax.protocol import CatalogueSoftmax


class AutoregressiveTextEncoder(AutoregressiveEncoder):
    """The `AutoregressiveEncoder` whose item table is made from titles and categories.

    The same table reads items and predicts them. Without ``item_ids`` nothing is learned about an
    id, so an item that nobody touched in training has a vector as good as its text, can be read in
    a history and can be ranked; there is no bias per item either, since training only lowers the
    bias of items that never come. With ``item_ids`` items that occur are told apart better, and
    those that do not keep a random vector beside their text. In both cases they are wrong answers
    of every training step, so much training lowers them as far as their texts set them apart.

    Its `pretraining_flops` do not count mapping the texts of the whole catalogue, which is done
    once a step for all windows.

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
        super().__init__(
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
        self.embedding = TextEventEmbedding(
            vocabulary=vocabulary,
            features=features,
            feature_width=feature_width,
            width=width,
            vectors_IW=item_vectors(sentence, catalogue, vocabulary),
            item_ids=item_ids,
        )
        self.heads = FeatureHeads(
            vocabulary=vocabulary, embedding=self.embedding, width=width, softmax=softmax
        )
        if not item_ids:
            _fix_bias(self.heads[ITEM_FEATURE])


def _fix_bias(head: nn.Module) -> None:
    """Put zeros that do not learn, and are not saved, in the place of a head's bias."""
    zeros = torch.zeros_like(head.get_parameter("bias")).detach()
    del head.bias
    head.register_buffer("bias", zeros, persistent=False)
