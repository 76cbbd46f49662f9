"""Training curves: read from what a run recorded, thinned, and never in the way of a page."""

import pytest

from userllm.report.comparison import build_tables
from userllm.report.curves import MOST_POINTS, chart, curve
from userllm.report.results import load


def record(folder, lines):
    (folder / "metrics.csv").write_text("\n".join(["step,metric,value", *lines]) + "\n")


def test_a_curve_is_the_recorded_loss(tmp_path):
    record(tmp_path, ["5,train/loss,2.5", "5,train/lr/lm,0.1", "10,train/loss,2.0"])
    assert curve(tmp_path) == [(5.0, 2.5), (10.0, 2.0)]


def test_steps_that_were_done_twice_count_once(tmp_path):
    record(tmp_path, ["5,train/loss,2.5", "10,train/loss,9.0", "10,train/loss,2.0"])
    assert curve(tmp_path) == [(5.0, 2.5), (10.0, 2.0)]


def test_long_curves_are_thinned_without_moving(tmp_path):
    steps = range(1, 10_001)
    record(tmp_path, [f"{step},train/loss,{1000 / step}" for step in steps])
    points = curve(tmp_path)
    assert len(points) <= MOST_POINTS
    assert points[0][1] > points[-1][1]
    assert 1 <= points[0][0] < points[-1][0] <= 10_000


@pytest.mark.parametrize("lines", [["5,train/loss,2.5", "10,tra"], ["not,a", "record"]])
def test_a_record_cut_short_gives_what_is_whole(tmp_path, lines):
    record(tmp_path, lines)
    assert curve(tmp_path) == ([(5.0, 2.5)] if lines[0].startswith("5") else [])


def test_rows_that_learned_nothing_are_left_out(fake_runs):
    fake_runs.finished("none")
    record(fake_runs.finished("hybrid"), ["5,train/loss,2.5", "10,train/loss,2.0"])
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    (values,) = chart(table).datasets.values()
    assert {value["row"] for value in values} == {"hybrid"}


def test_without_records_there_is_no_chart(demo):
    assert chart(demo[0]) is None
