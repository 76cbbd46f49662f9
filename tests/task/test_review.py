"""Review: whom it asks, what is the true text, and what the floors write."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.task.made import corpus_of, material, raw, task
from userllm.data.corpus import Corpus
from userllm.data.protocol import RawData
from userllm.errors import UserError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("review") / "corpus", raw())


def test_only_events_with_a_text_are_asked_and_trained(corpus: Corpus) -> None:
    split = corpus.split("leave_last_out")
    subject = task("review")
    for part in ("train", "valid", "test"):
        asked = subject.questions(corpus, split, part)
        texts = subject.texts(corpus, subject.labels(corpus, asked.users, asked.cuts))
        assert len(texts)
        assert all(texts)
    everybody = split.targets("test")[0]
    assert 0 < len(subject.questions(corpus, split, "test")) < len(everybody)


def test_the_true_text_is_the_one_written_at_the_cut(corpus: Corpus) -> None:
    data = raw()
    subject = task("review")
    asked = subject.questions(corpus, corpus.split("leave_last_out"), "test")
    texts = subject.texts(corpus, subject.labels(corpus, asked.users, asked.cuts))
    ids = corpus.users["user"].gather(asked.users).to_list()
    for user, cut, text in zip(ids, asked.cuts.tolist(), texts, strict=True):
        mine = data.events.filter(pl.col("user") == int(user)).sort("timestamp")
        assert mine["text"][cut] == text


def test_data_without_texts_are_refused_with_what_to_type(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "silent", raw(texts=False))
    with pytest.raises(UserError, match=r"have no texts.*data=amazon_reviews"):
        task("review").questions(corpus, corpus.split("leave_last_out"), "test")


def test_the_floors_write_the_title_and_the_most_frequent_texts(corpus: Corpus) -> None:
    split = corpus.split("leave_last_out")
    subject = task("review")
    asked = subject.questions(corpus, split, "test")
    labels = subject.labels(corpus, asked.users, asked.cuts)
    written = {
        name: write(asked.users, asked.cuts)
        for name, write in subject.references(corpus, split).items()
    }
    train = subject.questions(corpus, split, "train")
    learned = subject.labels(corpus, train.users, train.cuts)
    counts = Counter(subject.texts(corpus, learned))
    assert set(written["frequent_text"]) == {max(sorted(counts), key=counts.__getitem__)}
    rating = corpus.features["rating"][labels[0]]
    alike = Counter(subject.texts(corpus, learned[corpus.features["rating"][learned] == rating]))
    assert alike[written["frequent_text_of_rating"][0]] == max(alike.values())
    item = int(corpus.features["item"][labels[0]]) - 3
    assert written["title"][0] == corpus.items["title"][item]


def test_the_floors_do_not_see_held_out_texts(tmp_path: Path) -> None:
    data = raw()
    last = pl.col("timestamp") >= 14_000
    shouted = pl.when(last).then(pl.lit("HELD OUT")).otherwise(pl.col("text")).alias("text")
    changed = RawData(data.events.with_columns(shouted), data.items, data.provenance)
    one, two = corpus_of(tmp_path / "a", data), corpus_of(tmp_path / "b", changed)
    users, cuts = np.arange(40), np.full(40, 15)
    for name in ("frequent_text", "frequent_text_of_rating", "title"):
        first, second = (
            task("review").references(c, c.split("leave_last_out"))[name](users, cuts)
            for c in (one, two)
        )
        assert first == second


def test_a_question_names_item_and_rating_of_the_event_at_the_cut(corpus: Corpus) -> None:
    [exam] = task("review", {"paraphrases": 1}).exams(material(corpus), 1.0)
    at = int(corpus.offsets[3]) + 5
    title = corpus.items["title"][int(corpus.features["item"][at]) - 3]
    rating = corpus.rating_values[int(corpus.features["rating"][at]) - 3]
    assert exam.reader.writer.question(3, 5) == (
        f"Write a review for {title} with a rating of {rating:g}."
    )


def test_the_protocol_says_how_texts_are_written_and_compared(corpus: Corpus) -> None:
    asked = task("review", {"metric.stemmer": False, "beams": 3}).questions(
        corpus, corpus.split("leave_last_out"), "test"
    )
    for words in ("leave_last_out", "64 tokens", "3 beams", "F1 × 100", "not stemmed"):
        assert words in asked.protocol


def test_the_protocol_says_how_long_texts_are_at_least(corpus: Corpus) -> None:
    split = corpus.split("leave_last_out")
    said = {
        least: task("review", {"min_answer_tokens": least})
        .questions(corpus, split, "test")
        .protocol
        for least in (0, 1)
    }
    assert "at least 1 and at most 64 tokens" in said[1]
    assert said[1].replace("at least 1 and ", "") == said[0]


@pytest.mark.parametrize("least", [-1, 64])
def test_a_text_cannot_be_longer_at_least_than_at_most(least: int) -> None:
    with pytest.raises(UserError, match=r"less than task\.max_answer_tokens=64"):
        task("review", {"min_answer_tokens": least})


@pytest.mark.parametrize("changes", [{"beams": 0}, {"max_answer_tokens": 0}])
def test_nothing_can_be_written_with_no_beam_or_no_token(changes: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected at least 1 each"):
        task("review", changes)
