"""One row of a table: the same cell run under several seeds, averaged user by user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl

from userllm.metric.interval import Interval, Values, interval, paired_difference
from userllm.metric.paired import PairedTest
from userllm.metric.seeds import across_seeds
from userllm.report.copies import Told, other_costs
from userllm.report.results import Result

MEASURED = ("latency_ms", "peak_memory_bytes", "training_seconds", "pretraining_seconds")
"""Costs that depend on the machine."""
_LOWER_IS_BETTER = {"loss", "perplexity", "error", "rmse", "mae"}


@dataclass(frozen=True, eq=False)
class Row:
    """What a table says about one method.

    Attributes:
        users: One row per user; every metric is the user's mean over the seeds.
        metrics: Mean and interval over users; the interval is NaN where no per-user values exist.
        by_seed: Mean over users of each metric, a value per run, in the order of ``runs``.
        cost: The ``cost`` of ``result.json``, averaged over the seeds; None for references.
        settings: What tells the row from others, empty when nothing has to be said.
        label: A name that no other row of the table has.
        baseline: Label of the row that ``delta`` compares with; None for the baseline itself.
        delta: Paired difference of the primary metric to the baseline.
        ratio: Times the baseline's primary metric, paired; None where that is 0 or nearly so.
        test: Whether ``delta`` is more than chance, corrected for the table's comparisons.
        marks: Metric name to ``best`` or ``close`` (not distinguishable from the best).
        again: What copies of its runs, with equal answers, say differently about the cost.
    """

    method: str
    kind: str
    scorer: str
    primary: str
    runs: tuple[Result, ...]
    users: pl.DataFrame
    metrics: dict[str, Interval]
    by_seed: dict[str, list[float]]
    cost: dict[str, Any] | None
    settings: str = ""
    label: str = ""
    baseline: str | None = None
    delta: Interval | None = None
    ratio: Interval | None = None
    test: PairedTest | None = None
    marks: dict[str, str] = field(default_factory=dict)
    again: tuple[str, ...] = ()

    @property
    def score(self) -> Interval:
        """The primary metric."""
        return self.metrics[self.primary]

    @property
    def seeds(self) -> list[int]:
        """The seeds that were averaged; empty where chance plays no part."""
        return [result.run["seed"] for result in self.runs if result.run["seed"] is not None]

    @property
    def window(self) -> int | None:
        """Most events of a user that its method may read; None where its run says nothing."""
        events = self.runs[0].run["config"].get("history")
        return None if events is None else int(events)

    def over_seeds(self, metric: str) -> Interval | None:
        """Return the interval over training seeds; None for fewer than two."""
        if self.kind == "reference" or not self.seeds:
            return None
        return across_seeds(self.by_seed[metric])

    def cost_of(self, *path: str) -> float | None:
        """Follow ``path`` into the cost; None where nothing was measured."""
        node: Any = self.cost
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node if isinstance(node, int | float) else None


def lower_is_better(metric: str) -> bool:
    """Tell the direction of a metric by its name."""
    return metric.rpartition("_")[2].partition("@")[0] in _LOWER_IS_BETTER


@dataclass(frozen=True, eq=False)
class Averaged:
    """A cell whose users are averaged over the seeds, before anything is estimated from them.

    Attributes:
        results: A run per seed.
        outcomes: What each says about the cell.
        frames: Values of its users.
        users: Their mean over the seeds.
        again: What copies of the runs say differently about the cost.
    """

    results: tuple[Result, ...]
    outcomes: tuple[Mapping[str, Any], ...]
    frames: tuple[pl.DataFrame, ...]
    users: pl.DataFrame
    again: tuple[str, ...]


def average(cell: Sequence[Told]) -> Averaged:
    """Average the outcomes of runs that differ in their seed only; copies count once."""
    by_seed: dict[int | None, Told] = {}
    for told in cell:
        by_seed.setdefault(told[0].run["seed"], told)
    results, outcomes = zip(*by_seed.values(), strict=True)
    frames = tuple(result.users_of(outcome) for result, outcome in by_seed.values())
    return Averaged(results, outcomes, frames, _mean_over_seeds(frames), other_costs(cell))


def row_of(cell: Averaged) -> Row:
    """Return the row of a cell.

    The interval of ``metrics`` is over users: seeds are averaged first, so it says how much the
    number depends on which users were asked. How much it depends on the seed is
    `Row.over_seeds`.
    """
    outcomes, names = cell.outcomes, _metric_names(cell.outcomes)
    cost, mixed = _mean_cost([outcome.get("cost") for outcome in outcomes])
    return Row(
        **{key: outcomes[0][key] for key in ("method", "kind", "scorer", "primary")},
        runs=cell.results,
        users=cell.users,
        metrics={name: _metric(name, cell.users, outcomes) for name in names},
        by_seed={name: _means(name, cell.frames, outcomes) for name in names},
        cost=cost,
        again=(*cell.again, *mixed),
    )


def paired(row: Row, other: Row, metric: str) -> Interval | None:
    """Return the mean of ``row`` minus ``other`` over the users both answered, or None."""
    both = same_users(row, other, metric)
    return both and paired_difference(*both)


def same_users(row: Row, other: Row, metric: str) -> tuple[Values, Values] | None:
    """Return a metric of two rows for the users both answered, in one order; None without any."""
    if metric not in row.users.columns or metric not in other.users.columns:
        return None
    both = row.users.select("user", metric).join(
        other.users.select("user", other=metric), on="user", maintain_order="left"
    )
    both = both.drop_nulls()
    return None if both.is_empty() else (both[metric].to_numpy(), both["other"].to_numpy())


def _metric_names(outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all metrics, the primary one first."""
    names = [name for outcome in outcomes for name in outcome["metrics"]]
    return list(dict.fromkeys([outcomes[0]["primary"], *names]))


def _mean_over_seeds(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return one row per user with the mean of every metric over the seeds."""
    stacked = pl.concat(frames, how="diagonal")
    return stacked.group_by("user", maintain_order=True).mean().sort("user")


def _metric(name: str, users: pl.DataFrame, outcomes: Sequence[Mapping[str, Any]]) -> Interval:
    """Compute a metric from the per-user values; without any, average what the runs report."""
    values = users[name].drop_nulls().to_numpy() if name in users.columns else np.empty(0)
    if len(values):
        return interval(values)
    reported = [outcome["metrics"][name] for outcome in outcomes if name in outcome["metrics"]]
    return Interval(
        mean=fmean(metric["mean"] for metric in reported),
        low=float("nan"),
        high=float("nan"),
        n=int(reported[0]["n"]),
        method="not per user",
    )


def _means(
    name: str, frames: Sequence[pl.DataFrame], outcomes: Sequence[Mapping[str, Any]]
) -> list[float]:
    """Return each run's own mean of a metric, from per-user values where there are any."""
    if all(name in frame.columns for frame in frames):
        return [fmean(frame[name].drop_nulls()) for frame in frames]
    reported = [outcome["metrics"][name] for outcome in outcomes if name in outcome["metrics"]]
    return [float(metric["mean"]) for metric in reported]


def _mean_cost(costs: Sequence[Any]) -> tuple[Any, list[str]]:
    """Return the mean cost, and what to say where seeds were not all timed alike."""
    mean, places = mean_tree(costs), [_place(cost) for cost in costs]
    alike = [cost for cost, place in zip(costs, places, strict=True) if place == places[0]]
    if len(alike) == len(costs):
        return mean, []
    mean |= {key: mean_tree([cost.get(key) for cost in alike]) for key in MEASURED}
    device, threads = places[0]
    said = f"{len(alike)} of {len(costs)} seeds, those on {device} with {threads} threads"
    return mean, [
        f"Latency, memory and time of a row are those of {said}; the others ran elsewhere."
    ]


def _place(cost: Any) -> tuple[str, Any]:
    """Return the kind of device and the threads that a cost was measured with."""
    latency = (cost or {}).get("latency_ms") or {}
    return str(latency.get("device", "")).partition(":")[0], latency.get("threads")


def mean_tree(costs: Sequence[Any]) -> Any:
    """Average JSON trees of one shape number by number; the first one's words stand for all."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return None
    if isinstance(known[0], Mapping):
        return {key: mean_tree([cost.get(key) for cost in known]) for key in known[0]}
    if all(cost == known[0] for cost in known) or not isinstance(known[0], int | float):
        return known[0]
    return fmean(known)
