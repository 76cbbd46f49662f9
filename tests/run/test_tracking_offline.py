import subprocess
import sys

import pytest

from userllm.errors import UserError
from userllm.run.tracking import offline
from userllm.run.wandb_tool import wandb_tool


def part(run, stamp, *, sent=False):
    """Write what an offline session leaves in a run's folder."""
    folder = run / "wandb" / f"offline-run-{stamp}-id"
    folder.mkdir(parents=True)
    (folder / "run-id.wandb").touch()
    if sent:
        (folder / "run-id.wandb.synced").touch()
    return folder


@pytest.fixture
def runs(tmp_path):
    """Return a folder with three runs: two parts, one part that was sent, none."""
    for name in ("two", "sent", "none"):
        folder = tmp_path / "runs" / "pretrain" / name
        folder.mkdir(parents=True)
        (folder / "status.json").write_text('{"state": "finished"}')
    part(tmp_path / "runs" / "pretrain" / "two", "20260102_000000")
    part(tmp_path / "runs" / "pretrain" / "two", "20260101_000000")
    part(tmp_path / "runs" / "pretrain" / "sent", "20260101_000000", sent=True)
    return tmp_path / "runs"


@pytest.fixture
def server(monkeypatch):
    """Somebody is logged in; `wandb sync` marks what it is given, all but what is in `fails`."""
    calls, fails = [], set()

    def call(command, **_options):
        calls.append(command)
        for folder in map(offline.Path, command[4:]):
            if folder.name not in fails:
                (folder / "run-id.wandb.synced").touch()

    monkeypatch.setattr(offline, "is_logged_in", lambda: True)
    monkeypatch.setattr(offline, "is_reachable", lambda url: True)
    monkeypatch.setattr(subprocess, "run", call)
    return calls, fails


def test_unsent_parts_are_sent_in_one_call_in_the_order_they_were_written(runs, server, capsys):
    wandb_tool(["sync", f"paths.runs={runs}"])
    ((*command, first, second),) = server[0]
    assert command == [sys.executable, "-m", "wandb", "sync"]
    assert "20260101" in first
    assert "20260102" in second
    rows = [line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert {name.strip(): int(count) for name, count in rows} == {
        "sent now": 2,
        "sent before": 1,
        "not sent": 0,
        "runs without an offline part": 1,
    }


def test_doing_it_again_sends_nothing(runs, server):
    wandb_tool(["sync", f"paths.runs={runs}"])
    wandb_tool(["sync", f"paths.runs={runs}"])
    assert len(server[0]) == 1


def test_what_could_not_be_sent_is_named_and_kept_for_the_next_time(runs, server, capsys):
    server[1].add("offline-run-20260102_000000-id")
    with pytest.raises(UserError, match="same command again"):
        wandb_tool(["sync", f"paths.runs={runs}"])
    assert "offline-run-20260102_000000-id" in capsys.readouterr().out
    server[1].clear()
    wandb_tool(["sync", str(runs / "pretrain" / "two"), f"paths.runs={runs}"])
    assert [len(command) for command in server[0]] == [6, 5]


def test_without_a_login_nothing_is_tried(runs, monkeypatch):
    monkeypatch.setattr(offline, "is_logged_in", lambda: False)
    with pytest.raises(UserError, match="type wandb login"):
        wandb_tool(["sync", f"paths.runs={runs}"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "type userllm wandb sync"),
        (["send"], "type userllm wandb sync"),
        (["sync", "project=x"], "project: unknown"),
        (["dashboard"], "shows a study"),
        (["dashboard", "study=mine"], "there is no study 'mine'"),
    ],
)
def test_a_wrong_word_says_what_to_type(runs, words, message):
    with pytest.raises(UserError, match=message):
        wandb_tool([*words, f"paths.runs={runs}"] if words else words)
