"""Favourite category: which category does this user's history hold most of (paper §5.2)?

Shape suffixes: B batch, Q questions, A answers (categories).
"""

from typing import Literal

import numpy as np

from userllm.data.corpus import Corpus
from userllm.data.hashing import hash_keys, uniform
from userllm.data.split import Split
from userllm.data.windows import training_cuts
from userllm.errors import UserError
from userllm.metric.ranking import Ranking
from userllm.task.batch import Material
from userllm.task.category_counts import Tally, Ties, has_category, tally
from userllm.task.exam import Exam
from userllm.task.protocol import Ints, Part, Questions, Scores, Softmax, Values
from userllm.task.ranking import ranking_exam

FOLD = 0xF01D
MAJORITY_SAMPLE = 20_000
CUTOFFS = (1, 5, 10)

TIE_WORDS = {"last": "the one seen last", "first": "the one seen first", "random": "at random"}


class FavoriteCategory:
    """Name the category that occurs most often before the cut; categories of an event are single.

    The paper leaves open whether the label counts the visible window or the whole history, how
    ties are broken, and that windows of one user overlap between training and test; here each is
    a choice, and the protocol line of every table says which one was made.

    Args:
        metric: Ranking metrics; accuracy is recall@1.
        scorer: ``exhaustive`` or ``beam``.
        templates: What is asked: ``favorite_category``, or the path of a file of one's own.
        paraphrases: How many of its wordings are used; None uses all.
        label: What is counted: ``window`` (the events a method can see) or ``history`` (all
            events before the cut, the paper's words).
        window: How many of the last events a method can see.
        ties: Of equally frequent categories: the one seen ``last``, the one seen ``first``, or
            one at ``random`` by a hash of the question.
        held_out: Share of the users asked in the test only, half as many more being for
            validation; None is the paper's protocol: everybody's last example is the test, and
            earlier windows of the same users are trained on.
        min_history: Least number of events before the cut of a training question.
        softmax: Among which tokens of the answers a next one is chosen, see
            :class:`~userllm.task.answers.AnswerTokens`.
        beams: Width of the beam search.
        overlap_users: On how many users beam search is compared with exhaustive scoring.
    """

    name = "favorite_category"
    primary = "accuracy"
    fields: frozenset[str] = frozenset()
    encoder_skip = False
    encoder_prior = False

    def __init__(
        self,
        *,
        metric: Ranking,
        scorer: Literal["exhaustive", "beam"],
        templates: str,
        paraphrases: int | None,
        label: Literal["window", "history"],
        window: int,
        ties: Ties,
        held_out: float | None,
        min_history: int,
        softmax: Softmax,
        beams: int,
        overlap_users: int,
    ) -> None:
        if not {*CUTOFFS} <= set(metric.cutoffs):
            raise UserError(
                f"metric.cutoffs={list(metric.cutoffs)}: task=favorite_category reports accuracy, "
                "recall@5 and recall@10. Expected 1, 5 and 10 among the cutoffs."
            )
        self.bounds = _bounds(held_out)
        self.metric, self.scorer, self.softmax = metric, scorer, softmax
        self.templates, self.paraphrases = templates, paraphrases
        self.label, self.window, self.ties, self.held_out = label, window, ties, held_out
        self.counted = window if label == "window" else None
        self.min_history, self.beams, self.overlap_users = min_history, beams, overlap_users
        self.among_others = False

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
        mine &= has_category(corpus, users, cuts, window=self.counted)
        return Questions(users[mine], cuts[mine], self._protocol(corpus, split, part))

    def labels(self, corpus: Corpus, users: Ints, cuts: Ints) -> Ints:
        """Return the most frequent category before each cut, -1 where no event has one."""
        return self._tally(corpus, users, cuts).best(len(users))

    def seen(self, corpus: Corpus, users: Ints, cuts: Ints) -> None:
        """Every category may be the answer."""

    def metrics(self, ranks_Q: Ints) -> dict[str, Values]:
        """Return accuracy and recall per user (Source: User-LLM Tables 2 and 9)."""
        values = self.metric.per_user(ranks_Q)
        return {
            "accuracy": values["recall@1"],
            "recall@5": values["recall@5"],
            "recall@10": values["recall@10"],
        }

    def references(self, corpus: Corpus, split: Split) -> dict[str, Scores]:
        """Return the majority answer of the training questions, and counting what is visible."""
        sample = self.questions(corpus, split, "train").sample(MAJORITY_SAMPLE)
        labels = self.labels(corpus, sample.users, sample.cuts)
        categories = len(corpus.category_names)
        majority_A = np.bincount(labels, minlength=categories).astype(np.float64)
        # Nobody can know how a hash breaks a tie.
        ties: Ties = "last" if self.ties == "random" else self.ties

        def count(users: Ints, cuts: Ints) -> Values:
            visible = tally(corpus, users, cuts, window=self.window, ties=ties)
            return visible.dense(len(users), categories)

        return {
            "majority": lambda users, cuts: np.tile(majority_A, (len(users), 1)),
            "count_history": count,
        }

    def exams(self, material: Material, weight: float) -> list[Exam]:
        """Return the one exam."""
        return [ranking_exam(self, material, weight)]

    def _tally(self, corpus: Corpus, users: Ints, cuts: Ints) -> Tally:
        return tally(corpus, users, cuts, window=self.counted, ties=self.ties)

    def _protocol(self, corpus: Corpus, split: Split, part: Part) -> str:
        low, high = self.bounds[part]
        who = f"users not trained on ({high - low:.0%} of all)"
        if self.among_others:
            who = f"users whose answers to this were not trained on ({high - low:.0%} of all)"
        if self.held_out is None:
            who = "all users, earlier windows of the same users trained on"
        where = "all events" if self.counted is None else f"the last {self.counted} events"
        return (
            f"{split.name}, {who}, label: most frequent category of {where} before the cut, "
            f"ties: {TIE_WORDS[self.ties]}, {len(corpus.category_names)} candidates, "
            "tied scores count against"
        )


def _bounds(held_out: float | None) -> dict[Part, tuple[float, float]]:
    """Return which share of the users each part asks, as a stretch of [0, 1]."""
    if held_out is None:
        return {"test": (0.0, 1.0), "valid": (0.0, 1.0), "train": (0.0, 1.0)}
    if not 0 < held_out < 2 / 3:
        raise UserError(
            f"task.held_out={held_out}: expected a share of users above 0 and below 0.66, half as "
            "many more being kept for validation, or null for the paper's protocol. Type "
            "task.held_out=0.2"
        )
    return {
        "test": (0.0, held_out),
        "valid": (held_out, 1.5 * held_out),
        "train": (1.5 * held_out, 1.0),
    }
