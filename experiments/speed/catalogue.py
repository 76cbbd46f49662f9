"""Measure encoder training with 27 and 271 thousand items: seconds and memory of each softmax.

The encoder is our default (width 128, 2 layers, 50 events, 32 windows a batch). ``plain`` is what
most code does: one product with the whole table and ``F.cross_entropy``. Each softmax trains in a
process of its own, and they take turns.

Usage: python experiments/speed/catalogue.py [--out FILE.json] [--threads N] [--rounds N]
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import record
import torch.nn.functional as F
from torch import Tensor
from worlds import simulated

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from own import make_encoder, train_when_told
from turns import Turn, line_of, ratios, start, train

from userllm.data.corpus import Corpus
from userllm.softmax.protocol import Shift
from userllm.training.processes import set_up_process

# Items to the steps of one turn of the softmaxes.
SIZES = {
    27_278: {"exact": 2, "sampled": 6, "plain": 2},
    271_000: {"exact": 1, "sampled": 6, "plain": 1},
}
BARRED = 271_000
LEAST, MOST_BYTES = 3.0, 4e9


class PlainSoftmax:
    """All scores at once, kept for the way back."""

    def loss(
        self,
        hidden_RF: Tensor,
        table_VF: Tensor,
        bias_V: Tensor,
        target_R: Tensor,
        shift: Shift | None = None,
    ) -> Tensor:
        """Return the mean cross-entropy."""
        scores_RV = F.linear(hidden_RF, table_VF, bias_V)
        if shift is not None:
            value_P = shift.value.expand(len(shift.row_P))
            scores_RV = scores_RV.index_put((shift.row_P, shift.class_P), value_P, accumulate=True)
        return F.cross_entropy(scores_RV, target_R)

    def compared(self, classes: int) -> int:
        """Return all of them."""
        return classes


def main() -> None:
    """Let the softmaxes train in turns at every size, and write the rows."""
    if "--serve" in sys.argv:
        _, folder, softmax, threads = sys.argv[-4:]
        ours(Path(folder), softmax, int(threads))
        return
    options = record.arguments(__doc__, rounds=3)
    rows = []
    for items in SIZES:
        with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
            simulated(Path(temporary, "corpus"), users=1_000, items=items, events_per_user=100)
            rows += rows_of(items, measure(Path(temporary), items, options))
    record.write(options.out, "encoder training with many items", rows)


def measure(folder: Path, items: int, options: Any) -> dict[str, list[Turn]]:
    """Return the turns of every softmax, without a first one."""
    programs = {
        softmax: start([sys.executable, __file__, "--serve", folder, softmax, options.threads])
        for softmax in SIZES[items]
    }
    turns: dict[str, list[Turn]] = {softmax: [] for softmax in programs}
    for program in programs.values():
        line_of(program)
    for number in range(options.rounds + 1):
        for softmax, program in programs.items():
            turn = train(program, SIZES[items][softmax] if number else 1)
            turns[softmax] += [turn] if number else []
    for program in programs.values():
        program.communicate()
    return turns


def ours(folder: Path, softmax: str, threads: int) -> None:
    """Train with one softmax when told to."""
    set_up_process(threads)
    corpus = Corpus.open(folder / "corpus")
    option = "exact" if softmax == "plain" else softmax
    encoder: Any = make_encoder(corpus, [f"softmax@encoder.softmax={option}"])
    if softmax == "plain":
        encoder.heads["item"].softmax = PlainSoftmax()
    train_when_told(encoder, corpus)


def rows_of(items: int, turns: dict[str, list[Turn]]) -> list[record.Row]:
    """Return the peak memory of our softmaxes, and what they are faster than the plain one."""
    rows = []
    for softmax, all_ in turns.items():
        name = f"{softmax} softmax, {items:,} items"
        peak = max(turn["peak_bytes"] for turn in all_)
        bar = None if softmax == "plain" else MOST_BYTES
        rows.append(record.row(f"{name}, peak memory", peak, "bytes", at_most=bar))
        walls = [turn["wall"] for turn in all_]
        more = {"low": min(walls), "high": max(walls), "n": len(walls)}
        cpu = median(turn["cpu"] for turn in all_)
        rows.append(record.row(name, median(walls), "targets/s", per_cpu_second=cpu, **more))
    for softmax in ("exact", "sampled"):
        found = ratios(turns[softmax], turns["plain"])
        # Exact does the plain one's arithmetic, so no bar of 3 is within reach of it.
        bar = LEAST if items == BARRED and softmax == "sampled" else None
        text = f"{softmax} over plain softmax, {items:,} items"
        rows.append(record.row(text, found.pop("value"), "x", at_least=bar, **found))
    return rows


if __name__ == "__main__":
    main()
