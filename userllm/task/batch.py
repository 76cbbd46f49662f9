"""From (user, cut) pairs to what a model reads and what it should answer.

Shape suffixes: B batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from userllm.context.model import TokenBatch
from userllm.data.corpus import Corpus
from userllm.data.gather import EventBatch, HistoryGather
from userllm.task.prompt import PromptWriter
from userllm.task.protocol import Ints, Task


@dataclass
class QuestionBatch:
    """B questions: who is asked, the history as ids and as text, and the true answers.

    Attributes:
        users: User codes, for error messages.
        labels_B: Number of each true answer.
    """

    users: Ints
    events: EventBatch
    prompt: TokenBatch
    labels_B: Tensor

    def to(self, device: torch.device) -> "QuestionBatch":
        """Return the batch on a device."""
        return QuestionBatch(
            self.users, self.events.to(device), self.prompt.to(device), self.labels_B.to(device)
        )


class QuestionReader:
    """Gathers batches of questions; nothing at or after a cut can get into one.

    Args:
        corpus: Histories and items.
        task: Knows the true answers.
        writer: Writes the prompts.
        history: Largest number of events an encoder sees.
    """

    def __init__(self, *, corpus: Corpus, task: Task, writer: PromptWriter, history: int) -> None:
        self.corpus, self.task, self.writer, self.history = corpus, task, writer, history
        self.gather = HistoryGather(corpus)

    def __call__(self, users: Ints, cuts: Ints) -> QuestionBatch:
        """Return the batch; questions without a true answer (label -1) are dropped."""
        labels = self.task.labels(self.corpus, users, cuts)
        known = labels >= 0
        users, cuts, labels = users[known], cuts[known], labels[known]
        return QuestionBatch(
            users=np.asarray(users),
            events=self.gather(users, cuts, self.history),
            prompt=self.writer(users, cuts),
            labels_B=torch.from_numpy(labels),
        )
