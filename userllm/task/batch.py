"""From (user, cut) pairs to what a model reads and what it should answer.

Shape suffixes: B batch.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from userllm.context.model import TokenBatch
from userllm.data.corpus import Corpus
from userllm.data.gather import EventBatch, HistoryGather
from userllm.data.split import Split
from userllm.summarizer.protocol import Summaries
from userllm.task.prompt import PromptWriter
from userllm.task.protocol import Ints, Subject
from userllm.task.template import read_templates


@dataclass
class QuestionBatch:
    """B questions: who is asked, the history as ids and as text, and the true answers.

    Attributes:
        users: User codes, for error messages.
        labels_B: Number of each true answer.
        exam: Number of the exam that the questions belong to.
    """

    users: Ints
    events: EventBatch
    prompt: TokenBatch
    labels_B: Tensor
    exam: int = 0

    def to(self, device: torch.device) -> "QuestionBatch":
        """Return the batch on a device."""
        return replace(
            self,
            events=self.events.to(device),
            prompt=self.prompt.to(device),
            labels_B=self.labels_B.to(device),
        )


@dataclass(frozen=True)
class Material:
    """What questions are made of, whatever the task.

    Attributes:
        corpus: Histories, items, texts.
        split: Which events are held out.
        tokenizer: The language model's.
        history: Largest number of events an encoder sees.
        text_events: How many of the last events are written into the prompt.
        summaries: What stands in the prompt instead of events; None writes no summary.
        seed: Chooses among the wordings of a question.
    """

    corpus: Corpus
    split: Split
    tokenizer: PreTrainedTokenizerBase
    history: int
    text_events: int
    summaries: Summaries | None
    seed: int

    def without_history(self) -> "Material":
        """Return the same without anything about the user in the prompt."""
        return replace(self, text_events=0, summaries=None)

    def writer(self, subject: Subject) -> PromptWriter:
        """Return the writer of a subject's prompts."""
        templates = read_templates(
            subject.templates, self.corpus.nouns, subject.paraphrases, subject.fields
        )
        return PromptWriter(
            tokenizer=self.tokenizer,
            corpus=self.corpus,
            templates=templates,
            text_events=self.text_events,
            summaries=self.summaries,
            seed=self.seed,
        )


class QuestionReader:
    """Gathers batches of questions; nothing at or after a cut can get into one.

    What a template says about the event at the cut is the exception: a task that asks for a
    review of an item has to name it.

    Args:
        material: Histories, items, and how they are written.
        subject: Knows the true answers.
    """

    def __init__(self, material: Material, subject: Subject) -> None:
        self.corpus, self.history, self.subject = material.corpus, material.history, subject
        self.writer = material.writer(subject)
        bare = material.without_history()
        self.bare_writer = self.writer if bare == material else bare.writer(subject)
        self.gather = HistoryGather(material.corpus)

    def __call__(self, users: Ints, cuts: Ints) -> QuestionBatch:
        """Return the batch.

        Raises:
            ValueError: A question has no true answer; rows would no longer belong together.
        """
        events = self.gather(users, cuts, self.history)
        return QuestionBatch(users, events, self.writer(users, cuts), self._labels(users, cuts))

    def without_history(self, users: Ints, cuts: Ints) -> QuestionBatch:
        """Return the same questions as if nothing were known about the users."""
        events = self.gather(users, np.zeros_like(cuts), self.history, pad_to=1)
        prompt = self.bare_writer(users, cuts)
        return QuestionBatch(users, events, prompt, self._labels(users, cuts))

    def _labels(self, users: Ints, cuts: Ints) -> Tensor:
        labels = self.subject.labels(self.corpus, users, cuts)
        if (labels < 0).any():
            raise ValueError(f"{int((labels < 0).sum())} questions have no true answer")
        return torch.from_numpy(labels)
