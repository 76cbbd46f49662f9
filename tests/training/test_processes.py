"""Processes of one training run: who helps, and what is left behind."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from userllm.run.launch import IN_PROGRESS, is_helper
from userllm.training.processes import GROUP_VARIABLES, process_group

SCRIPT = Path(__file__).with_name("layouts.py")


def test_a_training_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GROUP_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_PORT", "1234")
    with process_group():
        os.environ.update(LOCAL_RANK="0", MASTER_PORT="9999", WORLD_SIZE="2")
    assert os.environ["MASTER_PORT"] == "1234"
    assert "LOCAL_RANK" not in os.environ
    assert "WORLD_SIZE" not in os.environ


@pytest.mark.parametrize(
    ("variables", "helper"),
    [
        ({}, False),
        ({"LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, True),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1", IN_PROGRESS: "run"}, True),
    ],
)
def test_only_the_first_process_of_all_machines_holds_the_folder(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], helper: bool
) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", IN_PROGRESS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_helper() == helper


def trained(folder, layout: str, tuning: str, die_at: int | None = None):
    """Train in processes of their own; return losses, and what was left where it did not die."""
    folder.mkdir(exist_ok=True)
    words = [sys.executable, str(SCRIPT), str(folder), layout, tuning]
    words += [] if die_at is None else [str(die_at)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (die_at is None), done.stderr
    rows = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()
    losses = [float(row.split(",")[2]) for row in rows if ",train/loss," in row]
    return losses, torch.load(folder / "left.pt") if die_at is None else None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """What one process leaves that is not interrupted, by what learns."""
    return cache(lambda tuning: trained(tmp_path_factory.mktemp("one"), "one", tuning))


def assert_same(first, second) -> None:
    assert first[0] == pytest.approx(second[0], abs=1e-5)
    assert first[1]["state"].keys() == second[1]["state"].keys()
    for name, weight in first[1]["state"].items():
        torch.testing.assert_close(weight, second[1]["state"][name], atol=1e-5, rtol=0)
    torch.testing.assert_close(first[1]["logits"], second[1]["logits"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("tuning", ["full", "frozen"])
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param("passes", marks=pytest.mark.whole),
        pytest.param("ddp", marks=pytest.mark.slow),
        pytest.param("fsdp", marks=pytest.mark.slow),
    ],
)
def test_a_divided_batch_trains_as_a_whole_one(layout, tuning, whole, tmp_path) -> None:
    assert_same(trained(tmp_path / "run", layout, tuning), whole(tuning))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [("ddp", "one"), ("one", "fsdp"), ("fsdp", "ddp")])
def test_a_run_can_go_on_with_other_processes(before, after, whole, tmp_path) -> None:
    trained(tmp_path / "run", before, "full", die_at=6)
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert_same(trained(tmp_path / "run", after, "full"), whole("full"))
