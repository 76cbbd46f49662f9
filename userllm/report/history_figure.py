"""Accuracy against history length: a line per method, a point per quarter of the users."""

import altair as alt

from userllm.report.comparison import Table
from userllm.report.panel import Panel, panel, unchecked
from userllm.report.series import drawn_rows, number_of, row_legend, row_scale
from userllm.report.slices import View, views
from userllm.report.style import PRINT, SHAPES, Theme

NAMES = ("history length", "user activity")
"""Views whose bins are lengths: events that are read at most, or all that there are."""
WIDE_RANGE = 8
"""Lengths that differ by more than this factor are drawn on a logarithmic axis."""
APART = 6.0
"""Pixels between points of one bin, so that intervals do not cover each other."""


@unchecked
def chart(
    table: Table, *, width: int = 520, height: int = 300, theme: Theme = PRINT, title: str = ""
) -> Panel | None:
    """Draw the primary metric against history length; None where lengths are not known or equal."""
    lengths = [view for view in views(table) if view.name in NAMES]
    if not lengths or not table.models:
        return None
    # Short windows make all users alike; how much there was before still tells them apart.
    view = max(lengths, key=lambda view: len(view.bins))
    rows = drawn_rows(table)
    models = [(row, cells) for row, cells in view.cells if row in rows]
    values = [
        {
            "row": row.label,
            "bin": one.label,
            "middle": max(one.middle, 1.0),
            "mean": found.mean,
            "low": found.low,
            "high": found.high,
        }
        for row, cells in models
        for one, found in zip(view.bins, cells, strict=True)
        if found
    ]
    legend = row_legend(theme)
    colour = alt.Color("row:N", legend=legend, scale=row_scale(table, rows, theme.series))
    shape = alt.Shape("row:N", legend=legend, scale=row_scale(table, rows, SHAPES))
    y = {
        end: alt.Y(
            f"{end}:Q",
            title=table.setting.primary,
            scale=alt.Scale(zero=False),
            axis=alt.Axis(tickCount=6, domain=False, ticks=False),
        )
        for end in ("mean", "low")
    }
    base = alt.Chart(alt.InlineData(values=values)).encode(x=_lengths(view), color=colour)
    layers = []
    for row in rows:
        shift = APART * (number_of(table, row) - (len(rows) - 1) / 2)
        own = base.transform_filter(alt.datum.row == row.label)
        layers += [
            own.mark_line(strokeWidth=1.5, xOffset=shift).encode(y=y["mean"]),
            own.mark_rule(strokeWidth=1.25, opacity=0.55, xOffset=shift).encode(
                y=y["low"], y2=alt.Y2("high:Q")
            ),
            own.mark_point(filled=True, size=50, opacity=1, xOffset=shift).encode(
                y=y["mean"], shape=shape
            ),
        ]
    return panel(layers, width=width, height=height, title=title)


def _lengths(view: View) -> alt.X:
    """Return the axis of lengths, a tick per bin with the bin's range."""
    middles = [max(one.middle, 1.0) for one in view.bins]
    wide = max(middles) / min(middles) > WIDE_RANGE
    room = (max(middles) / min(middles)) ** 0.08 if wide else 0.08 * (max(middles) - min(middles))
    ends = (
        [min(middles) / room, max(middles) * room]
        if wide
        else [min(middles) - room, max(middles) + room]
    )
    named = zip(middles, view.bins, strict=True)
    choose = "".join(f"datum.value === {at!r} ? '{one.label}' : " for at, one in named)
    return alt.X(
        "middle:Q",
        title=view.unit,
        scale=alt.Scale(type="log" if wide else "linear", domain=ends, nice=False, zero=False),
        axis=alt.Axis(values=middles, labelExpr=f"{choose}''", grid=False, labelOverlap=True),
    )
