"""Train RePlay's SasRec when told to; see serve.py.

Bare steps without Lightning's loop, with a fused optimiser: both are in the peer's favour.
"""

import warnings

import torch
from serve import DROPOUT, EVENTS, HEADS, LAYERS, WIDTH, arguments, serve
from torch.nn.utils import clip_grad_norm_

warnings.filterwarnings("ignore")

from replay.data import FeatureHint, FeatureType  # noqa: E402
from replay.data.nn import TensorFeatureInfo, TensorSchema  # noqa: E402
from replay.models.nn.sequential import SasRec  # noqa: E402


def main() -> None:
    """Make the model and wait."""
    windows = arguments()
    item = TensorFeatureInfo(
        name="item",
        feature_type=FeatureType.CATEGORICAL,
        is_seq=True,
        feature_hint=FeatureHint.ITEM_ID,
        cardinality=windows.count,
        padding_value=windows.count,
        embedding_dim=WIDTH,
    )
    model = SasRec(
        TensorSchema([item]),
        block_count=LAYERS,
        head_count=HEADS,
        hidden_size=WIDTH,
        max_seq_len=EVENTS,
        dropout_rate=DROPOUT,
        loss_type="CE",
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(number: int) -> int:
        items = torch.from_numpy(windows.on_the_right(number))
        mask, target_mask = items[:, :-1] > 0, items[:, :-1] > 0
        inputs = (items[:, :-1] - 1).masked_fill(~mask, windows.count)
        targets = (items[:, 1:] - 1).clamp(min=0)
        loss = model._compute_loss_ce({"item": inputs}, targets, mask, target_mask)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return int(target_mask.sum())

    serve(step, ["replay-rec", "torch", "numpy"])


main()
