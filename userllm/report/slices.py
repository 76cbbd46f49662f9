"""Where a method is good: the primary metric by what is known of each user and question.

Bins come from the users that were asked, never from a method's answers, so that all methods of a
table share them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from userllm.metric.interval import Interval, interval
from userllm.report import units
from userllm.report.comparison import Table
from userllm.report.results import FACT_COLUMNS
from userllm.report.rows import Row

QUARTILES = (0.25, 0.5, 0.75)
COLD_EVENTS = 10
"""A user with at most this many events before the question is cold."""
ITEM_TASKS = frozenset({"next_item", "review"})
"""Tasks whose question is about one item."""

VISIBLE = "visible_events"


@dataclass(frozen=True)
class Bin:
    """Users with ``low <= value <= high``, both of which occur.

    Attributes:
        middle: Median value, where a figure draws the bin.
    """

    label: str
    low: float
    high: float
    middle: float
    users: int


@dataclass(frozen=True)
class View:
    """One way to slice a table.

    Attributes:
        cells: For each row of the table an interval per bin, None where it asked nobody there.
    """

    name: str
    unit: str
    bins: list[Bin]
    cells: list[tuple[Row, list[Interval | None]]]


@lru_cache(maxsize=128)
def views(table: Table) -> tuple[View, ...]:
    """Return every view with at least two bins; older results lack what some are made from.

    Every output of a report asks for them, and their intervals take a while.
    """
    facts = _facts(table)
    if facts is None:
        return ()
    built = [
        _view(table, facts, "history length", "events that are read", VISIBLE, _quartiles),
        _view(
            table,
            facts,
            "user activity",
            "events before the question",
            "history_length",
            _quartiles,
        ),
        _view(table, facts, "cold users", "events before the question", "history_length", _cold),
        _view(table, facts, "users in training", "training events", "training_events", _unknown),
    ]
    if table.setting.task in ITEM_TASKS:
        item = "target_events"
        built += [
            _view(table, facts, "item popularity", "training events", item, _quartiles),
            _view(table, facts, "unseen items", "training events", item, _unknown),
        ]
    shown = [view for view in built if view and len(view.bins) > 1]
    # Where every history is read whole, length and activity are the same.
    same = len(shown) > 1 and shown[0].bins == shown[1].bins
    return (shown[0], *shown[2:]) if same else tuple(shown)


def _facts(table: Table) -> pl.DataFrame | None:
    """Return what is known of each user that any row asked, one line per user."""
    frames = [
        row.users.select("user", *(name for name in FACT_COLUMNS if name in row.users.columns))
        for row in table.rows
    ]
    known = [frame for frame in frames if "history_length" in frame.columns]
    if not known:
        return None
    facts = pl.concat(known, how="diagonal").unique("user", keep="first", maintain_order=True)
    read = max((_read_at_most(row) for row in table.models), default=0)
    longest = pl.col("history_length")
    return facts.with_columns((longest.clip(0, read) if read else longest).alias(VISIBLE))


def _read_at_most(row: Row) -> int:
    """Return the most events of a history that a row's runs read, 0 where that is not said."""
    return max((int(result.run["config"].get("history") or 0) for result in row.runs), default=0)


def _view(
    table: Table,
    facts: pl.DataFrame,
    name: str,
    unit: str,
    fact: str,
    cut: Callable[[np.ndarray[Any, Any]], Sequence[float]],
) -> View | None:
    """Slice a table by one fact; None where the fact is not known."""
    if fact not in facts.columns:
        return None
    known = facts.select("user", fact).drop_nulls()
    values = known[fact].to_numpy().astype(np.float64)
    if not len(values):
        return None
    edges = [edge for edge in cut(values) if values.min() <= edge < values.max()]
    numbers = np.searchsorted(edges, values, side="left")
    bins = [_bin(values[numbers == number]) for number in range(len(edges) + 1)]
    placed = known.select("user", bin=pl.Series(numbers))
    return View(name, unit, bins, [(row, _cells(row, placed, len(bins))) for row in table.rows])


def _cells(row: Row, placed: pl.DataFrame, count: int) -> list[Interval | None]:
    """Return a row's mean and interval in each bin."""
    if row.primary not in row.users.columns:
        return [None] * count
    both = row.users.select("user", row.primary).drop_nulls().join(placed, on="user").sort("user")
    groups = [both.filter(pl.col("bin") == number)[row.primary] for number in range(count)]
    return [interval(group.to_numpy()) if len(group) else None for group in groups]


def _bin(values: np.ndarray[Any, Any]) -> Bin:
    low, high = float(values.min()), float(values.max())
    label = units.count(low) if low == high else f"{units.count(low)}–{units.count(high)}"
    return Bin(label, low, high, float(np.median(values)), len(values))


def _quartiles(values: np.ndarray[Any, Any]) -> list[float]:
    """Return the values that end the first three quarters of the users, each once."""
    return [float(edge) for edge in np.unique(np.quantile(values, QUARTILES, method="lower"))]


def _cold(_: np.ndarray[Any, Any]) -> list[float]:
    return [COLD_EVENTS]


def _unknown(_: np.ndarray[Any, Any]) -> list[float]:
    return [0.0]
