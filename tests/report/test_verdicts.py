"""Tests, their correction, and marks, against scipy on the same numbers."""

import numpy as np
import pytest
from scipy import stats

from userllm.report.comparison import build_tables
from userllm.report.notes import notes
from userllm.report.results import load


def table_of(fake_runs):
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    return table


def values(row):
    return row.users.sort("user")["accuracy"].to_numpy()


def test_p_values_are_those_of_scipy_times_holms_factors(demo):
    table = demo[0]
    baseline = next(row for row in table.models if row.method == "none")
    tested = [row for row in table.rows if row.test]
    assert len(tested) == len(table.rows) - 1
    raw = []
    for row in tested:
        difference = values(row) - values(baseline)
        if row.test.test == "exact McNemar":
            wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
            raw.append(stats.binomtest(wins, wins + losses).pvalue)
        else:
            raw.append(stats.ttest_rel(values(row), values(baseline)).pvalue)
    assert [row.test.p for row in tested] == pytest.approx(raw)
    smallest = int(np.argmin(raw))
    assert tested[smallest].test.adjusted == pytest.approx(min(1.0, len(raw) * raw[smallest]))


def test_the_correction_counts_every_comparison_of_the_table(fake_runs):
    fake_runs.finished("none", right=0.5)
    fake_runs.finished("hybrid", right=0.58)
    alone = next(row for row in table_of(fake_runs).models if row.test)
    for context in ("soft_prompt", "text_prompt", "cross_attention"):
        fake_runs.finished(context, right=0.5)
    among = next(row for row in table_of(fake_runs).models if row.method == "hybrid")
    assert alone.test.p == among.test.p
    assert alone.test.adjusted < among.test.adjusted


def test_not_distinguishable_from_the_best_is_the_corrected_test(demo):
    table = demo[0]
    best = table.models[0]
    for row in table.models[1:]:
        p = stats.ttest_rel(values(row), values(best)).pvalue
        # Corrected values are never smaller, so what is close without correction stays close.
        if p > 0.05:
            assert row.marks.get("accuracy") == "close"
        if row.marks.get("accuracy") is None:
            assert p < 0.05


def test_both_intervals_the_tests_and_the_correction_are_named(demo):
    said = " ".join(notes(demo[0]))
    for words in (
        "95 % interval over users",
        "95 % t interval over training seeds",
        "Holm",
        "paired t, two-sided",
        "corrected for 7 comparisons",
    ):
        assert words in said


def test_seeds_of_one_row_give_students_interval(fake_runs):
    for seed in (0, 1, 2):
        fake_runs.finished("none", seed=seed, right=0.4 + 0.05 * seed)
    (row,) = table_of(fake_runs).models
    means = [
        np.mean(result.users_of(result.outcomes[0])["accuracy"].to_numpy()) for result in row.runs
    ]
    expected = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    found = row.over_seeds("accuracy")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.n == len(row.seeds) == 3


def test_one_seed_and_floors_have_no_interval_over_seeds(demo):
    rows = {row.label: row for row in demo[0].rows}
    assert rows["soft_prompt"].over_seeds("accuracy") is None
    assert rows["majority"].over_seeds("accuracy") is None


def test_of_several_baselines_a_row_is_held_against_that_of_its_own_budget(fake_runs):
    for budget in ("1e13", "4e13"):
        for context, right in (("none", 0.5), ("hybrid", 0.6)):
            overrides = (f"training.flops={budget}",)
            config = {"training": {"flops": float(budget)}}
            fake_runs.finished(context, right=right, overrides=overrides, config=config)
    table = table_of(fake_runs)
    compared = {row.label: row.baseline for row in table.models if row.method == "hybrid"}
    assert compared == {f"hybrid (flops={b})": f"none (flops={b})" for b in ("1e+13", "4e+13")}
    assert any("the baseline row that each shares" in note for note in notes(table))
