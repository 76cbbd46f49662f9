"""Intervals against textbook values and against their own promise."""

import numpy as np
import pytest
from scipy import stats

from userllm.metric.interval import interval, paired_difference, paired_ratio


def test_wilson_interval_equals_the_textbook_formula():
    values = np.repeat([1.0, 0.0], [7, 93])
    n, p, z = 100, 0.07, stats.norm.ppf(0.975)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    result = interval(values)
    assert (result.mean, result.n, result.method) == (0.07, 100, "wilson")
    assert (result.low, result.high) == pytest.approx((centre - half, centre + half))


def test_no_hits_at_all_still_leave_room_above_zero():
    result = interval(np.zeros(50))
    assert result.low == 0.0
    assert 0.05 < result.high < 0.1


def test_bootstrap_is_close_to_the_normal_interval_for_many_users():
    values = np.random.default_rng(0).random(2000)
    result = interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert result.method == "bootstrap"
    assert result.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert result.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_of_many_users_with_few_different_values_the_interval_is_the_normal_one():
    rng = np.random.default_rng(3)
    second = rng.integers(1, 4, 40_000) / 3
    first = second * rng.integers(1, 3, 40_000)
    ratio = first.mean() / second.mean()
    of_ratio = (first - ratio * second).std() / second.mean()
    cases = [
        (interval(second), second.mean(), second.std()),
        (paired_difference(first, second), (first - second).mean(), (first - second).std()),
        (paired_ratio(first, second), ratio, of_ratio),
    ]
    for result, mean, deviation in cases:
        half = 1.96 * deviation / 200
        assert result.mean == pytest.approx(mean)
        assert (result.low, result.high) == pytest.approx((mean - half, mean + half), abs=half / 10)


def test_bootstrap_is_the_same_every_time():
    values = np.random.default_rng(1).random(100)
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values)


def test_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(2)
    easy = rng.random(300)
    first, second = easy + 0.02 + 0.01 * rng.normal(size=300), easy
    result = paired_difference(first, second)
    assert 0.0 < result.low < 0.02 < result.high
    alone = interval(first)
    assert result.high - result.low < 0.1 * (alone.high - alone.low)


def test_equal_methods_differ_by_nothing():
    result = paired_difference([0.5, 1.0], [0.5, 1.0])
    assert (result.mean, result.low, result.high) == (0.0, 0.0, 0.0)


def test_a_ratio_is_of_means_over_the_same_users():
    rng = np.random.default_rng(3)
    second = rng.random(400)
    first = 1.5 * second + 0.05 * rng.normal(size=400)
    result = paired_ratio(first, second)
    assert result.mean == pytest.approx(first.mean() / second.mean())
    # The delta method, which knows nothing of resampling.
    error = (first - result.mean * second).std() / second.mean() / np.sqrt(400)
    assert result.low == pytest.approx(result.mean - 1.96 * error, abs=0.2 * error)
    assert result.high == pytest.approx(result.mean + 1.96 * error, abs=0.2 * error)


@pytest.mark.parametrize("second", [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
def test_there_is_no_ratio_to_nothing(second):
    assert paired_ratio([1.0, 1.0, 1.0], second) is None


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [1.0, 2.0])])
def test_different_users_cannot_be_paired(first, second):
    with pytest.raises(ValueError, match="need the same users twice"):
        paired_difference(first, second)
