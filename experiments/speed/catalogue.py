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
from typing import Any, cast

import record
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from serve import BATCH, DROPOUT, EVENTS, LAYERS, WIDTH, serve
from turns import Turn, line_of, start, train

from userllm.build import build
from userllm.config import load
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.gather import HistoryGather
from userllm.data.synthetic import Synthetic
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.encoder.lit import EncoderModule, WindowBatches, encoder_groups
from userllm.encoder.load import encoder_inputs
from userllm.training.fit import set_up_process

# Items to the steps of one turn of the softmaxes.
SIZES = {
    27_278: {"exact": 2, "sampled": 6, "plain": 2},
    271_000: {"exact": 1, "sampled": 6, "plain": 1},
}
BARRED = 271_000
LEAST, MOST_BYTES = 3.0, 4e9


class PlainSoftmax:
    """All scores at once, kept for the way back."""

    def loss(self, hidden_RF: Tensor, table_VF: Tensor, bias_V: Tensor, target_R: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(F.linear(hidden_RF, table_VF, bias_V), target_R)

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
            make_corpus(Path(temporary, "corpus"), items)
            rows += rows_of(items, measure(Path(temporary), items, options))
    record.write(options.out, "encoder training with many items", rows)


def make_corpus(folder: Path, items: int) -> None:
    """Simulate a few users of a catalogue of so many items."""
    world = Synthetic(
        name="speed",
        users=1_000,
        items=items,
        events_per_user=100,
        categories=19,
        drift=0.01,
        texts=False,
        seed=0,
        min_user_events=5,
        min_item_events=0,
    )
    write_corpus(world.read(), name=world.name, min_user_events=5, min_item_events=0, folder=folder)


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
    sizes = {"width": WIDTH, "layers": LAYERS, "heads": 8, "dropout": DROPOUT}
    words = [f"size.encoder_{key}={value}" for key, value in sizes.items()]
    option = "exact" if softmax == "plain" else softmax
    words += [f"history={EVENTS}", f"softmax@encoder.softmax={option}"]
    torch.manual_seed(0)
    encoder: AutoregressiveEncoder = build(
        load("pretrain", words).config.encoder, **encoder_inputs(corpus)
    )
    if softmax == "plain":
        cast(Any, encoder.heads["item"]).softmax = PlainSoftmax()
    module = EncoderModule(
        encoder=encoder,
        groups=encoder_groups(encoder, learning_rate=1e-3, weight_decay=0.1),
        steps=10_000,
        betas=[0.9, 0.98],
        eps=1e-8,
        warmup=0.1,
    )
    optimizer = cast(Any, module.configure_optimizers())["optimizer"]
    batches = WindowBatches(
        gather=HistoryGather(corpus),
        split=corpus.split("leave_last_out"),
        length=EVENTS + 1,
        batch_size=BATCH,
        seed=0,
    )

    def step(number: int) -> int:
        batch = batches(number)
        optimizer.zero_grad()
        module.training_step(batch, number).backward()
        clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        return int(batch.events.mask.sum())

    serve(step, ["userllm", "torch", "numpy"])


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
        wall, cpu = (
            [
                one[clock] / other[clock]
                for one, other in zip(turns[softmax], turns["plain"], strict=True)
            ]
            for clock in ("wall", "cpu")
        )
        # Exact does the plain one's arithmetic, so no bar of 3 is within reach of it.
        bar = LEAST if items == BARRED and softmax == "sampled" else None
        more = {"low": min(wall), "high": max(wall), "n": len(wall), "by_cpu_seconds": median(cpu)}
        rows.append(
            record.row(
                f"{softmax} over plain softmax, {items:,} items",
                median(wall),
                "x",
                at_least=bar,
                **more,
            )
        )
    return rows


if __name__ == "__main__":
    main()
