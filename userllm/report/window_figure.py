"""Accuracy and cost against how many events may be read: a line per method, over all tables.

What the last 10 events tell is another question than what the last 50 tell, so each window has a
table of its own, and only a figure shows them beside each other.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import altair as alt

from userllm.report import units
from userllm.report.comparison import Setting, Table
from userllm.report.figure import bounds
from userllm.report.notes import heading
from userllm.report.panel import Panel, panel, unchecked
from userllm.report.rows import Row
from userllm.report.scales import log_domain, log_ticks
from userllm.report.series import name_scale, row_legend
from userllm.report.style import PRINT, SHAPES, Theme

SIZE = {"width": 520, "height": 280}


class Point(NamedTuple):
    """A row and how many events it may read."""

    events: int
    row: Row


def charts(tables: Sequence[Table], *, theme: Theme = PRINT) -> list[Panel]:
    """Draw the primary metric and FLOPs of each question that was asked with several windows."""
    drawn = []
    for question in _questions(tables):
        lines = _lines(row for table in question for row in table.models)
        if lines:
            floors = _lines(row for table in question for row in table.references)
            drawn.append(_scores(question, lines, floors, theme))
            drawn += _costs(lines, theme)
    return drawn


def _questions(tables: Sequence[Table]) -> list[list[Table]]:
    """Return the tables that differ in nothing but the number of events that are asked about."""
    alike: dict[Setting, list[Table]] = {}
    for table in tables:
        protocol = re.sub(r"last \d+ events", "last events", table.setting.protocol)
        alike.setdefault(table.setting._replace(protocol=protocol), []).append(table)
    return list(alike.values())


def _lines(rows: Iterable[Row]) -> dict[str, list[Point]]:
    """Return the points of each method with several windows, one row for each; shortest first."""
    found: dict[str, list[Point]] = {}
    for row in rows:
        if row.window is not None:
            found.setdefault(row.method, []).append(Point(row.window, row))
    return {
        method: sorted(points, key=lambda point: point.events)
        for method, points in sorted(found.items())
        if 1 < len(points) == len({point.events for point in points})
    }


@unchecked
def _scores(
    question: list[Table],
    lines: dict[str, list[Point]],
    floors: dict[str, list[Point]],
    theme: Theme,
) -> Panel:
    y = alt.Y(
        "score:Q",
        title=question[0].setting.primary,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=6, domain=False, ticks=False),
    )
    base = _base(lines, theme)
    bar = base.mark_rule(strokeWidth=1.25, opacity=0.55)
    layers = [*_drawn(base, y, theme, lines), bar.encode(y="low:Q", y2=alt.Y2("high:Q"))]
    for method, points in floors.items():
        below = alt.Chart(alt.InlineData(values=_values({method: points}))).encode(
            x=_events(lines), y=y
        )
        last = below.transform_filter(alt.datum.events == points[-1].events)
        layers += [
            below.mark_line(strokeDash=[4, 4], color=theme.muted, opacity=0.8),
            last.mark_text(align="right", dy=-8, color=theme.muted).encode(text="method:N"),
        ]
    return panel(layers, title=_title(question), **SIZE)


def _title(question: list[Table]) -> str:
    """Return the heading of the tables, without what is said of one window only."""
    first = question[0]
    shared = tuple(word for word in first.own if all(word in table.own for table in question))
    return heading(replace(first, own=shared))


@unchecked
def _costs(lines: dict[str, list[Point]], theme: Theme) -> list[Panel]:
    costs = [cost for points in lines.values() for point in points if (cost := _flops(point.row))]
    if not costs:
        return []
    domain = log_domain(costs)
    names = {tick: units.flops(tick) for tick in log_ticks(domain)}
    choose = "".join(f"datum.value === {tick!r} ? '{name}' : " for tick, name in names.items())
    y = alt.Y(
        "flops:Q",
        title="FLOPs per user (log scale)",
        scale=alt.Scale(type="log", domain=list(domain), nice=False),
        axis=alt.Axis(values=list(names), labelExpr=f"{choose}''", domain=False, ticks=False),
    )
    return [panel(_drawn(_base(lines, theme), y, theme, lines), title="", **SIZE)]


def _drawn(
    base: alt.Chart, y: alt.Y, theme: Theme, lines: dict[str, list[Point]]
) -> list[alt.Chart]:
    shape = alt.Shape("method:N", scale=name_scale(lines, SHAPES), legend=row_legend(theme))
    mark = base.mark_point(filled=True, size=60, opacity=1)
    return [base.mark_line(strokeWidth=1.5).encode(y=y), mark.encode(y=y, shape=shape)]


def _base(lines: dict[str, list[Point]], theme: Theme) -> alt.Chart:
    colour = alt.Color("method:N", scale=name_scale(lines, theme.series), legend=row_legend(theme))
    return alt.Chart(alt.InlineData(values=_values(lines))).encode(x=_events(lines), color=colour)


def _values(lines: dict[str, list[Point]]) -> list[dict[str, object]]:
    return [
        {
            "method": method,
            "events": events,
            "score": row.score.mean,
            "low": bounds(row)[0],
            "high": bounds(row)[1],
            "flops": _flops(row),
        }
        for method, points in lines.items()
        for events, row in points
    ]


def _events(lines: dict[str, list[Point]]) -> alt.X:
    events = sorted({point.events for points in lines.values() for point in points})
    return alt.X(
        "events:Q",
        title="events that may be read (log scale)",
        scale=alt.Scale(type="log", domain=list(log_domain(events)), nice=False),
        axis=alt.Axis(values=events, format="d", grid=False),
    )


def _flops(row: Row) -> float | None:
    return row.cost_of("flops_per_user") or None
