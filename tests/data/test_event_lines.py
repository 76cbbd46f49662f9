"""Events as lines: what they say, and where they end."""

from pathlib import Path

import numpy as np

from tests.summarizer.histories import corpus_of, histories
from userllm.data.event_lines import HistoryText

NAN = float("nan")


def test_a_line_has_title_categories_and_rating(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", np.array([[3, 1, 2]]), np.array([[4.5, NAN, 1.0]]))
    assert HistoryText(corpus=corpus, events=10)(0, 2) == (
        "Title 3, Comedy, 4.5\nTitle 1, Drama, not rated\n"
    )


def test_only_the_last_events_before_the_cut_are_written(tmp_path: Path) -> None:
    corpus = histories(tmp_path / "c")
    every, last = (HistoryText(corpus=corpus, events=n) for n in (40, 4))
    for user, cut in ((0, 0), (2, 3), (5, 30)):
        lines = every(user, cut).splitlines()
        assert len(lines) == cut
        assert last(user, cut).splitlines() == lines[-4:]
        assert every(user, cut + 1).startswith(every(user, cut))
