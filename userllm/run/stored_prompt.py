"""A text prompt whose keys and values are stored per user: the honest rival of stored vectors.

Only the question is read when it is asked. Positions stay where they were: what was read once is
not moved, also when old events are masked out later.

Shape suffixes: B batch, T text tokens, S cached positions, V vocabulary or the chosen tokens of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from userllm.context.model import Prefill, TokenBatch, UserLLM
from userllm.context.places import positions
from userllm.task.prompt import PromptWriter, packed
from userllm.task.protocol import Ints

KeysValues = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class StoredPrompt:
    """What was read of users' histories as text.

    Attributes:
        layers: Keys and values of every block.
        mask_BS: False where there is padding, or what was dropped later.
        next_B: Position of the next token.
    """

    layers: KeysValues
    mask_BS: Tensor
    next_B: Tensor

    def without(self, dropped_BS: Tensor) -> "StoredPrompt":
        """Return the same with some positions hidden; the others stay as they were read."""
        return StoredPrompt(self.layers, self.mask_BS & ~dropped_BS, self.next_B)


def split_question(
    writer: PromptWriter, prompt: TokenBatch, users: Ints, cuts: Ints
) -> tuple[TokenBatch, TokenBatch]:
    """Return what a prompt says about the user, and the question behind it; both padded left."""
    lengths_B = torch.from_numpy(question_lengths(writer, users, cuts)).to(prompt.mask_BT.device)
    columns = prompt.mask_BT.shape[1]
    asks_BT = torch.arange(columns, device=lengths_B.device) >= columns - lengths_B[:, None]
    about = TokenBatch(prompt.ids_BT, prompt.mask_BT & ~asks_BT)
    return packed([about]), packed([TokenBatch(prompt.ids_BT, prompt.mask_BT & asks_BT)])


def question_lengths(writer: PromptWriter, users: Ints, cuts: Ints) -> Ints:
    """Return how many tokens each question has."""
    segments_BS = writer.questions(users, cuts)
    lengths_BS = np.where(segments_BS >= 0, writer.table.lengths[segments_BS], 0)
    lengths_B: Ints = lengths_BS.sum(axis=1)
    return lengths_B


def store(model: UserLLM, about: TokenBatch) -> StoredPrompt:
    """Read histories once and keep the keys and values."""
    prefill = model.prefill(None, about)
    layers: Any = prefill.cache.layers
    keys_values = [(layer.keys, layer.values) for layer in layers]
    return StoredPrompt(keys_values, prefill.mask_BS, about.mask_BT.sum(dim=1))


def read_behind(
    model: UserLLM, stored: StoredPrompt, text: TokenBatch, *, tokens_V: Tensor | None = None
) -> Prefill:
    """Read a text behind what is stored, which stays as it is.

    Rows should have texts of one length where the language model has sliding windows: these count
    columns, padding between what is stored and the text included.

    Args:
        model: Who reads.
        stored: What it has read before.
        text: A question, padded on the left.
        tokens_V: Tokens to give logits for; None is the whole vocabulary.
    """
    mask_BS = _seen(stored, text)
    with model.output_layer.limited_to(tokens_V):
        output = model.lm(**_inputs(stored, text), logits_to_keep=1)
    return Prefill(output.cache, mask_BS, output.logits[:, -1])


def last_state(model: UserLLM, stored: StoredPrompt, text: TokenBatch) -> Tensor:
    """Return the hidden state ``[B, D]`` of the last token of a text behind what is stored."""
    state_BD: Tensor = model.lm.base_model(**_inputs(stored, text)).last_hidden_state[:, -1]
    return state_BD


def _seen(stored: StoredPrompt, text: TokenBatch) -> Tensor:
    """Return the mask ``[B, S]`` of what is stored and the text behind it."""
    return torch.cat([stored.mask_BS, text.mask_BT], dim=1)


def _inputs(stored: StoredPrompt, text: TokenBatch) -> dict[str, Any]:
    """Return what a language model is given to read a text behind what is stored."""
    return {
        "input_ids": text.ids_BT,
        "attention_mask": _seen(stored, text).long(),
        "position_ids": stored.next_B[:, None] + positions(text.mask_BT),
        "cache": _cache(stored.layers),
        "use_cache": True,
    }


def _cache(layers: KeysValues) -> DynamicCache:
    """Return a cache that starts from these tensors; what is read goes into copies."""
    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache
