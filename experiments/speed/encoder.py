"""Measure encoder training: full steps at d=128, 2 layers, 50 events, softmax over 1,682 items.

Usage: python experiments/speed/encoder.py [threads]

The bars are the speed of RePlay 0.22's SasRec of the same shape on two cores of an EPYC Milan:
7.2 thousand targets per second on one thread, 13.0 thousand on two. On other machines only the
ratio of two programs measured side by side says something.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from userllm.data.corpus import Corpus, write_corpus
from userllm.data.gather import HistoryGather
from userllm.data.synthetic import Synthetic
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.encoder.lit import EncoderModule, WindowBatches, encoder_groups
from userllm.softmax.exact import ExactSoftmax
from userllm.training.memory import keep_freed_memory, peak_memory_bytes

BARS = {1: 7_200.0, 2: 13_000.0}
EVENTS, BATCH, WARMUP, REPEATS, STEPS = 50, 32, 8, 5, 24


def main() -> None:
    """Train, report the median over repeats; exit with 1 when a bar is missed."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        corpus = make_corpus(Path(temporary, "corpus"))
        rates = measure(corpus)
    wall, cpu = np.median(rates, axis=0)
    bar = BARS.get(threads, 0.0)
    print(
        f"{wall:,.0f} targets/s (at least {bar:,.0f}), {cpu:,.0f} per CPU second; {threads} "
        f"threads, load {os.getloadavg()[0]:.1f}, peak memory {peak_memory_bytes() / 2**20:.0f} MiB"
    )
    sys.exit(int(wall < bar))


def make_corpus(folder: Path) -> Corpus:
    """Simulate as many users, items and events as MovieLens-100K has."""
    world = Synthetic(
        name="speed",
        users=943,
        items=1_682,
        events_per_user=106,
        categories=18,
        drift=0.01,
        texts=False,
        seed=0,
        min_user_events=5,
        min_item_events=0,
    )
    write_corpus(world.read(), name=world.name, min_user_events=5, min_item_events=0, folder=folder)
    return Corpus.open(folder)


def measure(corpus: Corpus) -> list[tuple[float, float]]:
    """Return targets per wall second and per CPU second of each repeat, data included."""
    torch.manual_seed(0)
    encoder = AutoregressiveEncoder(
        vocabulary=corpus.vocabulary,
        width=128,
        layers=2,
        heads=8,
        dropout=0.3,
        attention_dropout=0.0,
        max_events=EVENTS,
        features=["item", "category", "rating"],
        feature_width={"item": 128, "category": 16, "rating": 16},
        softmax=ExactSoftmax(memory_mib=64),
    )
    module = EncoderModule(
        encoder=encoder,
        groups=encoder_groups(encoder, learning_rate=1e-3, weight_decay=0.1),
        steps=WARMUP + REPEATS * STEPS,
        betas=[0.9, 0.98],
        eps=1e-8,
        warmup=0.1,
    )
    optimizer = module.configure_optimizers()["optimizer"]
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
        clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        return int(batch.events.mask.sum())

    for number in range(WARMUP):
        step(number)
    rates = []
    for repeat in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        targets = sum(step(WARMUP + repeat * STEPS + number) for number in range(STEPS))
        rates.append(
            (targets / (time.perf_counter() - wall), targets / (time.process_time() - cpu))
        )
    return rates


if __name__ == "__main__":
    main()
