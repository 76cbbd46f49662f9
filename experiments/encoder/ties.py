"""How much of an accuracy on MovieLens-100K is the order of events with equal timestamps?

Three quarters of its rows share their timestamp with another row of the same user, so a rule
decides which event is the last one. This ranks the last event with the windowed Markov chain and
with popularity, nothing else changed, under several rules:

    python experiments/encoder/ties.py    # prints a table, writes ties.csv beside this file
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from userllm.data.columns import ITEM, TIMESTAMP, USER
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.gather import HistoryGather
from userllm.data.movielens_100k import MovieLens100K
from userllm.data.protocol import RawData
from userllm.data.split import leave_last_out
from userllm.encoder.markov import WindowedMarkov
from userllm.encoder.popularity import Popularity
from userllm.encoder.ranking import rank_next_item
from userllm.metric.interval import interval
from userllm.metric.ranking import Ranking

SHUFFLES = 10
RANKING = Ranking(cutoffs=(10,), mask_seen=True)


def orders(raw: RawData) -> Iterator[tuple[str, RawData]]:
    """Yield the name of each rule and the data with it; timestamps become places in that order."""
    yield "ours: a hash of user and item", raw
    events = raw.events.with_row_index("row")
    keys = {
        "row of the file": pl.col("row"),
        "item id, ascending": pl.col(ITEM),
        "item id, descending": -pl.col(ITEM).cast(pl.Int64),
    }
    for seed in range(SHUFFLES):
        keys[f"shuffled, seed {seed}"] = pl.col("row").shuffle(seed=seed)
    for name, key in keys.items():
        ordered = events.sort(USER, TIMESTAMP, key).drop("row")
        places = pl.int_range(pl.len(), dtype=pl.Int64).alias(TIMESTAMP)
        yield name, replace(raw, events=ordered.with_columns(places))


def row(rule: str, raw: RawData, folder: Path) -> dict[str, str | float | int]:
    """Return what both references reach on the test events of leave-last-out."""
    write_corpus(raw, name="ties", min_user_events=5, min_item_events=1, folder=folder)
    corpus = Corpus.open(folder)
    split = leave_last_out(corpus.offsets, corpus.timestamps)
    users, ends = split.targets("test")
    gather = HistoryGather(corpus)
    found: dict[str, str | float | int] = {"rule": rule, "n": len(users)}
    for name, scorer in (
        ("markov", WindowedMarkov(window=10, last=20, decay=0.8).fit(corpus, split)),
        ("popularity", Popularity().fit(corpus, split)),
    ):
        ranks = rank_next_item(scorer, gather, users, ends, mask_seen=True)
        for metric, values in RANKING.per_user(ranks).items():
            if metric != "mrr":
                mean = interval(values)
                found |= {f"{name} {metric}": round(mean.mean, 4)}
                found |= {f"{name} {metric} low": round(mean.low, 4)}
                found |= {f"{name} {metric} high": round(mean.high, 4)}
    return found


def main() -> None:
    """Print and write one row for each rule."""
    raw = MovieLens100K(
        name="movielens_100k", min_user_events=5, min_item_events=1, cache=None
    ).read()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [row(rule, data, Path(scratch) / "corpus") for rule, data in orders(raw)]
    table = pl.DataFrame(rows)
    with pl.Config(tbl_rows=-1, fmt_str_lengths=40, tbl_hide_dataframe_shape=True):
        print(table.select(pl.exclude(r"^.* (low|high)$")))
    table.write_csv(Path(__file__).with_name("ties.csv"))


if __name__ == "__main__":
    main()
