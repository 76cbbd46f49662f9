"""How far each block opens its gate to the user: the paper's Figure 4, a line per row.

Source: User-LLM Figure 4, where upper blocks read the user more. The gate is tanh(alpha).
"""

from typing import Any

import altair as alt

from userllm.report.comparison import Table
from userllm.report.extras import extra
from userllm.report.style import PRINT, SHAPES, Theme

NUMBER = "gate"
MOST_TICKS = 12


def gates_of(table: Table) -> dict[str, dict[int, float]]:
    """Return the gate of every block by row; rows without gates are left out."""
    found = {row.label: (extra(row, "per_block") or {}).get(NUMBER) for row in table.models}
    return {
        label: {int(block): float(value) for block, value in gates.items()}
        for label, gates in found.items()
        if gates
    }


def chart(
    table: Table, *, width: int = 520, height: int = 260, theme: Theme = PRINT, title: str = ""
) -> alt.LayerChart | None:
    """Draw the size of the gates against the block's number, None where no row has gates.

    A gate's sign says nothing, since the attention behind it can turn its own.
    """
    gates = gates_of(table)
    if not gates:
        return None
    labels = sorted(gates)
    blocks = [block for values in gates.values() for block in values]
    rows = [
        {"row": label, "block": block, "gate": abs(value)}
        for label, values in gates.items()
        for block, value in sorted(values.items())
    ]
    legend = alt.Legend(
        title=None, orient="top", direction="vertical", labelColor=theme.ink, labelLimit=0
    )
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=_block_axis(blocks),
        y=alt.Y("gate:Q", title="size of the gate", axis=alt.Axis(domain=False, ticks=False)),
        color=alt.Color("row:N", legend=legend, scale=_scale(labels, theme.series)),
    )
    shape = alt.Shape("row:N", legend=legend, scale=_scale(labels, SHAPES))
    layers = [base.mark_line(strokeWidth=1.5), base.mark_point(filled=True, size=50).encode(shape)]
    return alt.LayerChart(layer=layers, width=width, height=height, title=title)


def _block_axis(blocks: list[int]) -> alt.X:
    numbers = sorted(set(blocks))
    step = -(-len(numbers) // MOST_TICKS)
    return alt.X(
        "block:Q",
        title="block of the language model",
        scale=alt.Scale(domain=[numbers[0] - 0.5, numbers[-1] + 0.5], nice=False, zero=False),
        axis=alt.Axis(values=numbers[::step], format="d", grid=False),
    )


def _scale(labels: list[str], values: tuple[Any, ...]) -> alt.Scale:
    return alt.Scale(domain=labels, range=[values[n % len(values)] for n in range(len(labels))])
