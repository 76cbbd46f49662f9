"""What a task asks, of whom, and what the true answer is.

Shape suffixes: B batch, Q questions, A answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from userllm.data.corpus import Corpus
from userllm.data.split import Split

Ints = NDArray[np.int64]
Values = NDArray[np.float64]
Passes = list[tuple[float, float]]
"""(tokens read, positions each of them sees beyond the prompt) of passes after the prompt."""
Softmax = Literal["vocabulary", "catalogue", "siblings"]
Part = Literal["train", "valid", "test"]

Scores = Callable[[Ints, Ints], Values]
"""From users and cuts [B] to one score per answer [B, A], without a model."""

Writer = Callable[[Ints, Ints], list[str]]
"""From users and cuts [B] to one text each, without a model."""


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

    def sample(self, count: int) -> "Questions":
        """Return at most ``count`` of the questions, evenly spaced."""
        pick = np.linspace(0, len(self) - 1, num=min(count, len(self))).astype(np.int64)
        return Questions(self.users[pick], self.cuts[pick], self.protocol)

    def by_length(self, size: int) -> list[Ints]:
        """Return the rows of all questions in batches of like histories, so that little is padded.

        Args:
            size: Questions of a batch; the last one may have fewer.
        """
        order = np.argsort(self.cuts, kind="stable")
        return [order[first : first + size] for first in range(0, len(self), size)]


class Subject(Protocol):
    """What one question is about, whatever form its answers have.

    Attributes:
        name: Name in tables.
        primary: The metric that tables sort by.
        templates: Name of a shipped file of questions, or the path of one's own.
        paraphrases: How many of its questions are used; None uses all.
        fields: What the questions may say about the event at the cut.
    """

    name: str
    primary: str
    templates: str
    paraphrases: int | None
    fields: frozenset[str]

    def questions(self, corpus: Corpus, split: Split, part: Part) -> Questions:
        """Return the questions of one part of the split, only those that have a true answer."""
        ...

    def labels(self, corpus: Corpus, users: Ints, cuts: Ints) -> Ints:
        """Return the number of the true answer, -1 where there is none, [B]."""
        ...


class ClosedSubject(Subject, Protocol):
    """A question whose possible answers are known, so that all of them can be ranked.

    Attributes:
        encoder_skip: Whether an item head starts from the encoder's own ranking.
        encoder_prior: Whether spelled answers start from it.
        softmax: Among which tokens of the answers a next one is chosen.
        beams: Width of the beam search.
        overlap_users: On how many users beam search is compared with exhaustive scoring.
    """

    @property
    def scorer(self) -> Literal["exhaustive", "beam", "item_head"]:
        """How answers are ranked."""
        ...

    encoder_skip: bool
    encoder_prior: bool
    softmax: Softmax
    beams: int
    overlap_users: int

    def answers(self, corpus: Corpus) -> list[str]:
        """Return the text of every possible answer; its position is the answer's number."""
        ...

    def seen(self, corpus: Corpus, users: Ints, cuts: Ints) -> NDArray[np.bool_] | None:
        """Return which answers are left out of the ranking ``[B, A]``, or None."""
        ...

    def metrics(self, ranks_Q: Ints) -> dict[str, Values]:
        """Return per-user metrics from the rank of the true answer (1 is best)."""
        ...

    def references(self, corpus: Corpus, split: Split) -> Mapping[str, Scores]:
        """Return simple rankings that need no model: the floors."""
        ...


class OpenSubject(Subject, Protocol):
    """A question that is answered with a text of one's own.

    Attributes:
        beams: Width of the beam search that writes; 1 takes the likeliest token each time.
        min_answer_tokens: How many tokens are written before an answer may end.
        max_answer_tokens: Longest answer, in tokens of the language model.
    """

    beams: int
    min_answer_tokens: int
    max_answer_tokens: int

    def texts(self, corpus: Corpus, labels_B: Ints) -> list[str]:
        """Return the true texts of these numbers."""
        ...

    def metrics(self, written_Q: list[str], true_Q: list[str]) -> dict[str, Values]:
        """Return per-user metrics from what was written and what would have been right."""
        ...

    def references(self, corpus: Corpus, split: Split) -> Mapping[str, Writer]:
        """Return simple writers that need no model: the floors."""
        ...
