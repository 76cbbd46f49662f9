"""Costs of language models that nobody here can load: closed forms over shapes, no weights.

Source: User-LLM Table 4 and Figure 3, whose costs are ratios of token counts.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from userllm.config import load
from userllm.context.model import UserLLM
from userllm.context.trunk import trunk_of
from userllm.cost.cache import FLOAT32, cache_bytes
from userllm.cost.flops import Count
from userllm.errors import UserError
from userllm.lm.blocks import longest_text
from userllm.lm.outline import parameter_count, shipped_models
from userllm.run.assumptions import PAPER_PROMPT, paper_event_tokens
from userllm.run.contestants import UNTRAINED, asking_of, enter, entries
from userllm.run.crossings import Words, asking_without_data, crossovers, figure_3
from userllm.run.outline import outline
from userllm.run.question_work import as_numbers, keepable, question_costs

TEXT, MEMORY = "text prompt", "cross-attention"
METHODS = {
    TEXT: "method=tp",
    MEMORY: "method=xattn",
    "+ Perceiver": "method=xattn_perceiver",
    "top 5 blocks, text read once": "method=xattn_frozen context.layers=5",
    "soft prompt": "method=soft_prompt",
}
"""What is compared where nothing else is asked for. The fourth leaves the language model frozen,
so that blocks below the readers need not read the question for every user."""

PAPER_SIZE = ["size=paper", *UNTRAINED]
"""The paper's encoder."""


def meta_rows(cfg: DictConfig) -> dict[str, list[dict[str, Any]]]:
    """Return rows of costs, of crossovers and of the paper's Figure 3, for every language model.

    Args:
        cfg: The benchmark's config.

    Raises:
        UserError: A language model's shape is not known here, or a method cannot be composed.
    """
    lengths = [int(length) for length in cfg.histories or [50, 100, 200]]
    words = _words(cfg, lengths)
    configs = _configs(cfg, max(lengths))
    costs: list[dict[str, Any]] = []
    crossings: list[dict[str, Any]] = []
    figure: list[dict[str, Any]] = []
    for lm in cfg.lms or shipped_models():
        models = {name: _model(config, lm) for name, config in configs.items()}
        about = _about(lm, next(iter(models.values())))
        costs += [about | row for row in _costs(models, words, cfg.answer_tokens)]
        if not cfg.methods:
            each = words[min(words)]
            crossings.append(about | crossovers(models[TEXT], models[MEMORY], each))
            figure.append(about | figure_3(models[TEXT], models[MEMORY]))
    return {"costs": costs, "crossovers": crossings, "figure_3": figure}


def _configs(cfg: DictConfig, history: int) -> dict[str, Any]:
    """Return label to config of every method."""
    typed = [str(text) for text in cfg.methods]
    if runs := [text for text in typed if "=" not in text]:
        raise UserError(
            f"methods: {runs[0]!r} is a run, which has a language model of its own. With --meta, "
            "type overrides of contextualize."
        )
    shared = [word for word in shlex.split(cfg.shared) if not word.startswith(("data=", "lm="))]
    configs = {}
    for label, text in (dict(zip(typed, typed, strict=True)) or METHODS).items():
        words = [*PAPER_SIZE, f"history={history}", *shared, *shlex.split(text)]
        try:
            configs[label] = OmegaConf.to_container(load("contextualize", words).config)
        except UserError as error:
            raise UserError(f"methods: {text!r}: {error}") from error
    return configs


def _words(cfg: DictConfig, lengths: Sequence[int]) -> dict[int, Words]:
    """Return length of history to lengths of texts: the paper's, or those of a corpus."""
    if not any(word.startswith("data=") for word in shlex.split(cfg.shared)):
        return {
            length: Words(length, PAPER_PROMPT, paper_event_tokens(length), "the paper's tokens")
            for length in lengths
        }
    texts = OmegaConf.merge(
        cfg, {"run": None, "methods": ["context=text_prompt"], "histories": list(lengths)}
    )
    assert isinstance(texts, DictConfig)
    found = {}
    for entry in entries(texts):
        one, length = enter(entry, cfg, torch.device("cpu"))[0], entry.history
        asking = asking_of(one, cfg.answer_tokens)
        source = (
            f"{one.assembly.corpus.card['name']}, tokens of {one.assembly.loaded.source['name']}"
        )
        events = float(np.mean(np.minimum(asking.lengths.events, length)))
        rest = float(np.mean(asking.lengths.prompt)) - events * float(np.mean(asking.event))
        found[length] = Words(events, rest, float(np.mean(asking.event)), source)
    return found


def _model(config: Mapping[str, Any], lm: str) -> UserLLM:
    source = {
        "_target_": "userllm.lm.huggingface.HuggingFaceLM",
        "model": lm,
        "revision": None,
        "dtype": "float32",
        "attention": None,
    }
    model = outline({**config, "lm": source}, head_items=0)
    if model is None:
        raise UserError(
            f"lms: nobody here knows the shape of {lm!r}. Expected a folder with config.json, a "
            f"model in the hub's cache, or one of: {', '.join(shipped_models())}"
        )
    if config["training"]["reuse_text"]:
        model.trunk = trunk_of(model.lm, model.context)
    return model


def _about(lm: str, model: UserLLM) -> dict[str, Any]:
    config = model.lm.config
    parameters = parameter_count(config)
    return {
        "lm": lm,
        "parameters": parameters,
        "weights_bytes": FLOAT32 * parameters,
        "longest_prompt": longest_text(config),
    }


def _costs(
    models: Mapping[str, UserLLM], words: Mapping[int, Words], answer: int
) -> Iterator[dict[str, Any]]:
    """Yield the row of each method, thing stored and length of history."""
    events_N, question_N, event_N = (
        np.array([getattr(each, name) for each in words.values()], dtype=np.float64)
        for name in ("events", "question", "event")
    )
    for name, model in models.items():
        asking = asking_without_data(model, events_N, question_N, event_N, answer)
        for kept in keepable(model):
            costs = question_costs(model, asking, kept)
            costs["cache_bytes"] = cache_bytes(
                model.lm.config, costs["prompt_tokens"], windowed=True
            )
            for number, (length, each) in enumerate(words.items()):
                said = {"method": name, "history": length, "kept": kept, "words": each.source}
                yield said | as_numbers(costs, partial(_at, number))


def _at(number: int, count: Count) -> float:
    """Return one question's of many; a value that is equal for all is written once."""
    return float(count[number] if isinstance(count, np.ndarray) and count.ndim else count)
