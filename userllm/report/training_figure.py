"""Accuracy against what training cost: a line per method, a point per budget."""

from collections.abc import Sequence
from itertools import pairwise

import altair as alt

from userllm.report import units
from userllm.report.comparison import Table
from userllm.report.figure import Axis, bounds, cost_axis, floors, score_axis, score_range
from userllm.report.panel import Panel, panel, unchecked
from userllm.report.rows import Row
from userllm.report.scales import Plane, log_domain
from userllm.report.series import MOST_ROWS, name_scale, row_legend
from userllm.report.settings import leaves
from userllm.report.style import PRINT, SHAPES, Theme

AXIS = Axis("training", "FLOPs of training", ("training_flops",), units.flops)
NEXT_BUDGET = 1.2
"""Budgets nearer than this are one budget, and rows that have it differ in something else."""


def budgets(table: Table) -> dict[str, list[Row]]:
    """Return the rows of each method that was trained with several budgets, cheapest first.

    A method whose rows differ in something else, such as how many events they read, makes no line
    and is left out. Methods stand as their best rows do.
    """
    found: dict[str, list[Row]] = {}
    for row in table.models:
        if AXIS.of(row) > 0:
            found.setdefault(row.method, []).append(row)
    lines = {method: sorted(rows, key=AXIS.of) for method, rows in found.items()}
    return {method: rows for method, rows in lines.items() if _is_line(rows)}


def _is_line(rows: Sequence[Row]) -> bool:
    costs = [AXIS.of(row) for row in rows]
    if len({_besides_training(row) for row in rows}) > 1:
        return False
    return len(rows) > 1 and all(more > NEXT_BUDGET * less for less, more in pairwise(costs))


def _besides_training(row: Row) -> frozenset[tuple[str, str]]:
    """Return all values of a row's run but those that say how long it trained."""
    values = leaves(row.runs[0].run["config"])
    return frozenset((key, value) for key, value in values if not key.startswith("training."))


@unchecked
def chart(
    table: Table, *, width: int = 520, height: int = 300, theme: Theme = PRINT, title: str = ""
) -> Panel | None:
    """Draw the primary metric against training FLOPs; None where no method has two budgets."""
    lines = dict(list(budgets(table).items())[:MOST_ROWS])
    if not lines:
        return None
    rows = [row for line in lines.values() for row in line]
    plane = Plane(width, height, log_domain([AXIS.of(row) for row in rows]), score_range(table))
    values = [
        {
            "method": row.method,
            "cost": AXIS.of(row),
            "score": row.score.mean,
            "low": bounds(row)[0],
            "high": bounds(row)[1],
        }
        for row in rows
    ]
    legend = row_legend(theme)
    colours, shapes = (name_scale(lines, of) for of in (theme.series, SHAPES))
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=cost_axis(AXIS, plane), color=alt.Color("method:N", scale=colours, legend=legend)
    )
    y = score_axis(table, plane)
    bar = base.mark_rule(strokeWidth=1.25, opacity=0.55)
    layers = [
        *floors(table, rows, AXIS, plane, theme),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        bar.encode(y=score_axis(table, plane, "low"), y2=alt.Y2("high:Q")),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            y=y, shape=alt.Shape("method:N", scale=shapes, legend=legend)
        ),
    ]
    return panel(layers, width=width, height=height, title=title)
