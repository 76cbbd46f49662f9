"""A Lightning logger between training and a tracker that may refuse something."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers.logger import Logger

from userllm.run.tracking.guard import attempt


class GuardedLogger(Logger):
    """A Lightning logger that loses only the values which the one behind it refuses.

    Args:
        inner: The logger that the values go to.
    """

    def __init__(self, inner: Logger) -> None:
        super().__init__()
        self.inner = inner
        self._refused: set[str] = set()

    @property
    def name(self) -> str | None:
        """Name of the logger behind it."""
        return self.inner.name

    @property
    def version(self) -> int | str | None:
        """Version of the logger behind it."""
        return self.inner.version

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log all values, or one by one when they are refused together; warn once per name."""
        try:
            self.inner.log_metrics(dict(metrics), step)
        except Exception:
            for name, value in metrics.items():
                if name not in self._refused and not attempt(
                    f"{name}={value}", self.inner.log_metrics, {name: value}, step
                ):
                    self._refused.add(name)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log settings."""
        attempt("the settings", lambda: self.inner.log_hyperparams(params, *args, **kwargs))

    def save(self) -> None:
        """Write what is buffered."""
        attempt("what was buffered", self.inner.save)

    def finalize(self, status: str) -> None:
        """End of training."""
        attempt("the end of training", self.inner.finalize, status)
