"""Run one stage in its folder: skip what is finished, continue what was cut short, record all.

Every way of starting a run (a command, a cell of a sweep, a stage that another one needs) comes
through ``execute``.
"""

import importlib
import logging
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from userllm.config import as_config
from userllm.errors import Helped, UserError
from userllm.run import tracking
from userllm.run.failure import TERMINATED, StageError, Terminated, diagnose, terminable
from userllm.run.folder import RunFolder, lost_files, read_result, read_status, timestamp
from userllm.run.journal import journal
from userllm.run.lock import hold
from userllm.run.made_from import refuse_stale
from userllm.run.manifest import describe_environment
from userllm.run.reference import MEASURED, pin, record_member
from userllm.run.stage import derive
from userllm.run.whole import INPUTS

log = logging.getLogger(__name__)

ALWAYS = {"compare", "benchmark"}
"""Verbs that look at what is there now, so a finished one says nothing about today."""
TRAINED = {"pretrain", "contextualize"}
"""Verbs whose training several processes can share."""
IN_PROGRESS = "USERLLM_RUNS_IN_PROGRESS"
"""Variable for processes that a training starts: the folders of the run and of what needs it."""

_choices: ContextVar[Mapping[str, str]] = ContextVar("choices")
"""Group choices of the run in progress; they name the stages that it needs."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended; plain values, since it travels between processes."""

    verb: str
    folder: str
    state: str
    """One of finished, skipped, failed, interrupted."""
    seconds: float = 0.0
    error: str = ""
    exit_code: int = 0
    overrides: list[str] = field(default_factory=list)


def execute(
    verb: str,
    config: DictConfig,
    choices: Mapping[str, str],
    overrides: Sequence[str],
    *,
    wait: bool = False,
) -> Outcome:
    """Run one stage unless it is finished, and say how it ended; errors do not escape.

    Args:
        verb: Which function of ``userllm.run`` to call.
        config: The resolved and checked config.
        choices: Config group to option.
        overrides: What was typed, for the record.
        wait: Wait for another process that holds the folder, instead of failing.
    """
    began = time.monotonic()
    try:
        runs = Path(config.paths.runs).absolute()
        pinned = as_config(pin(OmegaConf.to_container(config), runs))
        folder = RunFolder(verb=verb, config=pinned, choices=choices, overrides=overrides)
        if is_helper() and verb in TRAINED:
            return _help(folder, pinned)
        with terminable(), hold(folder.path, wait=wait or is_helper()):
            if config.get("group"):
                record_member(runs, config.group, folder.path)
            if folder.state == "finished":
                refuse_stale(folder.path)
            if folder.state == "finished" and verb not in ALWAYS and _is_whole(folder):
                level = logging.DEBUG if wait else logging.INFO
                log.log(level, "%s/%s is finished already: %s", verb, folder.name, folder.path)
                return Outcome(verb, str(folder.path), "skipped", overrides=list(overrides))
            state, error, code = _attempt(folder, pinned)
    except (UserError, OSError, KeyboardInterrupt) as failure:
        # Before the folder was ours, so there is nothing in it to update.
        state, error, code = diagnose(failure, Path(config.paths.runs))
        return Outcome(verb, "", state, 0.0, error, code, list(overrides))
    seconds = time.monotonic() - began
    return Outcome(verb, str(folder.path), state, seconds, error, code, list(overrides))


def is_helper() -> bool:
    """Return whether this process was started to train on another device of a run."""
    # An interactive shell of SLURM has a rank of its own, which what a training starts inherits.
    names = ["LOCAL_RANK"] if IN_PROGRESS in os.environ else ["RANK", "SLURM_PROCID", "LOCAL_RANK"]
    ranks = (os.environ.get(name) for name in names)
    return next((int(rank) > 0 for rank in ranks if rank), False)


def _help(folder: RunFolder, config: DictConfig) -> Outcome:
    """Take part in a run's training; the first process holds the folder and writes into it.

    A process that this training started repeats the first one's command and ends with the training.
    One that a scheduler started waits for what the first makes of it, and goes on to the next.
    """
    wanted = os.environ.get(IN_PROGRESS)
    if wanted is not None and str(folder.path) not in wanted.split(os.pathsep):
        return Outcome(folder.verb, str(folder.path), "skipped")
    if folder.state != "finished":
        token = _choices.set(folder.choices)
        try:
            _prepare_process(config)
            verb_function(folder.verb)(config, folder)
        except Helped:
            if wanted is not None:
                raise
        finally:
            _choices.reset(token)
        with hold(folder.path, wait=True):
            status = read_status(folder.path)
        if status.get("state") != "finished":
            told = status.get("error") or f"the first process did not finish {folder.path}"
            return Outcome(folder.verb, str(folder.path), "failed", error=told, exit_code=1)
    return Outcome(folder.verb, str(folder.path), "finished")


@contextmanager
def _announced(folder: Path) -> Iterator[None]:
    """Tell the processes that a training starts which run they are for."""
    before = os.environ.get(IN_PROGRESS)
    os.environ[IN_PROGRESS] = os.pathsep.join([*([before] if before else []), str(folder)])
    try:
        yield
    finally:
        del os.environ[IN_PROGRESS]
        if before is not None:
            os.environ[IN_PROGRESS] = before


def ensure(verb: str, config: DictConfig, choices: Mapping[str, str] | None = None) -> Path:
    """Return the finished run of an earlier stage, running it first where needed.

    Args:
        verb: ``prepare`` or ``pretrain``.
        config: The config of the stage that needs it.
        choices: That stage's group choices; None takes those of the run in progress.

    Raises:
        UserError: The earlier stage failed.
        KeyboardInterrupt: It was interrupted.
    """
    needed = derive(verb, config, _choices.get({}) if choices is None else choices)
    outcome = execute(verb, needed.config, needed.choices, needed.overrides, wait=True)
    stop_if_interrupted(outcome)
    if outcome.state == "failed":
        where = f"\n(its log: {outcome.folder}/log.txt)" if outcome.folder else ""
        raise StageError(f"needs {verb}, which failed: {outcome.error}{where}", outcome.exit_code)
    if config.get("group") and verb in MEASURED:
        # The encoder's own ranking is a row of the study's table.
        record_member(Path(config.paths.runs).absolute(), config.group, Path(outcome.folder))
    tracking.used(Path(outcome.folder))
    return Path(outcome.folder)


def stop_if_interrupted(outcome: Outcome) -> None:
    """Raise again what interrupted a run, for whatever was to come after it."""
    if outcome.state == "interrupted":
        raise Terminated if outcome.exit_code == TERMINATED else KeyboardInterrupt


def _is_whole(folder: RunFolder) -> bool:
    """Return whether a finished run can be left alone; say so and make room where it cannot."""
    lost, again = lost_files(folder.verb, folder.path)
    told = "; ".join(f"{name} {what}" for name, what in lost.items())
    if again:
        log.warning(
            "%s was finished, but %s. It is made again from what is left", folder.name, told
        )
        if any(name.startswith("checkpoints/") for name in again):
            # The step that was best is gone, and only training finds it again.
            shutil.rmtree(folder.checkpoints)
        return False
    if set(lost) - set(INPUTS):
        log.warning(
            "%s: %s. Its scores are whole; to have the rest again, delete %s and repeat",
            *(folder.name, told, folder.path),
        )
    if set(lost) & set(INPUTS):
        folder.write_inputs(read_result(folder.path)["environment"])
    return True


def _attempt(folder: RunFolder, config: DictConfig) -> tuple[str, str, int]:
    """Call the verb; return state, error and exit code, which are in status.json too."""
    token = _choices.set(folder.choices)
    before, began = folder.state, time.monotonic()
    try:
        with journal(folder.path / "log.txt", folder.redactor), _announced(folder.path):
            try:
                _prepare_process(config)
                folder.write_inputs({**describe_environment(), "started": timestamp()})
                folder.set_state("running")
                # A run found as running was killed: the lock was free.
                doing = "starting" if before == "new" else f"continuing ({before} before)"
                log.info("%s %s/%s", doing, folder.verb, folder.name)
                _warn_of_a_short_curve(folder)
                tracking.start(folder)
                verb_function(folder.verb)(config, folder)
                tracking.log_summary(folder)
            except BaseException as failure:
                state, error, code = diagnose(failure, folder.path)
                log.debug("%s", traceback.format_exc())
            else:
                state, error, code = "finished", "", 0
            tracking.finish(folder, code)
            return _record(folder, state, error, code, time.monotonic() - began)
    finally:
        _choices.reset(token)


def _warn_of_a_short_curve(folder: RunFolder) -> None:
    has_weights = (folder.path / "checkpoints" / "last.ckpt").is_file()
    if has_weights and not (folder.path / "metrics.csv").is_file():
        log.warning(
            "metrics.csv is gone: the curve starts where training goes on, the result does not "
            "need it. For a whole curve delete %s and repeat the command",
            folder.path,
        )


def _record(
    folder: RunFolder, state: str, error: str, code: int, seconds: float
) -> tuple[str, str, int]:
    try:
        folder.set_state(state, error or None, seconds=seconds)
    except OSError as failure:
        # A full disk may refuse this too; the folder then still says running with its lock
        # free, which the next start takes for interrupted.
        if state == "finished":
            return diagnose(failure, folder.path)
    return state, error, code


def verb_function(verb: str) -> Callable[[DictConfig, RunFolder], None]:
    """Return ``run`` of ``userllm.run.<verb>``."""
    function: Callable[[DictConfig, RunFolder], None]
    function = importlib.import_module(f"userllm.run.{verb}").run
    return function


def _prepare_process(config: DictConfig) -> None:
    """Set what a process has only one of: threads, memory and its peak, random generators."""
    if "threads" not in config:
        return
    from pytorch_lightning import seed_everything

    from userllm.training.memory import forget_peak_memory
    from userllm.training.processes import set_up_process

    set_up_process(config.threads)
    if "seed" in config:
        seed_everything(config.seed, workers=True, verbose=False)
    forget_peak_memory()
