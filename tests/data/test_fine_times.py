"""What happened within one second stays in its order, whatever the file's form of time is."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from userllm.config import load
from userllm.data.corpus import Corpus
from userllm.data.table_times import since_1970
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.run.launch import execute

START = 1_700_000_000
PER_SECOND = {"milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
USERS, EVENTS = 20, 6


def written(form: str, step: int) -> str | int:
    """Return a tenth of a second as a file has it."""
    if form == "iso":
        return f"2023-11-14T22:13:20.{step}00Z"
    return (10 * START + step) * PER_SECOND[form] // 10


def corpus_of(frame: pl.DataFrame, folder: Path, *more: str) -> Corpus:
    path = folder / f"events{len(more)}.csv"
    frame.write_csv(path)
    words = ["data=table", f"data.path={path}", "data.min_user_events=1", f"paths.runs={folder}"]
    loaded = load("prepare", [*words, *more])
    outcome = execute("prepare", loaded.config, loaded.choices, words)
    assert outcome.state == "finished", outcome.error
    return Corpus.open(Path(outcome.folder) / "corpus")


@pytest.mark.parametrize("form", [*PER_SECOND, "iso"])
def test_events_within_a_second_keep_their_order(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = [rng.permutation(EVENTS) for _ in range(USERS)]
    rows = [
        {"user": f"u{user:02d}", "item": f"i{item}", "timestamp": written(form, step)}
        for user, own in enumerate(items)
        for step, item in enumerate(own)
    ]
    corpus = corpus_of(pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=1), tmp_path)
    codes = np.asarray(corpus.features[ITEM_FEATURE]).reshape(USERS, EVENTS) - FIRST_ID
    assert np.array_equal(codes, items)
    assert np.unique(corpus.timestamps).tolist() == [START]


def test_the_same_twice_within_a_second_is_two_events(tmp_path: Path) -> None:
    times = [START * 1000, START * 1000 + 1, START * 1000 + 1]
    frame = pl.DataFrame({"user": "u", "item": ["a", "a", "a"], "timestamp": times})
    corpus = corpus_of(frame, tmp_path, "data.timestamp=milliseconds")
    assert len(corpus.timestamps) == 2


def test_the_parts_of_a_time_are_the_time() -> None:
    times = pl.Series([0.25, -0.25, 1.5e9, None])
    parts, _ = since_1970(times, "seconds")
    assert parts["timestamp"].to_list() == [0, -1, 1_500_000_000, None]
    assert parts["nanosecond"].to_list() == [250_000_000, 750_000_000, 0, None]
    before = pl.Series([-1, -1_000_000_001])
    parts, _ = since_1970(before, "nanoseconds")
    assert parts["timestamp"].to_list() == [-1, -2]
    assert parts["nanosecond"].to_list() == [999_999_999, 999_999_999]
