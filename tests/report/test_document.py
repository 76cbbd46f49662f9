"""The JSON of a comparison: versioned, whole, and equal to the tables."""

import json

import pytest

from userllm.report.document import document
from userllm.report.slices import views


@pytest.fixture(scope="module")
def content(demo):
    return json.loads(document(demo, name="demo"))


def test_it_says_what_it_is(content):
    assert (content["schema_version"], content["kind"]) == (1, "userllm comparison")
    assert (content["confidence"], content["correction"]) == (0.95, "holm")


def test_every_row_has_both_intervals_its_test_its_cost_and_its_runs(content, demo):
    for line, row in zip(content["tables"][0]["rows"], demo[0].rows, strict=True):
        metric = line["metrics"][row.primary]
        assert metric["mean"] == row.score.mean
        assert metric["over_users"]["low"] == row.score.low
        over = row.over_seeds(row.primary)
        assert (metric["over_seeds"] or {}).get("low") == (over.low if over else None)
        assert (line["test"] or {}).get("p_corrected") == (row.test.adjusted if row.test else None)
        assert line["cost"] == row.cost
        assert [run["command"] for run in line["runs"]] == [r.run["command"] for r in row.runs]


def test_missing_cells_and_views_are_there(content, demo):
    (table,) = content["tables"]
    assert [(one["method"], one["seed"], one["state"]) for one in table["missing"]] == [
        ("soft_prompt", 1, "failed"),
        ("soft_prompt", 2, "running"),
    ]
    assert [view["name"] for view in table["views"]] == [view.name for view in views(demo[0])]
