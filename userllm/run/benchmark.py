"""``userllm benchmark``: what answers cost, several methods side by side, or without weights."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
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
from userllm.run.contestants import Contestant, enter, entries, share_weights
from userllm.run.costing import measure
from userllm.run.finished import Finished, same_run
from userllm.run.folder import RunFolder
from userllm.run.measuring import measure_rows
from userllm.run.meta import meta_rows
from userllm.run.scoring import model_device
from userllm.run.sliding import sliding_cost

NO_DATA = {"data_fingerprint": None, "data_name": "none"}
"""Environment of a result about language models alone."""


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Measure the methods that ``cfg`` names in turns, at all lengths of history.

    ``result.json`` says more than those of other verbs: ``costs`` has one row per method, length
    of history and thing stored. The accuracy of the run that ``cfg.run`` names is copied from its
    own result.

    Raises:
        UserError: A method is neither a run nor overrides that can be composed, or ``cfg.slide`` is
            given and no method is a finished text prompt.
    """
    if cfg.meta:
        shapes = meta_rows(cfg)
        _show(meta_tables(shapes))
        _no_users(folder)
        _write(folder, [], NO_DATA, **shapes)
        return
    device = model_device()
    contestants = together(cfg, device)
    sliding = _those_that_slide(cfg, contestants) if cfg.slide else []
    named = [one for one in contestants if cfg.run in one.overrides]
    environment = _environment((named or contestants)[0])
    # First, since the peak of memory is forgotten when rows are measured.
    outcomes = [_outcome(one, device) for one in named]
    own: dict[str, Any] = {}
    if named and (finished := named[0].finished):
        _copy_users(finished, folder)
        own["run"] = same_run(finished, folder)
    else:
        _no_users(folder)
    rows = compared(measure_rows(cfg, contestants, device))
    for _, of_length in groupby(rows, key=itemgetter("history")):
        same = list(of_length)
        _show([work_table(same), time_table(same)])
    for one in sliding:
        _slide(cfg, one, rows, device)
    _write(folder, outcomes, environment, costs=rows, **own)


def together(cfg: DictConfig, device: torch.device) -> list[Contestant]:
    """Build all methods, the shortest history first, to be asked about the same users.

    Args:
        cfg: The benchmark's config.
        device: Where the models are put.
    """
    found = sorted(entries(cfg), key=attrgetter("history"))
    contestants: list[Contestant] = []
    for entry in found:
        contestants += enter(entry, cfg, device, known=found[-1].history)
        # At once: copies of a language model for all methods may be more than fit.
        share_weights([one.model for one in contestants])
    if cfg.pack_weights:
        pack([one.model for one in contestants])
    return contestants


def _those_that_slide(cfg: DictConfig, contestants: Sequence[Contestant]) -> list[Contestant]:
    """Return the finished text prompts."""
    found = [one for one in contestants if one.finished and one.model.context.text_events]
    if not found:
        raise UserError(
            f"slide={cfg.slide}: none of these is a finished run of context=text_prompt. Type "
            "run=run:contextualize/<name> of one"
        )
    return found


def _slide(
    cfg: DictConfig, one: Contestant, rows: Sequence[dict[str, Any]], device: torch.device
) -> None:
    """Add what sliding costs to the row of a finished text prompt that is stored."""
    assert one.finished is not None
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
    # As after a run, when all questions were asked: what is read once for everybody is there.
    timed = asked.first(finished.config.cost.repeats + finished.config.cost.warmup)
    one.exam.ask(one.model, timed, batch_size=evaluation.batch_size, device=device)
    cost = measure(finished.config, one.assembly, one.exam, asked, finished.trained, device, tokens)
    _show([cost_table(f"{finished.method}, {one.exam.subject.name}", cost)])
    return {**outcome, "cost": cost}


def _environment(one: Contestant) -> dict[str, Any]:
    return {
        "data_fingerprint": one.assembly.corpus.fingerprint,
        "data_name": one.assembly.corpus.card["name"],
        "lm_source": one.assembly.loaded.source,
    }


def _copy_users(finished: Finished, folder: RunFolder) -> None:
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
