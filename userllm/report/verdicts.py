"""Who differs from the baseline, and who cannot be told from the best: tests, corrected."""

from collections.abc import Sequence
from dataclasses import replace

from userllm.metric.interval import paired_ratio
from userllm.metric.paired import PairedTest, holm, paired_test
from userllm.report.rows import Row, lower_is_better, paired, same_users
from userllm.report.settings import leaves


def compared_with(baselines: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Add how each row compares with its baseline on the same users: difference, ratio, test.

    The tests are corrected over all rows.

    Args:
        baselines: The baseline's row, or all of its method; of several, the one that shares the
            most choices with a row is its own, then the one that shares the most values, such as
            the budget.
        rows: Every row of the table, models and references.
    """
    nearest = {row: _nearest(row, baselines) for row in rows}
    tests = tested([(row, other) for row, other in nearest.items() if other])
    return [_against(own, row, tests.get(row)) if (own := nearest[row]) else row for row in rows]


def marked(models: Sequence[Row]) -> list[Row]:
    """Mark the best model of each metric, and who cannot be told from it on the primary one.

    Where all models are equal none is marked.
    """
    marks: dict[Row, dict[str, str]] = {row: {} for row in models}
    for metric in dict.fromkeys(name for row in models for name in row.metrics):
        having = [row for row in models if metric in row.metrics]
        means = {row: row.metrics[metric].mean for row in having}
        best = min(means.values()) if lower_is_better(metric) else max(means.values())
        if len(set(means.values())) > 1:
            marks |= {row: {**marks[row], metric: "best"} for row in having if means[row] == best}
    leaders = [row for row in models if row.primary in marks[row]]
    if leaders:
        rivals = [(row, leaders[0]) for row in models if row not in leaders]
        for row, test in tested(rivals).items():
            if not test.differs:
                marks[row][row.primary] = "close"
    return [replace(row, marks=marks[row]) for row in models]


def _against(baseline: Row, row: Row, test: PairedTest | None) -> Row:
    """Add what the users that both answered say about a row and its baseline, if there are any."""
    both = same_users(row, baseline, row.primary)
    return replace(
        row,
        baseline=baseline.label,
        delta=paired(row, baseline, row.primary),
        ratio=both and paired_ratio(*both),
        test=test,
    )


def _nearest(row: Row, baselines: Sequence[Row]) -> Row | None:
    if not baselines or row in baselines:
        return None
    run = row.runs[0].run
    choices, values = run["choices"].items(), set(leaves(run["config"]))

    def shared(other: Row) -> tuple[int, int]:
        that = other.runs[0].run
        return len(choices & that["choices"].items()), len(values & set(leaves(that["config"])))

    return max(baselines, key=shared)


def tested(pairs: Sequence[tuple[Row, Row]]) -> dict[Row, PairedTest]:
    """Test the primary metric of each pair; all of them together are corrected by Holm's method.

    Rows without per-user values in common are left out.
    """
    tests = {
        row: paired_test(*both)
        for row, other in pairs
        if (both := same_users(row, other, row.primary))
    }
    adjusted = holm([test.p for test in tests.values()])
    return {
        row: replace(test, adjusted=value)
        for (row, test), value in zip(tests.items(), adjusted, strict=True)
    }
