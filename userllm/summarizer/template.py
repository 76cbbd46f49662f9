"""Summaries by counting, in fixed sentences: no model, no waiting, the same every time.

Shape suffixes: L events.
"""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from userllm.data.columns import CATEGORIES, TITLE
from userllm.data.corpus import Corpus
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, RATING_FEATURE
from userllm.summarizer.protocol import NO_HISTORY, Ints, SummaryCost
from userllm.summarizer.refresh import refreshed


class TemplateSummarizer:
    """Say which categories, ratings and titles a history holds; the honest cheap baseline.

    Args:
        events: How many of the last events are summarized.
        refresh: Events between two summaries; between them the last one is used.
        categories: How many categories are named, the most frequent first.
        titles: How many titles are named as best liked, least liked and most recent, each.
    """

    def __init__(self, *, events: int, refresh: int, categories: int, titles: int) -> None:
        for key, value in (("events", events), ("refresh", refresh)):
            if value < 1:
                raise ValueError(f"{key} ({value}) must be at least 1")
        self.events, self.refresh = events, refresh
        self.categories, self.titles = categories, titles

    def open(self, corpus: Corpus) -> "TemplateSummaries":
        """Return the summaries of a corpus."""
        return TemplateSummaries(self, corpus)


class TemplateSummaries:
    """Makes a summary whenever it is asked for.

    Args:
        options: How long summaries are, and how often they change.
        corpus: Histories and items.
    """

    def __init__(self, options: TemplateSummarizer, corpus: Corpus) -> None:
        self.options, self.corpus = options, corpus
        self.titles: list[str] = ["unknown"] * FIRST_ID + corpus.items[TITLE].to_list()
        self.kinds: list[list[str] | None] = [None] * FIRST_ID + corpus.items[CATEGORIES].to_list()
        self.rating_values = np.array([np.nan] * FIRST_ID + list(corpus.rating_values))

    def prepare(self, users: Ints, cuts: Ints) -> None:
        """Nothing has to be written ahead."""

    def texts(self, users: Ints, cuts: Ints) -> list[str]:
        """Return one summary per user."""
        ends = refreshed(cuts, self.options.refresh)
        return [self._text(int(u), int(c)) for u, c in zip(users, ends, strict=True)]

    def cost(self, users: Ints, cuts: Ints) -> dict[str, float]:
        """Return zeros: counting is no work worth the name."""
        return asdict(SummaryCost(written=0, cached=0, seconds=0.0, flops_per_summary=0.0))

    def _text(self, user: int, cut: int) -> str:
        if cut == 0:
            return NO_HISTORY
        end = int(self.corpus.offsets[user]) + cut
        at = slice(end - min(cut, self.options.events), end)
        items = np.asarray(self.corpus.features[ITEM_FEATURE][at])
        ratings_L = self.rating_values[np.asarray(self.corpus.features[RATING_FEATURE][at])]
        sentences = [
            self._opening(ratings_L),
            self._categories(items.tolist()),
            *self._rated(items, ratings_L),
            self._titles("Most recent", items[::-1]),
        ]
        return " ".join(sentence for sentence in sentences if sentence)

    def _opening(self, ratings_L: NDArray[np.float64]) -> str:
        events = f"{len(ratings_L)} event{'s' if len(ratings_L) > 1 else ''}"
        known = ratings_L[~np.isnan(ratings_L)]
        rated = f", rated {known.mean():.1f} on average" if len(known) else ""
        return f"The user's history has {events}{rated}."

    def _categories(self, items: list[int]) -> str:
        counts: dict[str, int] = {}
        for item in items:
            for kind in self.kinds[item] or ():
                counts[kind] = counts.get(kind, 0) + 1
        # Equally frequent ones in the order of the alphabet: nothing else may decide.
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        named = ", ".join(f"{kind} {count}" for kind, count in ranked[: self.options.categories])
        return f"By {self.corpus.nouns['category']}: {named}." if named else ""

    def _rated(self, items: NDArray[np.int64], ratings_L: NDArray[np.float64]) -> list[str]:
        """Return what was liked best and least; of equally rated titles the latest come first."""
        known_L = ~np.isnan(ratings_L)
        items, ratings_L = items[known_L][::-1], ratings_L[known_L][::-1]
        if not len(items):
            return []
        order = np.argsort(-ratings_L, kind="stable")
        best = order[ratings_L[order] >= ratings_L.mean()]
        order = np.argsort(ratings_L, kind="stable")
        least = order[ratings_L[order] < ratings_L.mean()]
        return [
            self._titles("Rated highest", items[best], ratings_L[best]),
            self._titles("Rated lowest", items[least], ratings_L[least]),
        ]

    def _titles(
        self, what: str, items: NDArray[np.int64], ratings: NDArray[np.float64] | None = None
    ) -> str:
        names = [self.titles[item] for item in items.tolist()]
        if ratings is not None:
            names = [f"{name} ({r:g})" for name, r in zip(names, ratings.tolist(), strict=True)]
        named = ", ".join(list(dict.fromkeys(names))[: self.options.titles])
        return f"{what}: {named}." if named else ""
