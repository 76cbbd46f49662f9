"""The scorers: how a model is trained to answer, and how its answers are ranked.

Shape suffixes: B batch, A answers, T tokens, V vocabulary.
"""

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from userllm.context.model import TokenBatch, UserLLM
from userllm.cost.flops import Count
from userllm.data.vocabulary import FIRST_ID
from userllm.encoder.memory import UserMemory
from userllm.task.answers import AnswerTokens
from userllm.task.beam import beam_scores
from userllm.task.known_text import KnownTexts
from userllm.task.likelihood import exhaustive_scores
from userllm.task.piece import PIECE
from userllm.task.prior import NodePrior, log_mass
from userllm.task.protocol import Ints, Passes
from userllm.task.trie import Trie


class Scorer(Protocol):
    """One way to train for a closed set of answers and to rank it.

    Attributes:
        choices: Tokens that its logits tell apart; None is the whole vocabulary.
    """

    choices: int | None

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

    def extensions(self) -> Passes:
        """Return (nodes read, positions seen beyond the prompt) of each pass after the prompt."""
        ...

    def known_passes(self) -> Passes:
        """Return the same of reading every answer once, whatever the ranking needs."""
        ...


class TitleScorer:
    """Answers are texts: train on their tokens, rank by their likelihood.

    Args:
        answers: Token sequences of the answers.
        beams: Width of the trie-constrained beam search; None scores every answer.
        from_prior: Whether answers start from the encoder's ranking, where the model has one.
    """

    def __init__(
        self, *, answers: AnswerTokens, beams: int | None, from_prior: bool = False
    ) -> None:
        self.answers, self.beams, self.from_prior = answers, beams, from_prior
        self.choices = None if answers.tokens_V is None else len(answers.tokens_V)

    def loss(
        self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch, labels_B: Tensor
    ) -> Tensor:
        """Return the mean cross-entropy of the true answers' tokens, each counting the same."""
        answers, numbers = self.answers, labels_B.cpu().numpy()
        answer = answers.table.rows(numbers).to(labels_B.device)
        nodes_BT = answers.paths.rows(numbers).to(labels_B.device).ids_BT
        known, above_BSD = answers.texts.read(model, prompt), None
        if known is not None:
            above_BSD = torch.cat([known.prompt(), known.nodes(nodes_BT)], dim=1)
        logits_BTV = model.answer_logits(
            memory, prompt, answer, tokens_V=answers.tokens_V, above_BSD=above_BSD
        )
        return answers.loss(logits_BTV, nodes_BT, answer.mask_BT, self._prior(model, memory))

    def scores(self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch) -> Tensor:
        """Return the answers' log-likelihoods; -inf for those the beam did not reach."""
        known = self.answers.texts.read(model, prompt)
        prefill = model.prefill(
            memory,
            prompt,
            tokens_V=self.answers.tokens_V,
            above_BSD=None if known is None else known.prompt(),
        )
        prior = self._prior(model, memory)
        if self.beams is None:
            return exhaustive_scores(model, prefill, self.answers, known, prior)
        return beam_scores(model, prefill, self.answers, self.beams, known, prior)

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Return the answers' token counts."""
        tokens = self.answers.table.lengths[labels_B].astype(np.float64)
        return tokens, tokens + 1

    def extensions(self) -> Passes:
        """Return the sizes of the tree's pieces, or of a full beam's levels."""
        trie = self.answers.trie
        if self.beams is None:
            return self.known_passes()
        inner = np.bincount(trie.depth_N[~trie.is_leaf_N])
        levels = np.minimum(inner, self.beams)
        return list(zip(levels.tolist(), np.cumsum(levels).tolist(), strict=True))

    def known_passes(self) -> Passes:
        """Return the sizes of all pieces of the tree."""
        return [(float(len(piece.nodes_C)),) * 2 for piece in self.answers.trie.pieces(PIECE)]

    def _prior(self, model: UserLLM, memory: UserMemory | None) -> NodePrior | None:
        if not self.from_prior or model.prior is None or memory is None:
            return None
        assert memory.scores_BI is not None, "a model with a prior ranks whom it reads"
        log_prob_BA = model.prior(memory.scores_BI)
        return NodePrior(model.prior, log_mass(log_prob_BA, self.answers.trie))


class ItemScorer:
    """Answers are items: train and rank through the item head, in one forward pass."""

    choices: int | None = None

    def __init__(self) -> None:
        self.texts = KnownTexts(Trie([]))

    def loss(
        self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch, labels_B: Tensor
    ) -> Tensor:
        """Return the cross-entropy over the whole catalogue."""
        return F.cross_entropy(self.scores(model, memory, prompt), labels_B)

    def scores(self, model: UserLLM, memory: UserMemory | None, prompt: TokenBatch) -> Tensor:
        """Return one score per item, without the special ids."""
        known = self.texts.read(model, prompt)
        above_BSD = None if known is None else known.prompt()
        return model.item_scores(memory, prompt, above_BSD=above_BSD)[:, FIRST_ID:].float()

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Nothing is read after the prompt."""
        return 0.0, 0.0

    def extensions(self) -> Passes:
        """Nothing is read after the prompt."""
        return []

    def known_passes(self) -> Passes:
        """Nothing is read after the prompt."""
        return []


def token_loss(
    model: UserLLM, memory: UserMemory | None, prompt: TokenBatch, answer: TokenBatch
) -> Tensor:
    """Return the mean cross-entropy of the answers' tokens, every token counting the same."""
    logits_BTV = model.answer_logits(memory, prompt, answer)
    return F.cross_entropy(logits_BTV[answer.mask_BT].float(), answer.ids_BT[answer.mask_BT])
