"""What tuning leaves of the language model stands in the result of every run that could harm it."""

import json
from pathlib import Path

import pytest
import torch

from userllm.config import load
from userllm.retention import measure
from userllm.retention.material import passages, questions
from userllm.run.launch import execute

pytestmark = pytest.mark.whole

SMALL = [
    "size.users=60",
    "size.pretrain_steps=2",
    "history=8",
    "training.steps=3",
    "training.learning_rates.lm=0.01",
    "training.learning_rates.lora=0.1",
    "cost.repeats=1",
    "cost.warmup=0",
    "evaluation.users=4",
    "threads=1",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(measure, "passages", lambda: [p[:120] for p in passages()[:3]])
    monkeypatch.setattr(measure, "questions", lambda: questions()[:5])


def contextualize(runs, *words):
    overrides = [*SMALL, *words, f"paths.runs={runs}"]
    loaded = load("contextualize", overrides)
    outcome = execute("contextualize", loaded.config, loaded.choices, overrides)
    assert outcome.state in ("finished", "skipped"), outcome.error
    return Path(outcome.folder)


def kept(folder):
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result["outcomes"][0].get("retention")


def test_tuning_the_language_model_changes_it_and_the_result_says_so(runs):
    for words in (["context=none", "tuning=full"], ["context=cross_attention", "tuning=lora"]):
        found = kept(contextualize(runs, *words))
        assert found["perplexity"]["change"]["mean"] != 1.0
        assert found["perplexity"]["before"]["n"] == 3
        assert found["accuracy"]["after"]["n"] == 5


@pytest.mark.parametrize("tuning", ["encoder", "projection"])
@pytest.mark.parametrize("context", ["cross_attention", "soft_prompt"])
def test_a_frozen_language_model_is_exactly_what_it_was(runs, context, tuning):
    words = [f"context={context}", f"tuning={tuning}", "evaluation.retention=true"]
    found = kept(contextualize(runs, *words))
    for name, unchanged in (("perplexity", 1.0), ("accuracy", 0.0)):
        change = found[name]["change"]
        assert change["mean"] == change["low"] == change["high"] == unchanged
        assert found[name]["before"] == found[name]["after"]


def test_it_is_not_measured_where_nothing_could_change(runs):
    assert kept(contextualize(runs, "context=soft_prompt", "tuning=encoder")) is None
    assert kept(contextualize(runs, "tuning=full", "evaluation.retention=false")) is None


def test_measuring_it_changes_nothing_about_the_run(runs):
    weights = [
        torch.load(
            contextualize(runs, "tuning=full", f"evaluation.retention={asked}")
            / "checkpoints"
            / "last.ckpt",
            weights_only=True,
        )["state_dict"]
        for asked in ("true", "false")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_a_batch_in_passes_trains_as_the_whole_batch(runs):
    words = ["task=next_item", "tuning=full", "encoder.dropout=0", "evaluation.retention=false"]
    whole, passes = (
        torch.load(
            contextualize(runs, *words, f"training.micro_batch={rows}") / "checkpoints/last.ckpt",
            weights_only=True,
        )["state_dict"]
        for rows in ("null", "2")
    )
    for name, weight in whole.items():
        torch.testing.assert_close(weight, passes[name], rtol=2e-2, atol=2e-3)


def test_a_run_that_is_scored_again_keeps_what_it_knows(runs):
    words = ("context=none", "tuning=full")
    folder = contextualize(runs, *words)
    again = [f"run=run:contextualize/{folder.name}", "evaluation.users=3", f"paths.runs={runs}"]
    loaded = load("evaluate", again)
    outcome = execute("evaluate", loaded.config, loaded.choices, again)
    assert kept(Path(outcome.folder)) == kept(folder)


def test_a_run_that_did_not_measure_it_cannot_be_asked_later(runs):
    folder = contextualize(runs, "context=soft_prompt", "tuning=encoder")
    again = [f"run=run:contextualize/{folder.name}", "evaluation.retention=true"]
    loaded = load("evaluate", [*again, f"paths.runs={runs}"])
    outcome = execute("evaluate", loaded.config, loaded.choices, again)
    assert outcome.exit_code == 2
    assert "did not measure it" in outcome.error
