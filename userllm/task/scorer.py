"""The scorers: how a model is trained to answer, and how its answers are ranked.

Shape suffixes: B batch, A answers, T tokens, V vocabulary.
"""

from typing import Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from userllm.context.model import TokenBatch, UserLLM
from userllm.cost.flops import Count
from userllm.data.vocabulary import FIRST_ID
from userllm.encoder.memory import UserMemory
from userllm.task.beam import beam_scores
from userllm.task.likelihood import PIECE, exhaustive_scores
from userllm.task.prompt import TokenTable, tokenize
from userllm.task.protocol import Ints
from userllm.task.trie import Trie


class Scorer(Protocol):
    """One way to train for a closed set of answers and to rank it."""

    def loss(
        self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch, labels_B: Tensor
    ) -> Tensor:
        """Return the training loss of a batch."""
        ...

    def scores(self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch) -> Tensor:
        """Return one score per answer ``[B, A]``."""
        ...

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Return answer tokens read and logits computed in training, per example."""
        ...

    def extensions(self) -> list[tuple[float, float]]:
        """Return (nodes read, positions seen beyond the prompt) of each pass after the prompt."""
        ...


class AnswerTokens:
    """The answers' token sequences, as rows for training and as a trie for ranking.

    Args:
        answers: The text of every answer.
        tokenizer: The language model's tokenizer; its end token ends an answer.
    """

    def __init__(self, *, answers: list[str], tokenizer: PreTrainedTokenizerBase) -> None:
        end = int(tokenizer.eos_token_id)
        sequences = tokenize(tokenizer, [f" {answer}" for answer in answers])
        self.trie = Trie(sequences, end)
        self.table = TokenTable([[*tokens, end] for tokens in sequences])


class TitleScorer:
    """Answers are texts: train on their tokens, rank by their likelihood.

    Args:
        answers: Token sequences of the answers.
        beams: Width of the trie-constrained beam search; None scores every answer.
    """

    def __init__(self, *, answers: AnswerTokens, beams: int | None) -> None:
        self.answers, self.beams = answers, beams

    def loss(
        self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch, labels_B: Tensor
    ) -> Tensor:
        """Return the mean cross-entropy of the true answers' tokens."""
        answer = self.answers.table.rows(labels_B.cpu().numpy()).to(labels_B.device)
        return token_loss(model, memory, prompt, answer)

    def scores(self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch) -> Tensor:
        """Return the answers' log-likelihoods; -inf for those the beam did not reach."""
        prefill = model.prefill(memory, prompt)
        if self.beams is None:
            return exhaustive_scores(model, prefill, self.answers.trie)
        return beam_scores(model, prefill, self.answers.trie, self.beams)

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Return the answers' token counts."""
        tokens = self.answers.table.lengths[labels_B].astype(np.float64)
        return tokens, tokens + 1

    def extensions(self) -> list[tuple[float, float]]:
        """Return the sizes of the tree's pieces, or of a full beam's levels."""
        trie = self.answers.trie
        if self.beams is None:
            return [(len(piece.nodes_C),) * 2 for piece in trie.pieces(PIECE)]
        inner = np.bincount(trie.depth_N[~trie.is_leaf_N])
        levels = np.minimum(inner, self.beams)
        return list(zip(levels.tolist(), np.cumsum(levels).tolist(), strict=True))


class ItemScorer:
    """Answers are items: train and rank through the item head, in one forward pass."""

    def loss(
        self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch, labels_B: Tensor
    ) -> Tensor:
        """Return the cross-entropy over the whole catalogue."""
        return F.cross_entropy(self.scores(model, memory, prompt), labels_B)

    def scores(self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch) -> Tensor:
        """Return one score per item, without the special ids."""
        return model.item_scores(memory, prompt)[:, FIRST_ID:].float()

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Nothing is read after the prompt."""
        return 0.0, 0.0

    def extensions(self) -> list[tuple[float, float]]:
        """Nothing is read after the prompt."""
        return []


def token_loss(
    model: UserLLM, memory: UserMemory | None, prompt: TokenBatch, answer: TokenBatch
) -> Tensor:
    """Return the mean cross-entropy of the answers' tokens, every token counting the same."""
    logits_BTV = model.answer_logits(memory, prompt, answer)
    return F.cross_entropy(logits_BTV[answer.mask_BT].float(), answer.ids_BT[answer.mask_BT])
