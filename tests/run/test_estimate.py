"""Estimates need no data and no weights, and agree with what runs count."""

import json
from math import isnan
from pathlib import Path

import pytest

from userllm.config import Composer, conf_dir, load
from userllm.run.bills import bills
from userllm.run.estimate import estimate
from userllm.run.launch import execute
from userllm.run.listing import first_comment
from userllm.run.studies import cpu_rate, study_table

pytestmark = pytest.mark.whole

CELL = "experiment=paper_movielens_next_item"


@pytest.fixture(scope="module")
def told():
    composer = Composer("contextualize")

    def tell(*overrides):
        return estimate(composer.resolved(overrides)[0])

    return tell


@pytest.mark.parametrize("context", ["none", "text_prompt", "cross_attention", "soft_prompt"])
def test_training_costs_what_a_run_counts(told, tmp_path, context):
    words = [f"context={context}", "tuning=full", "training.steps=2", "size.pretrain_steps=2"]
    words += ["threads=1", "cost.repeats=1", "cost.warmup=0", "evaluation.users=8"]
    words += ["evaluation.retention=false", f"paths.runs={tmp_path}"]
    loaded = load("contextualize", words)
    outcome = execute("contextualize", loaded.config, loaded.choices, words)
    assert outcome.state == "finished", outcome.error
    result = json.loads((Path(outcome.folder) / "result.json").read_text(encoding="utf-8"))
    cost = result["outcomes"][0]["cost"]
    # What differs is how long histories, titles and questions really are: the made-up ones are
    # shorter than the paper's.
    assert 1 <= told(*words).training / cost["training_flops"] < 2.2
    assert told(*words).pretraining <= 2 * cost["pretraining_flops"]
    assert bool(told(*words).pretraining) == bool(cost["pretraining_flops"])


def test_batches_that_a_step_adds_up_are_all_counted(told, tmp_path):
    words = ["context=soft_prompt", "training.steps=2", "size.pretrain_steps=2", "threads=1"]
    words += ["cost.repeats=1", "cost.warmup=0", "evaluation.users=4", f"paths.runs={tmp_path}"]
    spent, expected = [], []
    for added in (1, 2):
        typed = [*words, f"trainer.accumulate_grad_batches={added}"]
        loaded = load("contextualize", typed)
        outcome = execute("contextualize", loaded.config, loaded.choices, typed)
        result = json.loads((Path(outcome.folder) / "result.json").read_text(encoding="utf-8"))
        cost = result["outcomes"][0]["cost"]
        spent.append([cost["training_flops"], cost["pretraining_flops"]])
        expected.append([told(*typed).training, told(*typed).pretraining])
    for one, two in (spent, expected):
        assert [b / a for a, b in zip(one, two, strict=True)] == pytest.approx([2, 2], rel=0.1)


def test_a_text_prompt_costs_what_its_tokens_say(told):
    text, memory = (told(CELL, f"method={name}", "size=paper") for name in ("tp", "xattn"))
    # The paper's ratio at length 50 is 700 tokens to 32, a heuristic.
    assert 20 < text.training / memory.training < 30


def test_frozen_weights_cost_less(told):
    costs = [
        told(CELL, "method=xattn", f"tuning={name}", "size=paper").training
        for name in ("full", "lora", "encoder", "projection")
    ]
    assert costs == sorted(costs, reverse=True)


def test_a_kept_trunk_costs_less(told):
    words = ["context=cross_attention", "context.layers=1", "tuning=encoder", "training.flops=null"]
    kept, anew = (told(*words, f"training.reuse_text={keep}") for keep in ("true", "false"))
    assert kept.training < anew.training
    assert kept.evaluation < anew.evaluation
    text = [
        told("context=text_prompt", f"training.reuse_text={keep}") for keep in ("true", "false")
    ]
    assert text[0] == text[1]


def test_a_budget_is_what_is_spent(told):
    assert told(CELL, "method=tp", "training.flops=1e12").training == 1e12


def test_nothing_that_learns_is_no_training(told):
    assert told("context=none", "tuning=encoder").training == 0


def test_runs_share_a_pretrained_encoder(told):
    one, other, random = (
        told(CELL, f"method={m}") for m in ("xattn", "soft_prompt", "xattn_random")
    )
    assert one.encoder == other.encoder != ""
    assert one.pretraining == other.pretraining > 0
    assert random.pretraining == told(CELL, "method=tp").pretraining == 0


def test_several_tasks_share_the_steps(told):
    multi = told("task=multi")
    single = [told(f"task={t}").training for t in ("next_item", "favorite_category", "review")]
    assert multi.training == pytest.approx(sum(single) / 3)


def test_a_wider_beam_costs_more(told):
    narrow, wide = (told(CELL, "size=paper", f"task.beams={n}") for n in (10, 300))
    assert 10 < wide.evaluation / narrow.evaluation < 30


def test_answers_are_estimated_as_their_softmax_reads_them(told, tmp_path):
    words = ["context=none", "lm=tiny", "task=next_item", "task.scorer=exhaustive", "threads=1"]
    words += ["task.softmax=siblings", "training.steps=0", "cost.repeats=1", "cost.warmup=0"]
    words += ["evaluation.users=4", "evaluation.retention=false", f"paths.runs={tmp_path}"]
    loaded = load("contextualize", words)
    outcome = execute("contextualize", loaded.config, loaded.choices, words)
    assert outcome.state == "finished", outcome.error
    result = json.loads((Path(outcome.folder) / "result.json").read_text(encoding="utf-8"))
    counted = 4 * result["outcomes"][0]["cost"]["flops_per_user"]
    assert 0.4 < told(*words).evaluation / counted < 2.5


def test_a_language_model_that_nobody_here_knows_is_told_by_its_name(told):
    named = told("lm=huggingface", "lm.model=someone/Great-8B-base")
    assert named.rough
    assert 1e13 < named.training < 1e15
    assert isnan(told("lm=huggingface", "lm.model=someone/great").training)


def test_a_study_s_bill_counts_each_encoder_once(told):
    whole, _ = bills("t5", "contextualize", ["method=xattn", "tuning=full,encoder"])
    cells = [
        told(f"experiment=paper_movielens_{task}", "method=xattn", f"tuning={tuning}")
        for task in ("next_item", "favorite_category")
        for tuning in ("full", "encoder")
    ]
    assert whole.runs == 4
    training = sum(cell.training for cell in cells)
    assert whole.training == pytest.approx(training + cells[0].pretraining)


def test_the_bill_of_a_search_is_that_of_all_its_trials(told):
    search, _ = bills("search_contextualize", "contextualize")
    one = told("study=search_contextualize")
    assert search.runs == 16
    assert search.training == pytest.approx(16 * one.training + one.pretraining)
    encoders, _ = bills("search_pretrain", "pretrain", ["hydra.sweeper.trials=3"])
    assert encoders.runs == 3
    assert encoders.flops > 0


def test_every_study_asks_a_question_in_one_line():
    for file in (conf_dir() / "study").glob("*.yaml"):
        assert first_comment(file).endswith(("?", "?)", ")?", ".")), file


def test_the_list_is_made_once_and_then_read(monkeypatch):
    file = conf_dir() / "study" / "t5.yaml"
    first = study_table({"t5": file})
    monkeypatch.setattr("userllm.run.bills.bills", lambda *_: pytest.fail("told again"))
    again = study_table({"t5": file})
    assert list(again.columns[2].cells) == list(first.columns[2].cells) == ["8"]
    assert cpu_rate() > 1e8
