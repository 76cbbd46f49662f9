"""Sliced views: bins from the users, the same for every method, and means that add up."""

import csv
import io

import numpy as np
import polars as pl
import pytest

from userllm.report import slice_table
from userllm.report.comparison import build_tables
from userllm.report.results import load
from userllm.report.slices import COLD_EVENTS, views


def names(table):
    return [view.name for view in views(table)]


def as_task(folder, task, **columns):
    """Rewrite a run as one of another task, with other facts."""
    result = folder / "result.json"
    result.write_text(result.read_text().replace('"favorite_category"', f'"{task}"'))
    file = folder / "per_user.parquet"
    frame = pl.read_parquet(file).with_columns(pl.lit(task).alias("task"))
    frame.with_columns(**columns).write_parquet(file)


def test_bins_hold_every_user_once(demo):
    for view in views(demo[0]):
        assert sum(one.users for one in view.bins) == 120
        for before, after in zip(view.bins, view.bins[1:], strict=False):
            assert before.high < after.low


def test_means_of_the_bins_add_up_to_the_mean_of_the_table(demo):
    for view in views(demo[0]):
        for row, cells in view.cells:
            total = sum(found.mean * found.n for found in cells)
            assert total / row.score.n == pytest.approx(row.score.mean)


def test_bins_do_not_depend_on_which_methods_are_compared(demo, fake_runs):
    fake_runs.finished("none")
    (alone,) = build_tables([load(folder) for folder in fake_runs.folders])
    assert [view.bins for view in views(alone)] == [view.bins for view in views(demo[0])]


def test_history_length_is_what_is_read_and_activity_all_there_is(demo):
    history, activity = views(demo[0])[:2]
    assert (history.name, activity.name) == ("history length", "user activity")
    # The runs read 50 events at most; users have up to 89.
    assert history.bins[-1].high == 50
    assert activity.bins[-1].high > 80


def test_histories_that_are_read_whole_are_shown_once(fake_runs):
    fake_runs.finished("none", config={"history": 500})
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    assert names(table) == ["history length", "cold users"]


def test_cold_users_are_those_with_few_events(demo):
    view = next(view for view in views(demo[0]) if view.name == "cold users")
    cold, warm = view.bins
    assert cold.high <= COLD_EVENTS < warm.low


def test_items_are_sliced_where_the_question_is_about_one(fake_runs):
    as_task(fake_runs.finished("none"), "next_item")
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    unseen = views(table)[-1]
    assert names(table)[-2:] == ["item popularity", "unseen items"]
    assert (unseen.bins[0].low, unseen.bins[0].high) == (0, 0)
    assert unseen.bins[1].low > 0


def test_users_who_were_never_trained_on_are_a_view_where_that_is_known(fake_runs):
    trained = pl.Series(np.tile(np.arange(120) % 3, 3))
    as_task(fake_runs.finished("none"), "next_item", training_events=trained)
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    view = next(view for view in views(table) if view.name == "users in training")
    assert [one.label for one in view.bins] == ["0", "1–2"]
    assert view.bins[0].users == 40


def test_results_without_facts_have_no_views(fake_runs):
    folder = fake_runs.finished("none")
    file = folder / "per_user.parquet"
    pl.read_parquet(file).drop("history_length", "target_events").write_parquet(file)
    tables = build_tables([load(folder)])
    assert views(tables[0]) == ()
    assert slice_table.csv(tables) == ""


def test_csv_has_a_line_for_every_cell(demo):
    lines = list(csv.DictReader(io.StringIO(slice_table.csv(demo))))
    expected = sum(len(view.bins) * len(demo[0].rows) for view in views(demo[0]))
    assert len(lines) == expected
    assert float(lines[0]["mean_low"]) <= float(lines[0]["mean"]) <= float(lines[0]["mean_high"])
