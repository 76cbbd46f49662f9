"""What a study's settings were chosen from is kept: trial by trial, and nothing else."""

import json

import polars as pl
import pytest

from experiments import searches


def searched(runs, monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(searches, "HERE", tmp_path / "kept")
    code = searches.main(["other", *arguments, "--runs", str(runs)])
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


def test_a_search_can_be_kept_piece_by_piece(runs, monkeypatch, tmp_path):
    _, all_at_once = searched(runs, monkeypatch, tmp_path, "made_up")
    file = tmp_path / "kept" / "other" / "searches.csv"
    text = file.read_text(encoding="utf-8")
    folders = sorted(runs.glob("contextualize/*"))
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    folders[0].rename(hidden / folders[0].name)
    _, rest = searched(runs, monkeypatch, tmp_path, "made_up")
    assert rest.height == all_at_once.height - 1
    (hidden / folders[0].name).rename(folders[0])
    for folder in folders[1:]:
        folder.rename(hidden / folder.name)
    code, rows = searched(runs, monkeypatch, tmp_path, "made_up", "--add")
    assert code == 0
    assert rows.equals(all_at_once)
    assert file.read_text(encoding="utf-8") == text


def test_a_trial_that_ran_again_replaces_its_row(runs, monkeypatch, tmp_path):
    _, before = searched(runs, monkeypatch, tmp_path, "made_up")
    file = sorted(runs.glob("contextualize/*/result.json"))[0]
    result = json.loads(file.read_text(encoding="utf-8"))
    (outcome,) = (one for one in result["outcomes"] if one["kind"] == "model")
    outcome["metrics"]["recall@10"]["mean"] = 0.125
    file.write_text(json.dumps(result), encoding="utf-8")
    _, rows = searched(runs, monkeypatch, tmp_path, "made_up", "--add")
    assert rows.height == before.height
    row = rows.row(by_predicate=_is(outcome["method"], result["run"]["seed"]), named=True)
    assert row["mean"] == 0.125


def test_grids_are_not_added_to_what_optuna_proposed(runs, monkeypatch, tmp_path, capsys):
    file = tmp_path / "kept" / "other" / "searches.csv"
    file.parent.mkdir(parents=True)
    file.write_text("search,trial,state,step,value,settings\n", encoding="utf-8")
    code, _ = searched(runs, monkeypatch, tmp_path, "made_up", "--add")
    assert code == 2
    assert "other columns" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8").startswith("search,trial,state")


def _is(method, seed):
    return (pl.col("method") == method) & (pl.col("seed") == seed)
