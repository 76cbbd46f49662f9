"""What a task asks, of whom, and which answers are possible.

Shape suffixes: B batch, Q questions, A answers.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from userllm.data.corpus import Corpus
from userllm.data.split import Split

Ints = NDArray[np.int64]
Part = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Questions:
    """Who is asked, and where each history ends.

    Attributes:
        users: User codes, [Q].
        cuts: Events before this position of the user's history may be seen, [Q].
        protocol: One line that says what is compared with what; printed under every table.
    """

    users: Ints
    cuts: Ints
    protocol: str

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.users)

    def first(self, count: int | None) -> "Questions":
        """Return the first questions only; None keeps all. Users come in a fixed random order."""
        if count is None or count >= len(self.users):
            return self
        sample = f"{count} of {len(self.users)} users, the same for every method"
        protocol = f"{self.protocol}, {sample}"
        return Questions(self.users[:count], self.cuts[:count], protocol)


class Task(Protocol):
    """A question with a closed set of answers; every option of ``task=`` is one.

    Attributes:
        name: Name in tables.
        scorer: How answers are ranked: ``exhaustive``, ``beam`` or ``item_head``.
        question: The text that is asked.
        primary: The metric that tables sort by.
        encoder_skip: Whether an item head starts from the encoder's own ranking.
        beams: Width of the beam search.
        overlap_users: On how many users beam search is compared with exhaustive scoring.
    """

    name: str
    scorer: Literal["exhaustive", "beam", "item_head"]
    question: str
    primary: str
    encoder_skip: bool
    beams: int
    overlap_users: int

    def answers(self, corpus: Corpus) -> list[str]:
        """Return the text of every possible answer; its position is the answer's number."""
        ...

    def questions(self, corpus: Corpus, split: Split, part: Part) -> Questions:
        """Return the questions of one part of the split."""
        ...

    def labels(self, corpus: Corpus, users: Ints, cuts: Ints) -> Ints:
        """Return the number of the true answer, -1 where there is none, [B]."""
        ...

    def seen(self, corpus: Corpus, users: Ints, cuts: Ints) -> NDArray[np.bool_] | None:
        """Return which answers are left out of the ranking ``[B, A]``, or None."""
        ...

    def metrics(self, ranks_Q: Ints) -> dict[str, NDArray[np.float64]]:
        """Return per-user metrics from the rank of the true answer (1 is best)."""
        ...

    def references(
        self, corpus: Corpus, split: Split, asked: Questions
    ) -> dict[str, NDArray[np.float64]]:
        """Return scores ``[Q, A]`` of simple rankings that need no model: the floors."""
        ...
