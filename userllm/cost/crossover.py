"""From where on one way of giving a user to a language model is cheaper than another.

Shape suffix: N values that are tried, ascending.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def crossover(at_N: Values, first_N: Values, second_N: Values) -> float | None:
    """Return below which value the first one costs less than the second.

    Between two values that were tried, costs are taken to be straight lines.

    Args:
        at_N: Values, such as lengths of histories.
        first_N: Cost of what grows faster.
        second_N: Cost of the other.

    Returns:
        The lowest value where the first never costs less, None where it always does.
    """
    saved_N = second_N - first_N
    (ends,) = np.nonzero(saved_N <= 0)
    if not len(ends):
        return None
    end = int(ends[0])
    if end == 0:
        return float(at_N[0])
    before, after = float(saved_N[end - 1]), float(saved_N[end])
    share = before / (before - after)
    return float(at_N[end - 1] + share * (at_N[end] - at_N[end - 1]))
