"""How far each block opens its gate to the user: the paper's Figure 4, a line per row.

Source: User-LLM Figure 4, where upper blocks read the user more. The gate is tanh(alpha).
"""

from statistics import fmean

import altair as alt

from userllm.report.comparison import Table
from userllm.report.extras import reported
from userllm.report.panel import Panel, panel, unchecked
from userllm.report.series import drawn_rows, row_legend, row_scale
from userllm.report.style import PRINT, SHAPES, Theme

NUMBER = "gate"
MOST_TICKS = 12


def gates_of(table: Table) -> dict[str, dict[int, float]]:
    """Return the size of every block's gate by row, the mean over seeds; rows without are left out.

    A gate's sign says nothing, since the attention behind it can turn its own: seeds that opened
    one gate to either side both opened it, so signs are dropped before the mean is taken.
    """
    found = {
        row.label: [tree.get(NUMBER) for tree in reported(row, "per_block")] for row in table.models
    }
    return {
        label: {int(block): fmean(abs(gates[block]) for gates in seeds) for block in seeds[0]}
        for label, seeds in found.items()
        if seeds and all(seeds)
    }


@unchecked
def chart(
    table: Table, *, width: int = 520, height: int = 260, theme: Theme = PRINT, title: str = ""
) -> Panel | None:
    """Draw the size of the gates against the block's number, None where no row has gates."""
    gates = gates_of(table)
    if not gates:
        return None
    drawn = drawn_rows(table, lambda row: row.label in gates)
    blocks = [block for row in drawn for block in gates[row.label]]
    rows = [
        {"row": row.label, "block": block, "gate": value}
        for row in sorted(drawn, key=lambda row: row.label)
        for block, value in sorted(gates[row.label].items())
    ]
    legend = row_legend(theme)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=_block_axis(blocks),
        y=alt.Y("gate:Q", title="size of the gate", axis=alt.Axis(domain=False, ticks=False)),
        color=alt.Color("row:N", legend=legend, scale=row_scale(table, drawn, theme.series)),
    )
    shape = alt.Shape("row:N", legend=legend, scale=row_scale(table, drawn, SHAPES))
    layers = [base.mark_line(strokeWidth=1.5), base.mark_point(filled=True, size=50).encode(shape)]
    return panel(layers, width=width, height=height, title=title)


def _block_axis(blocks: list[int]) -> alt.X:
    numbers = sorted(set(blocks))
    step = -(-len(numbers) // MOST_TICKS)
    return alt.X(
        "block:Q",
        title="block of the language model",
        scale=alt.Scale(domain=[numbers[0] - 0.5, numbers[-1] + 0.5], nice=False, zero=False),
        axis=alt.Axis(values=numbers[::step], format="d", grid=False),
    )
