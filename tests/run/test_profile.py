"""``debug=profile`` says where the time goes, and changes nothing else."""

import gzip
import json
import re
from pathlib import Path

import pytest

from userllm.config import load
from userllm.run.folder import identity
from userllm.run.launch import execute
from userllm.training.profile import plan

pytestmark = pytest.mark.whole

SMALL = [
    "size.users=60",
    "history=8",
    "training.steps=12",
    "threads=1",
    "trainer.log_every_n_steps=1",
]
CONTEXT = ["encoder.checkpoint=null", "evaluation.users=6", "cost.repeats=2", "cost.warmup=0"]
ROW = re.compile(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+)% \|$", re.MULTILINE)
SLACK = 0.01
"""Milliseconds that rounding may take from or add to a sum."""


def run(verb: str, runs: Path, *words: str) -> Path:
    words = (*SMALL, *words, f"paths.runs={runs}")
    loaded = load(verb, words)
    outcome = execute(verb, loaded.config, loaded.choices, words)
    assert outcome.state == "finished", outcome.error
    return Path(outcome.folder)


@pytest.mark.parametrize(
    ("verb", "words", "parts"),
    [
        ("pretrain", [], {"data", "encoder", "softmax, heads", "backward", "optimizer"}),
        (
            "contextualize",
            CONTEXT,
            {"data", "encoder", "context", "language model", "backward", "optimizer"},
        ),
    ],
    ids=["pretrain", "contextualize"],
)
def test_profile_is_written_and_training_is_what_it_was(verb, words, parts, tmp_path) -> None:
    plain = run(verb, tmp_path / "plain", *words)
    watched = run(verb, tmp_path / "watched", *words, "debug=profile")
    assert watched.name == plain.name
    assert (watched / "metrics.csv").read_text() == (plain / "metrics.csv").read_text()
    assert not (plain / "profile.md").exists()
    text = (watched / "profile.md").read_text(encoding="utf-8")
    table = {name: float(spent) for name, spent, _ in ROW.findall(text)}
    whole = table.pop("**all**")
    assert parts | {"logging, validation"} <= table.keys()
    assert sum(table.values()) == pytest.approx(whole, abs=SLACK)
    result = json.loads((watched / "result.json").read_text(encoding="utf-8"))
    steps = result["outcomes"][0]["cost"]["training_seconds"] * 1000 / 12
    # A step of all twelve is as long, saving and Lightning's loop aside, within a wide margin.
    assert 0.1 * steps < whole < 10 * steps
    trace = json.loads(gzip.decompress((watched / "profile.json.gz").read_bytes()))
    assert any(event.get("name") == "aten::mm" for event in trace["traceEvents"])


def test_profile_is_no_part_of_what_a_run_is() -> None:
    assert identity("pretrain", load("pretrain", ["debug=profile"]).config) == identity(
        "pretrain", load("pretrain", []).config
    )


@pytest.mark.parametrize("total", [3, 4, 7, 12, 28, 29, 10_000])
def test_every_run_has_room_for_all_that_is_measured(total: int) -> None:
    begin, recorded, end = plan(total)
    assert 0 < begin < recorded < end <= total
