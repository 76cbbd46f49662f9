"""Sliced views as tables: Markdown for people, CSV for programs."""

from collections.abc import Iterable, Sequence

import polars as pl

from userllm.report import units
from userllm.report.columns import Cell, Column, Grid, Line, interval_text
from userllm.report.comparison import Table
from userllm.report.rows import Row
from userllm.report.slices import View, records, views


def sliced_grid(view: View, table: Table) -> Grid:
    """Lay out one view: a row per row of the table, a column per bin."""
    columns = [Column("method", "method", "How the user reaches the model", _empty, False)]
    columns += [
        Column("quality", f"{one.label} ({units.count(one.users)})", view.unit, _empty)
        for one in view.bins
    ]
    lines = [
        Line(
            "reference" if row.kind == "reference" else "model",
            [
                Cell(row.method, row.settings),
                *(
                    Cell(units.score(found.mean), interval_text(found), found.mean)
                    if found
                    else Cell()
                    for found in cells
                ),
            ],
        )
        for row, cells in view.cells
    ]
    return Grid(columns, lines)


def caption(view: View, table: Table) -> str:
    """Say what the columns of a view are."""
    return f"{table.setting.primary} by {view.name}: {view.unit} (users)"


def markdown_lines(table: Table) -> Iterable[str]:
    """Yield the views of a table as Markdown."""
    for view in views(table):
        grid = sliced_grid(view, table)
        yield from ("", f"{caption(view, table)}:", "")
        yield f"| {' | '.join(column.title for column in grid.columns)} |"
        yield f"| {' | '.join('--:' if column.numeric else ':--' for column in grid.columns)} |"
        for line in grid.lines:
            yield f"| {' | '.join(_text(cell) for cell in line.cells)} |"


def csv(tables: Sequence[Table]) -> str:
    """Return all views of all tables as one flat table; empty where there are none."""
    flat = [{**table.setting._asdict(), **record} for table in tables for record in records(table)]
    return pl.DataFrame(flat, infer_schema_length=None).write_csv() if flat else ""


def _empty(_: Row) -> Cell:
    return Cell()


def _text(cell: Cell) -> str:
    text = " ".join(filter(None, (cell.text, cell.detail)))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
