"""Measure one more event for a user with 200, against reading the whole history again.

The encoder is our default (width 128, 2 layers). Ten events come in a row, up to the 200th, and the
user's memory is wanted after each: by appending, or by reading the whole history every time. Both
give the same memory, and take turns; a user alone, and 32 users at once. Alone, a step is about 70
calls of torch on one row each, 0.4 ms whatever the arithmetic, which is 200 times less.

Usage: python experiments/speed/append.py [--out FILE.json] [--threads N] [--repeats N]
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import record
import torch
from worlds import simulated

from userllm.build import build
from userllm.config import load
from userllm.data.gather import HistoryGather
from userllm.encoder.load import encoder_inputs
from userllm.encoder.memory import UserMemory
from userllm.encoder.reading import AppendingEncoder, Reading, appending
from userllm.training.processes import set_up_process

EVENTS, LEAST, SAME = 200, 20.0, 1e-4
ROW = 10
BATCHES = (1, 32)
SIZE = ("width=128", "layers=2", "heads=8", "dropout=0.3")


def main() -> None:
    """Count and measure, and write the rows."""
    options = record.arguments(__doc__, repeats=20)
    set_up_process(options.threads)
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        corpus = simulated(Path(temporary, "corpus"), users=200, items=1_682, events_per_user=500)
        words = [f"size.encoder_{word}" for word in SIZE]
        config = load("pretrain", [f"history={EVENTS}", *words]).config
        encoder = appending(build(config.encoder, **encoder_inputs(corpus)).eval())
        ratio = encoder.flops(1.0 * EVENTS).total / encoder.append_flops(EVENTS - 1.0).total
        name = f"one more event at {EVENTS}, against reading all again"
        rows = [record.row(f"{name}: FLOPs", float(ratio), "x", at_least=LEAST)]
        for users in BATCHES:
            rows += measure(encoder, HistoryGather(corpus), users, options.repeats, name)
    record.write(options.out, "one more event for an encoder that has read the others", rows)


@torch.inference_mode()
def measure(
    encoder: AppendingEncoder, gather: HistoryGather, users: int, repeats: int, name: str
) -> list[record.Row]:
    """Return the ratio of times and both times, for so many users at once."""
    chosen = np.flatnonzero(np.diff(gather.offsets) >= EVENTS)[:users]
    assert len(chosen) == users, "too few users with long histories"
    ends = [np.full(users, EVENTS - ROW + number) for number in range(ROW + 1)]
    histories = [gather(chosen, end, EVENTS) for end in ends]
    news = [gather(chosen, end, 1) for end in ends[1:]]

    def append_all(reading: Reading) -> UserMemory:
        return [encoder.append(reading, event) for event in news][-1]

    def read_all() -> UserMemory:
        return [encoder(history) for history in histories[1:]][-1]

    one, other = append_all(encoder.start(histories[0])[1]), read_all()
    error = (one.vectors_BUE - other.vectors_BUE).abs().max().item()
    assert error < SAME, f"they differ by {error}"
    wholes, steps = [], []
    for _ in range(repeats):
        wholes.append(timed(read_all))
        _, reading = encoder.start(histories[0])
        steps.append(timed(partial(append_all, reading)))
    wall, cpu = (
        [all_[clock] / one[clock] for all_, one in zip(wholes, steps, strict=True)]
        for clock in (0, 1)
    )
    more: dict[str, Any] = {
        "n": repeats,
        "low": min(wall),
        "high": max(wall),
        "by_cpu_seconds": median(cpu),
        "milliseconds_all": 1e3 * median(w for w, _ in wholes) / ROW,
        "milliseconds_one": 1e3 * median(w for w, _ in steps) / ROW,
    }
    text = f"{name}: time, {users} user{'s' if users > 1 else ''} at once"
    return [record.row(text, median(wall), "x", at_least=LEAST, **more)]


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
