"""A run that is scored again, or goes on, is the run that it was."""

from pathlib import Path

import pytest

from tests.end_to_end.test_contextualize import contextualize, result_of, run
from userllm.report.comparison import build_tables
from userllm.report.results import load

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
