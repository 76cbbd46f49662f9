"""What a run will cost, in closed form and before anything is read, downloaded or trained."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

from userllm.context.model import UserLLM
from userllm.context.trunk import trunk_of
from userllm.context.work import (
    Lengths,
    answer_flops,
    forward_flops,
    known_text_flops,
    training_flops,
)
from userllm.encoder.protocol import UserEncoder
from userllm.run.asked import Asked, option_of, tasks_of
from userllm.run.assumptions import (
    BYTES_PER_TOKEN,
    QUESTION_TOKENS,
    SUMMARY_TOKENS,
    DataSize,
    data_size,
)
from userllm.run.outline import encoder_outline, outline
from userllm.task.piece import PIECE
from userllm.training.passes import added_up

FEW_WORDS = 1000
"""A smaller vocabulary is one of bytes."""

MODEL_KEYS = ("lm", "context", "memory", "encoder", "tuning")
"""Parts of a config that decide a model's shape, besides the data."""


@dataclass(frozen=True)
class Estimate:
    """FLOPs of one run.

    Attributes:
        training: Training of the language model and of what is attached to it.
        evaluation: Answers to all test questions. The measurement of latency and memory, and the
            ranking of validation users while an encoder is pretrained, are not counted.
        pretraining: Training of the encoder, 0 where none is pretrained.
        encoder: Equal for runs that share one pretrained encoder.
        rough: Whether the language model's shape is not known, so that 6ND had to do.
    """

    training: float
    evaluation: float
    pretraining: float
    encoder: str
    rough: bool = False


def estimate(config: Mapping[str, Any]) -> Estimate:
    """Return the FLOPs of a contextualize run; a training budget counts as spent.

    Args:
        config: Its config, all values resolved.
    """
    data = data_size(option_of(config["data"], "data"), config)
    head = any(task.item_head for task in tasks_of(config["task"], data))
    head_items = data.items if head else 0
    reuse = bool(config["training"].get("reuse_text"))
    model = _model(_shape(config), head_items, reuse)
    if model is None:
        return _six_nd(config, data)
    budget = config["training"]["flops"]
    once = _known_text(config, data, model)
    if budget is not None and once >= budget:
        # As a run does: the budget does not pay for reading repeated text in advance.
        model, once = _model(_shape(config), head_items, False) or model, 0.0
    learns = any(p.requires_grad for p in model.parameters())
    training, evaluation = once if learns else 0.0, 0.0
    examples = _examples(config)
    for task, lengths in _asked(config, data, model):
        if learns:
            training += task.share * examples * float(np.sum(training_flops(model, lengths)))
        users = min(config["evaluation"]["users"] or data.users, task.users * data.users)
        evaluation += users * _answer(model, lengths, task)
    spent = budget if learns and budget is not None else training
    pretraining, encoder = _pretraining(config, data) if model.encoder else (0.0, "")
    return Estimate(spent, evaluation, pretraining, encoder)


def pretraining_estimate(config: Mapping[str, Any]) -> Estimate:
    """Return the FLOPs of a pretrain run, and of ranking all items for every user at its end.

    Args:
        config: Its config, all values resolved.
    """
    data = data_size(option_of(config["data"], "data"), config)
    node = json.dumps(config["encoder"], sort_keys=True)
    events = min(float(config["history"]), data.events)
    training = _examples(config) * _window_flops(node, data, min(events + 1, data.events))
    return Estimate(training, data.users * _ranking_flops(node, data, events), 0.0, "")


ESTIMATES: dict[str, Callable[[Mapping[str, Any]], Estimate]] = {
    "contextualize": estimate,
    "pretrain": pretraining_estimate,
}
"""Verb to what tells the cost of one of its runs."""


def _asked(
    config: Mapping[str, Any], data: DataSize, model: UserLLM
) -> Iterator[tuple[Asked, Lengths]]:
    """Yield the tasks of a run with what an example of each makes the model read."""
    words = BYTES_PER_TOKEN if _vocabulary(model) < FEW_WORDS else 1
    for task in tasks_of(config["task"], data.in_bytes() if words > 1 else data):
        yield task, _lengths(config, data, model, task, words)


def _known_text(config: Mapping[str, Any], data: DataSize, model: UserLLM) -> float:
    """Return the FLOPs of reading, once, all text that repeats; 0 for a model without a trunk.

    All wordings of a question are taken to be one, and answers to share no beginnings.
    """
    total = 0.0
    for task, lengths in _asked(config, data, model):
        if model.trunk is not None and task.nodes is not None:
            pieces = [(min(task.nodes, PIECE),) * 2] * ceil(task.nodes / PIECE)
            total += known_text_flops(model, lengths.prompt, pieces)
    return total


def _lengths(
    config: Mapping[str, Any], data: DataSize, model: UserLLM, task: Asked, words: int
) -> Lengths:
    events = min(float(config["history"]), data.events)
    summarized = getattr(model.context, "summarizer", None) is not None
    written = min(model.context.text_events, events) * data.event
    prompt = words * (QUESTION_TOKENS + SUMMARY_TOKENS * summarized + written)
    return Lengths(
        events=events,
        prompt=prompt,
        answer=task.answer,
        logits=0.0 if task.item_head else task.answer + 1,
        ranked=1.0 * task.item_head,
        known=task.nodes is not None,
    )


def _answer(model: UserLLM, lengths: Lengths, task: Asked) -> float:
    """Return the FLOPs of reading one prompt and answering."""
    prompt = replace(lengths, answer=0.0, logits=1.0 - lengths.ranked)
    total = sum(float(np.sum(part)) for part in forward_flops(model, prompt).values())
    return total + float(np.sum(answer_flops(model, prompt, task.reads, task.sees)))


def _pretraining(config: Mapping[str, Any], data: DataSize) -> tuple[float, str]:
    """Return the FLOPs of pretraining, and what runs must have in common to share it."""
    if config["encoder"]["checkpoint"] != "auto":
        return 0.0, ""
    size = config["size"]
    node = json.dumps(config["encoder"], sort_keys=True)
    window = min(float(config["history"] + 1), data.events)
    one = _window_flops(node, data, window)
    shared = json.dumps([node, config["data"], config["history"], config["seed"]], sort_keys=True)
    windows = added_up(config["trainer"]) * size["pretrain_steps"] * size["pretrain_batch"]
    return windows * one, shared


def _examples(config: Mapping[str, Any]) -> int:
    """Return how many examples all steps of a training read."""
    training = config["training"]
    return int(added_up(config["trainer"]) * training["steps"] * training["batch_size"])


def _six_nd(config: Mapping[str, Any], data: DataSize) -> Estimate:
    """Return 6ND, with N from the model's name: all that is known of a model nobody here has seen.

    Prompts are taken to be questions only, and the encoder to cost nothing.
    """
    model = str(config["lm"].get("model", config["lm"].get("huggingface", {}).get("model", "")))
    named = re.search(r"(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", model.rpartition("/")[2].lower())
    if named is None:
        return Estimate(float("nan"), float("nan"), 0.0, "", rough=True)
    weights = float(named[1]) * {"b": 1e9, "m": 1e6}[named[2]]
    training = config["training"]
    tokens = QUESTION_TOKENS + data.title
    examples = training["steps"] * training["batch_size"]
    users = config["evaluation"]["users"] or data.users
    spent = training["flops"] or 6 * weights * tokens * examples
    return Estimate(spent, 2 * weights * tokens * users, 0.0, "", rough=True)


def _shape(config: Mapping[str, Any]) -> str:
    return json.dumps({key: config[key] for key in MODEL_KEYS}, sort_keys=True)


@lru_cache(maxsize=32)
def _model(shape: str, head_items: int, reuse: bool) -> UserLLM | None:
    model = outline(json.loads(shape), head_items=head_items)
    if model is not None and reuse:
        model.trunk = trunk_of(model.lm, model.context)
    return model


@lru_cache(maxsize=64)
def _window_flops(node: str, data: DataSize, events: float) -> float:
    """Return the forward and backward FLOPs of one pretraining window."""
    work = _encoder(node, data).pretraining_flops(events)
    return float(np.sum(work.training(inputs=True, learned_share=1.0)))


@lru_cache(maxsize=64)
def _ranking_flops(node: str, data: DataSize, events: float) -> float:
    """Return the FLOPs of reading one history and ranking all items behind it."""
    encoder = _encoder(node, data)
    return float(np.sum(encoder.flops(events).total) + np.sum(encoder.item_flops(1.0).total))


def _encoder(node: str, data: DataSize) -> UserEncoder:
    return encoder_outline(
        json.loads(node), items=data.items, categories=data.categories, ratings=data.ratings
    )


def _vocabulary(model: UserLLM) -> int:
    return int(model.lm.config.get_text_config().vocab_size)
