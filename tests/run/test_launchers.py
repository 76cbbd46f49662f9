"""Launchers of Hydra's plugins run a sweep of ours to its end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

GRID = [
    "context=none,cross_attention",
    "encoder.checkpoint=null",
    "size=tiny",
    "size.users=60",
    "history=8",
    "training.steps=2",
    "evaluation.users=6",
    "cost.repeats=2",
    "cost.warmup=0",
    "threads=1",
]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [
        ("joblib", "hydra_joblib_launcher"),
        ("submitit_local", "hydra_submitit_launcher"),
        ("ray", "hydra_ray_launcher"),
    ],
)
def test_every_cell_of_a_sweep_ends(launcher: str, plugin: str, tmp_path: Path) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    words = ["contextualize", "-m", f"hydra/launcher={launcher}", *GRID, f"paths.runs={tmp_path}"]
    # Ray's own processes talk over this machine's address, which is not among the exceptions.
    environment = {name: value for name, value in os.environ.items() if name not in PROXIES}
    done = subprocess.run(
        [sys.executable, "-m", "userllm.cli", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = sorted(tmp_path.glob("contextualize/*/status.json"))
    states = [json.loads(path.read_text(encoding="utf-8"))["state"] for path in found]
    assert states == ["finished", "finished"]
