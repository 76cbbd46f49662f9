"""Run many cells with Hydra's own sweeper and launcher, and lose none of them.

Hydra says what the cells are and where they run; identity, skipping and resuming are each
cell's own (``execute``), so a sweep needs no memory.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from userllm.config import Composer, check_resolved, choices_of, parse, refuse
from userllm.errors import UserError
from userllm.run.failure import CRASHED, diagnose, terminable
from userllm.run.journal import log_to_screen
from userllm.run.launch import Outcome, execute, stop_if_interrupted

log = logging.getLogger(__name__)

QUIET = (
    "hydra.mode=MULTIRUN",
    "hydra/hydra_logging=none",
    "hydra/job_logging=none",
    "hydra.output_subdir=null",
    "hydra.sweep.dir=${paths.runs}/.sweep",
    "hydra.sweep.subdir=.",
)
"""Overrides that keep Hydra from writing logs and folders of its own."""

STYLES = {"finished": "green", "skipped": "cyan", "failed": "red", "interrupted": "yellow"}


def wants_sweep(composer: Composer, overrides: Sequence[str]) -> bool:
    """Return whether a study or an override asks for many runs without ``-m``."""
    return bool(_settings(composer, overrides).mode == RunMode.MULTIRUN)


def plan(composer: Composer, overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every cell, those of the chosen study included.

    Raises:
        UserError: With the problems of all cells at once, before any of them runs.
    """
    cells = cells_of(composer, overrides)
    refuse(composer.verb, list(problems_of(composer, cells)))
    return cells


def cells_of(composer: Composer, overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every cell without looking at what they lead to."""
    sweeper = _settings(composer, overrides).sweeper
    asked = [text for text in overrides if not _is_hydra(text)]
    if not sweeper["_target_"].endswith(".BasicSweeper"):
        # Other sweepers choose the values as they go; what stays the same is checked.
        return [[text for text in asked if not _is_sweep(text)]]
    # What is typed comes last and so replaces what the study varies.
    texts = [*(f"{key}={value}" for key, value in (sweeper.params or {}).items()), *asked]
    parsed = [(text, parse(text)) for text in texts]
    refuse(composer.verb, [f"{t!r}: not key=value[,value…]" for t, o in parsed if o is None])
    cells: list[list[str]]
    (cells,) = BasicSweeper.split_arguments([o for _, o in parsed if o is not None], None)
    return cells


def sweep(composer: Composer, overrides: Sequence[str]) -> int:
    """Run all cells, print how each ended, and return the exit code.

    A failed cell is recorded and the rest go on; Ctrl-C stops all, to be continued by the same
    command.
    """
    cells = plan(composer, overrides)
    log.info("%d runs", len(cells))
    folder = Path(composer.compose(_shaping(composer, overrides)).paths.runs) / ".sweep"
    try:
        with terminable():
            returned = composer.hydra.multirun(
                composer.verb,
                partial(_cell, composer.verb),
                [*QUIET, *overrides],
                with_log_configuration=False,
            )
    except KeyboardInterrupt as stop:
        log.warning("interrupted; run the same command again to continue")
        return diagnose(stop, folder)[2]
    except Exception as error:
        # A worker was killed, for want of memory or by a scheduler: its runs can be continued.
        raise UserError(
            f"the launcher stopped: {type(error).__name__}: {str(error).strip().splitlines()[0]}\n"
            "finished runs are kept; run the same command again for the rest"
        ) from error
    finally:
        (folder / "multirun.yaml").unlink(missing_ok=True)
    outcomes = list(_outcomes(returned))
    print_outcomes(outcomes)
    return CRASHED if any(outcome.state == "failed" for outcome in outcomes) else 0


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print one row per cell: what was special about it and how it ended."""
    common = set.intersection(*(set(outcome.overrides) for outcome in outcomes))
    table = Table("run", "state", "seconds", title=f"{len(outcomes)} runs")
    table.add_column("where or why", overflow="fold")
    for outcome in outcomes:
        label = " ".join(text for text in outcome.overrides if text not in common)
        state = f"[{STYLES[outcome.state]}]{outcome.state}[/]"
        where = outcome.error or Path(outcome.folder).name
        table.add_row(escape(label), state, f"{outcome.seconds:.0f}", escape(where))
    Console().print(table)


def _cell(verb: str, config: DictConfig) -> Outcome:
    """Run one cell inside whatever process the launcher chose."""
    if not logging.getLogger().handlers:
        log_to_screen()
    settings: Any = HydraConfig.get()
    overrides = list(settings.overrides.task)
    log.info("run %s: %s", settings.job.num, " ".join(overrides))
    try:
        checked = check_resolved(verb, config)
    except UserError as error:
        return Outcome(verb, "", "failed", 0.0, str(error), CRASHED, overrides)
    # A worker that outlived a killed sweep may still be at it: its run is as good as ours.
    outcome = execute(verb, checked, choices_of(settings), overrides, wait=True)
    stop_if_interrupted(outcome)
    if outcome.error:
        log.error("%s", outcome.error)
    return outcome


def problems_of(composer: Composer, cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield what is wrong with any of the cells."""
    for cell in cells:
        problems, usable = composer.sort_out(cell)
        yield from problems
        yield from composer.resolved(usable)[2]


def _settings(composer: Composer, overrides: Sequence[str]) -> DictConfig:
    settings: DictConfig = composer.look_at(*_shaping(composer, overrides)).hydra
    return settings


def _shaping(composer: Composer, overrides: Sequence[str]) -> list[str]:
    """Return the overrides that all cells have in common and Hydra needs before the first."""
    texts = [
        text
        for text in overrides
        if not _is_sweep(text) and (_is_hydra(text) or text.startswith(("study=", "paths")))
    ]
    problems, usable = composer.sort_out(texts)
    refuse(composer.verb, problems)
    return usable


def _is_hydra(text: str) -> bool:
    return text.lstrip("+~").startswith("hydra")


def _is_sweep(text: str) -> bool:
    override = parse(text)
    return override is not None and override.is_sweep_override()


def _outcomes(returned: object) -> Iterator[Outcome]:
    """Yield the outcomes in what a sweeper returned: lists of batches of jobs."""
    if isinstance(returned, JobReturn):
        yield returned.return_value
    elif isinstance(returned, list | tuple):
        for part in returned:
            yield from _outcomes(part)
