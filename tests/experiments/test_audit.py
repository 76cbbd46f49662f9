"""The audit passes today's code, and finds leaks that are put in on purpose."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from experiments import facts
from experiments.audit import Check, audit, audit_cut, show
from experiments.tamper import changed_behind, held_out, without_filters
from userllm.config import load
from userllm.data.gather import HistoryGather
from userllm.data.split import SPLITS
from userllm.encoder import popularity
from userllm.errors import UserError
from userllm.task.prompt import PromptWriter

pytestmark = pytest.mark.whole

TINY = (
    *("data.users=16", "data.items=30", "data.events_per_user=12", "data.texts=false"),
    *("history=6", "size.pretrain_steps=2", "size.pretrain_batch=8", "cost.repeats=1"),
    *("cost.warmup=0", "evaluation.users=2", "evaluation.retention=false", "task=next_item"),
    *("training.steps=2", "training.batch_size=4", "lm.width=16", "lm.layers=1", "lm.heads=2"),
)


@cache
def ways(split, *contexts):
    """Compose once; composing takes longer than what is tested here."""
    typed = [*TINY, f"split={split}"]
    return {name: load("contextualize", [*typed, f"context={name}"]) for name in contexts}


def leaks(tmp_path, split="leave_last_out", part="test", trained=()):
    configs = ways(split, *(trained or ("cross_attention",)))
    checks = list(audit_cut(configs, trained, part, tmp_path))
    assert len(checks) >= 6
    return {check.what for check in checks if not check.same}


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("split", list(SPLITS))
def test_only_events_behind_the_cut_change_and_the_cut_stays(corpus, tmp_path, split, part):
    same = without_filters(corpus, tmp_path / "same")
    other = changed_behind(same, split, part, tmp_path / "other")
    held = held_out(same, split, part)
    assert 0 < held.sum() < len(held) / 2
    before, after = same.split(split), other.split(split)
    assert np.array_equal(before.as_array(), after.as_array())
    assert np.array_equal(same.offsets, other.offsets)
    for name in ("item", "rating"):
        assert np.array_equal(same.features[name][~held], other.features[name][~held])
        assert (same.features[name][held] != other.features[name][held]).mean() > 0.8
    assert np.array_equal(same.timestamps[~held], other.timestamps[~held])
    assert (same.timestamps != other.timestamps).any()
    texts = [pl.read_parquet(one.folder / "events.parquet")["text"] for one in (same, other)]
    assert texts[0].filter(pl.Series(~held)).equals(texts[1].filter(pl.Series(~held)))
    assert np.array_equal(texts[0].is_null(), texts[1].is_null())


@pytest.mark.parametrize(("split", "part"), [("leave_last_out", "test"), ("global_time", "valid")])
def test_an_encoder_does_not_depend_on_what_is_held_out(tmp_path, split, part):
    assert leaks(tmp_path, split, part) == set()


def test_a_training_window_that_goes_too_far_is_found(tmp_path, monkeypatch):
    def to_the_end(offsets, timestamps):
        found = rule(offsets, timestamps)
        return replace(found, train_end=np.diff(offsets))

    rule = SPLITS["leave_last_out"]
    monkeypatch.setitem(SPLITS, "leave_last_out", to_the_end)
    found = leaks(tmp_path)
    assert "encoder: training windows" in found
    assert "encoder: weights of the last step" in found
    assert "encoder: popularity's scores" in found


def test_a_history_that_holds_its_own_answer_is_found(tmp_path, monkeypatch):
    gather = HistoryGather.__call__

    def one_more(self, users, ends, length, starts=None, **options):
        return gather(self, users, ends + 1, length, starts, **options)

    monkeypatch.setattr(HistoryGather, "__call__", one_more)
    assert "encoder: scores" in leaks(tmp_path)


def test_a_floor_that_counts_the_future_is_found(tmp_path, monkeypatch):
    def everything(corpus, split):
        return np.arange(len(corpus.timestamps))

    monkeypatch.setattr(popularity, "training_positions", everything)
    assert leaks(tmp_path) == {"encoder: popularity's scores"}


@pytest.mark.slow
def test_everything_passes_for_both_splits_and_ways_in(tmp_path):
    checks = list(audit(TINY, tmp_path))
    assert len(checks) > 80
    assert [check for check in checks if not check.same] == []


@pytest.mark.slow
def test_a_prompt_that_tells_the_answer_is_found(tmp_path, monkeypatch):
    write = PromptWriter.__call__
    monkeypatch.setattr(
        PromptWriter, "__call__", lambda self, users, cuts: write(self, users, cuts + 1)
    )
    found = leaks(tmp_path, trained=("text_prompt",))
    assert {"text_prompt: prompts", "text_prompt: scores"} <= found
    assert "text_prompt: histories" not in found


def test_hashes_differ_where_values_do():
    one = {"a": [np.arange(3), None], "b": "x"}
    assert facts.digest(one) == facts.digest({"b": "x", "a": [np.arange(3), None]})
    for other in ({**one, "b": "y"}, {**one, "a": [np.arange(3.0), None]}, {"a": one["a"]}):
        assert facts.digest(other) != facts.digest(one)


def test_a_leak_is_the_exit_code(capsys):
    assert show([Check("here", "this", True)], everything=False) == 0
    assert show([Check("here", "this", True), Check("here", "that", False)], everything=False) == 1
    printed = capsys.readouterr().out
    assert "DEPENDS ON IT" in printed
    assert "that" in printed


def test_a_task_whose_question_names_the_answer_is_refused(tmp_path):
    one = ways("leave_last_out", "cross_attention")["cross_attention"]
    review = {"review": replace(one, choices={**one.choices, "task": "review"})}
    with pytest.raises(UserError, match="task=review"):
        list(audit_cut(review, (), "test", tmp_path))
