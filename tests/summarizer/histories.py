"""Small random histories whose later part can be changed."""

from pathlib import Path

import numpy as np
import polars as pl

from userllm.data.corpus import Corpus, write_corpus
from userllm.data.protocol import RawData

USERS, EVENTS, ITEMS = 6, 40, 60
CATEGORIES = ["Comedy", "Drama", "War"]


def histories(folder: Path, *, changed_after: int | None = None) -> Corpus:
    """Return a corpus; with ``changed_after``, events from that position on are others."""
    rng = np.random.default_rng(0)
    items = rng.permuted(np.tile(np.arange(ITEMS), (USERS, 1)), axis=1)[:, :EVENTS]
    ratings = rng.integers(1, 6, size=(USERS, EVENTS)).astype(np.float32)
    if changed_after is not None:
        items[:, changed_after:] = items[:, changed_after:][:, ::-1]
        ratings[:, changed_after:] = 6 - ratings[:, changed_after:]
    return corpus_of(folder, items, ratings)


def corpus_of(folder: Path, items: np.ndarray, ratings: np.ndarray) -> Corpus:
    """Return a corpus of these items and ratings ``[users, events]``; NaN is not rated."""
    users, events = items.shape
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(users), events),
            "item": items.ravel(),
            "timestamp": np.tile(np.arange(events), users) * 1000,
            "rating": pl.Series(ratings.ravel().astype(np.float32)).fill_nan(None),
        }
    )
    catalogue = pl.DataFrame(
        {
            "item": np.arange(ITEMS),
            "title": [f"Title {i}" for i in range(ITEMS)],
            "categories": [[CATEGORIES[i % 3]] for i in range(ITEMS)],
            "year": pl.Series([None] * ITEMS, dtype=pl.Int32),
        }
    )
    raw = RawData(frame, catalogue, {"source": "test", "licence": "none", "files": {}})
    write_corpus(raw, name="test", min_user_events=1, min_item_events=0, folder=folder)
    return Corpus.open(folder)


def every_cut() -> tuple[np.ndarray, np.ndarray]:
    """Return all users at all cuts."""
    users, cuts = np.meshgrid(np.arange(USERS), np.arange(EVENTS), indexing="ij")
    return users.ravel(), cuts.ravel()
