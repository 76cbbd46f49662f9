"""What every option of ``summarizer=`` must satisfy; a new file in conf/summarizer is found."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from tests.summarizer.histories import EVENTS, every_cut, histories
from userllm.build import build
from userllm.config import conf_dir, load
from userllm.summarizer.protocol import Summarizer

OPTIONS = sorted(path.stem for path in (conf_dir() / "summarizer").glob("*.yaml"))
SMALL = {
    "template": [],
    "language_model": [
        "lm@context.summarizer.lm=tiny",
        "context.summarizer.lm.width=16",
        "context.summarizer.lm.heads=2",
        "context.summarizer.max_new_tokens=2",
        "context.summarizer.batch_size=64",
    ],
}


@cache
def node(option: str, *overrides: str) -> DictConfig:
    chosen = ["context=text_summary", f"summarizer@context.summarizer={option}"]
    small = ["context.summarizer.events=3", *SMALL.get(option, [])]
    return load("contextualize", [*chosen, *small, *overrides]).config.context.summarizer


def make(option: str, *overrides: str) -> Summarizer:
    return build(node(option, *overrides))


@pytest.fixture(params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("refresh", [1, 8])
def test_nothing_at_or_after_a_cut_changes_a_summary(tmp_path: Path, option, refresh) -> None:
    summarizer = make(option, f"context.summarizer.refresh={refresh}")
    users, cuts = (values[::3] for values in every_cut())
    before = np.array(summarizer.open(histories(tmp_path / "before")).texts(users, cuts))
    for changed in (1, 16, 21):
        after = histories(tmp_path / f"after{changed}", changed_after=changed)
        seen = cuts <= changed
        again = summarizer.open(after).texts(users[seen], cuts[seen])
        assert again == before[seen].tolist()


def test_prepared_or_not_the_summaries_are_the_same(tmp_path: Path, option) -> None:
    corpus = histories(tmp_path / "corpus")
    users, cuts = every_cut()
    prepared = make(option).open(corpus)
    prepared.prepare(users, cuts)
    again = make(option).open(corpus)
    singles = [again.texts(users[row : row + 1], cuts[row : row + 1])[0] for row in range(30)]
    assert prepared.texts(users, cuts)[:30] == singles


def test_users_at_one_cut_have_summaries_of_their_own(tmp_path: Path) -> None:
    texts = make("template").open(histories(tmp_path / "c")).texts(np.arange(6), np.full(6, 30))
    assert len(set(texts)) == 6


def test_its_cost_says_what_was_written_and_found(tmp_path: Path, option) -> None:
    summaries = make(option).open(histories(tmp_path / "corpus"))
    asked = np.array([0]), np.array([EVENTS - 1])
    summaries.prepare(*asked)
    assert set(summaries.cost(*asked)) == {"written", "cached", "seconds", "flops_per_summary"}
