"""A contextualized model without weights and without data, for what it would cost.

Shape suffixes: I item ids, E user width.
"""

from collections.abc import Mapping
from typing import Any

import torch

from userllm.build import build
from userllm.context.item_head import ItemHead
from userllm.context.model import UserLLM
from userllm.context.protocol import Context
from userllm.data.catalogue import Catalogue
from userllm.data.vocabulary import FIRST_ID, Vocabulary
from userllm.encoder.protocol import UserEncoder
from userllm.lm.blocks import decoder_blocks, token_width
from userllm.lm.protocol import LanguageModelSource
from userllm.lm.tiny import byte_tokenizer

CATEGORIES_PER_ITEM = 3
SENTENCE = {
    "_target_": "userllm.sentence.hashed.HashedSentence",
    "width": 384,
    "buckets": 16,
    "ngrams": [],
    "seed": 0,
}
"""Stands for any sentence encoder: frozen, and its vectors are made once, so it costs nothing.
Its width is that of MiniLM where the config does not say another."""


def outline(config: Mapping[str, Any], *, head_items: int) -> UserLLM | None:
    """Return the model of a run on the meta device, None where the LM's shape is not known.

    Args:
        config: The run's config, all values resolved.
        head_items: Items that an item head ranks; 0 leaves the head out.
    """
    source: LanguageModelSource = build(config["lm"])
    lm = source.outline()
    if lm is None:
        return None
    with torch.device("meta"):
        shapes = {
            "text_dim": token_width(lm),
            "user_dim": config["encoder"]["width"],
            "num_blocks": len(decoder_blocks(lm)),
            "tokenizer": byte_tokenizer(),
            **_inputs(1, 1, 1),
        }
        context: Context = build(_without_sentences(config["context"]), **shapes)
        memory = build(config["memory"], **shapes) if context.reads_memory else None
        head = _item_head(config, head_items, token_width(lm)) if head_items else None
    encoder = None
    if context.reads_memory:
        # Reading a history costs the same whatever the number of items. Choosing candidates does
        # not, but is little beside a language model: 2·I·E, and is left out.
        encoder = encoder_outline(config["encoder"], items=1, categories=1, ratings=1)
    model = UserLLM(lm=lm, context=context, encoder=encoder, item_head=head, memory=memory)
    build(config["tuning"]).apply(model)
    return model


def encoder_outline(
    node: Mapping[str, Any], *, items: int, categories: int, ratings: int
) -> UserEncoder:
    """Return an encoder for so many items, with untrained weights: some look at their inputs."""
    plain = {key: value for key, value in node.items() if key != "checkpoint"}
    inputs = _inputs(items, categories, ratings)
    encoder: UserEncoder = build(_without_sentences(plain), **inputs)
    return encoder


def _item_head(config: Mapping[str, Any], items: int, width: int) -> ItemHead:
    table_IE = torch.empty(items + FIRST_ID, config["encoder"]["width"])
    return ItemHead(
        text_dim=width, table_IE=table_IE, bias_I=torch.empty(len(table_IE)), skip=False
    )


def _inputs(items: int, categories: int, ratings: int) -> dict[str, Any]:
    counts = {"item": items, "category": categories, "rating": ratings}
    sizes = {name: count + FIRST_ID for name, count in counts.items()}
    titles, names, marks = ([""] * FIRST_ID + ["a"] * count for count in counts.values())
    shape = (sizes["item"], CATEGORIES_PER_ITEM)
    return {
        "vocabulary": Vocabulary(sizes=sizes, item_categories=torch.zeros(shape, dtype=torch.long)),
        "catalogue": Catalogue(titles=titles, categories=names, ratings=marks),
    }


def _without_sentences(node: Any) -> Any:
    """Return a plain config node whose sentence encoders need neither files nor a network."""
    if not isinstance(node, Mapping):
        return node
    if str(node.get("_target_", "")).startswith("userllm.sentence."):
        return {**SENTENCE, "width": node.get("width", SENTENCE["width"])}
    return {key: _without_sentences(value) for key, value in node.items()}
