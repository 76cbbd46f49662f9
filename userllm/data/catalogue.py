"""What items, categories and ratings are called, and what users wrote, for makers of vectors."""

from dataclasses import dataclass

from userllm.data.columns import TITLE
from userllm.data.corpus import Corpus
from userllm.data.event_texts import EventTexts
from userllm.data.vocabulary import FIRST_ID


@dataclass(frozen=True)
class Catalogue:
    """Names by id; the special ids are called "".

    Attributes:
        titles: Title of every item id, I+3 of them.
        categories: Name of every category id, C+3 of them.
        ratings: Every rating id as text, R+3 of them.
        texts: What users wrote; None where there are no events, as when only sizes count.
    """

    titles: list[str]
    categories: list[str]
    ratings: list[str]
    texts: EventTexts | None = None


def catalogue_of(corpus: Corpus) -> Catalogue:
    """Return the names that a corpus holds."""
    special = [""] * FIRST_ID
    return Catalogue(
        titles=[*special, *corpus.items[TITLE].to_list()],
        categories=[*special, *corpus.category_names],
        ratings=[*special, *(f"{rating:g}" for rating in corpus.rating_values)],
        texts=EventTexts(corpus),
    )
