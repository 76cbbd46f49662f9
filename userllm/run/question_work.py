"""What one question costs, by part and by what is kept of the user from one question to the next.

Closed forms over the shapes of a joined model, so they hold with weights and without.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from userllm.context.model import UserLLM
from userllm.context.work import Lengths, answer_flops, attention_width, forward_flops
from userllm.cost.cache import FLOAT32, cache_bytes
from userllm.cost.flops import Count, Flops, attention, linear, weight_count
from userllm.encoder.reading import AppendingEncoder
from userllm.lm.blocks import decoder_blocks

Kept = Literal["nothing", "memory", "keys and values", "prompt"]
"""What is stored of a user: user vectors, the blocks' keys and values of these, or the language
model's own keys and values of the history as text."""

DONE = {
    "nothing": (),
    "memory": ("encoder", "candidates", "prior", "perceiver"),
    "keys and values": ("encoder", "candidates", "prior", "perceiver", "keys and values"),
    "prompt": (),
}
"""What is stored to the parts of a question's work that were done before."""


@dataclass(frozen=True)
class Asking:
    """One question; entries may be arrays over questions.

    Attributes:
        lengths: What it makes the model read, up to the first token of the answer.
        question: Tokens at the prompt's end that are not about the user.
        event: Tokens of one more event as text.
        answer: Tokens that are written.
    """

    lengths: Lengths
    question: Count
    event: Count
    answer: float


def keepable(model: UserLLM) -> list[Kept]:
    """Return what can be stored for the users of a model, the least first."""
    if np.any(model.context.vectors(1.0)):
        return ["nothing", "memory", *_if(model.context.keys_values_width, "keys and values")]
    return ["nothing", *_if(model.context.text_events, "prompt")]


def question_costs(model: UserLLM, asking: Asking, kept: Kept) -> dict[str, Any]:
    """Return all that the shapes say: tokens, FLOPs by part, bytes stored, one event more.

    Args:
        model: The joined model.
        asking: The question.
        kept: What was stored of the user.
    """
    parts = question_flops(model, asking, kept)
    prefill = sum(parts.values())
    given = model.given(asking.lengths.events)
    return {
        "prompt_tokens": asking.lengths.prompt + model.context.prefix_length(given),
        "question_tokens": asking.question,
        "event_tokens": asking.event,
        "user_vectors": model.context.vectors(given),
        "flops": parts,
        "flops_prefill": prefill,
        "flops_answer": prefill + writing_flops(model, asking),
        "stored_bytes": stored_bytes(model, asking, kept),
        "append_flops": append_flops(model, asking, kept),
    }


def as_numbers(costs: Mapping[str, Any], number: Callable[[Count], float]) -> dict[str, Any]:
    """Return costs with one number for each array over questions, such as its mean."""
    found: dict[str, Any] = {}
    for name, cost in costs.items():
        if isinstance(cost, Mapping):
            found[name] = as_numbers(cost, number)
        else:
            found[name] = None if cost is None else number(cost)
    return found


def question_flops(model: UserLLM, asking: Asking, kept: Kept) -> dict[str, Count]:
    """Return the FLOPs from a question to the first logits of its answer, by part.

    Args:
        model: The joined model.
        asking: The question.
        kept: What was stored of the user.
    """
    parts = forward_flops(model, asking.lengths)
    memory = parts.pop("memory", 0.0)
    perceiver = _compression_flops(model, asking.lengths)
    if kept == "prompt":
        parts["blocks"] = _behind(model, asking.question, asking.lengths.prompt).total
    # What the blocks read memories with; without such blocks, what maps vectors into the prompt.
    mapped = "keys and values" if model.context.keys_values_width else "projection"
    parts |= {"perceiver": perceiver, mapped: memory - perceiver}
    left = {name: work for name, work in parts.items() if name not in DONE[kept]}
    return {name: work for name, work in left.items() if np.any(work)}


def writing_flops(model: UserLLM, asking: Asking) -> Count:
    """Return the FLOPs of writing the answer's other tokens, one after the other."""
    if asking.answer <= 1:
        return 0.0
    # Every token sees the prompt, itself and what was written before it.
    return answer_flops(model, asking.lengths, asking.answer - 1, asking.answer / 2)


def append_flops(model: UserLLM, asking: Asking, kept: Kept) -> Count | None:
    """Return the FLOPs of adding one event to what is stored; None where nothing is.

    Causal encoders take one step behind what they kept of a history, as long as their window has
    room for it; others read the history again. A Perceiver reads all vectors again.
    """
    if kept == "nothing":
        return None
    if kept == "prompt":
        seen = asking.lengths.prompt - asking.question + asking.event
        return _behind(model, asking.event, seen).total
    lengths = replace(asking.lengths, events=asking.lengths.events + 1)
    work: Count = 0.0
    if model.encoder is not None:
        if isinstance(model.encoder, AppendingEncoder):
            work = model.encoder.append_flops(asking.lengths.events).total
        else:
            work = model.encoder.flops(lengths.events).total
        between = model.memory.flops(model.encoder)
        work = work + between.choosing.total + between.making.total
        if model.start is not None:
            work = work + model.encoder.item_flops(1.0).total
    work = work + _compression_flops(model, lengths)
    if kept == "keys and values":
        # Of the vectors that changed, or of all that a Perceiver makes, however many it reads.
        changed = 1.0 if isinstance(model.encoder, AppendingEncoder) else lengths.events
        new = model.context.flops(model.given(changed), 0.0)
        work = work + new.memory.total - new.compression.total
    return work


def stored_bytes(model: UserLLM, asking: Asking, kept: Kept) -> Count:
    """Return the bytes stored per user, in float32: vectors, and scores that answers start from.

    Of a text, no more than a block's window: a service would not keep what nobody looks at again.
    """
    if kept == "nothing":
        return 0.0
    if kept == "prompt":
        about = asking.lengths.prompt - asking.question
        return cache_bytes(model.lm.config, about, windowed=True)
    vectors = model.context.vectors(model.given(asking.lengths.events))
    scores = len(model.encoder.item_table) if model.encoder and model.start is not None else 0
    context = model.context
    width = context.memory_width if kept == "memory" else context.keys_values_width
    return FLOAT32 * (width * vectors + scores)


def _behind(model: UserLLM, tokens: Count, seen: Count) -> Flops:
    """Return the work of all blocks on tokens that see so many positions, themselves included."""
    blocks = decoder_blocks(model.lm)
    one = attention(tokens, seen, attention_width(model))
    return linear(tokens, weight_count(*blocks)) + Flops(attention=len(blocks) * one.attention)


def _compression_flops(model: UserLLM, lengths: Lengths) -> Count:
    return model.context.flops(model.given(lengths.events), 0.0).compression.total


def _if(there: object, kept: Kept) -> list[Kept]:
    return [kept] if there else []
