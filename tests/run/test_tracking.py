import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from stand_in import __file__ as stand_in

from userllm.run import tracking


def hang(*_arguments, **_options):
    """Look a name up without a network."""
    time.sleep(5)
    raise OSError


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """Nobody is logged in to W&B."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def test_without_a_login_the_run_is_offline(nobody):
    assert tracking.wandb_mode("auto") == "offline"


def test_with_a_login_and_no_network_the_run_is_offline_within_seconds(nobody):
    nobody.setenv("WANDB_API_KEY", "0" * 40)
    nobody.setattr(tracking.socket, "create_connection", hang)
    began = time.monotonic()
    assert tracking.wandb_mode("auto") == "offline"
    assert time.monotonic() - began < 4


def test_with_a_login_and_a_server_the_run_is_online(nobody, tmp_path):
    nobody.setattr(tracking, "is_reachable", lambda url: True)
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    assert tracking.wandb_mode("auto") == "online"


def test_the_environment_decides_over_the_config(nobody):
    nobody.setenv("WANDB_MODE", "disabled")
    assert tracking.wandb_mode("online") == "disabled"


def test_wandb_offline_writes_one_run_per_run_and_finishes(tmp_path):
    pytest.importorskip("wandb")
    words = ["pretrain", "-m", "seed=0,13", "logger=wandb", "group=pair"]
    done = subprocess.run(
        [sys.executable, stand_in, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "wandb").exists()
    ids = []
    for folder in (tmp_path / "runs" / "pretrain").iterdir():
        (offline,) = (folder / "wandb").glob("offline-run-*")
        ids.append(offline.name.rpartition("-")[2])
        assert list(offline.glob("*.wandb"))
    assert len(set(ids)) == 2


def test_the_summary_has_a_number_for_every_metric(tmp_path, monkeypatch):
    run = SimpleNamespace(summary={})
    outcome = {
        "task": "next_item",
        "method": "none",
        "scorer": "head",
        "metrics": {"mrr": {"mean": 0.5}},
    }
    (tmp_path / "result.json").write_text(json.dumps({"outcomes": [outcome]}))
    monkeypatch.setitem(tracking._open, tmp_path, run)
    tracking.log_summary(SimpleNamespace(path=tmp_path))
    assert run.summary == {"next_item/none/head/mrr": 0.5}
