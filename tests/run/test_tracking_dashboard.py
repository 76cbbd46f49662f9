import json

import pytest

from userllm.errors import UserError
from userllm.run import wandb_tool
from userllm.run.reference import record_member
from userllm.run.tracking.dashboard import Study, read_study, report, sections_of, workspace


@pytest.fixture
def study():
    pytest.importorskip("wandb_workspaces")
    return Study("mine", "userllm", "me", {"next_item": "mrr", "review": "rouge_l"}, ["a", "b"])


def finished(runs, name, method, task, primary):
    """Write a finished run and return its folder."""
    folder = runs / "contextualize" / name
    folder.mkdir(parents=True)
    outcome = {"method": method, "kind": "model", "task": task, "primary": primary}
    (folder / "result.json").write_text(json.dumps({"outcomes": [outcome]}))
    (folder / "status.json").write_text('{"state": "finished"}')
    return folder


def test_a_study_is_read_from_its_finished_runs(tmp_path):
    runs = [finished(tmp_path, m, m, "next_item", "mrr") for m in ("none", "xattn")]
    (tmp_path / "contextualize" / "started").mkdir()
    told = read_study(
        "mine", [*runs, tmp_path / "contextualize" / "started"], project="p", entity="e"
    )
    assert told == Study("mine", "p", "e", {"next_item": "mrr"}, ["none", "xattn"])


def test_a_study_without_a_finished_run_has_nothing_to_show(tmp_path):
    with pytest.raises(UserError, match="run the study first"):
        read_study("mine", [tmp_path], project="p", entity="e")


def test_the_workspace_shows_the_study_grouped_by_method(study):
    made = workspace(study)
    settings = json.loads(made._to_model().model_dump_json(by_alias=True))["spec"]["section"]
    (runs,) = settings["runSets"]
    (only,) = runs["filters"]["filters"]
    assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "mine")
    assert [group["name"] for group in runs["grouping"]] == ["method.value"]
    names = [section["name"] for section in settings["panelBankConfig"]["sections"]]
    assert names == ["Accuracy", "Cost", "Training", "Tables"]


def test_every_task_has_a_chart_of_its_primary_metric_and_of_each_cost(study):
    panels = sections_of(study)
    charts = [chart.metrics for chart in panels["Accuracy"]]
    assert charts == [["next_item/mrr"], ["review/rouge_l"]]
    axes = {(chart.x.name, chart.y.name) for chart in panels["Cost"]}
    assert ("next_item/cost/latency_ms/p50", "next_item/mrr") in axes
    assert ("review/cost/flops_per_user", "review/rouge_l") in axes
    tables = [panel.table_name for panel in panels["Tables"]]
    assert tables == ["comparison", "outcomes", "per_user"]


def test_no_two_panels_of_a_section_overlap(study):
    for panels in sections_of(study).values():
        taken = {
            (x, y)
            for one in panels
            for x in range(one.layout.x, one.layout.x + one.layout.w)
            for y in range(one.layout.y, one.layout.y + one.layout.h)
        }
        assert len(taken) == sum(one.layout.w * one.layout.h for one in panels)


def test_the_report_has_a_chapter_per_section_each_with_the_studys_runs(study):
    made = report(study)
    grids = [block for block in made.blocks if hasattr(block, "runsets")]
    titles = [block.text for block in made.blocks if type(block).__name__ == "H2"]
    assert titles == list(sections_of(study))
    for title, grid in zip(titles, grids, strict=True):
        (runs,) = grid.runsets
        assert (runs.entity, runs.project) == ("me", "userllm")
        assert runs.filters == "Group = 'mine'"
        assert runs.groupby == ([] if title == "Tables" else ["config.method"])
        assert repr(grid.panels) == repr(sections_of(study)[title])


def test_publishing_saves_both_and_prints_where_they_are(tmp_path, monkeypatch, capsys):
    wandb = pytest.importorskip("wandb")
    pytest.importorskip("wandb_workspaces")
    record_member(tmp_path, "mine", finished(tmp_path, "x", "none", "next_item", "mrr"))
    for name in ("is_logged_in", "is_reachable"):
        monkeypatch.setattr(wandb_tool, name, lambda *given: True)
    monkeypatch.setattr(wandb, "Api", lambda: type("Api", (), {"default_entity": "team"}))
    sent = []
    monkeypatch.setattr(wandb_tool, "save", lambda study: sent.append(study) or ["https://here"])
    wandb_tool.wandb_tool(["dashboard", "study=mine", f"paths.runs={tmp_path}"])
    assert sent == [Study("mine", "userllm", "team", {"next_item": "mrr"}, ["none"])]
    assert "https://here" in capsys.readouterr().out
