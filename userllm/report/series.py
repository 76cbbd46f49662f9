"""One colour and one shape per row, the same in every figure and beside the table's rows."""

from collections.abc import Sequence

import altair as alt

from userllm.report.comparison import Table
from userllm.report.rows import Row
from userllm.report.style import PALETTE, Theme

MOST_ROWS = len(PALETTE)
"""A figure of more lines than colours cannot be read, so it draws the best rows only."""


def drawn_rows(table: Table) -> list[Row]:
    """Return the rows that a figure of lines shows."""
    return table.models[:MOST_ROWS]


def number_of(table: Table, row: Row) -> int:
    """Return a model's place in the palette.

    It follows from the names, so that tables of one study agree; where there are more rows than
    colours, the best take those that are drawn.
    """
    if len(table.models) > MOST_ROWS:
        return table.models.index(row)
    return sorted(one.label for one in table.models).index(row.label)


def row_scale(table: Table, rows: Sequence[Row], values: Sequence[str]) -> alt.Scale:
    """Return the scale from row labels to colours or shapes."""
    labels = [row.label for row in rows]
    chosen = [values[number_of(table, row) % len(values)] for row in rows]
    return alt.Scale(domain=labels, range=chosen)


def row_legend(theme: Theme) -> alt.Legend:
    """Return a legend of rows, one below the other, which a narrow screen has room for."""
    return alt.Legend(
        title=None,
        orient="top",
        direction="vertical",
        labelColor=theme.ink,
        labelLimit=0,
        symbolOpacity=1,
    )
