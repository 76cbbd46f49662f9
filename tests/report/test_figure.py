import json
import math
from dataclasses import replace

import altair as alt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userllm.report import figure, history_figure
from userllm.report.comparison import build_tables
from userllm.report.labels import Box, box_of, place
from userllm.report.panel import alone
from userllm.report.pareto import pareto_front
from userllm.report.results import load
from userllm.report.scales import log_domain, log_ticks
from userllm.report.style import PRINT

TOKENS, FLOPS, LATENCY = figure.AXES
POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12)


@pytest.fixture
def table(demo):
    return demo[0]


def test_the_front_holds_what_is_cheaper_or_better_than_everything_else():
    points = [(3, 0.5), (1, 0.2), (2, 0.6), (4, 0.6), (5, 0.9)]
    assert pareto_front(points) == [1, 2, 4]


def test_the_front_of_a_loss_prefers_low_values():
    assert pareto_front([(1, 0.9), (2, 0.5), (3, 0.7)], lower=True) == [0, 1]


def test_equal_points_share_the_front():
    assert pareto_front([(1, 0.5), (1, 0.5)]) == [0, 1]


@given(POINTS)
def test_every_point_off_the_front_is_beaten_by_one_on_it(points):
    front = pareto_front(points)
    for index, (cost, score) in enumerate(points):
        beaten = any(
            points[f][0] <= cost and points[f][1] >= score and points[f] != (cost, score)
            for f in front
        )
        assert beaten != (index in front)


@given(st.lists(st.floats(1e-2, 1e18), min_size=1, max_size=8))
def test_a_log_axis_holds_all_values_and_enough_ticks(values):
    low, high = log_domain(values)
    assert low < min(values)
    assert max(values) < high
    ticks = log_ticks((low, high))
    assert len(ticks) >= 2
    assert all(low <= tick <= high for tick in ticks)


def test_labels_do_not_cover_each_other_or_leave_the_frame():
    points = [(50.0, 50.0), (52.0, 52.0), (390.0, 60.0)]
    frame = Box(0, 0, 400, 200)
    labels = place(points, ["first", "second", "at the edge"], [], frame)
    boxes = [box_of(label, *point) for label, point in zip(labels, points, strict=True)]
    assert boxes[0].overlap(boxes[1]) == 0
    assert all(box.overlap(frame) == pytest.approx(box.area) for box in boxes)


def test_a_label_rather_covers_a_little_than_stand_beside_another_point():
    points = [(300.0, 100.0), (300.0, 112.0)]
    free_below = [Box(270, 60, 273, 107), Box(305, 0, 520, 200), Box(298, 0, 302, 200)]
    label = place(points, ["upper", "lower"], free_below, Box(0, 0, 520, 200))[0]
    end = 300 + label.dx, 100 + label.dy
    assert math.dist(end, points[0]) < math.dist(end, points[1])


def test_in_a_crowd_names_are_nearest_to_their_own_points_and_cover_no_other():
    points = [(437.8, 278.4), (469.7, 286.4), (437.3, 288.7), (427.6, 292.6)]
    names = ["hybrid_top5", "tp50_lora", "tp10_lora", "soft_prompt_frozen"]
    labels = place(points, names, [], Box(0, 0, 520, 320))
    boxes = [box_of(label, *point) for label, point in zip(labels, points, strict=True)]
    for number, (box, point) in enumerate(zip(boxes, points, strict=True)):
        assert not box.overlaps(boxes[:number])
        assert box.distance(point) == min(box.distance(other) for other in points)


def test_names_of_floors_of_one_height_do_not_cover_each_other(table):
    table = replace(table, references=[table.references[0]] * 2)
    (layers,) = found(figure.specification([figure.chart(table, FLOPS)]), "layer")
    floors = [at for at, layer in enumerate(layers) if layer["mark"].get("strokeDash")]
    names = [layers[at + 1]["mark"] for at in floors]
    assert len({(name["align"], name["dy"]) for name in names}) == 2


def found(node, key):
    """Return every value of a key in a specification."""
    if isinstance(node, dict):
        here = [node[key]] if key in node else []
        return [*here, *(hit for value in node.values() for hit in found(value, key))]
    return [hit for value in node for hit in found(value, key)] if isinstance(node, list) else []


def test_rows_without_a_cost_are_named_below_the_axis(fake_runs):
    fake_runs.finished("none", cost={"flops_per_user": 0})
    fake_runs.finished("hybrid")
    fake_runs.finished("soft_prompt")
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    chart = figure.chart(table, FLOPS)
    drawn = json.dumps(chart.datasets)
    assert '"hybrid"' in drawn
    assert '"label": "none"' not in drawn
    titles = found(figure.specification([chart]), "title")
    assert ["FLOPs per user (log scale)", "none, so not drawn: none"] in titles


@pytest.mark.parametrize("count", [figure.MOST_NAMES, figure.MOST_NAMES + 1])
def test_of_many_rows_only_the_front_has_names(fake_runs, count):
    for number in range(count):
        # All cost the same, so that the best one alone is the front.
        fake_runs.finished(
            "hybrid",
            config={"history": number},
            overrides=(f"history={number}",),
            right=0.3 if number else 1.0,
            cost={"flops_per_user": 1e9},
        )
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    drawn = figure.specification([figure.chart(table, FLOPS)])
    names = json.dumps(drawn).count('"type": "text"') - len(table.references)
    assert names == (count if count <= figure.MOST_NAMES else 1)


def test_one_point_is_no_figure(fake_runs):
    fake_runs.finished("none")
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    assert figure.chart(table, FLOPS) is None


def test_a_figure_is_the_same_every_time(table):
    assert figure.png([figure.chart(table, FLOPS)]) == figure.png([figure.chart(table, FLOPS)])


def test_a_png_is_a_png_and_its_specification_json(table):
    charts = [figure.chart(table, axis) for axis in figure.AXES]
    assert figure.png(charts).startswith(b"\x89PNG")
    assert json.loads(json.dumps(figure.specification(charts)))["vconcat"]


def test_specifications_are_vega_lite(table):
    charts = [figure.chart(table, axis) for axis in figure.AXES]
    for drawn in (figure.specification(charts), figure.specification(charts[:1])):
        alt.VConcatChart.from_dict(drawn)
    alt.LayerChart.from_dict(alone(history_figure.chart(table), PRINT))


def test_the_svg_names_no_outside_address(table):
    drawn = figure.svg(figure.chart(table, LATENCY))
    assert drawn.startswith("<svg ")
    assert "http" not in drawn
    assert "cross_attention" in drawn
