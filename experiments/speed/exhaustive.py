"""Measure how long it takes to score every title for one user, by likelihood.

All 1,682 titles of MovieLens-100K are scored by SmolLM2 with cross-attention in its top 5 blocks:
what the blocks below make of question and titles is read once for all users, before the clock
runs. Users come one at a time, with weights packed as runs have them.

Usage: python experiments/speed/exhaustive.py [--out FILE.json] [--threads N] [--users N]
"""

import tempfile
import time
from statistics import median

import record
import torch
from generate import TOP, exam_of, prepared

from userllm.lm.packed import pack
from userllm.training.processes import set_up_process

MOST = 1.5


def main() -> None:
    """Score everything for some users, and write the rows."""
    options = record.arguments(__doc__, users=8)
    set_up_process(options.threads)
    rows = []
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        for softmax in ("siblings", "catalogue"):
            words = [*TOP, f"task.softmax={softmax}", f"paths.runs={temporary}"]
            rows.append(measure(softmax, words, options.users))
    record.write(options.out, "title likelihood: every title of one user", rows)


def measure(softmax: str, words: list[str], users: int) -> record.Row:
    """Return the median seconds of a user."""
    assembly = prepared(words)
    pack([assembly.model])
    exam, ranker = exam_of(assembly)
    ranker.beams = None
    asked = assembly.questions(exam, "test", users)
    batches = [exam.reader(asked.users[[at]], asked.cuts[[at]]) for at in range(len(asked))]
    seconds = []
    for batch in (*batches, *batches):
        began = time.perf_counter()
        scores_BA = exam.answer(assembly.model, batch)
        seconds.append(time.perf_counter() - began)
        assert torch.isfinite(scores_BA).all(), "a title has no score"
    # The first round reads every wording of the question for the first time.
    again = seconds[len(batches) :]
    name = f"every title of one user, top 5 blocks, among {softmax}"
    spread = {"n": len(again), "low": min(again), "high": max(again)}
    return record.row(name, median(again), "s", at_most=MOST, **spread)


if __name__ == "__main__":
    main()
