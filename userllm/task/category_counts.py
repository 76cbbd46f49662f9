"""How often each category occurs in histories, without a padded row per user.

Shape suffixes: Q questions, E events of all questions one after the other, P pairs of a question
and a category that occurs in it, G categories per item, A categories.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from userllm.data.corpus import Corpus
from userllm.data.hashing import uniform
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE

Ints = NDArray[np.int64]
Values = NDArray[np.float64]
Ties = Literal["last", "first", "random"]

EVENTS_AT_ONCE = 1_000_000
TIE = 0x71E


@dataclass(frozen=True)
class Tally:
    """Categories that occur before some cuts.

    Attributes:
        rows_P: The question of each pair, ascending.
        categories_P: Its category.
        scores_P: How often it occurs, plus a fraction below one that breaks ties.
    """

    rows_P: Ints
    categories_P: Ints
    scores_P: Values

    def best(self, questions: int) -> Ints:
        """Return the category of the highest score of each question, -1 where there is none."""
        order_P = np.lexsort((self.scores_P, self.rows_P))
        best_Q = np.full(questions, -1, dtype=np.int64)
        # Of equal indices the last assignment stays, which is the highest score.
        best_Q[self.rows_P[order_P]] = self.categories_P[order_P]
        return best_Q

    def dense(self, questions: int, categories: int) -> Values:
        """Return the scores ``[Q, A]``, 0 for categories that do not occur."""
        scores_QA = np.zeros((questions, categories))
        scores_QA[self.rows_P, self.categories_P] = self.scores_P
        return scores_QA


def tally(corpus: Corpus, users: Ints, cuts: Ints, *, window: int | None, ties: Ties) -> Tally:
    """Count the categories of the last events before each cut; each of an event counts once.

    Args:
        corpus: Histories.
        users: User codes, [Q].
        cuts: Ends of the histories, [Q]; event ``cut`` itself is not counted.
        window: How many of the last events are counted; None counts all.
        ties: Which of equally frequent categories scores highest: the one seen ``last``, the one
            seen ``first``, or one at ``random`` by a hash of user, cut and category. Of
            categories of the same event, the one that comes first in the vocabulary.
    """
    pieces = [
        _count(corpus, users[piece], cuts[piece], first, window, ties)
        for first, piece in _pieces(cuts, window)
    ]
    nothing = np.zeros(0, dtype=np.int64)
    return Tally(
        np.concatenate([nothing, *(piece.rows_P for piece in pieces)]),
        np.concatenate([nothing, *(piece.categories_P for piece in pieces)]),
        np.concatenate([nothing.astype(np.float64), *(piece.scores_P for piece in pieces)]),
    )


def has_category(
    corpus: Corpus, users: Ints, cuts: Ints, *, window: int | None
) -> NDArray[np.bool_]:
    """Return whether any of the counted events has a category, [Q]; one pass over all events."""
    known_I = np.asarray(corpus.item_categories).max(axis=1) >= FIRST_ID
    before_E = np.concatenate([[0], np.cumsum(known_I[corpus.features[ITEM_FEATURE]])])
    starts = np.asarray(corpus.offsets)[users]
    first = starts if window is None else starts + np.maximum(cuts - window, 0)
    return np.asarray(before_E[starts + cuts] > before_E[first])


def _pieces(cuts: Ints, window: int | None) -> Iterator[tuple[int, slice]]:
    """Yield the number of the first question of a piece, and the piece."""
    if not len(cuts):
        return
    events_Q = cuts if window is None else np.minimum(cuts, window)
    piece_Q = np.cumsum(events_Q) // EVENTS_AT_ONCE
    starts = np.flatnonzero(np.diff(piece_Q, prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(cuts)], strict=True):
        yield int(first), slice(int(first), int(last))


def _count(
    corpus: Corpus, users: Ints, cuts: Ints, first_row: int, window: int | None, ties: Ties
) -> Tally:
    lengths = cuts if window is None else np.minimum(cuts, window)
    row_E = np.repeat(np.arange(len(users)), lengths)
    ends = np.cumsum(lengths)
    position_E = np.arange(len(row_E)) - (ends - lengths)[row_E]
    at_E = (np.asarray(corpus.offsets)[users] + cuts - lengths)[row_E] + position_E
    categories_EG = np.asarray(corpus.item_categories)[corpus.features[ITEM_FEATURE][at_E]]
    event, column = np.nonzero(categories_EG >= FIRST_ID)
    category = categories_EG[event, column].astype(np.int64) - FIRST_ID
    total = len(corpus.category_names)
    pairs_P, first_P, pair, counts_P = np.unique(
        row_E[event] * total + category, return_index=True, return_inverse=True, return_counts=True
    )
    rows_P, categories_P = pairs_P // total, pairs_P % total
    seen_P = position_E[event][first_P]
    if ties == "last":
        np.maximum.at(seen_P, pair, position_E[event])
    if ties == "random":
        fraction_P = uniform(users[rows_P], cuts[rows_P], categories_P, TIE)
    else:
        # Later events score higher, or lower; inside one event the vocabulary's order decides.
        rank_P = seen_P + 1 if ties == "last" else lengths[rows_P] - seen_P
        fraction_P = (rank_P - categories_P / total) / (lengths[rows_P] + 2)
    return Tally(rows_P + first_row, categories_P, counts_P + fraction_P)
