"""Measure what Lightning, logging and resumability cost: ``fit`` against a bare loop.

Both train the same encoder on the same batches, data included: forward, backward, clipping,
optimizer, schedule. Only ``fit`` logs, guards and can be stopped. They take turns.

Usage: python experiments/speed/overhead.py [--out FILE.json] [--threads N] [--steps N]
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, cast

import record
import torch
from torch.nn.utils import clip_grad_norm_
from worlds import simulated

from userllm.data.corpus import Corpus
from userllm.data.gather import HistoryGather
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.encoder.lit import EncoderModule, WindowBatch, WindowBatches, encoder_groups
from userllm.softmax.exact import ExactSoftmax
from userllm.training.fit import fit
from userllm.training.processes import set_up_process

MOST = 0.10
EDGE = 5
"""Steps at either end that do not count."""
SHAPES = {
    # Name to width, layers, events, windows per batch, and whether the bar is meant for it.
    "d128, 2 layers, 32 x 50 events": (128, 2, 50, 32, True),
    "d32, 1 layer, 32 x 20 events": (32, 1, 20, 32, False),
}
TRAINER = {"accelerator": "cpu", "devices": 1, "log_every_n_steps": 20, "gradient_clip_val": 1.0}


def main() -> None:
    """Measure every shape and write the rows."""
    options = record.arguments(__doc__, steps=100, repeats=5)
    set_up_process(options.threads)
    rows = []
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        # As many users, items and events as MovieLens-100K has.
        corpus = simulated(Path(temporary, "corpus"), users=943, items=1_682, events_per_user=106)
        for name, (*shape, is_barred) in SHAPES.items():
            shares = []
            for repeat in range(options.repeats):
                loop = bare(*make(corpus, *shape, options.steps), options.steps)
                folder = Path(temporary, f"{name}-{repeat}".replace(" ", ""))
                ours = fitted(*make(corpus, *shape, options.steps), options.steps, folder)
                shares.append([mine / its - 1 for mine, its in zip(ours, loop, strict=True)])
            wall, cpu = zip(*shares, strict=True)
            spread = {"low": min(wall), "high": max(wall), "n": len(wall)}
            bar = {"at_most": MOST} if is_barred else {}
            more = {**spread, "cpu_seconds": median(cpu)}
            rows.append(
                record.row(f"overhead of fit, {name}", median(wall), "share", **bar, **more)
            )
    record.write(options.out, "Lightning and logging over a bare loop", rows)


def make(
    corpus: Corpus, width: int, layers: int, events: int, batch: int, steps: int
) -> tuple[EncoderModule, WindowBatches]:
    """Return a new model with its batches; the same ones every time."""
    torch.manual_seed(0)
    encoder = AutoregressiveEncoder(
        vocabulary=corpus.vocabulary,
        width=width,
        layers=layers,
        heads=8,
        feed_forward=4,
        dropout=0.2,
        attention_dropout=0.0,
        item_dropout=0.0,
        repeat_score=False,
        max_events=events,
        features=["item", "category", "rating"],
        feature_width={"item": width, "category": 16, "rating": 16},
        softmax=ExactSoftmax(memory_mib=64),
    )
    module = EncoderModule(
        encoder=encoder,
        groups=encoder_groups(encoder, learning_rate=1e-3, weight_decay=0.1),
        steps=steps,
        betas=[0.9, 0.98],
        eps=1e-8,
        warmup=0.1,
    )
    batches = WindowBatches(
        gather=HistoryGather(corpus),
        split=corpus.split("leave_last_out"),
        length=events + 1,
        batch_size=batch,
        seed=0,
    )
    return module, batches


class Clock:
    """Batches that note when they were asked for, so that set-up and the end do not count."""

    def __init__(self, batches: WindowBatches, steps: int) -> None:
        self.batches, self.bounds = batches, (EDGE, steps - EDGE)
        self.read: list[tuple[float, float]] = []

    def __call__(self, number: int) -> WindowBatch:
        """Return a batch."""
        if number in self.bounds:
            self.read.append((time.perf_counter(), time.process_time()))
        return self.batches(number)

    def seconds(self) -> tuple[float, float]:
        """Return wall and processor seconds between the two batches of note."""
        (wall, cpu), (wall_end, cpu_end) = self.read
        return wall_end - wall, cpu_end - cpu


def bare(module: EncoderModule, batches: WindowBatches, steps: int) -> tuple[float, float]:
    """Return the seconds of the loop that a paper's appendix would show."""
    clock, made = Clock(batches, steps), cast(Any, module.configure_optimizers())
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    module.train()
    for number in range(steps):
        loss = module.training_step(clock(number), number)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return clock.seconds()


def fitted(
    module: EncoderModule, batches: WindowBatches, steps: int, folder: Path
) -> tuple[float, float]:
    """Return the seconds of ``fit``, logging included, saving not."""
    folder.mkdir()
    clock = Clock(batches, steps)
    fit(
        module,
        clock,
        steps=steps,
        seed=0,
        folder=folder,
        trainer_options=TRAINER,
        loggers=[],
        checkpoint_every=steps,
        validate=None,
        validate_every=steps,
        monitor="loss",
    )
    return clock.seconds()


if __name__ == "__main__":
    main()
