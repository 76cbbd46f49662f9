"""Stop a trial that falls behind, from inside the process that runs it.

A pruned run is an interrupted one: its own command would finish it. The search does not.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from userllm.run.folder import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger


@dataclass
class Watch:
    """What a worker has to know about the other trials.

    Attributes:
        curves: Step to value of each finished trial.
        stopped: Folder and step of each run that was pruned in this process.
    """

    verb: str
    metric: str
    direction: Literal["maximize", "minimize"]
    startup: int
    curves: list[dict[int, float]]
    stopped: list[tuple[Path, int]] = field(default_factory=list)

    def falls_behind(self, points: dict[int, float]) -> bool:
        """Return whether a trial's best so far is worse than the median of the others there."""
        import optuna

        study = optuna.create_study(direction=self.direction)
        states = optuna.trial.TrialState
        for other in self.curves:
            best = max(other.values()) if self.direction == "maximize" else min(other.values())
            study.add_trial(
                optuna.trial.create_trial(
                    state=states.COMPLETE, value=best, intermediate_values=other
                )
            )
        this = optuna.trial.create_trial(state=states.RUNNING, intermediate_values=points)
        return bool(optuna.pruners.MedianPruner(n_startup_trials=self.startup).prune(study, this))


class Pruned(KeyboardInterrupt):
    """Ends a run like Ctrl-C: it is kept as interrupted, not as failed."""


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


def watched(task: Callable[[DictConfig], Any], watch: Watch, config: DictConfig) -> Any:
    """Run a trial in a worker; one that is pruned returns an outcome like any other."""
    from userllm.run.launch import Outcome

    began, earlier = time.monotonic(), len(watch.stopped)
    token = _watch.set(watch)
    try:
        return task(config)
    except KeyboardInterrupt:
        if len(watch.stopped) == earlier:
            # Somebody's Ctrl-C, not this trial's place among the others.
            raise
        folder, step = watch.stopped[-1]
        settings: Any = HydraConfig.get()
        return Outcome(
            verb=watch.verb,
            folder=str(folder),
            state="skipped",
            seconds=time.monotonic() - began,
            error=f"pruned at step {step}",
            overrides=list(settings.overrides.task),
        )
    finally:
        _watch.reset(token)


def pruners(folder: RunFolder) -> "list[Logger]":
    """Return what watches a run's validation: something in a trial of a search, else nothing.

    Runs that a trial needs first are not its own validation, and are left alone.
    """
    watch = _watch.get()
    if watch is None or folder.verb != watch.verb:
        return []
    from userllm.run.search.pruner import Pruner

    return [Pruner(watch, folder.path)]
