"""Measure what bounds everything else here: products, reading weights, calling torch.

Large products run at the processor's rate. A product with few rows reads all its weights for
little arithmetic, so memory bounds it. A single event for a small encoder is neither: what its
calls cost bounds it. README.md holds the missed bars against these figures.

Usage: python experiments/speed/machine.py [--out FILE.json] [--threads N] [--repeats N]
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import record
import torch
from torch import nn

from userllm.lm.packed import pack
from userllm.training.processes import set_up_process

SQUARE = 2048
PROMPT, TEXT_WIDTH, HIDDEN = 14, 576, 1536
"""A short prompt in a feed-forward layer of SmolLM2-135M."""
WEIGHTS = 30
"""Layers, so that no cache holds the weights from one turn to the next."""
USER_WIDTH = 128
CALLS = 2_000


def main() -> None:
    """Measure each bound and write the rows."""
    options = record.arguments(__doc__, repeats=20)
    set_up_process(options.threads)
    with torch.inference_mode():
        rows = [
            figure("large product", *large(), "GFLOP/s", 1e9, options.repeats),
            figure(f"product of {PROMPT} rows", *few_rows(PROMPT), "GFLOP/s", 1e9, options.repeats),
            figure(
                f"product of {PROMPT} rows, packed weights",
                *few_rows(PROMPT, packed=True),
                "GFLOP/s",
                1e9,
                options.repeats,
            ),
            figure("weights read by products of one row", *one_row(), "GB/s", 1e9, options.repeats),
            figure("one torch call on one row", *small_calls(), "calls/s", 1.0, options.repeats),
        ]
    record.write(options.out, "the machine's bounds", rows)


def figure(
    name: str, work: Callable[[], None], amount: float, unit: str, scale: float, repeats: int
) -> record.Row:
    """Return the rate of doing some amount of work."""
    work()
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        rates.append(amount / scale / (time.perf_counter() - began))
    spread: dict[str, Any] = {"n": repeats, "low": min(rates), "high": max(rates)}
    return record.row(name, median(rates), unit, **spread)


def large() -> tuple[Callable[[], None], float]:
    """Return a large square product and its FLOPs."""
    one, other = torch.randn(SQUARE, SQUARE), torch.randn(SQUARE, SQUARE)
    out = torch.empty(SQUARE, SQUARE)
    return lambda: void(torch.mm(one, other, out=out)), 2.0 * SQUARE**3


def few_rows(rows: int, *, packed: bool = False) -> tuple[Callable[[], None], float]:
    """Return a row of layers that a short prompt passes, and their FLOPs."""
    layers = nn.ModuleList(nn.Linear(TEXT_WIDTH, HIDDEN, bias=False) for _ in range(WEIGHTS))
    if packed:
        pack([layers])
    prompt = torch.randn(rows, TEXT_WIDTH)

    def work() -> None:
        for layer in layers:
            layer(prompt)

    return work, 2.0 * rows * TEXT_WIDTH * HIDDEN * WEIGHTS


def one_row() -> tuple[Callable[[], None], float]:
    """Return the same for one row, and the bytes of the weights."""
    work, flops = few_rows(1)
    return work, flops / 2 * torch.finfo(torch.float32).bits / 8


def small_calls() -> tuple[Callable[[], None], float]:
    """Return many calls on one small row, and their number."""
    row, weight = torch.randn(1, USER_WIDTH), torch.randn(USER_WIDTH, USER_WIDTH)

    def work() -> None:
        for _ in range(CALLS):
            torch.nn.functional.linear(row, weight)

    return work, float(CALLS)


def void(_: object) -> None:
    """Drop a result."""


if __name__ == "__main__":
    main()
