"""Tells Hydra of the sweeper behind ``hydra/sweeper=search``; Hydra looks for plugins here only.

Hydra imports this whenever it starts, so it imports nothing heavy.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SearchSweeper(Sweeper):
    """Chooses trials one batch after the other; Hydra's launchers run them.

    Args:
        settings: The keys of ``conf/hydra/sweeper/search.yaml``.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives to every sweeper."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Run all trials; return how each ended.

        Args:
            arguments: What was typed, Hydra's own overrides left out.
        """
        from userllm.run.search.loop import search
        from userllm.run.search.settings import read_settings

        assert self.config is not None
        settings = read_settings(self.config, self.settings, arguments)
        return search(settings, self.launch)

    def launch(
        self, task_wrapper: Any, batch: Sequence[Sequence[str]], first: int
    ) -> Sequence[JobReturn]:
        """Run one batch with the launcher that was chosen.

        Args:
            task_wrapper: Makes what a worker calls from Hydra's own task.
            batch: Overrides of each trial.
            first: Number of the first trial.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        launcher = Plugins.instance().instantiate_launcher(
            self.hydra_context, task_wrapper(self.task_function), self.config
        )
        return launcher.launch(batch, initial_job_idx=first)
