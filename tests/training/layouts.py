"""Trains a tiny language model that reads a user vector, in one process or in several.

Usage: python layouts.py <folder> one|passes|ddp|fsdp full|frozen [step to die at]
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from userllm.lm.tiny import TinyLM
from userllm.training.fit import fit
from userllm.training.module import TrainableModule
from userllm.training.passes import split_batch

STEPS, BATCH, TOKENS, WIDTH = 6, 4, 7, 16
IGNORED = -100
LAYOUTS = {
    "one": {"strategy": "auto", "devices": 1},
    "passes": {"strategy": "auto", "devices": 1},
    "ddp": {"strategy": "ddp_find_unused_parameters_true", "devices": 2},
    "fsdp": {"strategy": "fsdp", "devices": 2},
}


@dataclass
class Batch:
    ids_BT: Tensor
    target_BT: Tensor

    def to(self, device, **_):
        return Batch(self.ids_BT.to(device), self.target_BT.to(device))


class Reader(TrainableModule):
    """A vector is added to every input; the language model learns too, or is frozen."""

    def __init__(self, tuning, die_at):
        torch.manual_seed(0)
        lm = TinyLM(width=WIDTH, layers=2, heads=2, seed=0).load().model
        lm.requires_grad_(tuning == "full")
        user = nn.Parameter(torch.randn(WIDTH) * 0.1)
        learning = [p for p in lm.parameters() if p.requires_grad]
        groups = [
            {"name": "user", "params": [user], "lr": 1e-2, "weight_decay": 0.1},
            {"name": "lm", "params": learning, "lr": 1e-3, "weight_decay": 0.1},
        ]
        super().__init__(groups=groups, steps=STEPS, betas=[0.9, 0.98], eps=1e-8, warmup=0.1)
        self.lm, self.user, self.die_at = lm, user, die_at

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step + 1 == self.die_at:
            raise ZeroDivisionError("as sudden as kill -9")
        embeds_BTD = self.lm.get_input_embeddings()(batch.ids_BT) + self.user
        logits_BTV = self.lm(inputs_embeds=embeds_BTD, use_cache=False).logits
        return nn.functional.cross_entropy(logits_BTV.flatten(0, 1), batch.target_BT.flatten())


class Batches:
    """Rows of unequal numbers of targets."""

    def __init__(self, rows):
        rng = np.random.default_rng(0)
        self.rows = rows
        self.ids = rng.integers(3, 250, (STEPS * BATCH, TOKENS + 1))
        self.lengths = rng.integers(1, TOKENS + 1, STEPS * BATCH)

    def __call__(self, number):
        part = slice(number * self.rows, (number + 1) * self.rows)
        ids, seen = self.ids[part], np.arange(TOKENS) < self.lengths[part, None]
        target = np.where(seen, ids[:, 1:], IGNORED)
        return Batch(torch.from_numpy(ids[:, :-1]), torch.from_numpy(target))

    def weights(self, numbers):
        targets = np.array(
            [self.lengths[n * self.rows : (n + 1) * self.rows].sum() for n in numbers]
        )
        return targets / targets.mean()


def main():
    folder, layout, tuning, *die_at = sys.argv[1:]
    options = {
        "accelerator": "cpu",
        "log_every_n_steps": 1,
        # Short enough to be reached at every step.
        "gradient_clip_val": 0.1,
        **LAYOUTS[layout],
    }
    rows, options = split_batch(BATCH, 1 if layout == "passes" else None, options)
    module = Reader(tuning, int(die_at[0]) if die_at else None)
    fit(
        module,
        Batches(rows),
        steps=STEPS,
        seed=0,
        folder=Path(folder),
        trainer_options=options,
        loggers=[],
        checkpoint_every=2,
        validate=None,
        validate_every=STEPS,
        monitor="loss",
    )
    # Whole again, and usable by one process.
    logits_BTV = module.lm(input_ids=torch.arange(3, 9)[None]).logits
    torch.save({"state": dict(module.state_dict()), "logits": logits_BTV.detach()}, "left.pt")


if __name__ == "__main__":
    main()
