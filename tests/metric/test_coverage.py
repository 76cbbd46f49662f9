"""How often 95 % intervals hold the truth, by simulation: 300 data sets each, seeded.

Bounds are three standard errors of the simulation.
"""

import numpy as np
import pytest

from userllm.metric.interval import interval, paired_difference

SIMULATIONS = 300
NOISE = 3 * (0.95 * 0.05 / SIMULATIONS) ** 0.5
USERS = 200


def graded(rng, users):
    """Values as nDCG@10 gives them: mostly 0, else 1 / log2(1 + rank)."""
    rank = rng.integers(1, 30, size=users)
    return np.where(rank <= 10, 1 / np.log2(1.0 + rank), 0.0)


TRUTH = float(np.mean([1 / np.log2(1.0 + rank) if rank <= 10 else 0.0 for rank in range(1, 30)]))


def share(held):
    return sum(held) / SIMULATIONS


def test_the_bootstrap_of_a_graded_metric_covers():
    rng = np.random.default_rng(0)
    found = [interval(graded(rng, USERS)) for _ in range(SIMULATIONS)]
    assert {one.method for one in found} == {"bootstrap"}
    assert share(one.low <= TRUTH <= one.high for one in found) == pytest.approx(0.95, abs=NOISE)


def test_the_bootstrap_of_a_paired_difference_covers():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(SIMULATIONS):
        easy = rng.random(USERS)
        first, second = (easy > rng.random(USERS) * 0.9).astype(float), easy**2
        found = paired_difference(first, second)
        # E[first] = P(u > 0.9 v) = 1 - 0.45; E[second] = 1 / 3.
        held.append(found.low <= 0.55 - 1 / 3 <= found.high)
    assert share(held) == pytest.approx(0.95, abs=NOISE)


@pytest.mark.parametrize("chance", [0.03, 0.3])
def test_wilsons_interval_of_a_rate_covers(chance):
    rng = np.random.default_rng(2)
    found = [interval((rng.random(USERS) < chance).astype(float)) for _ in range(SIMULATIONS)]
    assert share(one.low <= chance <= one.high for one in found) == pytest.approx(0.95, abs=NOISE)
