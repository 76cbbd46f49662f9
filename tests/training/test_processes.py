"""Processes of one training run: who helps, and what is left behind."""

import os

import pytest

from userllm.run.launch import is_helper
from userllm.training.processes import GROUP_VARIABLES, process_group


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
    ],
)
def test_only_the_first_process_of_all_machines_holds_the_folder(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], helper: bool
) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_helper() == helper
