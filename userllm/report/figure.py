"""Accuracy against cost: points with intervals, floors, and the front that nobody beats.

One Vega-Lite specification gives the PNG for papers and the SVG inside the page.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from math import isnan
from typing import Any

import altair as alt
import vl_convert
from PIL import Image

from userllm.report import units
from userllm.report.comparison import Table
from userllm.report.labels import Box, Label, box_of, place
from userllm.report.panel import Panel, alone, below, panel, unchecked
from userllm.report.pareto import pareto_front
from userllm.report.rows import Row, lower_is_better
from userllm.report.scales import Plane, log_domain, log_ticks, padded
from userllm.report.series import row_scale
from userllm.report.style import PAGE, PRINT, SHAPES, Theme

VEGA_LITE = "6.4"
MOST_NAMES = 12
"""More names than these cover each other."""


@dataclass(frozen=True)
class Axis:
    """A cost that accuracy is drawn against."""

    name: str
    caption: str
    path: tuple[str, ...]
    write: Callable[[float], str]

    def of(self, row: Row) -> float:
        """Return a row's cost, 0 where there is none."""
        return float(row.cost_of(*self.path) or 0)


AXES = (
    Axis("tokens", "prompt tokens per user", ("prompt_tokens",), units.count),
    Axis("flops", "FLOPs per user", ("flops_per_user",), units.flops),
    Axis("latency", "median latency per user", ("latency_ms", "p50"), units.milliseconds),
)


@unchecked
def chart(
    table: Table,
    axis: Axis,
    *,
    width: int = 520,
    height: int = 320,
    theme: Theme = PRINT,
    title: str = "",
) -> Panel | None:
    """Draw one table's primary metric against one cost; None for fewer than two points.

    A cost of zero has no place on a logarithmic axis; such rows are named below it.
    """
    rows = [row for row in table.models if axis.of(row) > 0]
    free = [row.label for row in table.models if axis.of(row) == 0]
    if len(rows) < 2:
        return None
    plane = Plane(width, height, log_domain([axis.of(row) for row in rows]), score_range(table))
    x = cost_axis(axis, plane, free)
    layers = [
        *floors(table, rows, axis, plane, theme),
        *_stairs(rows, axis, plane, x, theme),
        *_points(table, rows, axis, plane, x, theme),
        *_names(table, rows, axis, plane, x, theme),
    ]
    return panel(layers, width=width, height=height, title=title)


def png(charts: Sequence[Panel]) -> bytes:
    """Return charts below each other as one picture on white, at twice the nominal size.

    It has 256 colours: a seventh of the bytes, and no difference that can be seen.
    """
    drawing = specification(charts)
    large = bytes(vl_convert.vegalite_to_png(drawing, vl_version=VEGA_LITE, scale=2))
    picture = Image.open(BytesIO(large)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(small := BytesIO(), "PNG", optimize=True)
    return small.getvalue()


def specification(charts: Sequence[Panel]) -> dict[str, Any]:
    """Return the Vega-Lite specification behind `png`, to be restyled for a paper."""
    return below(charts, PRINT)


def svg(drawing: Panel) -> str:
    """Return a chart as an SVG element for a page; it names no outside address."""
    text = str(vl_convert.vegalite_to_svg(alone(drawing, PAGE), vl_version=VEGA_LITE))
    start = text.index(' version="1.1"')  # what stands before are the XML namespaces
    return f"<svg{text[start:]}"


def score_range(table: Table) -> tuple[float, float]:
    """Return the range of the score axis: every interval and every floor fits."""
    ends = [end for row in table.rows for end in bounds(row)]
    return padded(min(ends), max(ends))


def bounds(row: Row) -> tuple[float, float]:
    """Return the interval, or the mean twice where there is none."""
    score = row.score
    return (score.mean, score.mean) if isnan(score.low) else (score.low, score.high)


def cost_axis(axis: Axis, plane: Plane, free: Sequence[str] = ()) -> alt.X:
    """Return the cost axis with ticks in human units, and below it what has no such cost."""
    caption = f"{axis.caption} (log scale)"
    names = {tick: re.sub(r"\.0+\b", "", axis.write(tick)) for tick in log_ticks(plane.costs)}
    choose = "".join(f"datum.value === {tick!r} ? '{name}' : " for tick, name in names.items())
    return alt.X(
        "cost:Q",
        title=[caption, f"none, so not drawn: {', '.join(free)}"] if free else caption,
        scale=alt.Scale(type="log", domain=list(plane.costs), nice=False),
        axis=alt.Axis(values=list(names), labelExpr=f"{choose}''", grid=False),
    )


def score_axis(table: Table, plane: Plane, field: str = "score") -> alt.Y:
    """Return the axis of the primary metric, for a mean or an end of its interval."""
    return alt.Y(
        f"{field}:Q",
        title=table.setting.primary,
        scale=alt.Scale(domain=list(plane.scores), nice=False, zero=False),
        axis=alt.Axis(tickCount=6, domain=False, ticks=False),
    )


def _data(rows: Sequence[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def floors(
    table: Table, rows: Sequence[Row], axis: Axis, plane: Plane, theme: Theme
) -> list[alt.Chart]:
    """Draw references as dashed lines: what is reached without a language model."""
    layers = []
    for row, label, edge in _floor_names(table, rows, axis, plane):
        data = _data([{"score": row.score.mean, "label": row.label}])
        base = alt.Chart(data).encode(y=score_axis(table, plane))
        rule = base.mark_rule(strokeDash=[4, 4], color=theme.muted, opacity=0.8)
        name = base.mark_text(
            align=label.align, baseline="middle", dx=label.dx, dy=label.dy, color=theme.muted
        )
        layers += [rule, name.encode(x=alt.value(edge), text=alt.Text("label:N"))]
    return layers


def _floor_names(
    table: Table, rows: Sequence[Row], axis: Axis, plane: Plane
) -> list[tuple[Row, Label, float]]:
    """Write each floor's name where least is below it: either end of its line, above or below."""
    heights = [plane.pixel(plane.costs[0], row.score.mean)[1] for row in table.references]
    lines = [Box.around((0, y), (plane.width, y)) for y in heights]
    taken = _bars(rows, axis, plane)
    names = []
    for number, (row, y) in enumerate(zip(table.references, heights, strict=True)):
        others = [*lines[:number], *lines[number + 1 :]]
        places = [
            place
            for dy in (-8, 8)
            for place in (
                (Label(row.label, 3, dy, "left"), 0.0),
                (Label(row.label, -3, dy, "right"), float(plane.width)),
            )
        ]
        label, edge = min(
            places, key=lambda at: box_of(at[0], at[1], y).overlaps([*taken, *others])
        )
        taken.append(box_of(label, edge, y))
        names.append((row, label, edge))
    return names


def _front(rows: Sequence[Row], axis: Axis) -> list[tuple[float, float]]:
    """Return cost and score of the rows that no other row beats in both, cheapest first."""
    points = [(axis.of(row), row.score.mean) for row in rows]
    lower = lower_is_better(rows[0].primary)
    return [points[index] for index in pareto_front(points, lower=lower)]


def _stairs(
    rows: Sequence[Row], axis: Axis, plane: Plane, x: alt.X, theme: Theme
) -> list[alt.Chart]:
    """Draw the front: the best score that each cost can buy."""
    data = _data([{"cost": cost, "score": score} for cost, score in _front(rows, axis)])
    line = alt.Chart(data).mark_line(
        interpolate="step-after", strokeWidth=1.25, color=theme.muted, opacity=0.7
    )
    y = alt.Y("score:Q", scale=alt.Scale(domain=list(plane.scores), nice=False, zero=False))
    return [line.encode(x=x, y=y)]


def _points(
    table: Table, rows: Sequence[Row], axis: Axis, plane: Plane, x: alt.X, theme: Theme
) -> list[alt.Chart]:
    """Draw a mark per row, with a colour and shape of its own, and its interval."""
    data = _data(
        [
            {
                "label": row.label,
                "cost": axis.of(row),
                "score": row.score.mean,
                "low": bounds(row)[0],
                "high": bounds(row)[1],
            }
            for row in rows
        ]
    )
    colours, shapes = (row_scale(table, rows, of) for of in (theme.series, SHAPES))
    base = alt.Chart(data).encode(x=x, color=alt.Color("label:N", scale=colours, legend=None))
    bar = base.mark_rule(strokeWidth=1.5, opacity=0.65)
    mark = base.mark_point(filled=True, size=75, opacity=1)
    shape = alt.Shape("label:N", scale=shapes, legend=None)
    return [
        bar.encode(y=score_axis(table, plane, "low"), y2=alt.Y2("high:Q")),
        mark.encode(y=score_axis(table, plane), shape=shape),
    ]


def _names(
    table: Table, rows: Sequence[Row], axis: Axis, plane: Plane, x: alt.X, theme: Theme
) -> list[alt.Chart]:
    """Write each row's label beside its point, a layer each because offsets are per mark.

    Where there are many rows, only those that no other beats have room for a name.
    """
    drawn = _obstacles(table, rows, axis, plane)
    if len(rows) > MOST_NAMES:
        front = _front(rows, axis)
        rows = [row for row in rows if (axis.of(row), row.score.mean) in front]
    points = [plane.pixel(axis.of(row), row.score.mean) for row in rows]
    frame = Box(0, 0, plane.width, plane.height)
    labels = place(points, [row.label for row in rows], drawn, frame)
    return [
        alt.Chart(_data([{"cost": axis.of(row), "score": row.score.mean, "label": label.text}]))
        .mark_text(align=label.align, baseline="middle", dx=label.dx, dy=label.dy, color=theme.ink)
        .encode(x=x, y=score_axis(table, plane), text=alt.Text("label:N"))
        for row, label in zip(rows, labels, strict=True)
    ]


def _obstacles(table: Table, rows: Sequence[Row], axis: Axis, plane: Plane) -> list[Box]:
    """Return what labels must not cover: intervals, the front's stairs, floors and their names."""
    boxes = _bars(rows, axis, plane)
    corners = [plane.pixel(*point) for point in _front(rows, axis)]
    for (x, y), (next_x, next_y) in pairwise(corners):
        boxes += [Box.around((x, y), (next_x, y)), Box.around((next_x, y), (next_x, next_y))]
    for row, label, edge in _floor_names(table, rows, axis, plane):
        y = plane.pixel(plane.costs[0], row.score.mean)[1]
        boxes += [box_of(label, edge, y), Box.around((0, y), (plane.width, y))]
    return boxes


def _bars(rows: Sequence[Row], axis: Axis, plane: Plane) -> list[Box]:
    """Return what the intervals cover."""
    return [
        Box.around(*(plane.pixel(axis.of(row), bound) for bound in bounds(row))) for row in rows
    ]
