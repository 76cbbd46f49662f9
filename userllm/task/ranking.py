"""Exams with a closed set of answers: all are ranked, and what counts is where the truth stands.

Shape suffixes: B batch, Q questions, A answers, K best answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from userllm.context.model import UserLLM
from userllm.cost.flops import Count
from userllm.data.progress import track
from userllm.data.vocabulary import FIRST_ID
from userllm.metric.ranking import rank_of_target
from userllm.task.answers import AnswerTokens
from userllm.task.batch import Material, QuestionBatch, QuestionReader
from userllm.task.beam import top_overlap
from userllm.task.exam import SHOWN, Answered
from userllm.task.prompt import tokenize
from userllm.task.protocol import ClosedSubject, Ints, Passes, Questions, Scores, Values
from userllm.task.scorer import ItemScorer, Scorer, TitleScorer

OVERLAP = 10
REFERENCE_BATCH = 256
"""Questions whose scores of a whole catalogue exist at the same time."""


@dataclass(frozen=True)
class RankingExam:
    """Ranks every possible answer, by likelihood or through the item head.

    Attributes:
        subject: Knows the answers, and which of them are left out of a ranking.
        ranker: Trains a model on the answers and scores them.
        item_head: See :class:`~userllm.task.exam.Exam`.
        encoder_prior: See there.
    """

    subject: ClosedSubject
    reader: QuestionReader
    material: Material
    ranker: Scorer
    scorer: str
    weight: float
    item_head: bool | None
    encoder_prior: bool
    readings: ClassVar[int] = 1

    @property
    def choices(self) -> int | None:
        """The tokens that the scorer tells apart."""
        return self.ranker.choices

    @property
    def known_passes(self) -> Passes:
        """All answers, once, behind a question that does not depend on who is asked about."""
        return self.ranker.known_passes()

    def loss(self, model: UserLLM, batch: QuestionBatch) -> Tensor:
        """Return the scorer's loss."""
        is_item = self.item_head is not None or self.encoder_prior
        memory = model.read_user(batch.events, batch.labels_B + FIRST_ID if is_item else None)
        return self.ranker.loss(model, memory, batch.prompt, batch.labels_B)

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Return what the scorer reads and computes."""
        return self.ranker.training_lengths(labels_B)

    def extensions(self, tokens: float) -> Passes:
        """Return the scorer's passes, which do not depend on what the answer is."""
        return self.ranker.extensions()

    def answer(self, model: UserLLM, batch: QuestionBatch) -> Tensor:
        """Return the scores of all answers ``[B, A]``; equal prompts alone are answered once."""
        with torch.inference_mode():
            memory = model.read_user(batch.events)
            if memory is not None:
                return self.ranker.scores(model, memory, batch.prompt)
            prompt, row_B = batch.prompt.distinct()
            return self.ranker.scores(model, None, prompt)[row_B]

    def ask(
        self, model: UserLLM, asked: Questions, *, batch_size: int, device: torch.device
    ) -> Answered:
        """Rank the truth among all answers; beams are compared with exhaustive scoring if asked."""

        def score(users: Ints, cuts: Ints) -> Tensor:
            return self.answer(model, self.reader(users, cuts).to(device)).cpu()

        answered = self._ranked(score, asked, batch_size, "asking users")
        shares = self._beam_overlap(model, asked.first(self.subject.overlap_users), device)
        return Answered(answered.metrics, answered.shown, partial=shares)

    def without_history(
        self, model: UserLLM, asked: Questions, *, device: torch.device
    ) -> list[list[str]]:
        """Rank the answers of users without a history; what they have seen stays left out."""
        batch = self.reader.without_history(asked.users, asked.cuts).to(device)
        _, best_BK = self._rank(self.answer(model, batch).cpu(), asked.users, asked.cuts)
        return self._texts(best_BK)

    def references(self, asked: Questions) -> dict[str, Answered]:
        """Rank the scores of methods that need no model, by the same rules."""
        references = self.subject.references(self.material.corpus, self.material.split)
        return {
            name: self._ranked(_as_tensor(reference), asked, REFERENCE_BATCH, f"asking {name}")
            for name, reference in references.items()
        }

    def truths(self, asked: Questions) -> list[str]:
        """Return the texts of the true answers."""
        answers = self.subject.answers(self.material.corpus)
        labels = self.subject.labels(self.material.corpus, asked.users, asked.cuts)
        return [answers[label] for label in labels]

    def _ranked(
        self, score: Callable[[Ints, Ints], Tensor], asked: Questions, batch_size: int, what: str
    ) -> Answered:
        """Rank the truth of every question under scores that are made batch by batch."""
        ranks_Q = np.zeros(len(asked), dtype=np.int64)
        shown: dict[int, list[str]] = {}
        batches = asked.by_length(batch_size)
        for rows in track(batches, what, len(batches)):
            users, cuts = asked.users[rows], asked.cuts[rows]
            ranks_B, best_BK = self._rank(score(users, cuts), users, cuts)
            ranks_Q[rows] = ranks_B.numpy()
            first = rows < SHOWN
            texts = self._texts(best_BK[torch.from_numpy(first)])
            shown |= dict(zip(rows[first].tolist(), texts, strict=True))
        return Answered(self.subject.metrics(ranks_Q), [shown[row] for row in sorted(shown)])

    def _rank(self, scores_BA: Tensor, users: Ints, cuts: Ints) -> tuple[Tensor, Tensor]:
        """Return the rank of each truth, and the numbers of the best answers."""
        corpus = self.material.corpus
        seen = self.subject.seen(corpus, users, cuts)
        if seen is not None:
            scores_BA = scores_BA.masked_fill(torch.from_numpy(seen), -torch.inf)
        best_BK = scores_BA.topk(min(SHOWN, scores_BA.shape[1]), dim=1).indices
        labels_B = torch.from_numpy(self.subject.labels(corpus, users, cuts))
        return rank_of_target(scores_BA, labels_B), best_BK

    def _texts(self, best_BK: Tensor) -> list[list[str]]:
        if not len(best_BK):
            return []
        answers = self.subject.answers(self.material.corpus)
        return [[answers[number] for number in row] for row in best_BK.tolist()]

    def _beam_overlap(
        self, model: UserLLM, asked: Questions, device: torch.device
    ) -> dict[str, Values]:
        """Return the share of the exhaustive top 10 that the beam found, where one is used."""
        ranker = self.ranker
        if not isinstance(ranker, TitleScorer) or ranker.beams is None or not len(asked):
            return {}
        exhaustive = TitleScorer(answers=ranker.answers, beams=None, from_prior=ranker.from_prior)
        shares = []
        for row in track(range(len(asked)), "comparing beams with exhaustive scoring", len(asked)):
            batch = self.reader(asked.users[row : row + 1], asked.cuts[row : row + 1]).to(device)
            with torch.inference_mode():
                memory = model.read_user(batch.events)
                found, exact = (
                    one.scores(model, memory, batch.prompt) for one in (ranker, exhaustive)
                )
            shares.append(top_overlap(found, exact, OVERLAP))
        return {f"beam_overlap@{OVERLAP}": np.array(shares)}


def ranking_exam(subject: ClosedSubject, material: Material, weight: float) -> RankingExam:
    """Return the exam of a subject, with the scorer that ``subject.scorer`` names."""
    scorer, softmax = subject.scorer, subject.softmax
    by_item = scorer == "item_head"
    return RankingExam(
        subject=subject,
        reader=QuestionReader(material, subject),
        material=material,
        ranker=ItemScorer() if by_item else _title_scorer(subject, material),
        scorer=scorer if by_item or softmax == "vocabulary" else f"{scorer}, {softmax}",
        weight=weight,
        item_head=subject.encoder_skip if by_item else None,
        encoder_prior=subject.encoder_prior and not by_item,
    )


def _title_scorer(subject: ClosedSubject, material: Material) -> TitleScorer:
    texts = [f" {answer}" for answer in subject.answers(material.corpus)]
    answers = AnswerTokens(
        sequences=tokenize(material.tokenizer, texts),
        end=int(material.tokenizer.eos_token_id),
        softmax=subject.softmax,
    )
    beams = subject.beams if subject.scorer == "beam" else None
    return TitleScorer(answers=answers, beams=beams, from_prior=subject.encoder_prior)


def _as_tensor(reference: Scores) -> Callable[[Ints, Ints], Tensor]:
    return lambda users, cuts: torch.from_numpy(reference(users, cuts))
