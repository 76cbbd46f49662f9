"""Training curves: the loss of each row's first seed, from the run's ``metrics.csv``."""

from pathlib import Path

import altair as alt
import polars as pl

from userllm.report.comparison import Table
from userllm.report.panel import Panel, panel, unchecked
from userllm.report.rows import Row
from userllm.report.series import drawn_rows, row_legend, row_scale
from userllm.report.style import PRINT, Theme

LOSS = "train/loss"
MOST_POINTS = 120
"""Points of a curve; of more steps, neighbours are averaged."""


def curve(folder: Path) -> list[tuple[float, float]]:
    """Return (step, loss), thinned; empty where a run learned nothing or kept no record."""
    file = folder / "metrics.csv"
    if not file.is_file():
        return []
    try:
        record = pl.read_csv(file, truncate_ragged_lines=True, infer_schema=False)
        loss = record.filter(metric=LOSS).select(
            pl.col("step").cast(pl.Float64), pl.col("value").cast(pl.Float64)
        )
    except (pl.exceptions.PolarsError, OSError):
        # A record of the way is no result: a page without the curve is better than none.
        return []
    # What an interrupted run did twice counts once, as it was done last.
    loss = loss.drop_nulls().unique("step", keep="last").sort("step")
    size = -(-loss.height // MOST_POINTS) or 1
    parts = [loss.slice(start, size) for start in range(0, loss.height, size)]
    return [(_mean(part["step"]), _mean(part["value"])) for part in parts]


@unchecked
def chart(
    table: Table, *, width: int = 520, height: int = 260, theme: Theme = PRINT, title: str = ""
) -> Panel | None:
    """Draw the training loss against the step, None where no row has more than one point."""
    found: dict[Row, list[tuple[float, float]]] = {}

    def shows(row: Row) -> bool:
        found[row] = curve(row.runs[0].folder)
        return len(found[row]) > 1

    curves = {row: found[row] for row in drawn_rows(table, shows)}
    if not curves:
        return None
    values = [
        {"row": row.label, "step": step, "loss": loss}
        for row, points in curves.items()
        for step, loss in points
    ]
    colours = row_scale(table, list(curves), theme.series)
    line = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(strokeWidth=1.5)
        .encode(
            x=alt.X("step:Q", title="training step", axis=alt.Axis(grid=False, tickCount=6)),
            y=alt.Y(
                "loss:Q",
                title="training loss",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(domain=False, ticks=False, tickCount=6),
            ),
            color=alt.Color("row:N", legend=row_legend(theme), scale=colours),
        )
    )
    return panel([line], width=width, height=height, title=title)


def _mean(values: pl.Series) -> float:
    return float(values.sum()) / len(values)
