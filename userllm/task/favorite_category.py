"""Favourite category: which category does this user's history hold most of (paper §5.2)?

Shape suffixes: B batch, L events, G categories per item, Q questions, A answers (categories).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from userllm.data.corpus import Corpus
from userllm.data.gather import HistoryGather
from userllm.data.hashing import hash_keys, uniform
from userllm.data.split import Split
from userllm.data.vocabulary import CATEGORY_FEATURE, FIRST_ID
from userllm.data.windows import training_cuts
from userllm.errors import UserError
from userllm.metric.ranking import Ranking
from userllm.task.protocol import Ints, Part, Questions

FOLD = 0xF01D


class FavoriteCategory:
    """Name the category that occurs most often among the last events before the cut.

    Every category of an event counts once; of equally frequent categories the one seen last wins,
    then the one that comes first in the vocabulary. Since windows of one user overlap, the test
    asks users whose windows were never trained on: a fixed random share of all users.

    Args:
        metric: Ranking metrics; accuracy is recall@1.
        scorer: ``exhaustive`` or ``beam``.
        question: The text that is asked.
        window: How many of the last events the label counts.
        held_out: Share of the users asked in the test only; half as many more are for validation.
        min_history: Least number of events before the cut of a training question.
        beams: Width of the beam search.
        overlap_users: On how many users beam search is compared with exhaustive scoring.
    """

    name = "favorite_category"
    primary = "accuracy"
    encoder_skip = False

    def __init__(
        self,
        *,
        metric: Ranking,
        scorer: Literal["exhaustive", "beam"],
        question: str,
        window: int,
        held_out: float,
        min_history: int,
        beams: int,
        overlap_users: int,
    ) -> None:
        if not 0 < held_out < 2 / 3:
            raise UserError(
                f"task.held_out={held_out}: expected a share of users above 0 and below 0.66, "
                "half as many more being kept for validation. Type task.held_out=0.2"
            )
        if not {1, 5} <= set(metric.cutoffs):
            raise UserError(
                f"metric.cutoffs={list(metric.cutoffs)}: task=favorite_category reports accuracy "
                "and recall@5. Expected 1 and 5 among the cutoffs."
            )
        self.bounds: dict[Part, tuple[float, float]] = {
            "test": (0.0, held_out),
            "valid": (held_out, 1.5 * held_out),
            "train": (1.5 * held_out, 1.0),
        }
        self.metric, self.scorer, self.question = metric, scorer, question
        self.window, self.min_history = window, min_history
        self.beams, self.overlap_users = beams, overlap_users

    def answers(self, corpus: Corpus) -> list[str]:
        """Return the category names."""
        if not corpus.category_names:
            raise UserError(
                f"task=favorite_category: the items of {corpus.folder} have no categories. "
                "Expected data with categories, or type task=next_item."
            )
        return list(corpus.category_names)

    def questions(self, corpus: Corpus, split: Split, part: Part) -> Questions:
        """Return test or validation users at their held-out event, or all training cuts."""
        if part == "train":
            users, cuts = training_cuts(split, min_history=self.min_history)
        else:
            users, cuts = split.targets(part)
            order = np.argsort(hash_keys(users, FOLD + 1))
            users, cuts = users[order], cuts[order]
        fold = uniform(users, FOLD)
        low, high = self.bounds[part]
        mine = (fold >= low) & (fold < high)
        users, cuts = users[mine], cuts[mine]
        if part != "train":
            labelled = self.labels(corpus, users, cuts) >= 0
            users, cuts = users[labelled], cuts[labelled]
        return Questions(users, cuts, self._protocol(corpus, split, part))

    def _protocol(self, corpus: Corpus, split: Split, part: Part) -> str:
        return (
            f"{split.name}, users not trained on ({self.bounds[part][1] - self.bounds[part][0]:.0%}"
            f" of all), label: most frequent category of the last {self.window} events before the "
            f"cut, ties: the one seen last, {len(corpus.category_names)} candidates, "
            "tied scores count against"
        )

    def labels(self, corpus: Corpus, users: Ints, cuts: Ints) -> Ints:
        """Return the most frequent category before each cut, -1 where no event has one."""
        counts_BA = self._counts(corpus, users, cuts)
        best_B = counts_BA.argmax(axis=1)
        labels: Ints = np.where(counts_BA.max(axis=1) >= 1, best_B, -1)
        return labels

    def _counts(self, corpus: Corpus, users: Ints, cuts: Ints) -> NDArray[np.float64]:
        """Return occurrences per category ``[B, A]``, with tie-breaks as fractions below one."""
        if len(users) == 0:
            return np.zeros((0, len(corpus.category_names)))
        batch = HistoryGather(corpus)(users, cuts, self.window)
        categories_BLG = batch.features[CATEGORY_FEATURE].numpy() - FIRST_ID
        row, event, _ = np.nonzero(categories_BLG >= 0)
        category = categories_BLG[categories_BLG >= 0]
        counts_BA = np.zeros((len(users), len(corpus.category_names)))
        np.add.at(counts_BA, (row, category), 1.0)
        last_BA = np.zeros_like(counts_BA)
        np.maximum.at(last_BA, (row, category), event + 1.0)
        vocabulary_order_A = np.arange(counts_BA.shape[1]) / counts_BA.shape[1]
        return counts_BA + (last_BA - vocabulary_order_A) / (self.window + 2)

    def seen(self, corpus: Corpus, users: Ints, cuts: Ints) -> None:
        """Every category may be the answer."""

    def metrics(self, ranks_Q: Ints) -> dict[str, NDArray[np.float64]]:
        """Return accuracy and recall per user."""
        values = self.metric.per_user(ranks_Q)
        # Categories are few: a longer list holds nearly all of them.
        return {"accuracy": values["recall@1"], "recall@5": values["recall@5"]}

    def references(
        self, corpus: Corpus, split: Split, asked: Questions
    ) -> dict[str, NDArray[np.float64]]:
        """Return the majority answer of the training questions, and counting the history."""
        train = self.questions(corpus, split, "train")
        pick = np.linspace(0, len(train) - 1, num=min(len(train), 20_000)).astype(np.int64)
        labels = self.labels(corpus, train.users[pick], train.cuts[pick])
        majority_A = np.bincount(labels[labels >= 0], minlength=len(corpus.category_names))
        return {
            "majority": np.tile(majority_A.astype(np.float64), (len(asked), 1)),
            "count_history": self._counts(corpus, asked.users, asked.cuts),
        }
