import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from userllm.cli import main
from userllm.run.folder import read_status
from userllm.run.planned import state_of
from userllm.run.progress import Progress, read_progress, record_steps, seconds_left

RESULT = {
    "outcomes": [
        {"kind": "model", "task": "t", "primary": "mrr", "metrics": {"mrr": {"mean": 0.25}}},
        {"kind": "reference", "task": "t", "primary": "mrr", "metrics": {"mrr": {"mean": 0.1}}},
    ],
    "examples": ["x" * 20_000],
}


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write a run's folder as a run would leave it."""
    monkeypatch.chdir(tmp_path)

    def make(name, state, *, steps=None, seconds=60.0, **status):
        folder = tmp_path / "runs" / "contextualize" / name
        folder.mkdir(parents=True)
        status = {"state": state, "seconds": seconds, "error": None, **status}
        (folder / "status.json").write_text(json.dumps(status))
        (folder / "config.yaml").write_text("training:\n  steps: 40\n  flops: null\n")
        if state == "finished":
            (folder / "result.json").write_text(json.dumps(RESULT))
        if steps is not None:
            rows = "".join(f"{step},train/loss,1.0\n" for step in range(steps + 1))
            (folder / "metrics.csv").write_text(f"step,metric,value\n{rows}{steps + 1},tra")
        return folder

    return make


def test_the_table_says_how_far_each_run_is(make, capsys):
    make("done-00000001", "finished")
    make("cut-00000002", "interrupted", steps=20)
    make("bad-00000003", "failed", error="RuntimeError: [unlucky]")
    assert main(["status", "contextualize/*"]) == 0
    printed = capsys.readouterr().out
    assert "t mrr 0.250" in printed
    assert "21 of 40" in printed
    assert "RuntimeError: [unlucky]" in printed
    assert "3 runs: 1 finished, 1 interrupted, 1 failed" in printed
    assert "about 2.00 min of work" in printed


def test_a_budget_in_flops_shows_the_steps_that_it_pays_for(make, capsys):
    folder = make("cut-00000002", "interrupted", steps=20)
    (folder / "config.yaml").write_text("training:\n  steps: 40\n  flops: 1.0e+12\n")
    assert read_progress(folder, "").steps is None
    record_steps(folder, 1234)
    assert main(["status", "contextualize/*"]) == 0
    assert "21 of 1,234" in capsys.readouterr().out


def test_runs_of_a_sweep_are_known_before_they_start(pretrain, tmp_path, capsys):
    assert pretrain("-m", "group=grid", "seed=0,1") == 0
    plan = json.loads((tmp_path / "runs" / "studies" / "grid.plan.json").read_text())
    assert sorted(plan.values()) == ["seed=0", "seed=1"]
    (tmp_path / "runs" / next(iter(plan)) / "status.json").unlink()
    capsys.readouterr()
    assert main(["status", "grid"]) == 0
    assert "2 runs: 1 finished, 1 new" in capsys.readouterr().out


def test_a_run_under_way_is_running_and_a_killed_one_interrupted(start, only_run):
    process = start()
    assert state_of(only_run()) == "running"
    progress = read_progress(only_run(), "x")
    assert progress.state == "running"
    process.kill()
    process.join()
    assert read_status(only_run())["state"] == "running"
    assert state_of(only_run()) == "interrupted"


def test_a_word_that_names_nothing_is_bad_input(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["status", "nothing"]) == 2
    assert "no study" in capsys.readouterr().err


def of(state, seconds=0.0, **steps):
    return Progress(folder=None, label="", state=state, seconds=seconds, **steps)


def test_the_rest_takes_what_finished_runs_took():
    assert seconds_left([of("new")]) is None
    assert seconds_left([of("finished", 60), of("finished", 120), of("new"), of("failed")]) == 180
    two = [of("finished", 100), of("running", 40), of("running", 0), of("new"), of("new")]
    assert seconds_left(two) == (60 + 100 + 100 + 100) / 2
    assert seconds_left([of("finished", 10), of("running", 99)]) == 0


def test_until_one_is_finished_training_so_far_tells_the_rest():
    half = of("running", 30, step=50, steps=100)
    assert seconds_left([half]) == 30
    assert seconds_left([half, of("new")]) == 90
    assert seconds_left([of("running", 30, step=50)]) is None


def test_a_clock_that_was_set_back_makes_no_negative_times(make):
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    earlier = datetime.now(UTC).isoformat()
    folder = make("odd-00000001", "finished", seconds=None, started=later, ended=earlier)
    assert read_progress(folder, "x").seconds == 0.0
    assert read_progress(make("b-00000002", "failed", seconds=None, started="?"), "").seconds == 0


def test_files_that_cannot_be_read_hide_no_run(make, capsys):
    folder = make("torn-00000001", "finished")
    (folder / "result.json").write_text('{"outcomes": [')
    other = make("torn-00000002", "interrupted", steps=3)
    (other / "config.yaml").write_text(":\n - [")
    (other / "status.json").write_text('{"state": "fin')
    assert main(["status"]) == 0
    assert "1 finished, 1 interrupted" in capsys.readouterr().out


def test_watching_ends_when_all_is_finished(make, capsys):
    make("done-00000001", "finished")
    assert main(["status", "--watch"]) == 0
    assert "1 runs: 1 finished" in capsys.readouterr().out


def test_a_hundred_runs_take_less_than_a_second_and_no_pytorch(make, tmp_path):
    for number in range(100):
        make(f"run-{number:08}", "finished" if number % 2 else "interrupted", steps=5000)
    script = (
        "import sys, time; from userllm.cli import main; began = time.process_time();"
        "main(['status']); assert 'torch' not in sys.modules; print(time.process_time() - began)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100 runs: 50 finished, 50 interrupted" in done.stdout
    # Of this process: other work on the machine must not decide.
    assert float(done.stdout.splitlines()[-1]) < 1.0
