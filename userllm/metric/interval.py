"""How far a mean over users may be from what other users would give.

Intervals are over users, for one trained model; they say nothing about other training seeds.
Shape suffixes: N users, V values of a user, D different ones, R resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from operator import truediv
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
"""Confidence of every interval."""
RESAMPLES = 2000
BATCH_VALUES = 4_000_000
MANY, REPEATED = 10_000, 10
"""Users, and users per different value, from which on resamples count values, not users."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean, where it lies with the given confidence, and by which method.

    Attributes:
        low: Not a number, as ``high``, where there are no values to tell it from.
        method: "wilson" for yes-or-no values and "bootstrap" otherwise over users; "t over seeds".
    """

    mean: float
    low: float
    high: float
    n: int
    method: str

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Both ends; None where they do not exist."""
        low, high = (end if isfinite(end) else None for end in (self.low, self.high))
        return low, high

    def as_dict(self) -> dict[str, Any]:
        """Return what ``result.json`` holds for a metric."""
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "interval": self.method,
        }


def interval(values_N: ArrayLike, *, seed: int = 0) -> Interval:
    """Return the mean over users with a Wilson or a percentile bootstrap interval.

    Wilson's keeps inside [0, 1] and is right for few users and for rates near 0, where recall@1
    lives; it applies when every value is 0 or 1.
    """
    values_N = np.asarray(values_N, dtype=np.float64)
    n = len(values_N)
    if not n:
        raise ValueError("no users to take a mean over")
    mean = float(values_N.mean())
    if np.isin(values_N, (0.0, 1.0)).all():
        test = stats.binomtest(int(values_N.sum()), n)
        bounds = test.proportion_ci(confidence_level=LEVEL, method="wilson")
        return Interval(mean, float(bounds.low), float(bounds.high), n, "wilson")
    low, high = _bootstrap_of_mean(values_N, seed)
    return Interval(mean, low, high, n, "bootstrap")


def paired_difference(first_N: ArrayLike, second_N: ArrayLike, *, seed: int = 0) -> Interval:
    """Return the mean of ``first - second`` over the same users.

    Much narrower than two separate intervals suggest when the methods err on the same users.
    """
    first_N, second_N = _same_users(first_N, second_N)
    difference_N = first_N - second_N
    low, high = _bootstrap_of_mean(difference_N, seed)
    return Interval(float(difference_N.mean()), low, high, len(difference_N), "bootstrap")


def paired_ratio(first_N: ArrayLike, second_N: ArrayLike, *, seed: int = 0) -> Interval | None:
    """Return how many times the mean of ``second`` that of ``first`` is, over the same users.

    None where the mean of ``second`` is 0, in all users or in so few that some resample has none.
    """
    first_N, second_N = _same_users(first_N, second_N)
    if len(first_N) == 1 or not second_N.mean():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = _bootstrap(truediv, seed, first_N, second_N)
    if not (isfinite(low) and isfinite(high)):
        return None
    ratio = float(first_N.mean() / second_N.mean())
    return Interval(ratio, low, high, len(first_N), "bootstrap")


def _same_users(first_N: ArrayLike, second_N: ArrayLike) -> tuple[Values, Values]:
    first_N, second_N = np.asarray(first_N, np.float64), np.asarray(second_N, np.float64)
    if first_N.shape != second_N.shape or not len(first_N):
        raise ValueError(f"need the same users twice, got {first_N.shape} and {second_N.shape}")
    return first_N, second_N


def _bootstrap_of_mean(values_N: Values, seed: int) -> tuple[float, float]:
    if len(values_N) == 1 or np.ptp(values_N) == 0:
        # Resampling equal values can only give them back.
        return float(values_N.min()), float(values_N.max())
    return _bootstrap(lambda mean: mean, seed, values_N)


def _bootstrap(of_means: Callable[..., Any], seed: int, *values_N: Values) -> tuple[float, float]:
    """Return the percentile bounds of a function of means; values of a user stay together."""
    n, rng = len(values_N[0]), np.random.default_rng(seed)
    if n >= MANY:
        # A resample of many users is how often it has each of their few different values.
        different_VD, counts_D = np.unique(np.stack(values_N), axis=1, return_counts=True)
        if REPEATED * len(counts_D) <= n:
            drawn_RD = rng.multinomial(n, counts_D / n, RESAMPLES)
            found_R = of_means(*(drawn_RD @ different_VD.T / n).T)
            low, high = np.quantile(found_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            return float(low), float(high)
    bounds = stats.bootstrap(
        values_N,
        lambda *values, axis: of_means(*(value.mean(axis) for value in values)),
        paired=len(values_N) > 1,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // n),
        confidence_level=LEVEL,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return float(bounds.low), float(bounds.high)
