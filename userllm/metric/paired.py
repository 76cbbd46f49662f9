"""Whether two methods differ beyond chance on the same users, and what many such tests allow.

Shape suffixes: N users, C comparisons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

ALPHA = 0.05
"""Chance of claiming any difference in a table where there is none."""
DECIMALS = 9
"""Smaller differences are those of floating point."""


@dataclass(frozen=True)
class PairedTest:
    """What a two-sided test of "no difference" says.

    Attributes:
        p: Chance of a difference at least this large if the methods were equally good.
        test: ``exact McNemar`` where all differences have one size, else ``paired t``.
        adjusted: ``p`` after `holm`, None before.
    """

    p: float
    test: str
    adjusted: float | None = None

    @property
    def differs(self) -> bool:
        """Whether the difference holds at `ALPHA`, corrected where a correction was made."""
        return (self.p if self.adjusted is None else self.adjusted) < ALPHA


def paired_test(first_N: ArrayLike, second_N: ArrayLike) -> PairedTest:
    """Test whether the mean of ``first - second`` over the same users is 0.

    Yes-or-no values differ by one size only; then the sign of each difference is a fair coin if
    the methods are equally good, which McNemar's test counts exactly. Other values take
    Student's paired t test.
    """
    difference_N = np.asarray(first_N, np.float64) - np.asarray(second_N, np.float64)
    # Means over three seeds differ in the last digit where they are a third apart.
    difference_N = difference_N.round(DECIMALS)
    sizes = np.unique(np.abs(difference_N[difference_N != 0]))
    if len(sizes) <= 1:
        return PairedTest(_mcnemar(difference_N), "exact McNemar")
    return PairedTest(float(stats.ttest_1samp(difference_N, 0.0).pvalue), "paired t")


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values that may each be held against alpha, however many comparisons there are.

    The k-th smallest is multiplied by the number of those not yet rejected, and none may be
    smaller than the one before it. No assumption about how the comparisons depend on each other.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    p_C = np.asarray(values, np.float64)
    order_C = np.argsort(p_C, kind="stable")
    factors_C = np.arange(len(p_C), 0, -1)
    adjusted_C = np.empty_like(p_C)
    adjusted_C[order_C] = np.minimum(np.maximum.accumulate(p_C[order_C] * factors_C), 1.0)
    return [float(value) for value in adjusted_C]


def _mcnemar(difference_N: np.ndarray[Any, Any]) -> float:
    """Return the two-sided p-value of a fair coin over the users on whom the methods differ."""
    wins, losses = int((difference_N > 0).sum()), int((difference_N < 0).sum())
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
