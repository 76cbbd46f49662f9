"""Sliced views as tables: a grid for people, CSV for programs."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from userllm.metric.interval import Interval
from userllm.report import units
from userllm.report.columns import Cell, Column, Grid, interval_text, lines_of
from userllm.report.comparison import Table
from userllm.report.rows import Row
from userllm.report.slices import Bin, View, views


def sliced_grid(view: View) -> Grid:
    """Lay out one view: a row per row of the table, a column per bin."""
    found = dict(view.cells)
    columns = [Column("method", "method", "How the user reaches the model", _named, False)]
    columns += [
        _bin_column(view, one, {row: cells[number] for row, cells in found.items()})
        for number, one in enumerate(view.bins)
    ]
    return Grid(columns, lines_of(found, columns))


def caption(view: View, table: Table) -> str:
    """Say what the columns of a view are."""
    return f"{table.setting.primary} by {view.name}: {view.unit} (users)"


def csv(tables: Sequence[Table]) -> str:
    """Return all views of all tables as one flat table; empty where there are none."""
    flat = [{**table.setting._asdict(), **record} for table in tables for record in _records(table)]
    return pl.DataFrame(flat, infer_schema_length=None).write_csv() if flat else ""


def _named(row: Row) -> Cell:
    return Cell(row.method, row.settings)


def _bin_column(view: View, one: Bin, found: dict[Row, Interval | None]) -> Column:
    def cell(row: Row) -> Cell:
        value = found[row]
        return Cell(units.score(value.mean), interval_text(value), value.mean) if value else Cell()

    return Column("quality", f"{one.label} ({units.count(one.users)})", view.unit, cell)


def _records(table: Table) -> Iterable[dict[str, Any]]:
    """Yield every cell of every view as a flat mapping, unrounded."""
    for view in views(table):
        for row, cells in view.cells:
            for one, found in zip(view.bins, cells, strict=True):
                yield {
                    "view": view.name,
                    "bin": one.label,
                    "low": one.low,
                    "high": one.high,
                    "method": row.method,
                    "settings": row.settings,
                    "kind": row.kind,
                    "metric": row.primary,
                    "mean": found and found.mean,
                    "mean_low": found and found.low,
                    "mean_high": found and found.high,
                    "n": found.n if found else 0,
                }
