"""``userllm benchmark``: what answers cost, several methods side by side, or without weights."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from omegaconf import DictConfig
from rich.table import Table

from userllm.errors import UserError
from userllm.lm.packed import pack
from userllm.report.costs import compared, sliding_table, time_table, work_table
from userllm.report.costs_meta import meta_tables
from userllm.report.outcome import cost_table
from userllm.report.results import KEY_COLUMNS
from userllm.report.terminal import wide_console
from userllm.run.contestants import (
    Contestant,
    Entry,
    by_history,
    enter,
    entries,
    share_weights,
)
from userllm.run.costing import measure
from userllm.run.finished import Finished
from userllm.run.folder import RunFolder
from userllm.run.measuring import measure_rows
from userllm.run.meta import meta_rows
from userllm.run.scoring import model_device
from userllm.run.sliding import sliding_cost

NO_DATA = {"data_fingerprint": None, "data_name": "none"}
"""Environment of a result about language models alone."""


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Measure the methods that ``cfg`` names, those of one length of history in turns.

    ``result.json`` says more than those of other verbs: ``costs`` has one row per method, length
    of history and thing stored. The accuracy of the run that ``cfg.run`` names is copied from its
    own result.

    Raises:
        UserError: A method is neither a run nor overrides that can be composed.
    """
    if cfg.meta:
        shapes = meta_rows(cfg)
        _show(meta_tables(shapes))
        _no_users(folder)
        _write(folder, [], NO_DATA, **shapes)
        return
    device = model_device()
    rows: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    environment: dict[str, Any] = {}
    for group in by_history(entries(cfg)).values():
        found = _measure(cfg, group, folder, device)
        rows += found.rows
        outcomes += found.outcomes
        if found.outcomes or not environment:
            environment = found.environment
    if cfg.slide and not any("sliding" in row for row in rows):
        raise UserError(
            f"slide={cfg.slide}: none of these is a finished run of context=text_prompt. Type "
            "run=run:contextualize/<name> of one"
        )
    if cfg.run is None:
        _no_users(folder)
    _write(folder, outcomes, environment, costs=rows)


@dataclass
class _Found:
    """What was measured of methods with one length of history."""

    rows: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]
    environment: dict[str, Any]


def _measure(
    cfg: DictConfig, group: Sequence[Entry], folder: RunFolder, device: torch.device
) -> _Found:
    """Build the methods, measure them in turns, and let them go."""
    contestants = [one for entry in group for one in enter(entry, cfg, device)]
    models = [one.model for one in contestants]
    share_weights(models)
    if cfg.pack_weights:
        pack(models)
    environment = _environment(contestants[0])
    named = [one for one in contestants if cfg.run in one.overrides]
    # First, since the peak of memory is forgotten when rows are measured.
    outcomes = [_outcome(one, device) for one in named]
    for one in named[:1]:
        _copy_users(one.finished, folder)
        environment = _environment(one)
    rows = compared(measure_rows(cfg, contestants, device))
    _show([work_table(rows), time_table(rows)])
    if cfg.slide:
        _slide(cfg, contestants, rows, device)
    return _Found(rows, outcomes, environment)


def _slide(
    cfg: DictConfig,
    contestants: Sequence[Contestant],
    rows: Sequence[dict[str, Any]],
    device: torch.device,
) -> None:
    """Add to the rows of finished text prompts what sliding costs."""
    for one in contestants:
        if one.finished is None or not one.model.context.text_events:
            continue
        evaluation = one.finished.config.evaluation
        found = sliding_cost(
            one.assembly,
            one.exam,
            one.assembly.questions(one.exam, evaluation.part, evaluation.users),
            dropped=cfg.slide,
            batch_size=evaluation.batch_size,
            device=device,
        )
        _show([sliding_table(one.label, found)])
        for row in rows:
            if row["method"] == one.label and row["kept"] == "prompt":
                row["sliding"] = found


def _outcome(one: Contestant, device: torch.device) -> dict[str, Any]:
    """Return the outcome of a finished run with its cost measured again."""
    finished = one.finished
    assert finished is not None
    models = [o for o in finished.result["outcomes"] if o["kind"] == "model"]
    outcome = next(o for o in models if o["task"] == one.exam.subject.name)
    evaluation = finished.config.evaluation
    asked = one.assembly.questions(one.exam, evaluation.part, evaluation.users)
    tokens = outcome["cost"]["answer_tokens"]
    cost = measure(finished.config, one.assembly, one.exam, asked, finished.trained, device, tokens)
    _show([cost_table(f"{finished.method}, {one.exam.subject.name}", cost)])
    return {**outcome, "cost": cost}


def _environment(one: Contestant) -> dict[str, Any]:
    return {
        "data_fingerprint": one.assembly.corpus.fingerprint,
        "data_name": one.assembly.corpus.card["name"],
        "lm_source": one.assembly.loaded.source,
    }


def _copy_users(finished: Finished | None, folder: RunFolder) -> None:
    assert finished is not None
    shutil.copyfile(finished.folder / "per_user.parquet", folder.path / "per_user.parquet")


def _no_users(folder: RunFolder) -> None:
    """Write that nobody was scored, in the form that readers of results expect."""
    nobody = pl.DataFrame(schema=dict.fromkeys(KEY_COLUMNS, pl.String))
    nobody.write_parquet(folder.path / "per_user.parquet")


def _write(
    folder: RunFolder,
    outcomes: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    **more: Any,
) -> None:
    result = {"outcomes": outcomes, "examples": [], "environment": environment}
    folder.write_result({**result, **more})


def _show(tables: Sequence[Table]) -> None:
    for table in tables:
        wide_console().print(table)
