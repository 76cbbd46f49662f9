"""The interval over seeds against scipy and statsmodels, and against its promise."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import weightstats

from userllm.metric.seeds import across_seeds

SEEDS = [0.412, 0.437, 0.398, 0.421, 0.430]


def test_it_is_students_interval():
    expected = stats.ttest_1samp(SEEDS, 0.0).confidence_interval(0.95)
    result = across_seeds(SEEDS)
    assert (result.n, result.method) == (5, "t over seeds")
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


def test_it_equals_statsmodels():
    result = across_seeds(SEEDS)
    expected = weightstats.DescrStatsW(SEEDS).tconfint_mean()
    assert (result.low, result.high) == pytest.approx(expected)


def test_one_seed_says_nothing_about_others():
    assert across_seeds([0.4]) is None


def test_seeds_that_agree_have_no_width():
    result = across_seeds([0.25, 0.25, 0.25])
    assert (result.low, result.mean, result.high) == (0.25, 0.25, 0.25)


def test_three_seeds_hold_the_true_mean_as_often_as_promised():
    draws = np.random.default_rng(0).normal(0.4, 0.02, size=(1000, 3))
    held = [one.low <= 0.4 <= one.high for one in map(across_seeds, draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 1000) ** 0.5)
