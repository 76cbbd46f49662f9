"""Measure encoder training on MovieLens-100K beside RePlay, RecTools and RecBole.

Width 128, 2 layers, 50 events, 32 windows a batch, softmax over all 1,682 items, dropout 0.3; whole
steps, batches included. Every program is a process that waits for its turn, so all of them meet
the same disturbance. Peers run as installed; RePlay also once more with the memory allocator set by
hand as our `fit` sets it. The bar is for the model of the peers' own shape, SASRec's; our default
reads and predicts three features and has feed-forward layers four times as wide, so it works half
as much again for a target.

Usage: python experiments/speed/encoder.py [--out FILE.json] [--threads N] [--rounds N]
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import record
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import environments
from own import batches_of, make_encoder, train_when_told
from serve import BATCH, EVENTS, WIDTH
from turns import Program, Turn, line_of, ratios, start, train

from userllm.build import build
from userllm.config import load
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.training.processes import set_up_process

SHAPE = "SASRec's shape"
OURS = {
    SHAPE: ["encoder.heads=2", "encoder.feed_forward=1", "encoder.features=[item]"],
    "our default": [],
}
LEAST, LEAST_OF_GEMM = 1.5, 0.5
# About a second each; RecBole has 512 targets a step, the others 1,200.
STEPS = {"recbole": 2}
USUAL_STEPS = 16
# What `keep_freed_memory` does, for a program that does not call it.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "67108864",
}
ALSO_TUNED = ("replay",)
KEPT_WINDOWS = 64 * BATCH


def main() -> None:
    """Let all programs train in turns, and write the rows."""
    if "--serve" in sys.argv:
        _, folder, name, threads = sys.argv[-4:]
        ours(Path(folder), name, int(threads))
        return
    options = record.arguments(__doc__, rounds=10)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        folder = Path(temporary)
        write_windows(make_corpus(folder), folder)
        programs = {name: start(serve_command(name, folder, options.threads)) for name in OURS}
        for peer in environments.PACKAGES:
            script = Path(__file__).parent / "peers" / f"{peer}_sasrec.py"
            command = [environments.make(peer), script, folder / "windows.npz", options.threads]
            programs[peer] = start(command)
            if peer in ALSO_TUNED:
                programs[f"{peer}, allocator set"] = start(command, ALLOCATOR)
        versions = {name: json.loads(line_of(program)) for name, program in programs.items()}
        turns = take_turns(programs, options.rounds)
        per_target = {name: flops_per_target(folder, name) for name in OURS}
        for program in programs.values():
            program.communicate()
    peers_versions = {k: v for name in environments.PACKAGES for k, v in versions[name].items()}
    rows = rows_of(turns, per_target, peers_versions)
    record.write(options.out, "encoder training, targets per second, beside three peers", rows)


def make_corpus(folder: Path) -> Corpus:
    """Return MovieLens-100K with all of its items."""
    data = load("prepare", ["data=movielens_100k", "data.min_item_events=0"]).config.data
    write_corpus(
        build(data).read(),
        name="movielens_100k",
        min_user_events=5,
        min_item_events=0,
        folder=folder / "corpus",
    )
    return Corpus.open(folder / "corpus")


def write_windows(corpus: Corpus, folder: Path) -> None:
    """Write the first windows of our batches for the peers, items counted from 1."""
    items = np.zeros((KEPT_WINDOWS, EVENTS + 1), np.int64)
    batches = batches_of(corpus)
    for number in range(KEPT_WINDOWS // BATCH):
        ids = batches(number).events.features[ITEM_FEATURE].numpy()
        rows = slice(number * BATCH, (number + 1) * BATCH)
        items[rows, : ids.shape[1]] = np.maximum(ids - FIRST_ID + 1, 0)
    count = corpus.vocabulary.sizes[ITEM_FEATURE] - FIRST_ID
    np.savez(folder / "windows.npz", items=items, count=count)


def ours(folder: Path, name: str, threads: int) -> None:
    """Train one of OURS when told to, as the peers do."""
    set_up_process(threads)
    corpus = Corpus.open(folder / "corpus")
    # The peers go round the same windows.
    train_when_told(make_encoder(corpus, OURS[name]), corpus, batches=KEPT_WINDOWS // BATCH)


def serve_command(name: str, folder: Path, threads: int) -> list[Any]:
    """Return how a process of one of OURS is started."""
    return [sys.executable, __file__, "--serve", folder, name, threads]


def take_turns(programs: dict[str, Program], rounds: int) -> dict[str, list[Turn]]:
    """Return targets per second of every program and round, and GEMM's FLOPs per second."""
    gemm = make_gemm()
    turns: dict[str, list[Turn]] = {name: [] for name in [*programs, "gemm"]}
    for number in range(rounds + 1):
        for name, program in programs.items():
            turns[name].append(train(program, STEPS.get(name, USUAL_STEPS)))
        turns["gemm"].append(gemm())
        if not number:  # Warming up.
            turns = {name: [] for name in turns}
    return turns


def make_gemm() -> Callable[[], Turn]:
    """Return what measures the products of the model itself, as many FLOPs of each."""
    rows = BATCH * EVENTS
    shapes = [(rows, WIDTH, 4 * WIDTH), (rows, WIDTH, 1_682)]
    left = [torch.randn(m, k) for m, k, _ in shapes]
    right = [torch.randn(k, n) for _, k, n in shapes]
    out = [torch.empty(m, n) for m, _, n in shapes]
    work = [2.0 * m * k * n for m, k, n in shapes]
    times = [round(2e10 / flops) for flops in work]

    def measure() -> Turn:
        wall, cpu = time.perf_counter(), time.process_time()
        for one, other, product, repeats in zip(left, right, out, times, strict=True):
            for _ in range(repeats):
                torch.mm(one, other, out=product)
        done = sum(flops * repeats for flops, repeats in zip(work, times, strict=True))
        return {
            "wall": done / (time.perf_counter() - wall),
            "cpu": done / (time.process_time() - cpu),
        }

    return measure


def flops_per_target(folder: Path, name: str) -> float:
    """Return forward and backward FLOPs of a mean target, in closed form."""
    encoder = make_encoder(Corpus.open(folder / "corpus"), OURS[name])
    assert isinstance(encoder, nn.Module)
    lengths = (np.load(folder / "windows.npz")["items"] > 0).sum(axis=1).astype(float)
    work = encoder.pretraining_flops(lengths).training(inputs=True, learned_share=1.0)
    return float(np.sum(work) / lengths.sum())


def rows_of(
    turns: dict[str, list[Turn]], per_target: dict[str, float], versions: dict[str, str]
) -> list[record.Row]:
    """Return ratios to the fastest peer, shares of GEMM, and the rates themselves."""
    middle = {name: median(turn["wall"] for turn in all_) for name, all_ in turns.items()}
    fastest = max(environments.PACKAGES, key=lambda peer: middle[peer])
    rows = []
    for name in OURS:
        bar = LEAST if name == SHAPE else None
        found = ratios(turns[name], turns[fastest])
        text = f"encoder training, {name}, over the fastest peer ({fastest})"
        rows.append(record.row(text, found.pop("value"), "x", at_least=bar, **found))
    for name in OURS:
        found = ratios(turns[name], turns["gemm"], per_target[name])
        text = f"encoder training, {name}, FLOPs over those of GEMM (1600x128 by 512 and by 1682)"
        rows.append(record.row(text, found.pop("value"), "share", at_least=LEAST_OF_GEMM, **found))
    for name, all_ in turns.items():
        walls, unit = [turn["wall"] for turn in all_], "targets/s"
        if name == "gemm":
            walls, unit = [wall / 1e9 for wall in walls], "GFLOP/s"
        cpu = median(turn["cpu"] for turn in all_) / (1e9 if name == "gemm" else 1.0)
        more = {"per_cpu_second": cpu, "n": len(walls), "low": min(walls), "high": max(walls)}
        if name in per_target:
            more["flops_per_target"] = per_target[name]
        rows.append(record.row(name, median(walls), unit, versions=versions, **more))
    return rows


if __name__ == "__main__":
    main()
