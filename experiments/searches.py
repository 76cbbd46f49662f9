"""Keep what a study's settings were chosen from: every trial of its searches, in one file.

Usage: python experiments/searches.py STUDY SEARCH [SEARCH …] [--runs runs]

Writes experiments/<STUDY>/searches.csv: a row for each trial and metric, over validation users. For
grids of `userllm contextualize`; searches by Optuna keep their trials in a database of their own.
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the trials of the named searches; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", help="folder in experiments/ of the study that they chose for")
    parser.add_argument("searches", nargs="+", metavar="SEARCH", help="groups of the trials")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    options = parser.parse_args(arguments)
    target = HERE / options.study / "searches.csv"
    try:
        found = find_runs(options.searches, options.runs.absolute())
        loaded = [load(folder) for folder in found if folder.parent.name == "contextualize"]
        rows = trials([result for result in loaded if isinstance(result, Result)])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    target.parent.mkdir(parents=True, exist_ok=True)
    rows.write_csv(target)
    print(f"{target}: {rows['settings'].n_unique()} settings, {rows.height} rows")
    return 0


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
