"""What of a run is kept elsewhere: its small files under a name of its own, and its tables.

The artifact of a run is equal wherever it is made, by the run itself or by a later one that read
it, so that W&B sees one version and draws the line from data over encoder to result.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

TYPES = {"prepare": "data", "pretrain": "encoder", "compare": "report"}
"""Verb to the type of what its runs make; the others make a result."""

FILES = (
    "config.yaml",
    "command.txt",
    "result.json",
    "metrics.csv",
    "per_user.parquet",
    "corpus/card.json",
    "corpus/card.md",
)
"""Files of a run that never change once it is finished. Weights and data stay where they are."""

TABLE_ROWS = 10_000
"""Rows of a table on the page; W&B shows no more. The artifact has them all."""

OUTCOME_COLUMNS = ("method", "kind", "task", "scorer", "part", "protocol")

Rows = list[list[Any]]


def artifact_name(run: Path) -> str:
    """Return the name of a run's artifact: verb, label and hash in the letters W&B allows."""
    return re.sub(r"[^\w.-]", "-", f"{run.parent.name}-{run.name}", flags=re.ASCII)


def artifact_type(run: Path) -> str:
    """Return what kind of thing a run makes."""
    return TYPES.get(run.parent.name, "result")


def artifact_files(run: Path) -> dict[str, Path]:
    """Return name to path of the files of a run that are kept elsewhere."""
    return {name: run / name for name in FILES if (run / name).is_file()}


def outcome_rows(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of one row per method, protocol and metric."""
    rows = [
        [
            *(outcome.get(name) for name in OUTCOME_COLUMNS),
            name,
            *(_plain(metric.get(key)) for key in ("mean", "low", "high")),
        ]
        for outcome in result.get("outcomes", ())
        for name, metric in outcome["metrics"].items()
    ]
    return [*OUTCOME_COLUMNS, "metric", "mean", "low", "high"], rows


def per_user_rows(run: Path) -> tuple[list[str], Rows] | None:
    """Return header and first rows of per_user.parquet; None where a run has none."""
    path = run / "per_user.parquet"
    if not path.is_file():
        return None
    frame = pl.scan_parquet(path).head(TABLE_ROWS).collect()
    return frame.columns, [[_plain(value) for value in row] for row in frame.iter_rows()]


def csv_rows(path: Path) -> tuple[list[str], Rows]:
    """Return header and rows of a CSV file, numbers as numbers, so that they sort as such."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    return header, [[_number(text) for text in row] for row in rows]


def report_files(table: Path, figures: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of a report: its table in every form, its figures, its page."""
    yield from figures
    yield from sorted(
        path
        for path in table.parent.iterdir()
        if path.is_file() and path.suffix in {".csv", ".md", ".tex", ".json", ".html"}
    )


def _number(text: str) -> float | str | None:
    try:
        return _plain(float(text))  # type: ignore[no-any-return]
    except ValueError:
        return text or None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
