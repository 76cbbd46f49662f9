"""A run that is scored again, or goes on, is the run that it was."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_contextualize import SMALL, contextualize, result_of, run
from userllm.config import Composer
from userllm.report.comparison import build_tables
from userllm.report.results import load
from userllm.run import contextualize as module
from userllm.run import pretrain
from userllm.run.launch import Outcome
from userllm.run.planned import look_up
from userllm.training.module import ParameterGroup

pytestmark = pytest.mark.whole


def test_scored_again_runs_are_compared_as_the_runs_that_they_are(tmp_path: Path) -> None:
    few = ["encoder.checkpoint=null", "training.steps=1", "evaluation.users=4"]
    for context in ("none", "cross_attention"):
        for seed in (0, 1):
            trained = contextualize(tmp_path, f"context={context}", f"seed={seed}", *few)
            again = run("evaluate", tmp_path, f"run={trained.folder}", "evaluation.users=5")
            assert result_of(again)["run"]["seed"] == seed
    loaded = [load(folder) for folder in (tmp_path / "evaluate").iterdir()]
    (table,) = build_tables(loaded)
    assert {row.method: row.score.n for row in table.models} == {"none": 5, "cross_attention": 5}
    assert [len(row.runs) for row in table.models] == [2, 2]
    assert next(row.delta for row in table.models if row.method == "cross_attention") is not None


def test_runs_whose_cost_is_measured_again_are_averaged_over_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        few = ("encoder.checkpoint=null", "training.steps=1", "evaluation.users=4")
        trained = contextualize(tmp_path, "context=cross_attention", f"seed={seed}", *few)
        run("benchmark", tmp_path, f"run={trained.folder}", "cost.repeats=2", "cost.warmup=0")
    (table,) = build_tables([load(folder) for folder in (tmp_path / "benchmark").iterdir()])
    (row,) = table.models
    assert sorted(row.seeds) == [0, 1]


@pytest.mark.parametrize("interrupted", [True, False], ids=["continued", "evaluated"])
def test_a_run_goes_on_with_the_language_model_it_was_begun_with(
    interrupted: bool, tmp_path: Path
) -> None:
    words = ("encoder.checkpoint=null", "evaluation.users=2", "name=mine")
    folder = Path(contextualize(tmp_path, *words).folder)
    file = folder / ("language_model.json" if interrupted else "result.json")
    text = file.read_text(encoding="utf-8")
    if interrupted:
        (folder / "status.json").write_text('{"state": "interrupted"}', encoding="utf-8")
    for said, state in ((text.replace('"random"', '"another"'), "failed"), (text, "finished")):
        file.write_text(said, encoding="utf-8")
        if interrupted:
            outcome = contextualize(tmp_path, *words)
        else:
            outcome = run("evaluate", tmp_path, f"run={folder}", "evaluation.users=2")
        assert outcome.state == state
        assert ("another, revision None" in outcome.error) == (state == "failed")


@pytest.mark.parametrize("ended", ["finished", "interrupted", "evaluated"])
def test_a_run_is_not_taken_for_one_of_an_encoder_that_was_made_again_and_differs(
    ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluation.users=2", "name=mine")
    folder = Path(contextualize(tmp_path, *words).folder)
    (encoder,) = (tmp_path / "pretrain").iterdir()

    def again() -> Outcome:
        if ended == "interrupted":
            (folder / "status.json").write_text('{"state": "interrupted"}', encoding="utf-8")
        shutil.rmtree(encoder)
        contextualize(tmp_path, "evaluation.users=2", "name=other", "training.steps=1")
        assert encoder.is_dir()
        if ended == "evaluated":
            return run("evaluate", tmp_path, f"run={folder}", "evaluation.users=2")
        return contextualize(tmp_path, *words)

    assert again().state == ("skipped" if ended == "finished" else "finished")
    shutil.rmtree(tmp_path / "evaluate", ignore_errors=True)
    shutil.rmtree(next((tmp_path / "contextualize").glob("other-*")))
    groups = pretrain.encoder_groups
    monkeypatch.setattr(
        pretrain, "encoder_groups", lambda *a, **k: groups(*a, **k | {"learning_rate": 0.5})
    )
    outcome = again()
    assert outcome.state == "failed"
    assert f"was made from pretrain/{encoder.name} with encoder_weights" in outcome.error
    assert (folder / "result.json").is_file()
    if ended == "finished":
        cell = [*SMALL, *words, f"paths.runs={tmp_path}"]
        (planned,) = look_up(Composer("contextualize"), [cell])
        assert (planned.folder, planned.state) == (folder, "failed")


def test_a_second_score_is_not_taken_for_one_of_a_run_that_was_trained_again_and_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("context=none", "tuning=lora", "evaluation.users=2", "name=mine")
    trained = Path(contextualize(tmp_path, *words).folder)
    score = ("evaluate", tmp_path, f"run={trained}", "evaluation.users=3")
    assert run(*score).state == "finished"
    shutil.rmtree(trained)
    assert contextualize(tmp_path, *words).state == "finished"
    assert run(*score).state == "skipped"
    shutil.rmtree(trained)
    groups = module.parameter_groups
    monkeypatch.setattr(module, "parameter_groups", lambda cfg, model: faster(groups(cfg, model)))
    assert contextualize(tmp_path, *words).state == "finished"
    outcome = run(*score)
    assert outcome.state == "failed"
    assert f"was made from contextualize/{trained.name} with learned_weights" in outcome.error


def faster(groups: list[ParameterGroup]) -> list[ParameterGroup]:
    return [{**group, "lr": 10 * group["lr"]} for group in groups]


def test_pretraining_counts_the_windows_that_there_were(tmp_path: Path) -> None:
    words = ["size.users=20", "history=100", "training.steps=3", "threads=1"]
    (user,) = run_costs(run("pretrain", tmp_path, *words, "training.batch_size=500"))
    (few,) = run_costs(run("pretrain", tmp_path, *words, "training.batch_size=5"))
    assert few["training_examples"] == 3 * 5
    # Not 1,500: an epoch has a window or two of each user.
    assert 3 * 20 <= user["training_examples"] <= 3 * 3 * 20
    per_window = [cost["training_flops"] / cost["training_examples"] for cost in (user, few)]
    assert per_window[0] == pytest.approx(per_window[1], rel=0.5)


def run_costs(outcome: Outcome) -> list[dict[str, Any]]:
    costs = [one["cost"] for one in result_of(outcome)["outcomes"] if one["kind"] == "model"]
    return [cost for number, cost in enumerate(costs) if cost not in costs[:number]]


def test_an_encoder_is_not_taken_for_one_of_a_corpus_that_was_made_again_and_differs(
    tmp_path: Path,
) -> None:
    small = [w for w in SMALL if not w.startswith(("training", "cost"))]
    assert run("pretrain", tmp_path, *small, "training.steps=1").state == "finished"
    (corpus,) = (tmp_path / "prepare").iterdir()
    assert run("prepare", tmp_path, "size.users=61").state == "finished"
    (other,) = set((tmp_path / "prepare").iterdir()) - {corpus}
    shutil.rmtree(corpus)
    other.rename(corpus)
    outcome = run("pretrain", tmp_path, *small, "training.steps=1")
    assert f"was made from prepare/{corpus.name} with data_fingerprint" in outcome.error


def test_a_finished_run_is_not_taken_for_one_of_changed_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = [f"u{user},i{(user * step) % 7},{step}" for user in range(9) for step in range(8)]
    file.write_text("\n".join(["user,item,timestamp", *rows]), encoding="utf-8")
    words = ["data=table", f"data.path={file}", "data.min_user_events=3", "history=5"]
    words += ["training.steps=1", "context=none", "task=next_item"]
    assert contextualize(tmp_path, *words).state == "finished"
    assert contextualize(tmp_path, *words).state == "skipped"
    file.write_text(file.read_text(encoding="utf-8").replace("u8,i0,7", "u8,i1,7"))
    outcome = contextualize(tmp_path, *words)
    assert outcome.state == "failed"
    assert "mine.csv, which has changed since" in outcome.error


@pytest.mark.parametrize("other", ["encoder.layers=2", "encoder=masked", "history=7"])
def test_an_encoder_of_another_form_is_refused(tmp_path: Path, other: str) -> None:
    small = [w for w in SMALL if not w.startswith(("training", "cost"))]
    assert run("pretrain", tmp_path, *small, "training.steps=1", "name=form").state == "finished"
    outcome = contextualize(tmp_path, "encoder.checkpoint=run:pretrain/form", other)
    assert outcome.exit_code == 2
    key = "encoder.max_events=8" if other == "history=7" else other.partition("=")[0]
    assert f"was pretrained with {key}" in outcome.error
