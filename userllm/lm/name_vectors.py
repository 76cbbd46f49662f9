"""Vectors for names, from the language model's own token embeddings.

Shape suffixes: N names, D text width, V vocabulary.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from userllm.lm.token_scale import TokenScale

CHUNK = 16384
"""Names tokenized at once; a tokenizer's own record of a name is far larger than its ids."""

TINY = 1e-6


def name_vectors(
    names: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase,
    table_VD: Tensor,
    scale: TokenScale,
) -> Tensor:
    """Return ``[N, D]``: the mean token vector of each name, on the scale of single tokens.

    Means of many tokens lie close together around the mean of them all. That mean is replaced by
    the table's, and the distances from it are stretched to those of the table's rows. A name
    without tokens gets the table's mean.

    Source: SeqLLM (arXiv 2608.03063), semantic initialisation.
    """
    vectors_ND = torch.empty(len(names), table_VD.shape[1])
    named_N = torch.empty(len(names), dtype=torch.bool)
    for start in range(0, len(names), CHUNK):
        here = slice(start, start + CHUNK)
        vectors_ND[here], named_N[here] = _means(names[here], tokenizer, table_VD)
    # In place throughout: the result may be gigabytes large. Rows without tokens are zero so far.
    named = max(int(named_N.sum()), 1)
    vectors_ND -= vectors_ND.sum(dim=0) / named
    vectors_ND[~named_N] = 0.0
    spread = float(vectors_ND.norm()) / (named * vectors_ND.shape[1]) ** 0.5
    # Names that do not differ have no distances to stretch, only rounding.
    return vectors_ND.mul_(scale.std / spread if spread > TINY else 0.0).add_(scale.mean_D)


def _means(
    names: Sequence[str], tokenizer: PreTrainedTokenizerBase, table_VD: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean token rows of some names, and which of them have tokens."""
    encoded = tokenizer(
        list(names),
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    lengths_N = torch.tensor([len(ids) for ids in encoded["input_ids"]])
    flat = torch.tensor([token for ids in encoded["input_ids"] for token in ids], dtype=torch.long)
    starts_N = lengths_N.cumsum(0) - lengths_N
    means_ND = F.embedding_bag(
        flat.to(table_VD.device), table_VD, starts_N.to(table_VD.device), mode="mean"
    )
    return means_ND.float().cpu(), lengths_N > 0
