"""Before and after tuning: what a table says about the language that is left."""

from typing import Any

import numpy as np

from userllm.metric.interval import Interval, interval, paired_difference
from userllm.retention.measure import LanguageScores


def retention(before: LanguageScores, after: LanguageScores) -> dict[str, Any]:
    """Return perplexity and accuracy before and after, and their paired change, with intervals.

    Perplexity is the exponential of the mean over passages of the mean surprise per token; its
    change is a ratio (1 is unchanged). Intervals are over passages and over questions.
    """
    surprises = interval(before.surprise_P), interval(after.surprise_P)
    surprise_change = paired_difference(after.surprise_P, before.surprise_P)
    answers = interval(before.right_Q), interval(after.right_Q)
    return {
        "perplexity": {
            "before": _exponential(surprises[0]),
            "after": _exponential(surprises[1]),
            "change": _exponential(surprise_change),
        },
        "accuracy": {
            "before": answers[0].as_dict(),
            "after": answers[1].as_dict(),
            "change": paired_difference(after.right_Q, before.right_Q).as_dict(),
        },
    }


def _exponential(logarithm: Interval) -> dict[str, Any]:
    bounds = {key: float(np.exp(getattr(logarithm, key))) for key in ("mean", "low", "high")}
    return {**logarithm.as_dict(), **bounds}
