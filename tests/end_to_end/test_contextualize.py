"""From nothing to a result on synthetic users with a random language model."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from userllm.config import load
from userllm.lm import tiny
from userllm.run.launch import Outcome, execute
from userllm.run.reference import study_members
from userllm.task.mixture import MixedBatches

pytestmark = pytest.mark.whole

SMALL = [
    "size.users=60",
    "size.pretrain_steps=4",
    "history=8",
    "training.steps=4",
    "training.checkpoint_every=2",
    "cost.repeats=2",
    "cost.warmup=0",
    "threads=1",
]
FEW = ("evaluation.users=6", "evaluation.batch_size=3")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(verb: str, runs: Path, *overrides: str) -> Outcome:
    words = [*overrides, f"paths.runs={runs}"]
    loaded = load(verb, words)
    return execute(verb, loaded.config, loaded.choices, words)


def contextualize(runs: Path, *overrides: str) -> Outcome:
    return run("contextualize", runs, *SMALL, *overrides)


def result_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.state == "finished", outcome.error
    return json.loads((Path(outcome.folder) / "result.json").read_text(encoding="utf-8"))


def weights_of(outcome: Outcome) -> dict[str, torch.Tensor]:
    path = Path(outcome.folder) / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "words",
    [
        ["context=none", "tuning=lora"],
        ["context=none", "tuning=encoder"],
        ["context=text_prompt", "context.text_events=3", "tuning=full"],
        ["context=soft_prompt", "tuning=projection"],
        ["context=cross_attention", "context.form=plain", "tuning=lora"],
        ["context=cross_attention", "context.perceiver_latents=4"],
        ["context=hybrid", "context.text_events=2", "encoder.checkpoint=null"],
        ["context=cross_attention", "task=next_item"],
        ["context=text_prompt", "context.text_events=2", "task=next_item", "tuning=lora"],
        ["task=next_item", "task.scorer=beam", "task.overlap_users=2", "evaluation.users=6"],
        ["task=next_item", "task.scorer=exhaustive", "evaluation.users=6"],
        ["split=global_time", "task=next_item"],
        ["task=favorite_category", "task.held_out=null", "task.label=history", "task.ties=random"],
    ],
    ids=" ".join,
)
def test_a_method_ends_in_a_result_with_accuracy_and_cost(runs: Path, words: list[str]) -> None:
    result = result_of(contextualize(runs, *words))
    model, *references = result["outcomes"]
    assert model["kind"] == "model"
    assert {r["kind"] for r in references} == {"reference"}
    for metric in model["metrics"].values():
        assert 0 <= metric["low"] <= metric["mean"] <= metric["high"] <= 1
        assert metric["n"] > 0
    cost = model["cost"]
    assert cost["flops_per_user"] == pytest.approx(sum(cost["flops_parts"].values()))
    assert cost["latency_ms"]["p95"] >= cost["latency_ms"]["p50"] > 0
    assert (cost["training_flops"] > 0) == (cost["trainable_parameters"] > 0)
    assert cost["prompt_tokens"] > 0
    per_user = pl.read_parquet(
        runs / "contextualize" / result["run"]["folder"] / "per_user.parquet"
    )
    assert set(per_user["method"]) == {o["method"] for o in result["outcomes"]}
    mine = per_user.filter(pl.col("method") == model["method"])
    assert mine[model["primary"]].mean() == pytest.approx(
        model["metrics"][model["primary"]]["mean"]
    )
    assert result["examples"][0]["truth"]


def test_a_method_with_nothing_to_learn_is_measured_untrained(runs: Path) -> None:
    result = result_of(contextualize(runs, "context=none", "tuning=encoder", "seed=3"))
    assert result["outcomes"][0]["cost"]["training_steps"] == 0


@pytest.mark.parametrize(
    ("step", "more"),
    [(0, []), (2, []), (2, ["task=multi", "task.review.max_answer_tokens=8"])],
    ids=["first", "third", "multi"],
)
def test_an_interrupted_run_ends_with_the_weights_and_metrics_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, more: list[str]
) -> None:
    words = ("context=soft_prompt", "encoder.dropout=0.5", *more, *FEW)
    whole = contextualize(tmp_path / "whole", *words)
    read = MixedBatches.__call__

    def stop_once(self: MixedBatches, number: int) -> Any:
        if number == step + 1:
            raise KeyboardInterrupt
        return read(self, number)

    monkeypatch.setattr(MixedBatches, "__call__", stop_once)
    stopped = contextualize(tmp_path / "parts", *words)
    monkeypatch.setattr(MixedBatches, "__call__", read)
    assert stopped.state == "interrupted"
    resumed = contextualize(tmp_path / "parts", *words)
    assert Path(resumed.folder) == Path(stopped.folder)
    first, second = weights_of(whole), weights_of(resumed)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [o["metrics"] for o in result_of(whole)["outcomes"]] == [
        o["metrics"] for o in result_of(resumed)["outcomes"]
    ]


def test_evaluating_a_finished_run_again_gives_its_own_metrics(runs: Path) -> None:
    outcome = contextualize(runs, "context=cross_attention", "seed=5")
    name = f"run:contextualize/{Path(outcome.folder).name}"
    again = result_of(run("evaluate", runs, f"run={name}"))
    own = result_of(outcome)
    assert again["outcomes"][0]["metrics"] == own["outcomes"][0]["metrics"]
    measured = result_of(run("benchmark", runs, f"run={name}", "cost.repeats=2"))
    assert measured["outcomes"][0]["cost"]["flops_per_user"] == pytest.approx(
        own["outcomes"][0]["cost"]["flops_per_user"]
    )


def test_the_same_training_budget_buys_fewer_examples_of_a_longer_prompt(runs: Path) -> None:
    budget = ["training.flops=1e10", "tuning=lora", "encoder.checkpoint=null"]
    costs = [
        result_of(contextualize(runs, f"context={context}", *budget))["outcomes"][0]["cost"]
        for context in ("none", "text_prompt")
    ]
    short, long = costs
    assert long["training_examples"] < short["training_examples"]
    for cost in costs:
        one_step = cost["training_flops"] / cost["training_steps"]
        assert 1e10 - one_step < cost["training_flops"] <= 1e10


def test_an_encoder_that_nobody_could_validate_is_used_all_the_same(tmp_path: Path) -> None:
    # Validation and test begin at the same time, when every history goes on.
    lines = [
        f"{user},{(3 * user + step) % 25},{min(1000 + step, 1007)}"
        for user in range(30)
        for step in range(10)
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["user,item,timestamp", *lines]))
    data = ["data=table", f"data.path={tmp_path / 'mine.csv'}", "split=global_time"]
    outcome = contextualize(tmp_path, *data, "task=next_item")
    assert result_of(outcome)["outcomes"][0]["metrics"]["recall@10"]["n"] == 30
    (encoder,) = (tmp_path / "pretrain").iterdir()
    assert (encoder / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize(
    "task",
    [
        ["task=next_item", "task.scorer=exhaustive", "task.softmax=siblings", *FEW],
        [
            *["task=next_item", "task.scorer=beam", "task.softmax=siblings", *FEW],
            "task.encoder_prior=true",
        ],
        ["task=next_item"],
    ],
    ids=["titles", "titles from the ranking", "item_head"],
)
def test_reusing_text_changes_what_a_run_costs_and_nothing_else(
    runs: Path, task: list[str]
) -> None:
    words = ["context=cross_attention", "context.layers=1"]
    kept, anew = (
        contextualize(runs, *words, *task, f"training.reuse_text={reuse}")
        for reuse in ("true", "false")
    )
    outcomes = [result_of(one)["outcomes"][0] for one in (kept, anew)]
    for name, weight in weights_of(kept).items():
        torch.testing.assert_close(weight, weights_of(anew)[name], atol=1e-4, rtol=1e-3)
    first, second = outcomes
    assert first["metrics"].keys() == second["metrics"].keys()
    assert first["cost"]["flops_parts"]["blocks"] < second["cost"]["flops_parts"]["blocks"]
    assert first["cost"]["training_flops"] < second["cost"]["training_flops"]
    frames = [pl.read_parquet(Path(one.folder) / "per_user.parquet") for one in (kept, anew)]
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("tuning", ["projection", "encoder"])
def test_an_encoder_is_read_without_dropout(runs: Path, tuning: str) -> None:
    words = [f"tuning={tuning}", "encoder.checkpoint=null", "evaluation.users=1"]
    with_dropout, without = (
        contextualize(runs, *words, f"encoder.dropout={share}") for share in (0.5, 0)
    )
    assert result_of(with_dropout)
    assert result_of(without)
    for name, weight in weights_of(with_dropout).items():
        assert torch.equal(weight, weights_of(without)[name]), name


def test_titles_start_from_a_ranking_only_where_an_encoder_is_read(runs: Path) -> None:
    words = ["task=next_item", "task.scorer=beam", "task.softmax=siblings"]
    outcome = contextualize(runs, "context=none", *words, "task.encoder_prior=true")
    assert outcome.exit_code == 2
    assert "context=none, which reads no encoder" in outcome.error


def test_flops_per_user_count_the_writing_of_a_summary(runs: Path, tmp_path: Path) -> None:
    writer = ["summarizer@context.summarizer=language_model", "lm@context.summarizer.lm=tiny"]
    small = ["context.summarizer.max_new_tokens=2", f"context.summarizer.cache={tmp_path}"]
    for more, works in (([*writer, *small], True), ([], False)):
        words = ["context=text_summary", *more, "evaluation.users=4", "training.steps=1"]
        cost = result_of(contextualize(runs, *words))["outcomes"][0]["cost"]
        assert (cost["flops_parts"]["summary"] > 0) is works
        assert cost["flops_parts"]["summary"] == cost["summaries"]["flops_per_summary"]
        assert cost["flops_per_user"] == pytest.approx(sum(cost["flops_parts"].values()))


def test_a_budget_too_small_for_one_step_is_refused(runs: Path) -> None:
    outcome = contextualize(runs, "training.flops=1")
    assert outcome.state == "failed"
    assert outcome.exit_code == 2
    assert "does not pay for one step" in outcome.error


def test_a_study_holds_the_run_and_the_encoder_it_was_made_from(tmp_path: Path) -> None:
    outcome = contextualize(tmp_path, "group=mine")
    members = [path.parent.name for path in study_members(tmp_path, "mine")]
    assert sorted(members) == ["contextualize", "pretrain"]
    words = ("runs=[mine]", f"paths.reports={tmp_path / 'reports'}", "logger=wandb")
    report = run("compare", tmp_path, *words)
    assert report.state == "finished", report.error
    assert list((Path(report.folder) / "wandb").glob("offline-run-*"))
    table = (tmp_path / "reports" / "mine" / "table.md").read_text(encoding="utf-8")
    assert "cross_attention" in table
    assert Path(outcome.folder).is_dir()


def test_an_encoder_of_another_corpus_is_refused(runs: Path) -> None:
    small = [w for w in SMALL if not w.startswith(("training", "cost", "size"))]
    words = ["size.users=30", "training.steps=1", *small]
    pretrained = run("pretrain", runs, *words, "name=other")
    assert pretrained.state == "finished", pretrained.error
    outcome = contextualize(runs, "encoder.checkpoint=run:pretrain/other")
    assert outcome.exit_code == 2
    assert "was trained on the corpus" in outcome.error


def test_an_encoder_of_another_split_is_refused(runs: Path) -> None:
    small = [w for w in SMALL if not w.startswith(("training", "cost"))]
    pretrained = run("pretrain", runs, *small, "training.steps=1", "name=last")
    assert pretrained.state == "finished", pretrained.error
    outcome = contextualize(runs, "encoder.checkpoint=run:pretrain/last", "split=global_time")
    assert outcome.exit_code == 2
    assert "was trained with split=leave_last_out" in outcome.error


def test_text_that_the_language_model_was_not_made_for_is_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "WINDOW", 100)
    outcome = contextualize(runs, "context=text_prompt", "seed=9")
    assert outcome.exit_code == 2
    assert "tokens, and the language model was made for 100" in outcome.error
    assert contextualize(runs, "context=none", "seed=9").state == "finished"


def test_an_lm_folder_without_a_model_is_refused(runs: Path, tmp_path: Path) -> None:
    outcome = contextualize(runs, "lm=huggingface", f"lm.model={tmp_path}")
    assert outcome.exit_code == 2
    assert "without config.json" in outcome.error


def test_a_context_that_does_not_fit_is_refused_before_an_encoder_is_pretrained(
    tmp_path: Path,
) -> None:
    outcome = contextualize(tmp_path, "context.layers=9")
    assert outcome.exit_code == 2
    assert "has 2 blocks" in outcome.error
    assert not (tmp_path / "pretrain").exists()
