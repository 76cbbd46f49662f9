"""Measure training of RePlay's SasRec, the fastest peer, at the shape of ``../encoder.py``.

It needs an environment of its own: python -m venv peer, peer/bin/pip install torch
'replay-rec[torch]==0.22.0', then peer/bin/python experiments/speed/peers/replay_sasrec.py 2.
Bare steps without Lightning's loop, which is in the peer's favour.
"""

import os
import sys
import time
import warnings

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

warnings.filterwarnings("ignore")

from replay.data import FeatureHint, FeatureType  # noqa: E402
from replay.data.nn import TensorFeatureInfo, TensorSchema  # noqa: E402
from replay.models.nn.sequential import SasRec  # noqa: E402

ITEMS, EVENTS, BATCH, WARMUP, REPEATS, STEPS = 1_682, 50, 32, 8, 5, 24


def main() -> None:
    """Train on random histories and report the median over repeats."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    item = TensorFeatureInfo(
        name="item",
        feature_type=FeatureType.CATEGORICAL,
        is_seq=True,
        feature_hint=FeatureHint.ITEM_ID,
        cardinality=ITEMS,
        padding_value=ITEMS,
        embedding_dim=128,
    )
    model = SasRec(
        TensorSchema([item]),
        block_count=2,
        head_count=2,
        hidden_size=128,
        max_seq_len=EVENTS,
        dropout_rate=0.3,
        loss_type="CE",
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    rates = []
    for repeat in range(REPEATS + 1):
        steps = WARMUP if repeat == 0 else STEPS
        start, targets = time.perf_counter(), 0
        for number in range(steps):
            targets += step(model, optimizer, repeat * STEPS + number)
        rates.append(targets / (time.perf_counter() - start))
    load = os.getloadavg()[0]
    print(f"{np.median(rates[1:]):,.0f} targets/s, {threads} threads, load {load:.1f}")


def step(model: SasRec, optimizer: torch.optim.Optimizer, number: int) -> int:
    """Take one optimizer step and return the number of targets."""
    rng = np.random.default_rng(number)
    # As ML-100K cut into runs of at most 51: about three quarters are full.
    lengths = np.where(rng.random(BATCH) < 0.75, EVENTS, rng.integers(1, EVENTS, BATCH))
    mask = torch.from_numpy(np.arange(EVENTS) >= EVENTS - lengths[:, None])
    items = torch.from_numpy(rng.integers(0, ITEMS, (BATCH, EVENTS + 1)))
    inputs = items[:, :-1].masked_fill(~mask, ITEMS)
    loss = model._compute_loss_ce({"item": inputs}, items[:, 1:], mask, mask)
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return int(lengths.sum())


main()
