"""A Lightning logger that is told of each validation and ends a run that falls behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from torch import distributed

from userllm.run.search.objective import PREFIX, curve
from userllm.run.search.pruning import Pruned, Watch


class Pruner(Logger):
    """Looks at metrics.csv after each validation; with several processes it prunes nothing.

    Args:
        watch: The search.
        run: Folder of the trial's run.
    """

    def __init__(self, watch: Watch, run: Path) -> None:
        super().__init__()
        self.watch, self.run = watch, run

    @property
    def name(self) -> str:
        """What Lightning calls it."""
        return "pruner"

    @property
    def version(self) -> None:
        """None: it writes nothing."""
        return None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """End the run when a validation was behind.

        Raises:
            Pruned: It was.
        """
        if step is None or f"{PREFIX}{self.watch.metric}" not in metrics:
            return
        if distributed.is_available() and distributed.is_initialized():
            return
        # The file has the validations before an interruption too.
        if self.watch.falls_behind(curve(self.run, self.watch.metric)):
            self.watch.stopped.append((self.run, step))
            raise Pruned(f"pruned at step {step}")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Ignore settings."""
