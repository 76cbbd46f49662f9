"""What a study's settings were chosen from is kept: trial by trial, and nothing else."""

import json

import polars as pl
import pytest

from experiments import searches


def searched(runs, monkeypatch, tmp_path, *names):
    monkeypatch.setattr(searches, "HERE", tmp_path / "kept")
    code = searches.main(["other", *names, "--runs", str(runs)])
    file = tmp_path / "kept" / "other" / "searches.csv"
    return code, pl.read_csv(file) if file.exists() else None


def test_every_trial_is_kept_with_its_numbers(runs, monkeypatch, tmp_path):
    code, rows = searched(runs, monkeypatch, tmp_path, "made_up")
    assert code == 0
    assert rows.height == 4
    for file in runs.glob("contextualize/*/result.json"):
        run = json.loads(file.read_text(encoding="utf-8"))
        (outcome,) = (one for one in run["outcomes"] if one["kind"] == "model")
        row = rows.row(by_predicate=_is(outcome["method"], run["run"]["seed"]), named=True)
        assert row["mean"] == pytest.approx(outcome["metrics"]["recall@10"]["mean"], abs=5e-5)
        assert row["n"] == 60
        assert row["metric"] == "recall@10"
        assert f"context={outcome['method']}" in row["settings"]


def test_a_search_that_never_ran_is_named(runs, monkeypatch, tmp_path, capsys):
    code, rows = searched(runs, monkeypatch, tmp_path, "nothing")
    assert code == 2
    assert rows is None
    assert "nothing" in capsys.readouterr().err


def test_a_search_without_a_finished_trial_is_an_error(runs, monkeypatch, tmp_path, capsys):
    for file in runs.glob("contextualize/*/status.json"):
        file.write_text('{"state": "failed"}', encoding="utf-8")
    code, rows = searched(runs, monkeypatch, tmp_path, "made_up")
    assert code == 2
    assert rows is None
    assert "no trial has finished" in capsys.readouterr().err


def _is(method, seed):
    return (pl.col("method") == method) & (pl.col("seed") == seed)
