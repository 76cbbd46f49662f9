"""Nothing finished is lost, the message says what happened, the same command ends the run."""

import errno
import json
import logging
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

from userllm.config import load
from userllm.run.folder import read_status
from userllm.run.launch import execute

pytestmark = pytest.mark.whole

TINY = [
    "context=none",
    "tuning=lora",
    "size=tiny",
    "size.users=60",
    "history=8",
    "training.steps=4",
    "training.checkpoint_every=2",
    "evaluation.users=6",
    "evaluation.retention=false",
    "cost.repeats=1",
    "cost.warmup=0",
    "threads=1",
]
PRETRAIN = ["size=tiny", "size.users=60", "size.pretrain_steps=4", "history=8", "threads=1"]
CANNOT_COME_BACK = {"log.txt"}
"""What tells how a run went; an undisturbed one has another, too."""


def run(verb, words, runs):
    loaded = load(verb, [*words, f"paths.runs={runs}"])
    return execute(verb, loaded.config, loaded.choices, words)


def content(folder):
    """Return what a run came to, and which files it left."""
    result = json.loads((folder / "result.json").read_text())
    weights = {
        path.name: {name: value.tolist() for name, value in state_of(path).items()}
        for path in folder.glob("checkpoints/*.ckpt")
    }
    users, curve = folder / "per_user.parquet", folder / "metrics.csv"
    return {
        "outcomes": [{k: v for k, v in one.items() if k != "cost"} for one in result["outcomes"]],
        "examples": result["examples"],
        "data": result["environment"]["data_fingerprint"],
        "users": pl.read_parquet(users).to_dicts() if users.exists() else None,
        "weights": weights,
        "curve": curve.read_text() if curve.exists() else None,
        "files": {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        },
    }


def state_of(path):
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the finished run of a verb, made once; tests work on copies."""
    made = {}
    runs = tmp_path_factory.mktemp("undisturbed")

    def undisturbed(verb):
        if verb not in made:
            outcome = run(verb, TINY if verb == "contextualize" else PRETRAIN, runs)
            assert outcome.state == "finished", outcome.error
            made[verb] = Path(outcome.folder)
        return made[verb]

    return undisturbed


@pytest.fixture
def disturb(undisturbed, tmp_path):
    """Copy a verb's runs, change its folder, repeat its command, and say how that ended."""

    def disturb(verb, change):
        folder = undisturbed(verb)
        runs = tmp_path / "runs"
        shutil.copytree(folder.parents[1], runs)
        copy = runs / verb / folder.name
        change(copy)
        outcome = run(verb, TINY if verb == "contextualize" else PRETRAIN, runs)
        return copy, outcome, content(folder)

    return disturb


def killed_while_it_scored(folder):
    """Leave what a run has that was killed after training and before its result."""
    (folder / "result.json").unlink()
    (folder / "per_user.parquet").unlink()
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": "running"}))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "status.json",
        "result.json",
        "per_user.parquet",
        "command.txt",
        "config.yaml",
        "manifest.json",
        "checkpoints/last.ckpt",
        "metrics.csv",
        "log.txt",
    ],
)
def test_a_finished_run_without_one_of_its_files(name, disturb, caplog):
    with caplog.at_level(logging.INFO):
        folder, outcome, expected = disturb("contextualize", lambda f: (f / name).unlink())
    assert outcome.state in ("finished", "skipped"), outcome.error
    assert read_status(folder)["state"] == "finished"
    if name in ("checkpoints/last.ckpt", "metrics.csv"):
        # The scores stand, and hours of training are not repeated unasked.
        assert f"{name} is missing" in caplog.text
        assert f"delete {folder} and repeat" in caplog.text
    elif name not in CANNOT_COME_BACK:
        assert content(folder) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["status.json", "command.txt", "config.yaml", "manifest.json", "checkpoints/last.ckpt"],
)
def test_a_killed_run_without_one_of_its_files(name, disturb):
    def change(folder):
        killed_while_it_scored(folder)
        (folder / name).unlink()

    folder, outcome, expected = disturb("contextualize", change)
    assert outcome.state == "finished", outcome.error
    assert content(folder) == expected


@pytest.mark.slow
def test_a_killed_run_without_its_curve_says_what_to_do(disturb):
    def change(folder):
        killed_while_it_scored(folder)
        (folder / "metrics.csv").unlink()

    folder, outcome, expected = disturb("contextualize", change)
    assert outcome.state == "finished", outcome.error
    assert "metrics.csv is gone" in (folder / "log.txt").read_text()
    whole = expected["files"] - {"metrics.csv"}
    assert content(folder) == {**expected, "curve": None, "files": whole}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "checkpoints/last.ckpt"])
def test_a_pretrained_encoder_without_weights(name, disturb, caplog):
    with caplog.at_level(logging.INFO):
        folder, outcome, expected = disturb("pretrain", lambda f: (f / name).unlink())
    assert f"{name} is missing" in caplog.text
    if "best" in name:
        assert outcome.state == "finished", outcome.error
        assert content(folder) == expected
    else:
        assert outcome.state == "skipped"


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 1000])
def test_a_worker_killed_in_the_middle_of_writing_a_checkpoint(keep, disturb):
    def change(folder):
        killed_while_it_scored(folder)
        whole = (folder / "checkpoints" / "last.ckpt").read_bytes()
        (folder / "checkpoints" / "last.tmp").write_bytes(whole[:keep])
        (folder / ".status.json.1.tmp").write_text("{")

    folder, outcome, expected = disturb("contextualize", change)
    assert outcome.state == "finished", outcome.error
    assert not (folder / ".status.json.1.tmp").exists()
    (folder / "checkpoints" / "last.tmp").unlink()
    assert content(folder) == expected


def test_a_corpus_without_one_of_its_files(undisturbed, tmp_path, caplog):
    first = tmp_path / "first"
    made = Path(run("prepare", ["size=tiny", "size.users=60"], first).folder)
    names = sorted(path.name for path in (made / "corpus").iterdir())
    expected = content(made)
    for name in names:
        (made / "corpus" / name).unlink()
        outcome = run("prepare", ["size=tiny", "size.users=60"], first)
        assert outcome.state == "finished", outcome.error
        assert f"corpus/{name} is missing" in caplog.text
        assert content(made) == expected


@pytest.fixture
def finished(pretrain, only_run):
    """A finished run of the stand-in, which needs no model."""
    assert pretrain() == 0
    return only_run()


def calls(folder):
    return (folder / "calls.txt").read_text().count("called")


@pytest.mark.parametrize("content", ["", '{"schema_version": 1', '{"schema_version": 0}', "[]"])
def test_a_result_that_is_not_whole_or_too_old_is_made_again(pretrain, finished, content):
    (finished / "result.json").write_text(content)
    assert pretrain() == 0
    assert calls(finished) == 2
    assert json.loads((finished / "result.json").read_text())["schema_version"] == 1


def test_a_result_of_a_newer_version_is_kept(pretrain, finished, capsys):
    newer = '{"schema_version": 99}'
    (finished / "result.json").write_text(newer)
    assert pretrain() == 2
    assert "newer userllm" in capsys.readouterr().err
    assert (finished / "result.json").read_text() == newer
    assert read_status(finished)["state"] == "finished"


@pytest.mark.parametrize("content", ["", '{"state": "fin', "[]", "{}"])
def test_a_status_that_cannot_be_read_is_that_of_an_interrupted_run(pretrain, finished, content):
    (finished / "status.json").write_text(content)
    assert pretrain() == 0
    assert read_status(finished)["state"] == "finished"


@pytest.mark.parametrize("name", ["result.json", "status.json", "config.yaml", ".owner.json"])
def test_a_disk_that_is_full_says_so_and_loses_nothing(
    pretrain, tmp_path, name, monkeypatch, capsys
):
    write = Path.open

    def full(path, mode="r", *arguments, **named):
        if name in path.name and mode == "w":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, mode, *arguments, **named)

    assert pretrain("seed=1") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        assert pretrain("seed=2") == 2
    assert "the disk is full" in capsys.readouterr().err
    assert pretrain("seed=2") == 0
    folders = list((tmp_path / "runs" / "pretrain").iterdir())
    assert sorted(calls(folder) for folder in folders)[0] == 1
    assert {read_status(folder)["state"] for folder in folders} == {"finished"}


def test_a_membership_that_was_cut_short_is_noted_again(tmp_path):
    from userllm.run.reference import record_member, study_members

    one, two = tmp_path / "pretrain" / "one-1", tmp_path / "pretrain" / "two-2"
    record_member(tmp_path, "grid", one)
    file = tmp_path / "studies" / "grid.jsonl"
    file.write_text(file.read_text() + '{"run": "pretr')
    record_member(tmp_path, "grid", two)
    assert study_members(tmp_path, "grid") == [one, two]


def test_a_clock_that_is_set_back_makes_no_negative_times(pretrain, only_run, monkeypatch):
    times = iter([f"2026-01-0{9 - day}T00:00:00+00:00" for day in range(9)])
    monkeypatch.setattr("userllm.run.folder.timestamp", lambda: next(times))
    assert pretrain() == 0
    status = read_status(only_run())
    assert status["ended"] < status["started"]
    assert status["seconds"] >= 0
    assert pretrain() == 0
    assert calls(only_run()) == 1
