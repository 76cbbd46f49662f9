"""Hand cells to whatever launcher Hydra was told to use, and collect how they ended."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from userllm.config import Composer
from userllm.run.failure import CRASHED
from userllm.run.launch import Outcome

QUIET = (
    "hydra.mode=MULTIRUN",
    "hydra/hydra_logging=none",
    "hydra/job_logging=none",
    "hydra.output_subdir=null",
    "hydra.sweep.dir=${paths.runs}/.sweep",
    "hydra.sweep.subdir=.",
)
"""Overrides that keep Hydra from writing logs and folders of its own."""

Task = Callable[[DictConfig], Outcome]


def launch_cells(
    composer: Composer, overrides: Sequence[str], cells: Sequence[Sequence[str]], task: Task
) -> list[Outcome]:
    """Run some of a grid's cells with the launcher that the overrides choose.

    Hydra's multirun always launches the whole grid. On a cluster that is a job for every cell
    that was finished long ago, so this goes to the same launcher with what is left.

    Args:
        composer: Composes the verb.
        overrides: What was typed, the launcher's settings among it.
        cells: The overrides of each cell to run.
        task: Runs one cell, in whatever process.
    """
    config = composer.hydra.compose_config(
        composer.verb, [*QUIET, *overrides], RunMode.MULTIRUN, with_log_configuration=False
    )
    callbacks = Callbacks(config)
    callbacks.on_multirun_start(config=config, config_name=composer.verb)
    context = HydraContext(config_loader=composer.hydra.config_loader, callbacks=callbacks)
    launcher = Plugins.instance().instantiate_launcher(context, task, config)
    outcomes: list[Outcome] = []
    size = config.hydra.sweeper.get("max_batch_size")
    for batch in BasicSweeper.split_overrides_to_chunks([list(cell) for cell in cells], size):
        outcomes += outcomes_in(
            launcher.launch(batch, initial_job_idx=len(outcomes)), composer.verb
        )
    callbacks.on_multirun_end(config=config, config_name=composer.verb)
    return outcomes


def launch_search(composer: Composer, overrides: Sequence[str], task: Task) -> list[Outcome]:
    """Run a sweeper that chooses the cells as it goes, and return how each ended."""
    returned = composer.hydra.multirun(
        composer.verb, task, [*QUIET, *overrides], with_log_configuration=False
    )
    return list(outcomes_in(returned, composer.verb))


def outcomes_in(returned: Any, verb: str) -> Iterator[Outcome]:
    """Yield the outcomes in what Hydra returned: jobs, or lists of batches of them."""
    if isinstance(returned, JobReturn):
        yield _outcome_of(returned, verb)
    elif isinstance(returned, list | tuple):
        for part in returned:
            yield from outcomes_in(part, verb)


def _outcome_of(job: JobReturn, verb: str) -> Outcome:
    if job.status == JobStatus.COMPLETED:
        outcome: Outcome = job.return_value
        return outcome
    # A cell records its own failures: what comes this way happened before it could.
    failure = job._return_value
    error = f"{type(failure).__name__}: {failure}"
    return Outcome(verb, "", "failed", 0.0, error, CRASHED, list(job.overrides or ()))
