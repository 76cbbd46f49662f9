"""Our side of the races in training: an encoder that trains when told to, as the peers do."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from serve import BATCH, DROPOUT, EVENTS, LAYERS, WIDTH, serve
from torch.nn.utils import clip_grad_norm_

from userllm.build import build
from userllm.config import load
from userllm.data.corpus import Corpus
from userllm.data.gather import HistoryGather
from userllm.encoder.lit import EncoderModule, WindowBatches, encoder_groups
from userllm.encoder.load import encoder_inputs
from userllm.encoder.protocol import UserEncoder


def make_encoder(corpus: Corpus, words: Sequence[str]) -> UserEncoder:
    """Return an encoder of the size that all programs share, the same every time.

    Args:
        corpus: What it reads.
        words: Overrides of ``pretrain`` besides.
    """
    sizes = {"width": WIDTH, "layers": LAYERS, "heads": 8, "dropout": DROPOUT}
    shared = [f"size.encoder_{key}={value}" for key, value in sizes.items()]
    config = load("pretrain", [f"history={EVENTS}", *shared, *words]).config
    torch.manual_seed(0)
    encoder: UserEncoder = build(config.encoder, **encoder_inputs(corpus))
    return encoder


def batches_of(corpus: Corpus) -> WindowBatches:
    """Return the batches that all programs train on."""
    return WindowBatches(
        gather=HistoryGather(corpus),
        split=corpus.split("leave_last_out"),
        length=EVENTS + 1,
        batch_size=BATCH,
        seed=0,
    )


def train_when_told(encoder: UserEncoder, corpus: Corpus, *, batches: int | None = None) -> None:
    """Train in turns until nobody asks.

    Args:
        encoder: What is trained.
        corpus: On what.
        batches: After how many batches to begin again; None never does.
    """
    module = EncoderModule(
        encoder=encoder,
        groups=encoder_groups(encoder, learning_rate=1e-3, weight_decay=0.1),
        steps=10_000,
        betas=[0.9, 0.98],
        eps=1e-8,
        warmup=0.1,
    )
    optimizer = cast(Any, module.configure_optimizers())["optimizer"]
    make_batch = batches_of(corpus)

    def step(number: int) -> int:
        batch = make_batch(number % batches if batches else number)
        optimizer.zero_grad()
        module.training_step(batch, number).backward()
        clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        return int(batch.events.mask.sum())

    serve(step, ["userllm", "torch", "numpy"])
