"""Paired tests and Holm's correction against other people's code and against their promise."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import contingency_tables, multitest

from userllm.metric.paired import ALPHA, holm, paired_test


def right_or_wrong(rng, users, chances):
    easy = rng.random(users)
    return [(0.6 * easy + 0.4 * rng.random(users) < chance).astype(float) for chance in chances]


def test_mcnemar_is_the_binomial_sum():
    first = np.repeat([1.0, 1.0, 0.0, 0.0], [40, 12, 3, 45])
    second = np.repeat([1.0, 0.0, 1.0, 0.0], [40, 12, 3, 45])
    tail = sum(comb(15, k) for k in range(4)) / 2**15
    result = paired_test(first, second)
    assert (result.test, result.p) == ("exact McNemar", pytest.approx(2 * tail))


def test_mcnemar_equals_statsmodels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = right_or_wrong(rng, 150, (0.5, 0.58))
        counts = [[np.sum((first == a) & (second == b)) for b in (1, 0)] for a in (1, 0)]
        assert paired_test(first, second).p == pytest.approx(
            contingency_tables.mcnemar(counts).pvalue
        )


def test_mcnemar_is_the_permutation_test_of_the_signs():
    rng = np.random.default_rng(1)
    first, second = right_or_wrong(rng, 14, (0.4, 0.6))
    exact = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert paired_test(first, second).p == pytest.approx(exact.pvalue)


def test_graded_values_take_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(2)
    first, second = rng.random(200), rng.random(200)
    result = paired_test(first, second)
    assert result.test == "paired t"
    assert result.p == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_paired_t_is_close_to_a_permutation_test_that_assumes_nothing():
    rng = np.random.default_rng(3)
    first = np.where(rng.random(300) < 0.3, rng.random(300), 0.0)
    second = np.where(rng.random(300) < 0.5, first, np.where(rng.random(300) < 0.2, 0.6, 0.0))
    free = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=4000,
        rng=np.random.default_rng(0),
    )
    assert paired_test(first, second).p == pytest.approx(free.pvalue, abs=0.03)


def test_equal_methods_cannot_be_told_apart():
    assert paired_test([0.2, 1.0, 0.0], [0.2, 1.0, 0.0]).p == 1.0


def test_one_size_of_difference_does_not_divide_by_zero():
    assert paired_test(np.full(8, 0.75), np.full(8, 0.5)).p == pytest.approx(2 / 2**8)


def test_holm_gives_the_textbook_numbers():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_equals_statsmodels():
    rng = np.random.default_rng(4)
    for count in (1, 2, 7, 40):
        values = rng.random(count) ** 3
        expected = multitest.multipletests(values, method="holm")[1]
        assert holm(list(values)) == pytest.approx(list(expected))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_stays_between_the_raw_value_and_bonferroni(values):
    adjusted = holm(values)
    for raw, value in zip(values, adjusted, strict=True):
        assert raw <= value <= min(1.0, raw * len(values)) + 1e-12
    by_raw = [value for _, value in sorted(zip(values, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []


def test_a_table_of_equal_methods_claims_a_difference_at_most_one_time_in_twenty():
    rng = np.random.default_rng(5)
    tables, claimed = 400, 0
    for _ in range(tables):
        baseline, *others = right_or_wrong(rng, 120, (0.5,) * 6)
        adjusted = holm([paired_test(other, baseline).p for other in others])
        claimed += min(adjusted) < ALPHA
    noise = (ALPHA * (1 - ALPHA) / tables) ** 0.5
    assert claimed / tables <= ALPHA + 3 * noise


def test_a_third_is_a_third_on_both_sides_of_zero():
    first = np.repeat([2 / 3, 1.0, 1.0], [2, 2, 300])
    second = np.repeat([1 / 3, 2 / 3, 1.0], [2, 2, 300])
    result = paired_test(first, second)
    assert (result.test, result.p) == ("exact McNemar", pytest.approx(2 / 2**4))
