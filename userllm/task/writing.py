"""Exams that are answered with a text: written token by token, compared with the true text.

Shape suffixes: B batch, Q questions, A answer tokens.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from userllm.context.model import UserLLM
from userllm.context.writing import writing_rule
from userllm.cost.flops import Count
from userllm.data.progress import track
from userllm.task.batch import Material, QuestionBatch, QuestionReader
from userllm.task.exam import SHOWN, Answered
from userllm.task.prompt import TokenTable, tokenize
from userllm.task.protocol import Ints, OpenSubject, Passes, Questions
from userllm.task.scorer import token_loss


@dataclass(frozen=True)
class WritingExam:
    """Trains on the tokens of the true texts, and lets the model write.

    Attributes:
        subject: Knows the true texts, and how far a written one is from them.
        scorer: ``generate``.
        item_head: None; nothing is ranked.
        encoder_prior: False, for the same reason.
    """

    subject: OpenSubject
    reader: QuestionReader
    material: Material
    weight: float
    scorer: ClassVar[str] = "generate"
    item_head: ClassVar[None] = None
    encoder_prior: ClassVar[bool] = False

    @property
    def readings(self) -> int:
        """How often an answer reads the prompt: every beam does."""
        return self.subject.beams

    @property
    def choices(self) -> None:
        """Any token may be written."""

    @property
    def known_passes(self) -> None:
        """What is written does not repeat."""

    def loss(self, model: UserLLM, batch: QuestionBatch) -> Tensor:
        """Return the mean cross-entropy of the true texts' tokens."""
        table = self._tokens(batch.labels_B.cpu().numpy())
        answer = table.rows(np.arange(len(table.lengths))).to(batch.labels_B.device)
        return token_loss(model, model.read_user(batch.events), batch.prompt, answer)

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Return the true texts' token counts."""
        tokens = self._tokens(labels_B).lengths.astype(np.float64)
        return tokens, tokens + 1

    def extensions(self, tokens: float) -> Passes:
        """Return one pass for all tokens but the first, which the prompt's last position gives.

        Work is linear in how many are read and in how many positions each of them sees, so the
        passes of one token each add up to one with the mean of the positions.
        """
        read = max(tokens - 1.0, 0.0)
        return [(self.subject.beams * read, tokens / 2)] if read else []

    def answer(self, model: UserLLM, batch: QuestionBatch) -> Tensor:
        """Return the tokens that a model writes ``[B, A]``."""
        rule = writing_rule(
            beams=self.subject.beams,
            limit=self.subject.max_answer_tokens,
            end=self._end,
            least=self.subject.min_answer_tokens,
        )
        with torch.inference_mode():
            return model.generate(model.read_user(batch.events), batch.prompt, rule)

    def ask(
        self, model: UserLLM, asked: Questions, *, batch_size: int, device: torch.device
    ) -> Answered:
        """Let a model write the answer to every question."""
        texts = [""] * len(asked)
        tokens = 0
        batches = asked.by_length(batch_size)
        for rows in track(batches, "asking users", len(batches)):
            batch = self.reader(asked.users[rows], asked.cuts[rows]).to(device)
            written, lengths = self._read_back(self.answer(model, batch))
            for row, text in zip(rows.tolist(), written, strict=True):
                texts[row] = text
            tokens += int(lengths.sum())
        return self._judged(texts, asked, tokens / max(len(asked), 1))

    def without_history(
        self, model: UserLLM, asked: Questions, *, device: torch.device
    ) -> list[list[str]]:
        """Let the model write without knowing the user; the question stays the same."""
        batch = self.reader.without_history(asked.users, asked.cuts).to(device)
        texts, _ = self._read_back(self.answer(model, batch))
        return [[text] for text in texts]

    def references(self, asked: Questions) -> dict[str, Answered]:
        """Judge the texts of methods that need no model."""
        references = self.subject.references(self.material.corpus, self.material.split)
        return {
            name: self._judged(reference(asked.users, asked.cuts), asked, 0.0)
            for name, reference in references.items()
        }

    def truths(self, asked: Questions) -> list[str]:
        """Return the true texts, whole."""
        corpus = self.material.corpus
        labels = self.subject.labels(corpus, asked.users, asked.cuts)
        return self.subject.texts(corpus, labels)

    def _judged(self, texts: list[str], asked: Questions, tokens: float) -> Answered:
        metrics = self.subject.metrics(texts, self.truths(asked))
        return Answered(metrics, [[text] for text in texts[:SHOWN]], tokens=tokens)

    @property
    def _end(self) -> int:
        return int(self.material.tokenizer.eos_token_id)

    def _tokens(self, labels_B: Ints) -> TokenTable:
        """Return the tokens to learn; a text that is cut does not end, so it gets no end token."""
        limit = self.subject.max_answer_tokens
        texts = self.subject.texts(self.material.corpus, labels_B)
        encoded = tokenize(self.material.tokenizer, [f" {text}" for text in texts])
        return TokenTable([[*tokens, self._end][:limit] for tokens in encoded])

    def _read_back(self, tokens_BA: Tensor) -> tuple[list[str], Ints]:
        """Return the texts up to the end token, and how many tokens were written for each."""
        ended_BA = (tokens_BA == self._end).cpu().numpy()
        before_B = np.where(ended_BA.any(axis=1), ended_BA.argmax(axis=1), ended_BA.shape[1])
        texts = [
            str(self.material.tokenizer.decode(row[:count], skip_special_tokens=True)).strip()
            for row, count in zip(tokens_BA.tolist(), before_B, strict=True)
        ]
        return texts, np.minimum(before_B + 1, ended_BA.shape[1])


def writing_exam(subject: OpenSubject, material: Material, weight: float) -> WritingExam:
    """Return the exam of a subject."""
    return WritingExam(subject, QuestionReader(material, subject), material, weight)
