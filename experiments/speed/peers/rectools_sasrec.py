"""Train RecTools' SASRec when told to; see serve.py.

Bare steps without Lightning's loop, with a fused optimiser: both are in the peer's favour.
"""

import warnings

import pandas as pd
import torch
from serve import BATCH, DROPOUT, EVENTS, HEADS, LAYERS, WIDTH, arguments, serve
from torch.nn.utils import clip_grad_norm_

warnings.filterwarnings("ignore")

from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import SASRecModel  # noqa: E402


def main() -> None:
    """Make the model and wait."""
    windows = arguments()
    model = SASRecModel(
        n_blocks=LAYERS,
        n_heads=HEADS,
        n_factors=WIDTH,
        dropout_rate=DROPOUT,
        session_max_len=EVENTS,
        loss="softmax",
        batch_size=BATCH,
    )
    # It learns of the catalogue from data only: one user who met everything is enough.
    met = pd.DataFrame({Columns.User: 0, Columns.Item: range(1, windows.count + 1)})
    met = met.assign(**{Columns.Weight: 1.0, Columns.Datetime: pd.Timestamp("2020-01-01")})
    model.data_preparator.session_max_len = windows.count
    model._build_model_from_dataset(Dataset.construct(met))
    lightning = model.lightning_model.train()
    lightning._xavier_normal_init()
    optimizer = torch.optim.AdamW(lightning.parameters(), lr=1e-3, fused=True)

    def step(number: int) -> int:
        items = torch.from_numpy(windows.on_the_right(number))
        is_target = items[:, :-1] > 0
        batch = {"x": items[:, :-1], "y": items[:, 1:] * is_target, "yw": is_target.float()}
        logits = lightning.get_batch_logits(batch)
        loss = lightning.loss_calculator(logits, batch["y"], batch["yw"])
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(lightning.parameters(), 1.0)
        optimizer.step()
        return int(is_target.sum())

    assert lightning.torch_model.item_model.n_items == windows.count + 1
    serve(step, ["rectools", "torch", "numpy"])


main()
