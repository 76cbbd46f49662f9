"""Commands with several processes train as one process does on the undivided batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

SMALL = [
    "size=tiny",
    "size.users=60",
    "history=8",
    "encoder.dropout=0",
    "training.steps=4",
    "training.batch_size=8",
    "training.checkpoint_every=2",
    "trainer.log_every_n_steps=1",
    "trainer.precision=32-true",
    "threads=1",
]
CONTEXT = [
    "encoder.checkpoint=null",
    "evaluation.users=6",
    "cost.repeats=2",
    "cost.warmup=0",
]
ONE = ["trainer=cpu", "trainer.devices=1"]
TWO = ["trainer.accelerator=cpu", "trainer.devices=2"]


def losses(runs: Path, verb: str, words: list[str]) -> list[float]:
    """Run a command in processes of its own and return the losses of its steps."""
    command = [sys.executable, "-m", "userllm.cli", verb, *SMALL, *words, f"paths.runs={runs}"]
    done = subprocess.run(
        command, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (runs / verb).iterdir()
    assert '"finished"' in (run / "status.json").read_text(encoding="utf-8")
    rows = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    return [float(row.split(",")[2]) for row in rows if ",train/loss," in row]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("pretrain", []),
        ("contextualize", ["tuning=encoder", *CONTEXT]),
        (
            "contextualize",
            ["tuning=lora", "context=text_prompt", "context.text_events=2", *CONTEXT],
        ),
    ],
    ids=["pretrain", "cross_attention", "text_prompt"],
)
def test_two_processes_have_the_losses_of_one(verb: str, words: list[str], tmp_path: Path) -> None:
    one = losses(tmp_path / "one", verb, [*ONE, *words])
    assert len(one) == 4
    for trainer in ("ddp", "fsdp"):
        several = losses(tmp_path / trainer, verb, [f"trainer={trainer}", *TWO, *words])
        assert several == pytest.approx(one, abs=1e-5), trainer


@pytest.mark.slow
def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=3", *SMALL]
    command = [sys.executable, "-m", "userllm.cli", "pretrain", *words, f"paths.runs={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    assert "does not divide among 3 processes" in done.stderr
