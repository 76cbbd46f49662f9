"""What a writer of summaries offers: the paper's TS baseline has one (§6).

Shape suffixes: B batch.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from userllm.data.corpus import Corpus

Ints = NDArray[np.int64]

NO_HISTORY = "The user has no history yet."
"""The summary of a user without events."""


@dataclass(frozen=True)
class SummaryCost:
    """What the summaries took that a run used, and what those of some questions take.

    Attributes:
        written: How many this run wrote.
        cached: How many it found on disk.
        seconds: Time spent writing them.
        flops_per_summary: Mean work of writing the summary of one question, found ones included.
    """

    written: int
    cached: int
    seconds: float
    flops_per_summary: float


class Summaries(Protocol):
    """The summaries of one corpus."""

    def prepare(self, users: Ints, cuts: Ints) -> None:
        """Write what :meth:`texts` will be asked for, ahead of training and of timing."""
        ...

    def texts(self, users: Ints, cuts: Ints) -> list[str]:
        """Return B summaries; each holds events before its cut only."""
        ...

    def cost(self, users: Ints, cuts: Ints) -> dict[str, float]:
        """Return a :class:`SummaryCost` as a dict.

        Args:
            users: Whom the questions are about whose summaries cost ``flops_per_summary``.
            cuts: Their cuts; :meth:`texts` or :meth:`prepare` had all of them before.
        """
        ...


class Summarizer(Protocol):
    """Makes summaries; every option of ``summarizer=`` is one."""

    def open(self, corpus: Corpus) -> Summaries:
        """Return the summaries of a corpus, ready to be asked for.

        Raises:
            UserError: What it needs for writing is not to be had.
        """
        ...
