import os
import signal
import subprocess
import sys
import threading

import pytest

from userllm.cli import main
from userllm.errors import UserError
from userllm.run.ending import print_outcomes
from userllm.run.folder import read_status
from userllm.run.jobs import launch_cells
from userllm.run.launch import Outcome

pytestmark = pytest.mark.whole

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
    # The one that fails is tried twice by each sweep.
    assert sorted(counts) == [1, 1, 4]


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


def with_two_workers(verb, words, folder):
    """Run a sweep with the joblib launcher, in a process of its own."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    workers = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = subprocess.run(
        [sys.executable, "-m", "userllm.cli", verb, *words.split(), *workers],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr


def test_the_joblib_launcher_runs_cells_in_parallel_processes(tmp_path, states):
    words = "-m data.seed=0,1 data.users=20"
    with_two_workers("prepare", words, tmp_path)
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


def test_failed_cells_are_listed_at_the_end_with_their_error_and_log(pretrain, tmp_path, capsys):
    assert pretrain("-m", "seed=0,13") == 1
    printed = capsys.readouterr().out
    end = printed[printed.index("1 failed") :]
    assert "seed=13: RuntimeError: unlucky" in end
    (log,) = [line.strip() for line in end.splitlines() if line.endswith("log.txt")]
    assert "unlucky" in (tmp_path / log).read_text()


def test_what_crashed_is_tried_once_more_when_the_others_are_done(pretrain, tmp_path, monkeypatch):
    order = []

    def run(cfg, folder):
        order.append(cfg.seed)
        if order == [13]:
            raise MemoryError("two at a time were too many")
        folder.write_result({"outcomes": [], "examples": [], "environment": {}})

    monkeypatch.setattr(sys.modules["userllm.run.pretrain"], "run", run)
    assert pretrain("-m", "seed=13,0,1") == 0
    assert order == [13, 0, 1, 13]


def test_bad_input_is_not_tried_twice(pretrain, monkeypatch):
    calls = []

    def run(cfg, folder):
        calls.append(cfg.seed)
        raise UserError("no such thing")

    monkeypatch.setattr(sys.modules["userllm.run.pretrain"], "run", run)
    assert pretrain("-m", "seed=0,1") == 1
    assert calls == [0, 1]


def test_a_launcher_that_stops_is_started_once_more_for_the_rest(pretrain, states, monkeypatch):
    launched = []

    def launch(composer, overrides, cells, task):
        launched.append(len(cells))
        if len(launched) == 1:
            raise RuntimeError("a worker was killed")
        return launch_cells(composer, overrides, cells, task)

    monkeypatch.setattr("userllm.run.sweep.launch_cells", launch)
    assert pretrain("-m", "seed=0,1") == 0
    assert states() == ["finished", "finished"]
    assert pretrain("-m", "seed=0,1,2") == 0
    assert launched == [2, 2, 1]


def test_a_launcher_that_stops_twice_says_so(pretrain, monkeypatch, capsys):
    def launch(*_):
        raise RuntimeError("a worker was killed")

    monkeypatch.setattr("userllm.run.sweep.launch_cells", launch)
    assert pretrain("-m", "seed=0,1") == 2
    assert "finished runs are kept; run the same command again" in capsys.readouterr().err


def test_a_study_is_swept_by_its_name_alone(pretrain, grid, states, tmp_path):
    assert main(["sweep", "study=grid"]) == 0
    assert states() == ["finished", "finished"]
    assert pretrain("study=grid") == 0
    counts = [path.read_text().count("called") for path in tmp_path.glob("runs/*/*/calls.txt")]
    assert counts == [1, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["sweep"], "sweep needs a study"), (["sweep", "study=gird"], "did you mean 'grid'")],
)
def test_a_sweep_without_its_study_says_what_to_type(pretrain, grid, words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_tells_states_and_what_remains_and_runs_nothing(pretrain, tmp_path, capsys):
    assert pretrain("-m", "seed=0,13") == 1
    (done,) = [f for f in (tmp_path / "runs" / "pretrain").iterdir() if "s0" in f.name]
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert pretrain("-m", "seed=0,13,2", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "1 finished, 1 failed, 1 new; 2 to do" in printed
    assert "RuntimeError: unlucky" in printed
    (done / "result.json").unlink()
    assert pretrain("-m", "seed=0,13,2", "--dry-run") == 0
    assert "1 interrupted, 1 failed, 1 new; 3 to do" in capsys.readouterr().out
    assert sorted([*tmp_path.rglob("*"), done / "result.json"]) == before


def test_a_dry_run_shows_states_before_pytorch_is_there(tmp_path):
    script = (
        "import sys; import userllm.run.forecast as f; from userllm.config import Composer;"
        "f.refuse = lambda *_: sys.exit('torch' in sys.modules);"
        "f.problems_of = lambda *_: [];"
        "f.forecast(Composer('contextualize'), ['seed=0,1'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "2 new; 2 to do" in done.stdout


def test_a_dry_run_tells_the_cost_and_counts_a_shared_encoder_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("userllm.run.journal.log_to_screen", lambda: None)
    bills = []

    def add_up(estimates, *, without):
        bills.append(real(estimates, without=without))
        return bills[-1]

    from userllm.run import bills as module

    real = module.add_up
    monkeypatch.setattr(module, "add_up", add_up)
    words = ["contextualize", "context=soft_prompt", "size=tiny", "--dry-run"]
    assert main(words) == 0
    assert main([*words, "-m", "training.steps=1,2"]) == 0
    monkeypatch.setattr("userllm.run.forecast.state_of", lambda _: "finished")
    assert main([*words, "-m", "training.steps=1,2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("on one H100") == 3
    alone, two, without_encoder = (bill.training for bill in bills)
    encoder = two - without_encoder
    assert 0 < encoder < alone
    assert not list(tmp_path.iterdir())


def test_a_dry_run_reports_mistakes(pretrain, capsys):
    assert pretrain("-m", "seed=0,one", "histry=3", "--dry-run") == 2
    assert "did you mean 'history'" in capsys.readouterr().err
    assert pretrain("-m", "seed=0,one", "--dry-run") == 2
    assert "expected a whole number" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_workers_pretrain_an_encoder_that_both_need_once(tmp_path, states):
    words = (
        "-m context=soft_prompt,cross_attention size=tiny size.users=60 size.pretrain_steps=20 "
        "history=8 training.steps=2 evaluation.users=6 evaluation.retention=false cost.repeats=1 "
        "cost.warmup=0 threads=1"
    )
    with_two_workers("contextualize", words, tmp_path)
    assert states("contextualize") == ["finished", "finished"]
    assert states("pretrain") == ["finished"]
    (log,) = tmp_path.glob("runs/pretrain/*/log.txt")
    assert log.read_text().count("starting pretrain") == 1
    assert "continuing" not in log.read_text()
