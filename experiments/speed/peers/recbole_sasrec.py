"""Train RecBole's SASRec when told to; see serve.py.

It learns one target from each beginning of a history, so a batch of 512 beginnings has 512
targets. That is its own way, and larger batches are in its favour. Bare steps without its trainer.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import torch
from serve import DROPOUT, EVENTS, HEADS, LAYERS, WIDTH, arguments, serve
from torch.nn.utils import clip_grad_norm_

warnings.filterwarnings("ignore")

from recbole.model.sequential_recommender.sasrec import SASRec  # noqa: E402

BEGINNINGS = 512
CONFIG = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "NEG_PREFIX": "neg_",
    "MAX_ITEM_LIST_LENGTH": EVENTS,
    "device": "cpu",
    "n_layers": LAYERS,
    "n_heads": HEADS,
    "hidden_size": WIDTH,
    # As narrow as the other peers'; its own default is four times the width.
    "inner_size": WIDTH,
    "hidden_dropout_prob": DROPOUT,
    "attn_dropout_prob": DROPOUT,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "loss_type": "CE",
}


def main() -> None:
    """Make the model and wait."""
    windows = arguments()
    model = SASRec(CONFIG, SimpleNamespace(num=lambda _: windows.count + 1)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    # Every beginning of every window, in random order.
    row, length = np.nonzero(windows.items[:, 1:])
    order = np.random.default_rng(0).permutation(len(row))

    def step(number: int) -> int:
        chosen = order[np.arange(number * BEGINNINGS, (number + 1) * BEGINNINGS) % len(order)]
        read, items = length[chosen] + 1, windows.items[row[chosen]]
        inputs = items[:, :-1] * (np.arange(EVENTS) < read[:, None])
        batch = {
            "item_id_list": torch.from_numpy(inputs),
            "item_length": torch.from_numpy(read),
            "item_id": torch.from_numpy(items[np.arange(len(items)), read]),
        }
        loss = model.calculate_loss(batch)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return BEGINNINGS

    serve(step, ["recbole", "torch", "numpy"])


main()
