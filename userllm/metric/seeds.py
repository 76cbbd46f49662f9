"""How far a mean over training seeds may be from what other seeds would give.

Shape suffix: S seeds.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from userllm.metric.interval import LEVEL, Interval

FEWEST_SEEDS = 2


def across_seeds(means_S: Sequence[float]) -> Interval | None:
    """Return Student's t interval of the mean over seeds; None for a single seed.

    Each seed's mean counts as one observation. Few seeds give a wide interval: with two the
    factor on the standard error is 12.7, with three 4.3, with ten 2.3.
    """
    n = len(means_S)
    if n < FEWEST_SEEDS:
        return None
    mean = float(np.mean(means_S))
    error = float(np.std(means_S, ddof=1)) / n**0.5
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half, n, "t over seeds")
