"""One subject with the way its answers are trained, given and judged; what a run works with.

A task is one exam, or several of them. Training and scoring treat all exams alike, whether
answers are ranked or written.

Shape suffixes: B batch, Q questions.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from userllm.context.model import UserLLM
from userllm.context.work import Lengths
from userllm.cost.flops import Count
from userllm.task.batch import Material, QuestionBatch, QuestionReader
from userllm.task.protocol import Ints, Passes, Questions, Subject, Values

SHOWN = 5
"""Questions whose answers are kept to be read, and the most answers kept of one."""


@dataclass(frozen=True)
class Answered:
    """How questions were answered, one entry per question in the order they were asked.

    Attributes:
        metrics: Metric to values, each [Q].
        shown: The best answers to the first questions, the best one first.
        tokens: Mean number of tokens that were written per answer; 0 where answers are ranked.
        partial: Metrics that were measured on the first questions only.
    """

    metrics: dict[str, Values]
    shown: list[list[str]]
    tokens: float = 0.0
    partial: dict[str, Values] = field(default_factory=dict)


class Exam(Protocol):
    """One subject with everything that training, scoring and measuring need."""

    @property
    def subject(self) -> Subject:
        """Whom it asks what."""
        ...

    @property
    def reader(self) -> QuestionReader:
        """Makes its batches."""
        ...

    @property
    def scorer(self) -> str:
        """Name of the way answers are given, for tables."""
        ...

    @property
    def weight(self) -> float:
        """Its share of the training batches, relative to the other exams'."""
        ...

    @property
    def item_head(self) -> bool | None:
        """Whether its item head starts from the encoder's own ranking; None needs no head."""
        ...

    @property
    def encoder_prior(self) -> bool:
        """Whether spelled answers start from the encoder's own ranking."""
        ...

    @property
    def readings(self) -> int:
        """How often an answer reads the prompt."""
        ...

    @property
    def choices(self) -> int | None:
        """Among how many tokens an answer's next one is chosen; None is the whole vocabulary."""
        ...

    @property
    def known_passes(self) -> Passes | None:
        """What is read of the answers where all text repeats, as of ``extensions``; else None."""
        ...

    def loss(self, model: UserLLM, batch: QuestionBatch) -> Tensor:
        """Return the training loss of a batch."""
        ...

    def training_lengths(self, labels_B: Ints) -> tuple[Count, Count]:
        """Return answer tokens read and logits computed in training, per example."""
        ...

    def extensions(self, tokens: float) -> Passes:
        """Return (tokens read, mean positions seen beyond the prompt) of passes after the prompt.

        Args:
            tokens: Mean length of written answers, as in :class:`Answered`.
        """
        ...

    def answer(self, model: UserLLM, batch: QuestionBatch) -> Any:
        """Answer completely, from histories to the best answers; what latency is the time of."""
        ...

    def ask(
        self, model: UserLLM, asked: Questions, *, batch_size: int, device: torch.device
    ) -> Answered:
        """Ask a model every question, without gradients."""
        ...

    def without_history(
        self, model: UserLLM, asked: Questions, *, device: torch.device
    ) -> list[list[str]]:
        """Return the best answers to a few questions of a model that is told nothing of the user.

        Source: User-LLM Appendix F, where reviews stand beside unpersonalized ones.
        """
        ...

    def references(self, asked: Questions) -> dict[str, Answered]:
        """Return how simple methods that need no model answer."""
        ...

    def truths(self, asked: Questions) -> list[str]:
        """Return the true answers as texts."""
        ...


def prompt_lengths(exam: Exam, batch: QuestionBatch) -> Lengths:
    """Return how much reading the questions of a batch takes, up to the first token or ranking."""
    ranked = 0.0 if exam.item_head is None else 1.0
    return Lengths(
        events=batch.events.mask.sum(dim=1).numpy(),
        prompt=batch.prompt.mask_BT.sum(dim=1).numpy(),
        answer=0.0,
        logits=1.0 - ranked,
        ranked=ranked,
        tokens=exam.choices,
        known=exam.known_passes is not None,
    )


def example_lengths(exam: Exam, batch: QuestionBatch) -> Lengths:
    """Return how much learning from the questions of a batch reads, true answers included."""
    answer, logits = exam.training_lengths(batch.labels_B.numpy())
    return replace(prompt_lengths(exam, batch), answer=answer, logits=logits)


class Task(Protocol):
    """One exam or several; every option of ``task=`` is one."""

    def exams(self, material: Material, weight: float) -> list[Exam]:
        """Return the exams that the task consists of.

        Args:
            material: The data, and how they are written.
            weight: What the exams' weights add up to.

        Raises:
            UserError: The data lack what the task asks about.
        """
        ...
