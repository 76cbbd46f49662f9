"""A Hugging Face model whose token states become one vector per text.

Shape suffixes: B batch, T text tokens, N texts, W sentence width.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["mean", "cls", "last"]


class PooledModel:
    """A loaded model, ready to encode lists of texts.

    Args:
        model: The model; moved to the GPU when there is one.
        tokenizer: Its tokenizer.
        pooling: ``mean`` over tokens, the first token (``cls``) or the ``last`` one.
        normalize: Whether vectors are scaled to length one.
        prefix: Put before every text, where a model was trained with one ("query: ").
        max_tokens: Longer texts are cut.
        batch_tokens: Tokens, padding included, that are encoded at once.
    """

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: Pooling,
        normalize: bool,
        prefix: str,
        max_tokens: int,
        batch_tokens: int,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: nn.Module = model.eval()
        self.model.to(self.device)
        self.tokenizer = tokenizer
        self.pooling, self.normalize, self.prefix = pooling, normalize, prefix
        self.max_tokens, self.batch_tokens = max_tokens, batch_tokens

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> Tensor:
        """Return one vector per text, [N, W] float32 on the CPU."""
        prefixed = [self.prefix + text for text in texts]
        tokens = self.tokenizer(prefixed, truncation=True, max_length=self.max_tokens)["input_ids"]
        batches = list(self._batches(tokens))
        done_NW = torch.cat([self._encode([tokens[n] for n in batch]).cpu() for batch in batches])
        order_N = torch.tensor([n for batch in batches for n in batch])
        return torch.empty_like(done_NW).index_copy_(0, order_N, done_NW)

    def _batches(self, tokens: list[list[int]]) -> Iterator[list[int]]:
        """Yield row numbers, longest texts first, so that little of a batch is padding."""
        batch: list[int] = []
        for row in sorted(range(len(tokens)), key=lambda row: -len(tokens[row])):
            if batch and (len(batch) + 1) * len(tokens[batch[0]]) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        yield batch

    def _encode(self, tokens: list[list[int]]) -> Tensor:
        lengths_B = torch.tensor([len(row) for row in tokens], device=self.device)
        pad = self.tokenizer.pad_token_id or 0
        ids_BT = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in tokens], batch_first=True, padding_value=pad
        ).to(self.device)
        mask_BT = torch.arange(ids_BT.shape[1], device=self.device) < lengths_B[:, None]
        states_BTW = self.model(input_ids=ids_BT, attention_mask=mask_BT.long())[0].float()
        vectors_BW = pool(states_BTW, mask_BT, self.pooling)
        return F.normalize(vectors_BW, dim=1) if self.normalize else vectors_BW


def pool(states_BTW: Tensor, mask_BT: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector per text from the states of its real tokens, [B, W]."""
    if pooling == "cls":
        return states_BTW[:, 0]
    lengths_B = mask_BT.sum(dim=1)
    if pooling == "last":
        return states_BTW[torch.arange(len(lengths_B), device=lengths_B.device), lengths_B - 1]
    total_BW = (states_BTW * mask_BT[:, :, None]).sum(dim=1)
    return total_BW / lengths_B[:, None].clamp(min=1)
