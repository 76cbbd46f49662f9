"""One figure over tables whose questions differ in how many events they are about."""

import altair as alt

from userllm.report import figure, window_figure
from userllm.report.comparison import build_tables
from userllm.report.results import load


def asked(fake_runs, context, history, **changes):
    fake_runs.finished(
        context,
        config={"history": history},
        overrides=(f"history={history}",),
        protocol=f"label from the last {history} events",
        **changes,
    )


def drawn(fake_runs):
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    return window_figure.charts(tables)


def points_of(one):
    rows = [row for data in one.datasets.values() for row in data]
    return sorted({(row["method"], row["events"]) for row in rows})


def test_windows_with_tables_of_their_own_share_a_line(fake_runs):
    for history in (50, 10):
        asked(fake_runs, "hybrid", history)
        asked(fake_runs, "soft_prompt", history)
    scores, costs = drawn(fake_runs)
    models = [(method, events) for method in ("hybrid", "soft_prompt") for events in (10, 50)]
    floors = [(name, events) for name in ("count_history", "majority") for events in (10, 50)]
    assert points_of(scores) == sorted(models + floors)
    assert points_of(costs) == models
    assert scores.body["title"] == "favorite_category on movielens_100k"
    alt.VConcatChart.from_dict(figure.specification([scores, costs]))


def test_another_question_has_a_figure_of_its_own(fake_runs):
    for history in (10, 50):
        asked(fake_runs, "hybrid", history)
        asked(fake_runs, "hybrid", history, metric="recall@10", copy="other")
    assert len(drawn(fake_runs)) == 4


def test_one_window_is_no_line(fake_runs):
    asked(fake_runs, "hybrid", 10)
    asked(fake_runs, "soft_prompt", 50)
    assert drawn(fake_runs) == []


def test_two_rows_of_one_window_are_no_line(fake_runs):
    for history in (10, 50):
        asked(fake_runs, "hybrid", history)
    fake_runs.finished(
        "hybrid",
        config={"history": 50, "depth": 2},
        overrides=("depth=2",),
        protocol="label from the last 50 events",
    )
    assert drawn(fake_runs) == []


def test_data_whose_names_differ_in_digits_have_figures_of_their_own(fake_runs):
    for data, mark in (("music_2014", "a"), ("music_2018", "b")):
        for history in (10, 50):
            asked(fake_runs, "hybrid", history, data=data, fingerprint=mark * 64)
    titles = [one.body["title"] for one in drawn(fake_runs) if "title" in one.body]
    assert {"favorite_category on music_2014", "favorite_category on music_2018"} <= set(titles)
