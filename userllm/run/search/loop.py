"""A search: choose a batch of trials, launch it, remember how it went, and again."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.utils import JobReturn, JobStatus

from userllm.config import Composer, refuse
from userllm.errors import UserError
from userllm.run.launch import Outcome
from userllm.run.search.ending import print_trials
from userllm.run.search.memory import Memory, Trial, need_optuna
from userllm.run.search.objective import curve, value_of
from userllm.run.search.pruning import Watch, watched
from userllm.run.search.settings import Settings
from userllm.run.search.space import Value, distributions

log = logging.getLogger(__name__)

Launch = Callable[[Callable[[Any], Any], Sequence[Sequence[str]], int], Sequence[JobReturn]]
"""Runs a batch: what wraps the task, overrides of each trial, number of the first."""


def search(settings: Settings, launch: Launch) -> list[JobReturn]:
    """Run the trials that are not over yet, print all, and return how each ended.

    The same command continues a search: trials that are over are kept, those under way are the
    same runs again, failed ones are tried again.

    Args:
        settings: The search.
        launch: Runs a batch of trials.

    Raises:
        UserError: Values that cannot be searched, a search that another process is at.
    """
    if not settings.varied:
        return list(launch(lambda task: task, [settings.fixed], 0))
    need_optuna()
    space = distributions(settings.varied)
    with _alone(settings.path):
        memory = Memory(settings.path, space, settings.direction)
        returned: list[JobReturn] = []
        for first in range(0, settings.trials, settings.parallel):
            batch = range(first, min(first + settings.parallel, settings.trials))
            returned += _run_batch(settings, memory, batch, launch)
        trials = memory.trials()
        print_trials(settings, [trials[number] for number in sorted(trials)])
    return returned


def command_words(settings: Settings, params: Mapping[str, Value]) -> list[str]:
    """Return a trial's overrides."""
    return [*settings.fixed, *(f"{key}={value}" for key, value in params.items())]


def _run_batch(
    settings: Settings, memory: Memory, batch: range, launch: Launch
) -> Iterator[JobReturn]:
    """Yield how the trials of a batch ended, in their order."""
    known = memory.trials()
    before = [one for n, one in sorted(known.items()) if n < batch.start and one.value is not None]
    todo: dict[int, dict[str, Value]] = {}
    for number in batch:
        if number in known and known[number].state != "failed":
            yield _done(settings.verb, known[number])
        elif number in known:
            todo[number] = known[number].params
        else:
            todo[number] = memory.propose(
                number, before, seed=settings.seed, startup=settings.startup
            )
    if not todo:
        return
    words = [command_words(settings, params) for params in todo.values()]
    if not known:
        # Hydra would say it for the first trial, in its own words.
        refuse(settings.verb, Composer(settings.verb).sort_out(words[0])[0])
    jobs = launch(_wrapper(settings, before), words, next(iter(todo)))
    for (number, params), job, overrides in zip(todo.items(), jobs, words, strict=True):
        memory.add(_trial(settings, number, params, overrides, job))
        yield job


def _wrapper(settings: Settings, before: Sequence[Trial]) -> Callable[[Any], Any]:
    if not settings.prune:
        return lambda task: task
    watch = Watch(
        verb=settings.verb,
        metric=settings.metric,
        direction=settings.direction,
        startup=settings.startup,
        curves=[one.curve for one in before if one.state == "complete" and one.curve],
    )
    return lambda task: partial(watched, task, watch)


def _trial(
    settings: Settings,
    number: int,
    params: dict[str, Value],
    overrides: list[str],
    job: JobReturn,
) -> Trial:
    """Return what is to be remembered of a job."""
    known = partial(Trial, number=number, params=params, overrides=overrides)
    if job.status != JobStatus.COMPLETED:
        error = str(job._return_value)
        return known(state="failed", value=None, folder="", error=error)
    outcome: Outcome = job.return_value
    better = max if settings.direction == "maximize" else min
    if outcome.state == "failed":
        return known(state="failed", value=None, folder=outcome.folder, error=outcome.error)
    points = curve(Path(outcome.folder), settings.metric)
    known = partial(known, folder=outcome.folder, curve=points)
    if outcome.error:
        return known(state="pruned", value=better(points.values()), error=outcome.error)
    value = value_of(Path(outcome.folder), settings.metric, better)
    if not math.isfinite(value):
        return known(state="failed", value=None, error=f"{settings.metric} is {value}")
    return known(state="complete", value=value, error="")


def _done(verb: str, trial: Trial) -> JobReturn:
    """Return a trial of an earlier start as a job that had nothing to do."""
    outcome = Outcome(verb, trial.folder, "skipped", error=trial.error, overrides=trial.overrides)
    return JobReturn(overrides=trial.overrides, status=JobStatus.COMPLETED, _return_value=outcome)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a search, so that two processes never choose its next trial."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process is at this search ({path}); wait for it") from None
    try:
        yield
    finally:
        lock.release()
