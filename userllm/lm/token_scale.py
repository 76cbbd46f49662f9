"""How a language model's own token embeddings are distributed, for vectors put beside them.

Shape suffixes: D text width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

SAMPLE = 64


@dataclass(frozen=True)
class TokenScale:
    """Statistics of token vectors as they enter the first block.

    Attributes:
        factor: What the model multiplies rows of its table with: 1, or √D in the Gemma family.
        mean_D: Mean token vector.
        std: Root mean square distance of an entry from its mean.
    """

    factor: float
    mean_D: Tensor
    std: float


def token_scale(model: PreTrainedModel) -> TokenScale:
    """Return the statistics without a copy of the table, which may be gigabytes large."""
    embeddings = model.get_input_embeddings()
    table = embeddings.get_parameter("weight").detach()
    ids = torch.arange(min(SAMPLE, len(table)), device=table.device)
    with torch.no_grad():
        factor = float(embeddings(ids).float().norm() / table[ids].float().norm())
    variance_D, mean_D = torch.var_mean(table, dim=0)
    std = float(variance_D.float().mean().sqrt())
    return TokenScale(factor, factor * mean_D.float(), factor * std)
