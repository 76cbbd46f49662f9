"""Next item: which item comes next in this user's history (paper §5.2)?

Shape suffixes: B batch, Q questions, A answers (items).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from userllm.data.columns import TITLE
from userllm.data.corpus import Corpus
from userllm.data.gather import ragged_gather
from userllm.data.hashing import hash_keys
from userllm.data.split import Split
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.data.windows import training_cuts
from userllm.encoder.popularity import Popularity
from userllm.errors import UserError
from userllm.metric.ranking import Ranking
from userllm.task.batch import Material
from userllm.task.exam import Exam
from userllm.task.protocol import Ints, Part, Questions, Scores, Softmax, Values
from userllm.task.ranking import ranking_exam

ORDER = 0x0BDE


class NextItem:
    """Rank the whole catalogue for the event at the cut.

    Answers are item numbers; items with the same title share a title score.

    Args:
        metric: Ranking metrics, and whether items of the history are left out of the ranking.
        scorer: ``item_head`` (one forward pass), ``beam`` (trie-constrained title decoding) or
            ``exhaustive`` (likelihood of every title).
        templates: What is asked: ``next_item``, or the path of a file of one's own.
        paraphrases: How many of its wordings are used; None uses all.
        min_history: Least number of events before the cut of a training question.
        encoder_skip: Whether the item head starts from the encoder's own ranking.
        encoder_prior: Whether spelled titles start from the encoder's own ranking, see
            :class:`~userllm.context.encoder_prior.EncoderPrior`; only among siblings.
        softmax: Among which tokens of the answers a next one is chosen, see
            :class:`~userllm.task.answers.AnswerTokens`.
        beams: Width of the beam search; too narrow a beam hides what the model knows.
        overlap_users: On how many users beam search is compared with exhaustive scoring.
    """

    name = "next_item"
    fields: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        metric: Ranking,
        scorer: Literal["exhaustive", "beam", "item_head"],
        templates: str,
        paraphrases: int | None,
        min_history: int,
        encoder_skip: bool,
        encoder_prior: bool,
        softmax: Softmax,
        beams: int,
        overlap_users: int,
    ) -> None:
        if encoder_prior and (softmax != "siblings" or scorer == "item_head"):
            raise UserError(
                f"task.encoder_prior=true with task.scorer={scorer} task.softmax={softmax}: a "
                "ranking of items says how titles go on, nothing of other words. Type "
                "task.scorer=beam (or exhaustive) task.softmax=siblings; an item head starts from "
                "the ranking with task.encoder_skip=true."
            )
        self.metric, self.scorer, self.softmax = metric, scorer, softmax
        self.templates, self.paraphrases = templates, paraphrases
        self.min_history, self.beams, self.overlap_users = min_history, beams, overlap_users
        self.encoder_skip, self.encoder_prior = encoder_skip, encoder_prior
        self.primary = metric.primary

    def answers(self, corpus: Corpus) -> list[str]:
        """Return the title of every item."""
        titles: list[str] = corpus.items[TITLE].to_list()
        return titles

    def questions(self, corpus: Corpus, split: Split, part: Part) -> Questions:
        """Return every user's held-out event, or all training targets."""
        if part == "train":
            users, cuts = training_cuts(split, min_history=self.min_history)
        else:
            users, cuts = split.targets(part)
            order = np.argsort(hash_keys(users, ORDER))
            users, cuts = users[order], cuts[order]
        rules = self.metric.protocol(mask_seen=self.metric.mask_seen)
        return Questions(users, cuts, f"{split.name}, {rules}")

    def labels(self, corpus: Corpus, users: Ints, cuts: Ints) -> Ints:
        """Return the number of the item at each cut."""
        at = np.asarray(corpus.offsets)[users] + cuts
        labels: Ints = np.asarray(corpus.features[ITEM_FEATURE][at], dtype=np.int64) - FIRST_ID
        return labels

    def seen(self, corpus: Corpus, users: Ints, cuts: Ints) -> NDArray[np.bool_] | None:
        """Return the items of each user's whole earlier history, when they are left out."""
        if not self.metric.mask_seen:
            return None
        starts = np.asarray(corpus.offsets)[users]
        items_BL, mask_BL = ragged_gather(corpus.features[ITEM_FEATURE], starts, cuts)
        seen_BA = np.zeros((len(users), len(corpus.items)), dtype=bool)
        known_BL = mask_BL & (items_BL >= FIRST_ID)
        rows = np.nonzero(known_BL)[0]
        seen_BA[rows, items_BL[known_BL].astype(np.int64) - FIRST_ID] = True
        return seen_BA

    def metrics(self, ranks_Q: Ints) -> dict[str, Values]:
        """Return recall, NDCG and reciprocal rank per user."""
        return self.metric.per_user(ranks_Q)

    def references(self, corpus: Corpus, split: Split) -> dict[str, Scores]:
        """Return popularity among the training events."""
        popularity = Popularity().fit(corpus, split)

        def scores(users: Ints, cuts: Ints) -> Values:
            return np.asarray(popularity.scores(users, cuts))[:, FIRST_ID:].astype(np.float64)

        return {"popularity": scores}

    def exams(self, material: Material, weight: float) -> list[Exam]:
        """Return the one exam."""
        return [ranking_exam(self, material, weight)]
