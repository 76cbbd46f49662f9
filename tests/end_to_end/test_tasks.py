"""Reviews and several tasks at once, from nothing to what a person reads of them."""

from pathlib import Path

import polars as pl
import pytest

from tests.end_to_end.test_contextualize import FEW, contextualize, result_of, run
from userllm.report.results import WITHOUT_USER
from userllm.run.show import show

pytestmark = pytest.mark.whole

REVIEW = ("task=review", "task.max_answer_tokens=8", *FEW)
MULTI = ("task=multi", "task.review.max_answer_tokens=8", *FEW)
TASKS = ["next_item", "favorite_category", "review"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def models(result):
    return [outcome for outcome in result["outcomes"] if outcome["kind"] == "model"]


@pytest.mark.parametrize("context", ["none", "text_prompt", "soft_prompt", "cross_attention"])
def test_reviews_are_written_judged_and_priced(runs: Path, context: str) -> None:
    result = result_of(contextualize(runs, f"context={context}", "tuning=lora", *REVIEW))
    [model] = models(result)
    assert model["scorer"] == "generate"
    assert model["primary"] == "rougeLsum"
    for metric in model["metrics"].values():
        assert 0 <= metric["low"] <= metric["mean"] <= metric["high"] <= 100
    cost = model["cost"]
    assert 1 <= cost["answer_tokens"] <= 8
    assert cost["flops_per_user"] == pytest.approx(sum(cost["flops_parts"].values()))
    assert ("answers" in cost["flops_parts"]) == (cost["answer_tokens"] > 1)
    assert cost["training_flops"] > 0
    for example in result["examples"]:
        assert len(example["unpersonalized"]) == 1
        assert example["truth"]
    if context == "none":
        # Nothing is known about anybody, so nothing is lost without it.
        assert all(e["unpersonalized"] == e["answers"]["none"] for e in result["examples"])


def test_a_written_run_is_evaluated_and_measured_again(runs: Path) -> None:
    outcome = contextualize(runs, *REVIEW, "seed=4")
    name, own = f"run:contextualize/{Path(outcome.folder).name}", result_of(outcome)
    again = result_of(run("evaluate", runs, f"run={name}", *FEW))
    assert models(again)[0]["metrics"] == models(own)[0]["metrics"]
    measured = result_of(run("benchmark", runs, f"run={name}", "cost.repeats=2"))
    for key in ("flops_per_user", "answer_tokens", "training_flops"):
        assert models(measured)[0]["cost"][key] == pytest.approx(models(own)[0]["cost"][key])


def test_several_tasks_give_one_outcome_each_and_the_gates_of_the_model(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = contextualize(runs, *MULTI)
    result = result_of(outcome)
    assert [model["task"] for model in models(result)] == TASKS
    per_user = pl.read_parquet(Path(outcome.folder) / "per_user.parquet")
    for model in models(result):
        mine = per_user.filter(pl.col("method") == model["method"], pl.col("task") == model["task"])
        primary = model["primary"]
        assert mine[primary].mean() == pytest.approx(model["metrics"][primary]["mean"])
        assert set(model["per_block"]["gate"]) == {"0", "1"}
        cost = model["cost"]
        assert cost["training_flops"] == models(result)[0]["cost"]["training_flops"]
        assert (cost["answer_tokens"] > 0) == (model["task"] == "review")
    heads = {m["task"]: m["cost"]["flops_parts"]["head"] for m in models(result)}
    assert heads["favorite_category"] == heads["review"] != heads["next_item"]
    show(Path(outcome.folder), None)
    user = result["examples"][0]["user"]
    shown = capsys.readouterr().out
    kept = [example for example in result["examples"] if example["user"] == user]
    assert shown.count(WITHOUT_USER) == len(kept)
    assert all(" ".join(example["question"].split()[:3]) in shown for example in kept)


def test_several_tasks_and_one_of_them_stand_in_the_same_table(tmp_path: Path) -> None:
    for words in (MULTI, ("task=next_item", *FEW)):
        result_of(contextualize(tmp_path, *words, "context=none", "tuning=lora", "group=both"))
    words = ("runs=[both]", f"paths.reports={tmp_path / 'reports'}")
    report = run("compare", tmp_path, *words)
    assert report.state == "finished", report.error
    table = (tmp_path / "reports" / "both" / "table.md").read_text(encoding="utf-8")
    assert "task=multi" in table
    assert "task=next_item" in table


def test_a_task_that_the_data_cannot_answer_is_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    outcome = contextualize(tmp_path, *REVIEW, "data.texts=false")
    assert outcome.exit_code == 2
    assert "have no texts" in outcome.error
    assert not (tmp_path / "pretrain").exists()


def test_a_budget_is_spent_on_several_tasks_by_their_weights(runs: Path) -> None:
    budget = ["training.flops=3e9", "tuning=lora", "encoder.checkpoint=null"]
    cost = models(result_of(contextualize(runs, *MULTI, *budget)))[0]["cost"]
    # Whose turn it is decides what a step costs, so the budget holds in the mean.
    assert 0.5 * 3e9 < cost["training_flops"] < 1.5 * 3e9
