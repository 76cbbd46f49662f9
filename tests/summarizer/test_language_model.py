"""A language model writes each summary once, whatever is interrupted and whoever else writes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.summarizer.histories import USERS, histories
from userllm.data.corpus import Corpus
from userllm.errors import UserError
from userllm.lm.huggingface import HuggingFaceLM
from userllm.lm.tiny import WINDOW, TinyLM
from userllm.summarizer.greedy import GreedyWriter
from userllm.summarizer.language_model import LanguageModelSummaries, LanguageModelSummarizer
from userllm.summarizer.protocol import NO_HISTORY

ALL, CUTS = np.arange(USERS), np.full(USERS, 30)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return histories(tmp_path / "corpus")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of histories that a language model was really asked to summarize."""
    asked: list[str] = []
    write = GreedyWriter.__call__

    def noting(writer: GreedyWriter, texts: list[str]) -> list:
        asked.extend(texts)
        return write(writer, texts)

    monkeypatch.setattr(GreedyWriter, "__call__", noting)
    return asked


@pytest.fixture
def open_summaries(tmp_path: Path, corpus: Corpus) -> Callable[..., LanguageModelSummaries]:
    def open_summaries(**changes: object) -> LanguageModelSummaries:
        options = {
            "lm": TinyLM(width=16, layers=1, heads=2, seed=0),
            "instruction": "Summarize.",
            "events": 5,
            "refresh": 10,
            "max_new_tokens": 4,
            "batch_size": 4,
            "cache": str(tmp_path / "cache"),
        }
        return LanguageModelSummarizer(**(options | changes)).open(corpus)

    return open_summaries


def files(tmp_path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in (tmp_path / "cache").rglob("??/*.json")}


def test_summaries_that_are_all_there_want_no_place_to_write(
    open_summaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = open_summaries().texts(ALL, CUTS)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    assert open_summaries().texts(ALL, CUTS) == texts


def test_two_runs_write_each_summary_once_and_read_the_same(open_summaries, asked) -> None:
    first, second = open_summaries(), open_summaries()
    texts = first.texts(ALL, CUTS)
    assert second.texts(ALL, CUTS) == texts
    assert len(asked) == USERS
    assert first.cost(ALL, CUTS)["written"] == second.cost(ALL, CUTS)["cached"] == USERS
    assert second.cost(ALL, CUTS)["written"] == second.cost(ALL, CUTS)["seconds"] == 0
    assert (
        first.cost(ALL, CUTS)["flops_per_summary"]
        == second.cost(ALL, CUTS)["flops_per_summary"]
        > 0
    )


def test_what_a_summary_costs_is_that_of_the_questions_whatever_training_asked(
    open_summaries,
) -> None:
    summaries = open_summaries()
    summaries.prepare(ALL, CUTS)
    alone = summaries.cost(ALL, CUTS)["flops_per_summary"]
    summaries.prepare(ALL, CUTS - 10)
    assert summaries.cost(ALL, CUTS)["flops_per_summary"] == alone
    assert summaries.cost(ALL, CUTS - 10)["flops_per_summary"] != alone


def test_cuts_between_two_refreshes_share_a_summary(open_summaries, asked) -> None:
    summaries = open_summaries()
    texts = summaries.texts(ALL, CUTS)
    assert summaries.texts(ALL, CUTS + 9) == texts
    assert len(asked) == USERS
    summaries.texts(ALL, CUTS + 10)
    assert len(asked) == 2 * USERS


def test_written_again_from_nothing_the_files_are_the_same(
    open_summaries, tmp_path: Path, asked
) -> None:
    open_summaries().prepare(ALL, CUTS)
    before = files(tmp_path)
    for name in before:
        Path(name).unlink()
    open_summaries().prepare(ALL, CUTS)
    assert files(tmp_path) == before
    assert len(before) == USERS


def test_what_an_interrupted_run_wrote_is_kept(open_summaries, monkeypatch, tmp_path) -> None:
    write = GreedyWriter.__call__
    asked: list[str] = []

    def stopping(writer: GreedyWriter, texts: list[str]) -> list:
        if asked:
            raise KeyboardInterrupt
        asked.extend(texts)
        return write(writer, texts)

    monkeypatch.setattr(GreedyWriter, "__call__", stopping)
    with pytest.raises(KeyboardInterrupt):
        open_summaries().prepare(ALL, CUTS)
    assert len(files(tmp_path)) == 4
    monkeypatch.setattr(GreedyWriter, "__call__", write)
    summaries = open_summaries()
    summaries.prepare(ALL, CUTS)
    assert (summaries.cost(ALL, CUTS)["cached"], summaries.cost(ALL, CUTS)["written"]) == (
        4,
        USERS - 4,
    )


def test_a_file_cut_short_is_written_again(open_summaries, tmp_path: Path) -> None:
    texts = open_summaries().texts(ALL, CUTS)
    broken = Path(next(iter(files(tmp_path))))
    broken.write_text('{"text": "The us')
    assert open_summaries().texts(ALL, CUTS) == texts


def test_another_writer_or_instruction_never_finds_the_old_summaries(open_summaries) -> None:
    open_summaries().prepare(ALL, CUTS)
    for changes in (
        {"instruction": "Say it."},
        {"max_new_tokens": 3},
        {"lm": TinyLM(width=16, layers=1, heads=2, seed=1)},
        {"lm": TinyLM(width=32, layers=1, heads=2, seed=0)},
    ):
        summaries = open_summaries(**changes)
        summaries.prepare(ALL, CUTS)
        assert summaries.cost(ALL, CUTS)["cached"] == 0


def test_the_language_model_is_let_go_when_everything_is_prepared(open_summaries) -> None:
    summaries = open_summaries()
    assert summaries.writer is not None
    summaries.prepare(ALL, CUTS)
    assert summaries.writer is None
    assert summaries.texts(ALL[:1], CUTS[:1] + 10)


def test_users_without_events_need_no_language_model(open_summaries, asked) -> None:
    assert open_summaries().texts(ALL, np.zeros_like(ALL)) == [NO_HISTORY] * USERS
    assert not asked


def test_a_language_model_that_is_not_there_is_found_out_at_once(open_summaries, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    missing = HuggingFaceLM(
        model=str(tmp_path / "empty"), revision=None, dtype="float32", attention=None
    )
    with pytest.raises(UserError, match=r"config\.json"):
        open_summaries(lm=missing)


def test_a_history_longer_than_the_model_reads_is_refused(open_summaries) -> None:
    with pytest.raises(UserError, match=rf"{WINDOW} .*lower context\.summarizer\.events"):
        open_summaries(max_new_tokens=WINDOW - 2).prepare(ALL, CUTS)
