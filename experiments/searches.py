"""Keep what a study's settings were chosen from: every trial of its searches, in one file.

Usage: python experiments/searches.py STUDY SEARCH [SEARCH …] [--runs runs] [--add]

Writes experiments/<STUDY>/searches.csv, over validation users: a row for each trial and metric of
grids of `userllm contextualize`; a row for each trial, with the metric that it was judged by, of
searches whose trials Optuna proposed. The two have other columns, so they are not mixed.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from experiments.tables import HERE
from userllm.errors import UserError
from userllm.report.results import Result, load
from userllm.run.reference import find_runs
from userllm.run.search.memory import recorded
from userllm.run.search.settings import remembered

NOT_SETTINGS = (
    "study=",
    "group=",
    "experiment=",
    "method=",
    "seed=",
    "data.dir=",
    "threads=",
    "hydra",
)
"""Overrides that say where and how a trial ran, or that have a column of their own."""
TRIAL = ("search", "trial", "method", "seed", "settings")
"""Columns that tell trials apart, where a table has them."""
VERB = "contextualize"
"""What grids are made of."""
STATES = {"complete": "finished", "pruned": "stopped early", "failed": "failed"}
"""States of a trial to what a reader is told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the trials of the named searches; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", help="folder in experiments/ of the study that they chose for")
    parser.add_argument("searches", nargs="+", metavar="SEARCH", help="groups of the trials")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument(
        "--add", action="store_true", help="keep what is there of trials that are not among these"
    )
    options = parser.parse_args(arguments)
    target = HERE / options.study / "searches.csv"
    try:
        rows = kept(options.searches, options.runs.absolute())
        if options.add and target.exists():
            rows = added(target, rows)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    target.parent.mkdir(parents=True, exist_ok=True)
    rows.write_csv(target)
    print(f"{target}: {rows.select(_keys(rows)).n_unique()} trials, {rows.height} rows")
    return 0


def kept(searches: Sequence[str], runs: Path) -> pl.DataFrame:
    """Return the trials of the named searches, which are all grids or all Optuna's.

    Raises:
        UserError: There is none, or some are grids and some Optuna's.
    """
    files = {name: remembered(name, runs) for name in searches}
    grids = [name for name, found in files.items() if not found]
    if not grids:
        return proposed([(name, file) for name, found in files.items() for file in found])
    if len(grids) < len(searches):
        raise UserError(f"{', '.join(grids)} are grids, the others Optuna's; keep them apart")
    loaded = [load(folder) for folder in find_runs(searches, runs) if folder.parent.name == VERB]
    return trials([result for result in loaded if isinstance(result, Result)])


def added(file: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with those of the file before them whose trials are not among them.

    Raises:
        UserError: The file has other columns, so one of the two is a grid and the other Optuna's.
    """
    if pl.read_csv(file, n_rows=0).columns != rows.columns:
        raise UserError(
            f"{file} has other columns than these trials: grids and Optuna's are kept apart"
        )
    keys = _keys(rows)
    earlier = pl.read_csv(file, schema=rows.schema).join(rows, on=keys, how="anti")
    return pl.concat([earlier, rows]).sort(keys, maintain_order=True)


def _keys(rows: pl.DataFrame) -> list[str]:
    return [name for name in TRIAL if name in rows.columns]


def proposed(searches: Sequence[tuple[str, Path]]) -> pl.DataFrame:
    """Return a row for each trial that Optuna proposed: how far it came, what it was worth.

    Args:
        searches: Name and file of each.
    """
    return pl.DataFrame(
        {
            "search": name,
            "trial": trial.number,
            "state": STATES[trial.state],
            "step": max(trial.curve, default=None),
            "value": None if trial.value is None else round(trial.value, 4),
            "settings": " ".join(f"{key}={value}" for key, value in trial.params.items()),
        }
        for name, file in searches
        for _, trial in sorted(recorded(file).items())
    )


def trials(results: Sequence[Result]) -> pl.DataFrame:
    """Return a row for each trial and metric, sorted: what was set, what it gave, over how many.

    Raises:
        UserError: There is none.
    """
    if not results:
        raise UserError("no trial has finished; type userllm sweep study=<search> to run them")
    columns = ["search", "method", "seed", "settings", "metric"]
    return pl.DataFrame([row for result in results for row in _rows(result)]).sort(columns)


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    run = result.run
    settings = [text for text in run["overrides"] if not text.startswith(NOT_SETTINGS)]
    for outcome in result.outcomes:
        if outcome["kind"] != "model":
            continue
        for metric, value in outcome["metrics"].items():
            yield {
                "search": run["group"],
                "method": outcome["method"],
                "seed": run["seed"],
                "settings": " ".join(settings),
                "training_flops": f"{outcome['cost']['training_flops']:.3g}",
                "training_examples": outcome["cost"]["training_examples"],
                "metric": metric,
                "mean": round(value["mean"], 4),
                "low": round(value["low"], 4),
                "high": round(value["high"], 4),
                "n": value["n"],
            }


if __name__ == "__main__":
    sys.exit(main())
