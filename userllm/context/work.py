"""What one question costs a joined model, forward and in training, in closed form."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import nn

from userllm.context.model import UserLLM
from userllm.context.protocol import Context
from userllm.cost.flops import Count, Flops, attention, learned_share, linear, weight_count
from userllm.encoder.protocol import UserEncoder
from userllm.lm.blocks import decoder_blocks
from userllm.memory.protocol import Memory


@dataclass(frozen=True)
class Lengths:
    """How much one question makes the model read; entries may be arrays over questions.

    Attributes:
        events: Events the encoder reads.
        prompt: Text tokens of the prompt.
        answer: Answer tokens in training, trie nodes when ranking.
        logits: Positions whose logits over tokens are computed.
        ranked: Positions from which the item head ranks the catalogue.
        tokens: Tokens that each of these logits is for; None is the whole vocabulary.
        known: Whether the text repeats, so that a trunk need not read it again.
    """

    events: Count
    prompt: Count
    answer: Count
    logits: Count
    ranked: Count = 0.0
    tokens: int | None = None
    known: bool = False


@dataclass(frozen=True)
class _Piece:
    """A part of the model: its work, whether the gradient passes it, what share of it learns."""

    part: str
    work: Flops
    inputs: bool
    learned: float


def forward_flops(model: UserLLM, lengths: Lengths) -> dict[str, Count]:
    """Return the forward FLOPs of one question by part."""
    parts: dict[str, Count] = {}
    for piece in _pieces(model, lengths):
        parts[piece.part] = parts.get(piece.part, 0.0) + piece.work.total
    return parts


def answer_flops(model: UserLLM, lengths: Lengths, queries: Count, keys: Count) -> Count:
    """Return the FLOPs of reading answer nodes behind a cached prompt.

    Args:
        model: The joined model.
        lengths: The prompt's lengths.
        queries: Nodes read in one pass.
        keys: Positions they attend over beyond the prompt, themselves included.
    """
    given = model.given(lengths.events)
    before = model.context.prefix_length(given) + lengths.prompt
    blocks = decoder_blocks(model.lm)[_left_out(model, lengths) :]
    one = attention(queries, before + keys, attention_width(model))
    work = linear(queries, weight_count(*blocks))
    work += Flops(attention=len(blocks) * one.attention)
    work += model.context.flops(given, queries).reading
    work += linear(queries, _output_weights(model, lengths))
    return work.total


def known_text_flops(
    model: UserLLM, prompts: Count, passes: Iterable[tuple[float, float]]
) -> float:
    """Return the work of reading prompts and all answers behind each, once, in the trunk.

    Args:
        model: The joined model.
        prompts: Tokens of each different prompt.
        passes: (nodes read, positions seen beyond the prompt) of each pass over the answers.
    """
    blocks = [] if model.trunk is None else decoder_blocks(model.lm)[: model.trunk.blocks]
    width, weights = attention_width(model), weight_count(*blocks)
    total = 0.0
    for read, seen in [(prompts, 0.0), *passes]:
        rows = np.broadcast_to(read, np.shape(prompts))
        one = attention(rows, prompts + seen, width)
        work = linear(rows, weights) + Flops(attention=len(blocks) * one.attention)
        total += float(np.sum(work.total))
    return total


def training_flops(model: UserLLM, lengths: Lengths) -> Count:
    """Return forward and backward FLOPs of one training example.

    Exact for whole blocks; inside the lowest block that learns, the few products whose input
    needs no gradient are counted as if it did.
    """
    pieces = _pieces(model, lengths)
    return sum(p.work.training(inputs=p.inputs, learned_share=p.learned) for p in pieces)


def _pieces(model: UserLLM, lengths: Lengths) -> Iterator[_Piece]:
    context, given = model.context, model.given(lengths.events)
    tokens = context.prefix_length(given) + lengths.prompt + lengths.answer
    user_side = context.flops(given, tokens)
    encoder_learns = model.encoder is not None and _learns(model.encoder)
    if model.encoder is not None:
        work = model.encoder.flops(lengths.events)
        yield _Piece("encoder", work, encoder_learns, 1.0 * encoder_learns)
        yield from _between(model, model.encoder)
    context_learns, memory_learns = _learns(context), _learns(model.memory)
    if np.any(user_side.memory.total):
        own_inputs = memory_learns or (context_learns and user_side.learned_inputs)
        inputs = encoder_learns or own_inputs
        yield _Piece("memory", user_side.memory, inputs, 1.0 * context_learns)
    if np.any(user_side.reading.total):
        yield _Piece("reading", user_side.reading, context_learns, 1.0 * context_learns)
    width = attention_width(model)
    first = _first_gradient(model, user_side.first_block)
    for number, block in enumerate(decoder_blocks(model.lm)):
        if number < _left_out(model, lengths):
            continue
        work = linear(tokens, weight_count(block)) + attention(tokens, tokens, width)
        yield _Piece("blocks", work, number >= first, learned_share(block))
    tokens_learn = _learns(model.lm.get_output_embeddings())
    work = linear(lengths.logits, _output_weights(model, lengths))
    yield _Piece("head", work, True, 1.0 * tokens_learn)
    if model.item_head is not None:
        work = linear(lengths.ranked, model.item_head.weight_count())
        yield _Piece("head", work, True, 1.0 * _learns(model.item_head))


def _between(model: UserLLM, encoder: UserEncoder) -> Iterator[_Piece]:
    """Yield the work between encoder and context, where there is any."""
    if model.start is not None:
        learns = _learns(encoder)
        yield _Piece("prior", encoder.item_flops(1.0), learns, 1.0 * learns)
    between = model.memory.flops(encoder)
    if np.any(between.choosing.total):
        yield _Piece("candidates", between.choosing, False, 0.0)
        yield _Piece("candidates", between.making, False, 1.0 * _learns(model.memory))


def _left_out(model: UserLLM, lengths: Lengths) -> int:
    """Return how many blocks do not read the text again."""
    return 0 if model.trunk is None or not lengths.known else model.trunk.blocks


def _output_weights(model: UserLLM, lengths: Lengths) -> int:
    tokens, width = model.lm.get_output_embeddings().weight.shape
    return int(width * (tokens if lengths.tokens is None else lengths.tokens))


def attention_width(model: UserLLM) -> int:
    """Return the width of all attention heads of a block together."""
    config = model.lm.config.get_text_config()
    heads = int(config.num_attention_heads)
    return heads * int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def _first_gradient(model: UserLLM, user_block: int | None) -> int:
    """Return the lowest block that a gradient passes through."""
    blocks = decoder_blocks(model.lm)
    learning = [number for number, block in enumerate(blocks) if _learns(block)]
    embeddings = [0] if _learns(model.lm.get_input_embeddings()) else []
    encoder_learns = model.encoder is not None and _learns(model.encoder)
    user_learns = encoder_learns or _learns(model.memory) or _learns(model.context)
    user = [user_block] if user_block is not None and user_learns else []
    return min([*learning, *embeddings, *user], default=len(blocks))


def _learns(module: nn.Module | UserEncoder | Memory | Context) -> bool:
    return any(p.requires_grad for p in module.parameters())
