import os
import subprocess
import sys
import time

import pytest

from userllm.cli import as_overrides, main


def command(tmp_path, *words):
    return subprocess.run(
        [sys.executable, "-m", "userllm.cli", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ,
    )


@pytest.mark.parametrize("words", [["--help"], ["ls"], ["ls", "data"], ["pretrain", "--help"]])
def test_looking_around_imports_no_pytorch(words):
    script = f"import sys, userllm.cli as cli; cli.main({words}); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command_works_from_any_folder_and_finds_its_run_again(tmp_path):
    words = ["prepare", "data=synthetic", "data.users=20"]
    assert command(tmp_path, *words).returncode == 0
    again = command(tmp_path, *words)
    assert again.returncode == 0
    assert "finished already" in again.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_check_prints_the_config_and_the_run_without_making_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "prepare", "data.users=20"]) == 0
    printed = capsys.readouterr().out
    assert "users: 20" in printed
    assert f"{tmp_path}/runs/prepare/synthetic-" in printed
    assert not list(tmp_path.iterdir())


def test_check_counts_the_runs_of_a_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "prepare", "-m", "data.users=20,30", "data.seed=0,1"]) == 0
    assert "4 runs" in capsys.readouterr().out


def test_check_refuses_what_cannot_run(capsys):
    assert main(["check", "prepare", "data.userz=20"]) == 2
    assert "did you mean 'users'" in capsys.readouterr().err


def test_ls_shows_what_an_option_is_for(capsys):
    main(["ls", "data"])
    printed = capsys.readouterr().out
    assert "data=synthetic" in printed
    assert "Simulated users" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ls", "dta"], "did you mean 'data'"),
        (["prepair"], "did you mean 'prepare'"),
        (["check"], "check needs a verb"),
        (["show"], "show needs a run"),
        (["prepare", "users"], "not an override; type key=value"),
        (["prepare", "--config-dir", "nowhere"], "does not exist"),
    ],
)
def test_a_wrong_command_says_what_to_type(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("USERLLM_CONFIG_DIR", "")
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_words_after_compare_are_runs():
    words = ["runs/a", "b*", "name=x", "it's"]
    assert as_overrides("compare", words) == ["runs=['runs/a','b*','it\\'s']", "name=x"]
    assert as_overrides("prepare", words) == words


def test_a_users_own_folder_of_options_is_listed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERLLM_CONFIG_DIR", "")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("# My own events.\n")
    assert main(["ls", "data", "--config-dir", str(tmp_path)]) == 0
    assert "My own events." in capsys.readouterr().out


def test_the_doctor_reports_within_seconds_and_shows_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "doctor-secret-0123456789")
    began = time.monotonic()
    done = command(tmp_path, "doctor")
    assert done.returncode == 0, done.stderr
    assert "logged in" in done.stdout
    assert "doctor-secret" not in done.stdout + done.stderr
    assert time.monotonic() - began < 30
