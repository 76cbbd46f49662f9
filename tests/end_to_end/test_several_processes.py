"""Commands with several processes train as one process does on the undivided batch."""

import subprocess
import sys
from collections.abc import Sequence
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


def run(
    runs: Path, verb: str, words: list[str], *, launcher: Sequence[str] = (), code: int = 0
) -> None:
    """Run a command in processes of its own."""
    words = [*launcher, "-m", "userllm.cli", verb, *SMALL, *words, f"paths.runs={runs}"]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr


def curves(runs: Path, verb: str) -> list[list[float]]:
    """Return the losses of the steps of each finished run, in the order of the names."""
    found = []
    for folder in sorted((runs / verb).iterdir()):
        if '"finished"' in (folder / "status.json").read_text(encoding="utf-8"):
            rows = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()
            found.append([float(row.split(",")[2]) for row in rows if ",train/loss," in row])
    return found


def losses(runs: Path, verb: str, words: list[str]) -> list[float]:
    """Run a command in processes of its own and return the losses of its steps."""
    run(runs, verb, words)
    (curve,) = curves(runs, verb)
    return curve


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
        ("contextualize", ["tuning=projection", "context.layers=1", *CONTEXT]),
    ],
    ids=["pretrain", "cross_attention", "text_prompt", "repeated text"],
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_of_a_scheduler_go_through_all_stages_together(tmp_path: Path) -> None:
    words = ["size.pretrain_steps=2", *CONTEXT[1:], "tuning=projection", "-m", "seed=0,1"]
    run(tmp_path / "one", "contextualize", [*ONE, *words])
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29731"]
    run(tmp_path / "two", "contextualize", ["trainer=ddp", *TWO, *words], launcher=torchrun)
    for verb in ("pretrain", "contextualize"):
        one, two = (curves(tmp_path / runs, verb) for runs in ("one", "two"))
        assert len(one) == len(two) == 2
        assert two == [pytest.approx(curve, abs=1e-5) for curve in one]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_processes_of_a_cell_leave_out_one_that_failed_before(tmp_path: Path) -> None:
    words = ["trainer=ddp", *TWO, "-m", "training.learning_rate=1e30,1e-3"]
    run(tmp_path / "two", "pretrain", words, code=1)
    run(tmp_path / "one", "pretrain", [*ONE, "training.learning_rate=1e-3"])
    (one,) = curves(tmp_path / "one", "pretrain")
    assert max(curves(tmp_path / "two", "pretrain"), key=len) == pytest.approx(one, abs=1e-5)
