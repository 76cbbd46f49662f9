"""Where tokens stand, and what each of them may look at.

Shape suffixes: B batch, T new tokens, S all positions.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel


def positions(mask_BS: Tensor) -> Tensor:
    """Return position ids that count real positions only, so that padding changes nothing."""
    return (mask_BS.long().cumsum(dim=1) - 1).clamp(min=0)


def attention_biases(
    lm: PreTrainedModel, mask_B1TS: Tensor, at_BT: Tensor, keys_at_BS: Tensor
) -> Tensor | dict[str, Tensor]:
    """Return what is added to attention scores, per kind of layer where kinds differ.

    Args:
        lm: The language model.
        mask_B1TS: True where a token may look.
        at_BT: Position of each token.
        keys_at_BS: Position of everything that it may look at.
    """
    config = lm.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    distance_B1TS = (at_BT[:, :, None] - keys_at_BS[:, None, :])[:, None]
    biases = {}
    for kind in kinds:
        seen = mask_B1TS
        if kind == "sliding_attention":
            seen = seen & (distance_B1TS < config.sliding_window)
        zeros = torch.zeros(seen.shape, dtype=lm.dtype, device=seen.device)
        biases[kind] = zeros.masked_fill(~seen, torch.finfo(lm.dtype).min)
    return next(iter(biases.values())) if len(kinds) == 1 else biases
