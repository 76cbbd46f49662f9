"""``logger=csv``: metrics.csv in the run's folder, which is always written, and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger


class Csv:
    """Tracks nothing."""

    def loggers(self) -> "list[Logger]":
        """Return none."""
        return []

    def log_result(self, result: Mapping[str, Any], sources: Sequence[Path]) -> None:
        """Do nothing: result.json is on disk."""

    def log_report(self, table: Path, figures: Sequence[Path], sources: Sequence[Path]) -> None:
        """Do nothing: the report is on disk."""

    def finish(self, exit_code: int) -> None:
        """Do nothing."""
