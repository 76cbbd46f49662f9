"""Short reviews for simulated events: what is said follows the rating, the item and the user.

A review is four pieces: how this user begins, a judgement that goes with the rating, the item's
category, and how this user ends. Who has seen other reviews of a user and knows the rating and
the category can guess most of the words; which of two judgements it is, nobody can.

Shape suffixes: E events.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userllm.data.columns import TEXT
from userllm.data.hashing import uniform

Array = NDArray[Any]

# Not everybody writes every time.
SILENT_SHARE = 0.1
OPENINGS = ["", "", "Well, ", "Honestly, ", "For me: ", "In short: ", "I have to say, ", "Oh, "]
ENDINGS = [
    ".",
    "!",
    ". Ten out of ten people would say the same.",
    ". My family agrees.",
    ". Seen on a rainy Sunday.",
    ". I may write more later.",
    ", and that is all there is to say.",
    ", as so often.",
]
# Two judgements for every rating from 1 to 5.
JUDGEMENTS = [
    "a complete waste of time for any {} fan",
    "the worst {} in years",
    "a rather weak {}",
    "this {} never gets going",
    "just an average {}",
    "this {} has good and bad moments",
    "a really good {}",
    "this {} is one that I liked a lot",
    "a brilliant {}",
    "the best {} in years",
]


def reviews(
    seed: int, user_E: Array, item_E: Array, rating_E: Array, category_E: Array, names: list[str]
) -> pl.Series:
    """Return one text per event, null where the user wrote nothing.

    Args:
        seed: Seed of the simulation.
        user_E: Users' numbers.
        item_E: Items' numbers.
        rating_E: Ratings, 1 to 5.
        category_E: The item's main category, as an index into ``names``.
        names: What categories are called.
    """
    written = [text.format(name.lower()) for text in JUDGEMENTS for name in names]
    # Judgements vary by event; openings and endings are a habit of the user.
    taste_E = (uniform(seed, 20, user_E, item_E) < 1 / 2).astype(np.int64)
    judgement_E = (rating_E.astype(np.int64) - 1) * 2 + taste_E
    pieces = {
        "opening": pl.Series(OPENINGS).gather(_habit(seed, 21, user_E, len(OPENINGS))),
        "judgement": pl.Series(written).gather(judgement_E * len(names) + category_E),
        "ending": pl.Series(ENDINGS).gather(_habit(seed, 22, user_E, len(ENDINGS))),
        "silent": uniform(seed, 23, user_E, item_E) < SILENT_SHARE,
    }
    text = pl.concat_str("opening", "judgement", "ending")
    return (
        pl.DataFrame(pieces).select(pl.when(~pl.col("silent")).then(text).alias(TEXT)).to_series()
    )


def _habit(seed: int, purpose: int, user_E: Array, choices: int) -> Array:
    return (uniform(seed, purpose, user_E) * choices).astype(np.int64)
