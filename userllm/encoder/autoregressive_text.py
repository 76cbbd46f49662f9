"""The paper's causal encoder with items that are known by their texts, and users by theirs.

Shape suffixes: I items incl. 3 special ids, W sentence width.
"""

import numpy as np
import torch
from torch import nn

from userllm.data.catalogue import Catalogue
from userllm.data.vocabulary import ITEM_FEATURE, TEXT_FEATURE, Vocabulary
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.encoder.event_text_table import EventTextTable
from userllm.encoder.heads import FeatureHeads
from userllm.encoder.text_table import TextEventEmbedding
from userllm.sentence.event_texts import event_text_vectors
from userllm.sentence.items import item_vectors
from userllm.sentence.protocol import SentenceEncoder
from userllm.softmax.protocol import CatalogueSoftmax
from userllm.transitions.counted import Transitions


class AutoregressiveTextEncoder(AutoregressiveEncoder):
    """The `AutoregressiveEncoder` whose item table is made from titles and categories.

    The same table reads items and predicts them. Without ``item_ids`` nothing is learned about an
    id, so an item that nobody touched in training has a vector as good as its text, can be read in
    a history and can be ranked; there is no bias per item either, since training only lowers the
    bias of items that never come. With ``item_ids`` items that occur are told apart better, and
    those that do not keep a random vector beside their text. In both cases they are wrong answers
    of every training step, so much training lowers them as far as their texts set them apart.

    With ``text`` among ``features`` it also reads what the user wrote about each event. That has no
    head: there are as many texts as events, and what will be written next is not to be chosen from
    a list. As every feature, the text of an event is read by the states from that event on.

    Its `pretraining_flops` do not count mapping the texts of the whole catalogue, which is done
    once a step for all windows.

    Source: HLLM (arXiv 2409.12740) for items known by text; paper.md 8.3 and 9 (unseen items).

    Args:
        vocabulary: Sizes of the id spaces.
        catalogue: Titles, names of categories, and what users wrote.
        sentence: Makes a text's vector; never trained.
        item_ids: Whether every item has a learned vector of its own beside its text.
        width: Width E of the states.
        layers: Number of blocks.
        heads: Attention heads; must divide ``width``.
        feed_forward: Width of the feed-forward layers, in widths.
        dropout: Probability of dropping a value after the embedding and in every block.
        attention_dropout: Probability of dropping an attention weight; slow on CPU.
        item_dropout: Probability that a training step reads an event's item as unknown.
        max_events: Most events L it can read.
        features: Names of the features it reads and predicts; the item is one of them. ``text`` is
            read only.
        feature_width: Width of each feature's table.
        repeat_score: Whether its ranking has a `RepeatScore`.
        softmax: How a state is compared with all items while training.
        transitions: Counts that its ranking leans on as well; None leaves them out.
        cache: Folder for the vectors of what users wrote; None is the project's cache folder.
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
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
        item_dropout: float,
        max_events: int,
        features: list[str],
        feature_width: dict[str, int],
        repeat_score: bool,
        softmax: CatalogueSoftmax,
        cache: str | None,
        transitions: Transitions | None = None,
    ) -> None:
        known = [name for name in features if name != TEXT_FEATURE]
        super().__init__(
            vocabulary=vocabulary,
            width=width,
            layers=layers,
            heads=heads,
            feed_forward=feed_forward,
            dropout=dropout,
            attention_dropout=attention_dropout,
            item_dropout=item_dropout,
            max_events=max_events,
            features=known,
            feature_width=feature_width,
            repeat_score=repeat_score,
            softmax=softmax,
            transitions=transitions,
        )
        reads_text = TEXT_FEATURE in features
        self.embedding = TextEventEmbedding(
            vocabulary=vocabulary,
            features=known,
            feature_width=feature_width,
            width=width,
            vectors_IW=item_vectors(sentence, catalogue, vocabulary),
            item_ids=item_ids,
            written=_written(sentence, catalogue, feature_width, cache) if reads_text else None,
        )
        self.heads = FeatureHeads(
            vocabulary=vocabulary, embedding=self.embedding, width=width, softmax=softmax
        )
        if not item_ids:
            _fix_bias(self.heads[ITEM_FEATURE])


def _written(
    sentence: SentenceEncoder,
    catalogue: Catalogue,
    feature_width: dict[str, int],
    cache: str | None,
) -> EventTextTable:
    """Return what reads the users' texts, whose ids are in all batches from now on."""
    if TEXT_FEATURE not in feature_width:
        raise ValueError(f"feature_width has no entry for {[TEXT_FEATURE]}")
    if catalogue.texts is None:
        vectors_DW = np.zeros((0, sentence.width), np.float16)
    else:
        vectors_DW = event_text_vectors(sentence, catalogue.texts.as_feature(cache), cache)
    return EventTextTable(vectors_DW=vectors_DW, width=feature_width[TEXT_FEATURE])


def _fix_bias(head: nn.Module) -> None:
    """Put zeros that do not learn, and are not saved, in the place of a head's bias."""
    zeros = torch.zeros_like(head.get_parameter("bias")).detach()
    del head.bias
    head.register_buffer("bias", zeros, persistent=False)
