"""Events as lines of text: ``title, categories, rating``.

Prompts put the two parts of a line together by look-up, and summarizers read whole histories.
"""

from userllm.data.columns import CATEGORIES, TITLE
from userllm.data.corpus import Corpus
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, RATING_FEATURE

COLUMNS = "title, categories, rating"
"""What a line holds, for the heading above it."""


def item_parts(corpus: Corpus) -> list[str]:
    """Return the part of a line that depends on the item, by item id."""
    categories = corpus.items[CATEGORIES].to_list()
    titles = corpus.items[TITLE].to_list()
    parts = [
        ", ".join([title, *(kinds or [])]) for title, kinds in zip(titles, categories, strict=True)
    ]
    return ["unknown"] * FIRST_ID + parts


def rating_parts(corpus: Corpus) -> list[str]:
    """Return the rest of a line, by rating id."""
    return [", not rated\n"] * FIRST_ID + [f", {value:g}\n" for value in corpus.rating_values]


class HistoryText:
    """Writes the last events before any cut as text, one line each, oldest first.

    Args:
        corpus: Where histories and items come from.
        events: How many of the last events are written.
    """

    def __init__(self, *, corpus: Corpus, events: int) -> None:
        self.corpus, self.events = corpus, events
        self.items, self.ratings = item_parts(corpus), rating_parts(corpus)

    def __call__(self, user: int, cut: int) -> str:
        """Return the lines; nothing at or after the cut is in them."""
        end = int(self.corpus.offsets[user]) + cut
        at = slice(end - min(cut, self.events), end)
        items = self.corpus.features[ITEM_FEATURE][at].tolist()
        ratings = self.corpus.features[RATING_FEATURE][at].tolist()
        return "".join(
            self.items[item] + self.ratings[rating]
            for item, rating in zip(items, ratings, strict=True)
        )
