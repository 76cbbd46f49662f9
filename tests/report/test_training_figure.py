"""A line per method through its budgets, and none where rows differ in something else."""

import altair as alt

from userllm.report import training_figure
from userllm.report.comparison import build_tables
from userllm.report.panel import alone
from userllm.report.results import load
from userllm.report.style import PRINT


def trained(fake_runs, context, budget, **changes):
    words = {"overrides": (f"training.flops={budget}",), **changes}
    config = {"training": {"flops": budget}, **words.pop("config", {})}
    fake_runs.finished(context, config=config, cost={"training_flops": budget}, **words)


def table_of(fake_runs):
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    return table


def points_of(drawn):
    rows = [row for data in drawn.datasets.values() for row in data if "method" in row]
    return [(row["method"], row["cost"]) for row in rows]


def test_a_line_goes_through_the_budgets_of_a_method(fake_runs):
    for budget in (4e13, 1e13):
        trained(fake_runs, "hybrid", budget)
        trained(fake_runs, "soft_prompt", budget)
    drawn = training_figure.chart(table_of(fake_runs))
    assert sorted(points_of(drawn)) == [
        (method, budget) for method in ("hybrid", "soft_prompt") for budget in (1e13, 4e13)
    ]
    alt.LayerChart.from_dict(alone(drawn, PRINT))


def test_a_method_with_one_budget_has_no_line(fake_runs):
    for budget in (1e13, 4e13):
        trained(fake_runs, "hybrid", budget)
    trained(fake_runs, "soft_prompt", 1e13)
    assert {method for method, _ in points_of(training_figure.chart(table_of(fake_runs)))} == {
        "hybrid"
    }


def test_rows_that_differ_in_something_else_make_no_line(fake_runs):
    for history in (10, 50):
        overrides = ("training.flops=1e13", f"history={history}")
        trained(fake_runs, "hybrid", 1e13, config={"history": history}, overrides=overrides)
    trained(fake_runs, "hybrid", 4e13)
    assert training_figure.chart(table_of(fake_runs)) is None


def test_what_was_not_trained_is_not_drawn(fake_runs):
    for budget in (0, 1e13):
        trained(fake_runs, "none", budget)
    assert training_figure.chart(table_of(fake_runs)) is None


def test_budgets_of_two_language_models_make_no_line(fake_runs):
    for budget, lm in ((1e13, "small"), (4e13, "large")):
        trained(fake_runs, "hybrid", budget, config={"lm": {"model": lm}})
    assert training_figure.budgets(table_of(fake_runs)) == {}
