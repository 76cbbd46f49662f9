"""Favourite category: whom it asks, and what its label rules mean."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.task.made import corpus_of, raw, task
from userllm.data.corpus import Corpus
from userllm.data.protocol import RawData
from userllm.errors import UserError
from userllm.task import category_counts


def favorite(**changes):
    return task("favorite_category", {"window": 5, "held_out": 0.3, "min_history": 3} | changes)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("favorite") / "corpus", raw())


def one_user(folder: Path, kinds: list[list[str]]) -> Corpus:
    """Return the corpus of one user who sees items of these categories, one after the other."""
    n = len(kinds)
    events = pl.DataFrame(
        {
            "user": [0] * n,
            "item": list(range(n)),
            "timestamp": list(range(n)),
            "rating": pl.Series([1.0] * n, dtype=pl.Float32),
        }
    )
    items = pl.DataFrame(
        {
            "item": list(range(n)),
            "title": [f"T{i}" for i in range(n)],
            "categories": pl.Series(kinds, dtype=pl.List(pl.String)),
            "year": pl.Series([None] * n, dtype=pl.Int32),
        }
    )
    data = RawData(events, items, {"source": "test", "licence": "none", "files": {}})
    return corpus_of(folder, data)


def label(corpus: Corpus, cut: int, **changes) -> str:
    number = favorite(**changes).labels(corpus, np.array([0]), np.array([cut]))[0]
    return corpus.category_names[number] if number >= 0 else ""


def test_it_tests_users_that_are_never_trained_on(corpus: Corpus) -> None:
    split = corpus.split("leave_last_out")
    parts = ("train", "valid", "test")
    users = {p: set(favorite().questions(corpus, split, p).users) for p in parts}
    assert all(users.values())
    assert not users["train"] & users["test"]
    assert not users["train"] & users["valid"]
    assert not users["valid"] & users["test"]


def test_the_papers_protocol_asks_everybody_and_says_that_they_were_trained_on(
    corpus: Corpus,
) -> None:
    split = corpus.split("leave_last_out")
    task = favorite(held_out=None)
    train, test = (task.questions(corpus, split, part) for part in ("train", "test"))
    assert set(test.users) == set(range(40)) == set(train.users)
    assert (train.cuts < split.test[train.users]).all()
    assert "same users trained on" in test.protocol
    assert "not trained on" in favorite().questions(corpus, split, "test").protocol


def test_the_window_is_counted_and_ties_go_to_the_category_seen_last(tmp_path: Path) -> None:
    kinds = [["Drama"], ["Comedy"], ["Comedy"], ["War"], ["Drama"], ["War"]]
    corpus = one_user(tmp_path / "c", kinds)
    assert label(corpus, 3) == "Comedy"
    assert label(corpus, 5) == "Drama"  # two Comedy, two Drama: Drama was seen last
    assert label(corpus, 4, window=2) == "War"  # Comedy and War once each: War was seen last
    assert label(corpus, 1, window=1) == "Drama"


def test_the_whole_history_counts_what_a_window_does_not_see(tmp_path: Path) -> None:
    kinds = [["Drama"], ["Drama"], ["Drama"], ["War"], ["War"], ["Comedy"]]
    corpus = one_user(tmp_path / "c", kinds)
    assert label(corpus, 6, window=3) == "War"
    assert label(corpus, 6, window=3, label="history") == "Drama"


def test_ties_can_go_to_the_category_seen_first_or_to_chance(tmp_path: Path) -> None:
    corpus = one_user(tmp_path / "c", [["War"], ["Drama"], ["Drama"], ["War"], ["Comedy"]])
    assert label(corpus, 4, ties="first") == "War"
    assert label(corpus, 4, ties="last") == "War"
    assert label(corpus, 3, window=2, ties="first") == "Drama"
    kinds = [["War"] if event % 2 else ["Drama"] for event in range(400)]
    many = one_user(tmp_path / "many", kinds)
    even = np.arange(2, 400, 2)
    users = np.zeros_like(even)
    rule = favorite(label="history", ties="random")
    chosen = rule.labels(many, users, even)
    assert 0.35 < chosen.mean() < 0.65
    assert np.array_equal(chosen[::-1], rule.labels(many, users, even[::-1]))


def test_of_one_events_categories_the_first_by_name_wins(tmp_path: Path) -> None:
    corpus = one_user(tmp_path / "c", [["War", "Comedy"], ["War", "Comedy"]])
    for ties in ("last", "first"):
        assert label(corpus, 2, ties=ties) == "Comedy"


def test_categories_are_single_and_events_without_one_do_not_count(tmp_path: Path) -> None:
    corpus = one_user(tmp_path / "c", [[], ["Comedy", "War"], ["War"], []])
    assert label(corpus, 1) == ""
    assert label(corpus, 4) == "War"
    known = category_counts.has_category(
        corpus, np.zeros(4, dtype=np.int64), np.arange(1, 5), window=1
    )
    assert known.tolist() == [False, True, True, False]


@pytest.mark.parametrize("rule", ["window", "history"])
def test_labels_equal_a_count_by_hand_however_the_work_is_cut(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setattr(category_counts, "EVENTS_AT_ONCE", 17)
    users, cuts = np.arange(40), 1 + np.arange(40) % 15
    labels = favorite(label=rule).labels(corpus, users, cuts)
    for user, cut, found in zip(users, cuts, labels, strict=True):
        start = int(corpus.offsets[user])
        first = start + max(0, cut - 5) if rule == "window" else start
        items = corpus.features["item"][first : start + cut]
        kinds = [int(corpus.item_categories[item][0]) - 3 for item in items]
        best = max(set(kinds), key=lambda k: (kinds.count(k), len(kinds) - kinds[::-1].index(k)))
        assert found == best


def test_counting_the_visible_history_gives_the_label_of_the_window_only(corpus: Corpus) -> None:
    split = corpus.split("leave_last_out")
    right = {}
    for rule in ("window", "history"):
        subject = favorite(label=rule, held_out=None)
        asked = subject.questions(corpus, split, "test")
        scores = subject.references(corpus, split)["count_history"](asked.users, asked.cuts)
        truth = subject.labels(corpus, asked.users, asked.cuts)
        right[rule] = (scores.argmax(axis=1) == truth).mean()
    assert right["window"] == 1.0
    assert right["history"] < 1.0


def test_the_majority_floor_does_not_see_held_out_users(tmp_path: Path) -> None:
    base = raw()
    corpus = corpus_of(tmp_path / "a", base)
    split = corpus.split("leave_last_out")
    subject = favorite()
    asked = subject.questions(corpus, split, "test")
    held_out = corpus.users["user"].gather(asked.users).cast(pl.Int64)
    events = base.events.with_columns(
        pl.when(pl.col("user").is_in(held_out.implode()))
        .then(pl.lit(0, dtype=pl.Int64))
        .otherwise(pl.col("item"))
        .alias("item")
    )
    other = corpus_of(tmp_path / "b", RawData(events, base.items, base.provenance))
    floors = [
        subject.references(c, c.split("leave_last_out"))["majority"](asked.users, asked.cuts)
        for c in (corpus, other)
    ]
    assert np.array_equal(*floors)


def test_a_share_of_held_out_users_that_leaves_nobody_is_refused() -> None:
    with pytest.raises(UserError, match=r"held_out=0\.9"):
        favorite(held_out=0.9)


def test_cutoffs_that_its_metrics_need_are_asked_for() -> None:
    with pytest.raises(UserError, match="Expected 1, 5 and 10"):
        favorite(**{"metric.cutoffs": [1, 5]})


def test_no_questions_have_no_labels(corpus: Corpus) -> None:
    nobody = np.zeros(0, dtype=np.int64)
    assert len(favorite().labels(corpus, nobody, nobody)) == 0
