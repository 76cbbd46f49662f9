"""A Lightning logger for a tracker that allows fewer letters in a name than we use."""

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers.logger import Logger


class RenamedLogger(Logger):
    """Logs values under other names.

    Args:
        inner: The logger behind it.
        rename: From our name to its name.
    """

    def __init__(self, inner: Logger, rename: Callable[[str], str]) -> None:
        super().__init__()
        self.inner, self.rename = inner, rename

    @property
    def name(self) -> str | None:
        """Name of the logger behind it."""
        return self.inner.name

    @property
    def version(self) -> int | str | None:
        """Version of the logger behind it."""
        return self.inner.version

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values."""
        self.inner.log_metrics({self.rename(name): v for name, v in metrics.items()}, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log settings."""
        self.inner.log_hyperparams(params, *args, **kwargs)
