import os
import signal
import subprocess
import sys
import threading

import pytest

from userllm.run.folder import read_status
from userllm.run.launch import Outcome
from userllm.run.sweep import print_outcomes

STUDY = """\
# @package _global_
# userllm pretrain study=grid
group: grid
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      seed: 0,1
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A user's own study, called grid."""
    study = tmp_path / "own" / "study" / "grid.yaml"
    study.parent.mkdir(parents=True)
    study.write_text(STUDY)
    monkeypatch.setenv("USERLLM_CONFIG_DIR", str(tmp_path / "own"))


@pytest.fixture
def states(tmp_path):
    return lambda verb="pretrain": sorted(
        read_status(folder)["state"] for folder in (tmp_path / "runs" / verb).iterdir()
    )


def test_a_failed_cell_is_recorded_and_the_rest_go_on(pretrain, states, capsys):
    assert pretrain("-m", "seed=0,13,1") == 1
    assert states() == ["failed", "finished", "finished"]
    table = capsys.readouterr().out
    assert "seed=13" in table
    assert "unlucky" in table


def test_a_repeated_sweep_runs_only_what_is_not_finished(pretrain, tmp_path):
    pretrain("-m", "seed=0,13")
    assert pretrain("-m", "seed=0,13,2") == 1
    counts = [path.read_text().count("called") for path in tmp_path.glob("runs/*/*/calls.txt")]
    assert sorted(counts) == [1, 1, 2]


def test_problems_of_all_cells_are_found_before_any_runs(pretrain, tmp_path, capsys):
    assert pretrain("-m", "seed=0,one", "data=synthetic,synthetik", "histry=2") == 2
    message = capsys.readouterr().err
    assert "seed: expected a whole number, got 'one'" in message
    assert "did you mean 'synthetic'" in message
    assert "did you mean 'history'" in message
    assert not (tmp_path / "runs").exists()


def test_a_sweep_leaves_no_folder_of_hydra_behind(pretrain, tmp_path):
    pretrain("-m", "seed=0,1")
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert not list((tmp_path / "runs" / ".sweep").iterdir())


def test_a_study_is_a_sweep_and_its_runs_are_its_members(pretrain, grid, tmp_path, states):
    assert pretrain("study=grid") == 0
    assert states() == ["finished", "finished"]
    members = (tmp_path / "runs" / "studies" / "grid.jsonl").read_text().splitlines()
    assert len(members) == 2


def test_what_is_typed_replaces_what_a_study_varies(pretrain, grid, states):
    assert pretrain("study=grid", "seed=7") == 0
    assert states() == ["finished"]


def test_an_interrupted_sweep_stops_and_continues(start, pretrain, states):
    process = start("-m", "seed=0,1")
    os.kill(process.pid, signal.SIGTERM)
    process.join(timeout=30)
    assert process.exitcode == 143
    assert states() == ["interrupted"]
    assert pretrain("-m", "seed=0,1") == 0
    assert states() == ["finished", "finished"]


def test_a_cell_that_another_process_is_at_is_waited_for(start, pretrain, states):
    process = start()
    threading.Timer(1.0, process.kill).start()
    assert pretrain("-m", "seed=0,1") == 0
    assert states() == ["finished", "finished"]


def test_the_joblib_launcher_runs_cells_in_parallel_processes(tmp_path, states):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = "-m data.seed=0,1 data.users=20 hydra/launcher=joblib hydra.launcher.n_jobs=2"
    done = subprocess.run(
        [sys.executable, "-m", "userllm.cli", "prepare", *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert states("prepare") == ["finished", "finished"]
    pids = {read_status(folder)["pid"] for folder in (tmp_path / "runs" / "prepare").iterdir()}
    assert len(pids) == 2


def test_brackets_in_errors_and_overrides_are_printed_as_they_are(capsys):
    cell = Outcome(
        "pretrain", "", "failed", 1.0, "type pip install 'userllm[wandb]'", 2, ["runs=[a]"]
    )
    other = Outcome("pretrain", "", "failed", 1.0, "no", 2, ["runs=[b]"])
    print_outcomes([cell, other])
    printed = capsys.readouterr().out
    assert "[wandb]" in printed
    assert "runs=[a]" in printed
