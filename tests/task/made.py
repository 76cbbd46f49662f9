"""Small made-up corpora, tasks as configured, and joined models to ask."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from omegaconf import DictConfig, OmegaConf

from tests.context.fakes import TEXT_DIM, BagEncoder, make_context, open_up
from userllm.build import build
from userllm.config import load
from userllm.context.item_head import ItemHead
from userllm.context.model import UserLLM
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.protocol import RawData
from userllm.lm.tiny import TinyLM, byte_tokenizer
from userllm.task.batch import Material
from userllm.task.exam import Exam

CATEGORIES = ["Comedy", "Drama", "War"]
ITEMS = 30
WORDS = ("dull", "slow", "fine", "good", "great")


def raw(
    *, changed_after: int | None = None, users: int = 40, events: int = 16, texts: bool = True
) -> RawData:
    """Return random histories; with ``changed_after``, events from that position on differ."""
    rng = np.random.default_rng(0)
    items = rng.permuted(np.tile(np.arange(ITEMS), (users, 1)), axis=1)[:, :events]
    ratings = rng.integers(1, 6, size=(users, events))
    if changed_after is not None:
        items[:, changed_after:] = items[:, changed_after:][:, ::-1]
        ratings[:, changed_after:] = 6 - ratings[:, changed_after:]
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(users), events),
            "item": items.ravel(),
            "timestamp": np.tile(np.arange(events), users) * 1000,
            "rating": ratings.ravel().astype(np.float32),
        }
    )
    if texts:
        frame = with_texts(frame)
    catalogue = pl.DataFrame(
        {
            "item": np.arange(ITEMS),
            "title": [f"Title {i}" for i in range(ITEMS)],
            "categories": [[CATEGORIES[i % 3]] for i in range(ITEMS)],
            "year": pl.Series([1990 + i for i in range(ITEMS)], dtype=pl.Int32),
        }
    )
    return RawData(frame, catalogue, {"source": "test", "licence": "none", "files": {}})


def with_texts(frame: pl.DataFrame, ending: str = "") -> pl.DataFrame:
    """Return events with reviews: every seventh has none, many users say the same."""
    texts = [
        None if row % 7 == 3 else f"A {WORDS[int(rating) - 1]} {CATEGORIES[item % 3]}.{ending}"
        for row, (item, rating) in enumerate(frame.select("item", "rating").iter_rows())
    ]
    return frame.with_columns(pl.Series("text", texts, dtype=pl.String))


def corpus_of(folder: Path, data: RawData) -> Corpus:
    """Write and open a corpus that keeps everything."""
    write_corpus(data, name="test", min_user_events=1, min_item_events=0, folder=folder)
    return Corpus.open(folder)


@cache
def _node(option: str) -> DictConfig:
    return load("contextualize", [f"task={option}", "history=6"]).config.task


def task(option: str, changes: Mapping[str, Any] | None = None) -> Any:
    """Return an option as it is configured, with changes by dotted key."""
    node = OmegaConf.create(OmegaConf.to_container(_node(option)))
    for key, value in (changes or {}).items():
        OmegaConf.update(node, key, value)
    return build(node)


def material(corpus: Corpus, text_events: int = 0, split: str = "leave_last_out") -> Material:
    """Return what questions are made of, with the byte tokenizer."""
    return Material(
        corpus=corpus,
        split=corpus.split(split),
        tokenizer=byte_tokenizer(),
        history=6,
        text_events=text_events,
        summaries=None,
        seed=0,
    )


def exams(option: str, made: Material, changes: Mapping[str, Any] | None = None) -> list[Exam]:
    """Return the exams of an option."""
    return task(option, changes).exams(made, weight=1.0)


def joined(kind: str = "gated", **changes: Any) -> UserLLM:
    """Return a tiny language model over bytes with an opened context, an encoder and a head."""
    loaded = TinyLM(width=TEXT_DIM, layers=3, heads=4, seed=0).load()
    context = make_context(kind, **changes)
    torch.manual_seed(13)
    table_IE = torch.randn(ITEMS + 3, BagEncoder.width)
    model = UserLLM(
        lm=loaded.model,
        context=context,
        encoder=BagEncoder() if context.reads_memory else None,
        item_head=ItemHead(
            text_dim=TEXT_DIM, table_IE=table_IE, bias_I=torch.zeros(ITEMS + 3), skip=False
        ),
    )
    open_up(context)
    return model.eval()
