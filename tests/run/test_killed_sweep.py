"""A sweep whose workers and parent are killed again and again ends like one left in peace."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

pytestmark = pytest.mark.whole

SEED = 6
KILLS = 20
CELLS = 24
AT_WORK = 0.8
LONGEST = 1.5
"""Seconds from the moment that a worker is at work, or from anywhere, to the next kill."""
GRID = [
    "contextualize",
    "-m",
    "hydra/launcher=joblib",
    "hydra.launcher.n_jobs=2",
    "group=killed",
    "task=favorite_category,next_item",
    "seed=" + ",".join(map(str, range(CELLS // 2))),
    "context=none",
    "tuning=lora",
    "lm=tiny",
    "size=tiny",
    "size.users=60",
    "history=8",
    "training.steps=4",
    "training.checkpoint_every=1",
    "evaluation.users=6",
    "evaluation.retention=false",
    "cost.repeats=1",
    "cost.warmup=0",
    "threads=1",
]


def start(folder: Path) -> psutil.Popen:
    """Start the sweep in a session of its own."""
    folder.mkdir(exist_ok=True)
    with (folder / "out.txt").open("a") as out:
        command = [sys.executable, "-m", "userllm.cli", *GRID]
        return psutil.Popen(
            command, cwd=folder, stdout=out, stderr=out, env=os.environ, start_new_session=True
        )


def workers_of(parent: psutil.Popen) -> list[psutil.Process]:
    """Return the processes that run cells, without those that only look after them."""
    with suppress(psutil.NoSuchProcess):
        children = parent.children(recursive=True)
        return [one for one in children if "resource_tracker" not in " ".join(_command(one))]
    return []


def wait_for_work(folder: Path, parent: psutil.Popen) -> None:
    """Return once a worker of this parent holds a run, or there is no parent any more."""
    while parent.poll() is None:
        mine = {process.pid for process in workers_of(parent)}
        for owner in folder.glob("runs/*/*/.owner.json"):
            with suppress(OSError, ValueError):
                if json.loads(owner.read_text(encoding="utf-8"))["pid"] in mine:
                    return
        time.sleep(0.05)


def finished(folder: Path) -> int:
    """Return how many runs have a result."""
    return len(list(folder.glob("runs/contextualize/*/result.json")))


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        command: list[str] = process.cmdline()
        return command
    return []


def sweep_under_fire(folder: Path) -> dict[str, int]:
    """Repeat the same command until it ends well, killing as it goes; count what was killed."""
    choose = random.Random(SEED)
    killed = {"parent": 0, "worker": 0}
    sessions: list[int] = []
    try:
        while True:
            parent = start(folder)
            sessions.append(parent.pid)
            while sum(killed.values()) < KILLS:
                # Mostly inside a run, sometimes while processes start or end; as soon as a run has
                # begun where the sweep would else be over before all kills are.
                ahead = finished(folder) * KILLS > sum(killed.values()) * CELLS
                if ahead or choose.random() < AT_WORK:
                    wait_for_work(folder, parent)
                with suppress(psutil.TimeoutExpired):
                    parent.wait(timeout=0.0 if ahead else choose.uniform(0.0, LONGEST))
                    break
                workers = workers_of(parent)
                target = choose.choice([parent, *workers])
                with suppress(psutil.NoSuchProcess):
                    os.kill(target.pid, signal.SIGKILL)
                    killed["parent" if target is parent else "worker"] += 1
            code = parent.wait()
            if code == 0:
                return killed
    finally:
        for session in sessions:
            # Workers outlive a parent that is killed; these are all of this test's own.
            with suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)


def results(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each run came to: answers, scores and weights, but not what it cost."""
    import torch

    for run in sorted((folder / "runs" / "contextualize").iterdir()):
        assert json.loads((run / "status.json").read_text())["state"] == "finished"
        result = json.loads((run / "result.json").read_text())
        outcomes = [{k: v for k, v in one.items() if k != "cost"} for one in result["outcomes"]]
        weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        yield (
            run.name,
            {
                "outcomes": outcomes,
                "examples": result["examples"],
                "per_user": pl.read_parquet(run / "per_user.parquet").to_dicts(),
                "curve": (run / "metrics.csv").read_text(),
                "weights": {name: weight.tolist() for name, weight in weights.items()},
            },
        )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_kills_change_no_result(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    began = time.monotonic()
    quiet, fire = tmp_path / "quiet", tmp_path / "fire"
    assert start(quiet).wait() == 0, (quiet / "out.txt").read_text()[-3000:]
    calm = time.monotonic() - began
    killed = sweep_under_fire(fire)
    undisturbed, survived = dict(results(quiet)), dict(results(fire))
    fierce = time.monotonic() - began - calm
    print(f"{killed} killed; {calm:.0f} s in peace, {fierce:.0f} s under fire")
    assert sum(killed.values()) >= KILLS
    assert min(killed.values()) > 0
    assert len(undisturbed) == CELLS
    assert survived == undisturbed
