"""Run many cells with Hydra's own launchers, and lose none of them.

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
from hydra.types import RunMode
from omegaconf import DictConfig

from userllm.config import Composer, check_resolved, choices_of, refuse
from userllm.errors import UserError
from userllm.overrides import is_hydra, is_sweep, parse
from userllm.run.ending import print_outcomes
from userllm.run.failure import BAD_INPUT, CRASHED, diagnose, one_line, terminable
from userllm.run.jobs import launch_cells, launch_search
from userllm.run.journal import log_to_screen
from userllm.run.launch import ALWAYS, Outcome, execute, is_helper, stop_if_interrupted
from userllm.run.planned import Planned, look_up
from userllm.run.study_plan import record_plan

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""A cell that crashed gets a second chance when the others are done: memory may be free by then,
and it goes on from its last checkpoint. Bad input would only be refused again."""


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
    asked = [text for text in overrides if not is_hydra(text)]
    if not is_grid(composer, overrides):
        # Other sweepers choose the values as they go; what stays the same is checked.
        return [[text for text in asked if not is_sweep(text)]]
    sweeper = _settings(composer, overrides).sweeper
    # What is typed comes last and so replaces what the study varies.
    texts = [*(f"{key}={value}" for key, value in (sweeper.params or {}).items()), *asked]
    parsed = [(text, parse(text)) for text in texts]
    refuse(composer.verb, [f"{t!r}: not key=value[,value…]" for t, o in parsed if o is None])
    cells: list[list[str]]
    (cells,) = BasicSweeper.split_arguments([o for _, o in parsed if o is not None], None)
    return cells


def is_grid(composer: Composer, overrides: Sequence[str]) -> bool:
    """Return whether all cells are known beforehand."""
    sweeper = _settings(composer, overrides).sweeper
    return bool(sweeper["_target_"].endswith(".BasicSweeper"))


def sweep(composer: Composer, overrides: Sequence[str]) -> int:
    """Run all cells that are not finished, print how each ended, and return the exit code.

    A failed cell is recorded and the rest go on; Ctrl-C stops all, to be continued by the same
    command.
    """
    cells = plan(composer, overrides)
    runs = Path(composer.compose(_shaping(composer, overrides)).paths.runs)
    try:
        with terminable():
            if is_grid(composer, overrides):
                outcomes = _run_grid(composer, overrides, look_up(composer, cells))
            else:
                outcomes = launch_search(composer, overrides, partial(_cell, composer.verb))
    except (KeyboardInterrupt, OSError) as stop:
        state, told, code = diagnose(stop, runs)
        if state != "interrupted":
            raise UserError(told) from stop
        log.warning("interrupted; run the same command again to continue")
        return code
    finally:
        (runs / ".sweep" / "multirun.yaml").unlink(missing_ok=True)
    print_outcomes(outcomes)
    return CRASHED if any(outcome.state == "failed" for outcome in outcomes) else 0


def _run_grid(
    composer: Composer, overrides: Sequence[str], cells: Sequence[Planned]
) -> list[Outcome]:
    """Run what is left of a grid, what crashed once more, and return how every cell ended."""
    ended = {
        number: Outcome(composer.verb, str(cell.folder), "skipped", overrides=cell.overrides)
        for number, cell in enumerate(cells)
        if cell.state == "finished" and composer.verb not in ALWAYS
    }
    log.info("%d runs, %d of them finished already", len(cells), len(ended))
    if not is_helper():
        record_plan(cells)
    left = [number for number in range(len(cells)) if number not in ended]
    for attempt in range(1, ATTEMPTS + 1):
        if not left:
            break
        outcomes = _launch(
            composer, overrides, [cells[number].overrides for number in left], attempt
        )
        ended |= dict(zip(left, outcomes, strict=False))
        crashed = {number for number, one in ended.items() if one.exit_code == CRASHED}
        left = [number for number in left if number not in ended or number in crashed]
        if crashed and attempt < ATTEMPTS:
            log.warning("%d of %d runs crashed; trying them once more", len(crashed), len(cells))
    return [ended[number] for number in range(len(cells))]


def _launch(
    composer: Composer, overrides: Sequence[str], cells: Sequence[list[str]], attempt: int
) -> list[Outcome]:
    """Return how the cells ended; none, on the first attempt, where the launcher itself died.

    Raises:
        UserError: It died again.
    """
    try:
        return launch_cells(composer, overrides, cells, partial(_cell, composer.verb))
    except Exception as error:
        # A worker was killed, for want of memory or by a scheduler: its runs can be continued.
        told = one_line(error)
        if attempt == ATTEMPTS:
            raise UserError(
                f"the launcher stopped: {told}\n"
                "finished runs are kept; run the same command again for the rest"
            ) from error
        log.warning("the launcher stopped: %s; starting it once more for the rest", told)
        return []


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
        return Outcome(verb, "", "failed", 0.0, str(error), BAD_INPUT, overrides)
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
        if not is_sweep(text) and (is_hydra(text) or text.startswith(("study=", "paths")))
    ]
    problems, usable = composer.sort_out(texts)
    refuse(composer.verb, problems)
    return usable
