"""A search the whole way, through Hydra and its launcher; training is three numbers."""

import json
import sys
import types

import pytest

from userllm.cli import main

pytestmark = pytest.mark.whole

pytest.importorskip("optuna")


def train(cfg, folder):
    """Validate three times as training does, then write a result on test users."""
    from userllm.run import tracking
    from userllm.training.metrics_file import MetricsFile

    with (folder.path / "calls.txt").open("a") as file:
        file.write("called\n")
    metrics = MetricsFile(folder.path / "metrics.csv", resumed_from=0)
    metrics.begin()
    for step in (10, 20, 30):
        values = {"valid/ndcg@10": step * cfg.training.learning_rate}
        metrics.write(step, values)
        for logger in tracking.loggers(folder):
            logger.log_metrics(values, step)
    outcome = {"kind": "model", "part": "test", "metrics": {"ndcg@10": {"mean": 0.5}}}
    folder.write_result({"outcomes": [outcome], "examples": [], "environment": {}})


@pytest.fixture
def pretrain(tmp_path, monkeypatch):
    """Run `userllm pretrain study=search_pretrain …`; return the exit code."""
    monkeypatch.chdir(tmp_path)
    stand_in = types.ModuleType("userllm.run.pretrain")
    stand_in.run = train
    monkeypatch.setitem(sys.modules, "userllm.run.pretrain", stand_in)
    monkeypatch.setattr("userllm.run.journal.log_to_screen", lambda: None)
    words = ("hydra.sweeper.trials=4", "hydra.sweeper.startup=2")
    return lambda *more: main(["pretrain", "study=search_pretrain", *words, *more])


def states(tmp_path):
    folders = (tmp_path / "runs" / "pretrain").iterdir()
    return {f.name: json.loads((f / "status.json").read_text())["state"] for f in folders}


def test_a_search_runs_prunes_ends_with_the_best_and_has_nothing_to_do_again(
    pretrain, tmp_path, capsys
):
    assert pretrain() == 0
    out = capsys.readouterr().out
    assert "best: trial" in out
    assert "userllm pretrain study=search_pretrain" in out
    before = states(tmp_path)
    # Who falls behind is left unfinished: its own command would go on.
    assert set(before.values()) == {"finished", "interrupted"}
    members = (tmp_path / "runs" / "studies" / "search_pretrain.jsonl").read_text().splitlines()
    assert len(members) == len(before)
    assert pretrain() == 0
    assert states(tmp_path) == before
    calls = [path.read_text() for path in (tmp_path / "runs" / "pretrain").glob("*/calls.txt")]
    assert calls == ["called\n"] * len(before)


def test_with_all_values_typed_it_is_the_one_run(pretrain, tmp_path):
    assert pretrain("training.learning_rate=0.001", "encoder.dropout=0", "encoder.layers=1") == 0
    assert list(states(tmp_path).values()) == ["finished"]
    assert not (tmp_path / "runs" / "searches").exists()


def test_a_key_that_nobody_has_is_refused_before_anything_runs(pretrain, tmp_path, capsys):
    assert pretrain("+hydra.sweeper.params.encoder_layers='1,2'") == 2
    assert "did you mean" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "pretrain").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra.sweeper.direction=up", "direction: expected"),
        ("hydra.sweeper.trials=0", "trials: expected at least 1"),
        ("hydra.sweeper.metric=null", "metric: expected text"),
    ],
)
def test_a_wrong_setting_is_named(pretrain, capsys, word, message):
    assert pretrain(word) == 2
    assert message in capsys.readouterr().err


def test_a_search_refuses_to_choose_by_the_test_users(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("userllm.run.journal.log_to_screen", lambda: None)
    words = ["contextualize", "study=search_contextualize", "evaluation.part=test"]
    assert main(words) == 2
    assert "evaluation.part is valid in a search" in capsys.readouterr().err
    words = ["contextualize", "study=search_contextualize", "seed=0,1,2"]
    assert main([*words, f"paths.runs={tmp_path}"]) == 2
    assert "the luckiest" in capsys.readouterr().err


def test_without_optuna_the_message_says_what_to_type(pretrain, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert pretrain() == 2
    assert "pip install 'userllm[search]'" in capsys.readouterr().err


def test_what_optuna_proposed_is_kept_as_a_table(pretrain, tmp_path, monkeypatch):
    pl = pytest.importorskip("polars")
    from experiments import searches

    assert pretrain() == 0
    monkeypatch.setattr(searches, "HERE", tmp_path / "kept")
    assert searches.main(["other", "search_pretrain", "--runs", "runs"]) == 0
    rows = pl.read_csv(tmp_path / "kept" / "other" / "searches.csv")
    assert rows["trial"].to_list() == [0, 1, 2, 3]
    for row in rows.iter_rows(named=True):
        tried = dict(pair.split("=") for pair in row["settings"].split())
        # The made-up training is worth its step times its rate, and may be stopped before 30.
        assert row["value"] == pytest.approx(
            row["step"] * float(tried["training.learning_rate"]), abs=5e-5
        )
        assert (row["state"] == "finished") == (row["step"] == 30)
