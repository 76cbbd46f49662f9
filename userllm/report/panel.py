"""Layers put together as one panel, and panels as one Vega-Lite specification.

altair draws each layer. It also copies all layers whenever they are put into something else, which
for a figure of forty rows takes longer than drawing; so what it made is put together here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode

from userllm.report.style import Theme, config_of

SCHEMA = alt.SCHEMA_URL
SPACING = 36
"""Pixels between panels below each other."""

unchecked = debug_mode(False)
"""Decorates what makes layers: checking each piece takes longer than drawing. Tests check whole
specifications."""


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        body: Its Vega-Lite view, data sets by name.
        datasets: Name to rows.
    """

    body: dict[str, Any]
    datasets: dict[str, Any]


def panel(layers: Sequence[alt.Chart], *, width: int, height: int, title: str) -> Panel:
    """Return layers over each other; data that all of them share stand in the panel."""
    datasets: dict[str, Any] = {}
    context = {"top_level": False, "datasets": datasets}
    drawn = [layer.to_dict(validate=False, context=context) for layer in layers]
    size = {"height": height, "title": title, "width": width}
    return Panel({"layer": drawn, **_shared_data(drawn), **size}, datasets)


def alone(one: Panel, theme: Theme) -> dict[str, Any]:
    """Return the specification of one panel."""
    return {
        "config": config_of(theme),
        **one.body,
        "$schema": SCHEMA,
        "datasets": one.datasets,
    }


def below(panels: Sequence[Panel], theme: Theme) -> dict[str, Any]:
    """Return the specification of panels below each other, each with its own colours."""
    bodies = [dict(one.body) for one in panels]
    # Of several panels each keeps its own, even where they happen to be equal.
    shared = _shared_data(bodies) if len(bodies) == 1 else {}
    return {
        "config": config_of(theme),
        "vconcat": bodies,
        **shared,
        "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        "spacing": SPACING,
        "$schema": SCHEMA,
        "datasets": {name: rows for one in panels for name, rows in one.datasets.items()},
    }


def _shared_data(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Take the data out of parts that all have the same, and return them."""
    first = parts[0].get("data")
    if first is None or any(part.get("data") != first for part in parts):
        return {}
    for part in parts:
        del part["data"]
    return {"data": first}
