"""One colour and one shape per row, the same in every figure and beside the table's rows."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import altair as alt

from userllm.report.comparison import Table
from userllm.report.rows import Row
from userllm.report.style import PALETTE, Theme

MOST_ROWS = len(PALETTE)
"""A figure of more lines than colours cannot be read, so it draws the best rows only."""


def drawn_rows(table: Table, shows: Callable[[Row], object] = bool) -> list[Row]:
    """Return the rows that a figure of lines shows: the best of those that it has lines of.

    Args:
        table: Its models stand best first.
        shows: Tells whether there is a line; without it all rows have one.
    """
    return list(islice(filter(shows, table.models), MOST_ROWS))


def number_of(table: Table, row: Row) -> int:
    """Return a model's place in the palette.

    It follows from the names, so that tables of one study agree; where there are more rows than
    colours, the best take those that are drawn.
    """
    if len(table.models) > MOST_ROWS:
        return table.models.index(row)
    return sorted(one.label for one in table.models).index(row.label)


def row_scale(table: Table, rows: Sequence[Row], values: Sequence[str]) -> alt.Scale:
    """Return the scale from row labels to colours or shapes.

    A row that is not among the best takes what a better one, not drawn here, leaves free.
    """
    labels = [row.label for row in rows]
    numbers = [number_of(table, row) for row in rows]
    if len(rows) <= MOST_ROWS:
        free = iter(sorted({*range(MOST_ROWS)} - {*numbers}))
        numbers = [number if number < MOST_ROWS else next(free) for number in numbers]
    chosen = [values[number % len(values)] for number in numbers]
    return alt.Scale(domain=labels, range=chosen)


def name_scale(names: Iterable[str], values: Sequence[str]) -> alt.Scale:
    """Return the scale from names to colours or shapes, dealt out in alphabetical order."""
    domain = sorted(names)
    return alt.Scale(domain=domain, range=[values[n % len(values)] for n in range(len(domain))])


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
