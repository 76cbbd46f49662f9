"""Change everything behind the cut of a corpus, and nothing before it.

Other items, ratings, times and texts for every event from the cut on. What a split needs to find
the same cut stays: the number of events of a user (leave_last_out), and the two instants at which
all users are cut (global_time).
"""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userllm.data.columns import ITEM, RATING, TEXT, TIMESTAMP, USER
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.hashing import hash_keys
from userllm.data.protocol import RawData
from userllm.data.split import time_cuts
from userllm.errors import UserError

Part = Literal["valid", "test"]
Mask = NDArray[np.bool_]
DAY = 86_400
ITEMS, RATINGS, TIMES = 0xA0, 0xA1, 0xA2
"""Purposes of hashes."""


def without_filters(corpus: Corpus, folder: Path) -> Corpus:
    """Write a corpus again from its own tables, so that a changed one is made by the same way.

    Rare users and items are gone already. They are counted over all events, also those behind the
    cut: which items there are is known beforehand in all our protocols.
    """
    return _write(corpus, pl.read_parquet(corpus.folder / "events.parquet"), folder)


def changed_behind(corpus: Corpus, split: str, part: Part, folder: Path) -> Corpus:
    """Write the corpus with everything changed from the held-out events of a part on.

    Args:
        corpus: What :func:`without_filters` wrote.
        split: Name of the split.
        part: Whose events are the first to change: those of the test, or of the validation too.
        folder: Where to.

    Raises:
        UserError: Nothing is held out.
    """
    held = held_out(corpus, split, part)
    if not held.any() or corpus.items.height < 2:
        raise UserError(
            f"split={split}: no event of {corpus.folder} is held out, or there is no other item; "
            "expected longer histories over two items or more"
        )
    events = pl.read_parquet(corpus.folder / "events.parquet")
    moved = held if split == "leave_last_out" else held & (_times(corpus) > _instants(corpus)[1])
    return _write(corpus, tamper(events, corpus, held, moved), folder)


def held_out(corpus: Corpus, split: str, part: Part) -> Mask:
    """Return which events, flat, no method may know before it answers the questions of a part."""
    if split == "global_time":
        return _times(corpus) >= _instants(corpus)[("valid", "test").index(part)]
    lengths_N = np.diff(corpus.offsets)
    position = np.arange(len(corpus.timestamps)) - np.repeat(corpus.offsets[:-1], lengths_N)
    rule = corpus.split(split)
    cut_N = {"valid": rule.valid, "test": rule.test}[part]
    return np.asarray(position >= np.repeat(np.where(cut_N < 0, lengths_N, cut_N), lengths_N))


def tamper(events: pl.DataFrame, corpus: Corpus, held: Mask, moved: Mask) -> pl.DataFrame:
    """Return the events with other values where they are held out.

    Values move by one step per user, so that no two events of a user become the same one.

    Args:
        events: The corpus's table, in its order.
        corpus: Its ids.
        held: Which events change.
        moved: Which of them happen later than before.
    """
    user = np.repeat(np.arange(len(corpus.offsets) - 1), np.diff(corpus.offsets))
    catalogue = corpus.items[ITEM]
    codes = events[ITEM].replace_strict(catalogue, np.arange(len(catalogue)), return_dtype=pl.Int64)
    item = catalogue.gather(_step(codes.to_numpy(), user, len(catalogue), ITEMS))
    later = 1 + hash_keys(user, TIMES).astype(np.uint64) % np.uint64(DAY)
    time = np.where(moved, _times(corpus) + later.astype(np.int64), _times(corpus))
    new = {ITEM: item, RATING: _ratings(events[RATING], user, held), TIMESTAMP: pl.Series(time)}
    if TEXT in events.columns:
        words = [f"changed {number}" for number in range(events.height)]
        new[TEXT] = pl.select(
            pl.when(events[TEXT].is_not_null()).then(pl.Series(words))
        ).to_series()
    mask = pl.Series(held)
    return events.with_columns(
        pl.when(mask).then(column).otherwise(pl.col(name)).alias(name)
        for name, column in new.items()
    )


def _ratings(ratings: pl.Series, user: NDArray[np.int64], held: Mask) -> pl.Series:
    """Return another known rating for each; one that only held-out events have stays."""
    known = ratings.filter(pl.Series(~held)).drop_nulls().unique().sort()
    if len(known) < 2:
        return ratings
    codes = ratings.replace_strict(
        known, np.arange(len(known)), default=None, return_dtype=pl.Int64
    )
    found = codes.is_not_null()
    stepped = _step(codes.fill_null(0).to_numpy(), user, len(known), RATINGS)
    other = known.gather(stepped).cast(ratings.dtype)
    return pl.select(pl.when(found).then(other).otherwise(ratings)).to_series()


def _step(
    codes: NDArray[np.int64], user: NDArray[np.int64], size: int, purpose: int
) -> NDArray[np.int64]:
    """Return another code below ``size`` for each, the same way for all of a user's."""
    step = 1 + hash_keys(user, purpose).astype(np.uint64) % np.uint64(size - 1)
    return np.asarray((codes + step.astype(np.int64)) % size)


def _times(corpus: Corpus) -> NDArray[np.int64]:
    return np.asarray(corpus.timestamps)


def _instants(corpus: Corpus) -> tuple[int, int]:
    return time_cuts(_times(corpus))


def _write(corpus: Corpus, events: pl.DataFrame, folder: Path) -> Corpus:
    raw = RawData(
        events=events.with_columns(pl.col(USER).cast(pl.String), pl.col(ITEM).cast(pl.String)),
        items=corpus.items,
        provenance=corpus.card.get("provenance", {}),
        nouns=corpus.nouns,
    )
    name = corpus.card["name"]
    write_corpus(raw, name=name, min_user_events=1, min_item_events=0, folder=folder)
    return Corpus.open(folder)
