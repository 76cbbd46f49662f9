"""The counted summary, checked by hand."""

from pathlib import Path

import numpy as np
import pytest

from tests.summarizer.histories import corpus_of
from userllm.summarizer.template import TemplateSummarizer

NAN = float("nan")


def summary(folder: Path, items: list[int], ratings: list[float], **changes: int) -> str:
    options = {"events": 50, "refresh": 1, "categories": 5, "titles": 2} | changes
    corpus = corpus_of(folder / "corpus", np.array([items]), np.array([ratings]))
    summaries = TemplateSummarizer(**options).open(corpus)
    return summaries.texts(np.array([0]), np.array([len(items)]))[0]


def test_it_says_what_the_history_holds(tmp_path: Path) -> None:
    assert summary(tmp_path, [0, 3, 1, 6, 2], [4, 5, 1, 5, 2]) == (
        "The user's history has 5 events, rated 3.4 on average. By category: Comedy 3, Drama 1, "
        "War 1. Rated highest: Title 6 (5), Title 3 (5). Rated lowest: Title 1 (1), Title 2 (2). "
        "Most recent: Title 2, Title 6."
    )


def test_events_without_ratings_are_counted_but_not_judged(tmp_path: Path) -> None:
    assert summary(tmp_path, [0, 1], [NAN, NAN]) == (
        "The user's history has 2 events. By category: Comedy 1, Drama 1. "
        "Most recent: Title 1, Title 0."
    )


def test_nothing_is_rated_lowest_where_all_ratings_are_equal(tmp_path: Path) -> None:
    assert "lowest" not in summary(tmp_path, [0, 1, 2], [3, 3, 3])


def test_only_the_last_events_are_summarized(tmp_path: Path) -> None:
    text = summary(tmp_path, [0, 3, 1, 4], [5, 5, 1, 1], events=2)
    assert "2 events" in text
    assert "Comedy" not in text


def test_a_window_of_no_events_is_refused() -> None:
    with pytest.raises(ValueError, match="events"):
        TemplateSummarizer(events=0, refresh=1, categories=5, titles=2)
