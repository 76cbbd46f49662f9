"""A comparison for programs: one JSON document with everything that the tables are made from."""

import json
from collections.abc import Sequence
from typing import Any

from userllm.metric.interval import LEVEL, Interval
from userllm.metric.paired import ALPHA
from userllm.report.comparison import Table
from userllm.report.missing import subject
from userllm.report.notes import notes
from userllm.report.results import Result, Unfinished
from userllm.report.rows import Row, lower_is_better
from userllm.report.slices import View, views

SCHEMA_VERSION = 1
"""Goes up when a key changes its meaning or goes away; new keys may come at any time."""


def document(tables: Sequence[Table], *, name: str) -> str:
    """Return the comparison as JSON; equal results give equal bytes.

    Numbers are unrounded; null stands for what was not measured and for bounds that do not exist.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": "userllm comparison",
        "name": name,
        "confidence": LEVEL,
        "alpha": ALPHA,
        "correction": "holm",
        "tables": [_table(table) for table in tables],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    return {
        **table.setting._asdict(),
        "lower_is_better": lower_is_better(table.setting.primary),
        "other_protocols": list(table.apart),
        "notes": notes(table),
        "rows": [_row(row) for row in table.rows],
        "missing": [_missing(run) for run in table.missing],
        "views": [_view(view) for view in views(table)],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "label": row.label,
        "method": row.method,
        "settings": row.settings,
        "scorer": row.scorer,
        "seeds": row.seeds,
        "mark": row.marks.get(row.primary),
        "metrics": {name: _metric(row, name) for name in row.metrics},
        "baseline": row.baseline,
        "difference": row.delta and _interval(row.delta),
        "ratio": row.ratio and _interval(row.ratio),
        "test": row.test
        and {"test": row.test.test, "p": row.test.p, "p_corrected": row.test.adjusted},
        "cost": row.cost,
        "runs": [_run(result) for result in row.runs],
    }


def _metric(row: Row, name: str) -> dict[str, Any]:
    found = row.metrics[name]
    over = row.over_seeds(name)
    return {
        "mean": found.mean,
        "over_users": _interval(found),
        "over_seeds": over and _interval(over),
        "by_seed": row.by_seed[name] if row.kind == "model" else None,
    }


def _interval(value: Interval) -> dict[str, Any]:
    low, high = value.bounds
    return {**value.as_dict(), "low": low, "high": high}


def _run(result: Result) -> dict[str, Any]:
    return {
        "folder": result.run["folder"],
        "seed": result.run["seed"],
        "command": result.run["command"],
        "data_fingerprint": result.environment["data_fingerprint"],
        "git": result.environment.get("git"),
    }


def _missing(run: Unfinished) -> dict[str, Any]:
    data, task = subject(run.parts)
    return {
        "method": run.method,
        "settings": run.settings,
        "data": data,
        "task": task,
        "seed": run.seed,
        "state": run.state,
        "error": run.error,
        "folder": run.folder.name,
    }


def _view(view: View) -> dict[str, Any]:
    return {
        "name": view.name,
        "unit": view.unit,
        "bins": [
            {"label": one.label, "low": one.low, "high": one.high, "users": one.users}
            for one in view.bins
        ],
        "rows": [
            {"label": row.label, "cells": [found and _interval(found) for found in cells]}
            for row, cells in view.cells
        ],
    }
