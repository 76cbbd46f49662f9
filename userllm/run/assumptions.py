"""What is assumed of data that nobody has read yet, so that a study's cost can be told before it.

Counts are the paper's Table 1; tokens per event follow from its prompt lengths.
Source: User-LLM Tables 1 and 4, Figure 3; ``paper counts`` of a prepared corpus replace none of
these, since an estimate needs no data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

QUESTION_TOKENS = 24
"""The paper's prompt has 32 tokens; the answer and the start token are counted apart."""
SUMMARY_TOKENS = 224
"""The paper's prompt with a summary has 256 tokens, 32 of them the question's."""
SIMULATED_CATEGORIES = 8
"""Categories of simulated data that are written in a real dataset's format."""
PAPER_PROMPT = 32
"""Tokens that the paper's language model reads where an encoder reads the history."""
PAPER_TEXTS = {50: 700, 100: 1350, 200: 2500}
"""Events of a MovieLens history to the paper's tokens of a text prompt (Table 4)."""
PAPER_AMAZON = {"User-LLM": 32, "TP": 512, "TS": 256}
"""Method to the paper's prompt tokens on Amazon, 50 events (Figure 3)."""
CHOICES_PER_ANSWER = 0.3
"""Tokens per answer that softmax=siblings reads: those that a choice follows. Measured with
SmolLM2's tokenizer: 379 of 1,659 titles of MovieLens-100K, 3,478 of 9,461 of ml-latest-small."""
BYTES_PER_TOKEN = 4
"""Tokens of a byte tokenizer for one of a trained one."""


@dataclass(frozen=True)
class DataSize:
    """Size of a dataset after its filters, and how long its words are in tokens.

    Attributes:
        users: Users, each of whom is asked once in the test.
        items: Items.
        categories: Categories.
        ratings: Different ratings.
        events: Mean events of a user.
        event: Tokens of an event as text: title, categories, rating.
        title: Tokens of a title.
        category: Tokens of a category's name.
        review: Tokens of a review.
    """

    users: int
    items: int
    categories: int
    ratings: int
    events: float
    event: float
    title: float
    category: float
    review: float

    def in_bytes(self) -> "DataSize":
        """Return the same words in a byte tokenizer's tokens."""
        words = ("event", "title", "category", "review")
        return replace(self, **{word: BYTES_PER_TOKEN * getattr(self, word) for word in words})


MOVIELENS = DataSize(82_977, 27_280, 20, 10, 217.0, 14.0, 6.0, 2.0, 0.0)
DATA = {
    "movielens": MOVIELENS,
    "movielens_100k": DataSize(943, 1_682, 19, 5, 106.0, 14.0, 6.0, 2.0, 0.0),
    "google_local": DataSize(80_080, 270_721, 3_000, 5, 93.0, 7.0, 5.0, 3.0, 40.0),
    "amazon_reviews": DataSize(5_756, 177_978, 450, 5, 113.0, 10.0, 7.0, 3.0, 8.0),
}
"""Dataset option to size. Events of a user: its training windows and the 51 that come before."""


def paper_event_tokens(events: float) -> float:
    """Return tokens per event of the paper's text prompts, so that these come out of its lengths.

    Between and beyond the lengths of Table 4, what lies nearest is taken.
    """
    lengths = list(PAPER_TEXTS)
    each = [(tokens - PAPER_PROMPT) / length for length, tokens in PAPER_TEXTS.items()]
    return float(np.interp(events, lengths, each))


def data_size(option: str, config: Mapping[str, Any]) -> DataSize:
    """Return what is assumed of a dataset.

    A size below the paper's is for files no larger than simulated data of that size, such as
    generated ones.

    Args:
        option: The chosen dataset.
        config: The run's config.
    """
    size, node = config["size"], config["data"]
    known = DATA.get(option)
    if option == "movielens_100k" and known:
        return known
    simulated = {key: node.get(key, size[key]) for key in ("users", "items", "events_per_user")}
    users, items, events = simulated.values()
    if known is None:
        categories = node.get("categories", SIMULATED_CATEGORIES)
        return replace(MOVIELENS, users=users, items=items, categories=categories, events=events)
    return replace(
        known,
        users=min(known.users, users),
        items=min(known.items, items),
        categories=known.categories if users >= known.users else SIMULATED_CATEGORIES,
        events=min(known.events, float(events)),
    )
