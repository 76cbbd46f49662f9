"""What a tracker can do with a run; ``logger=<option>`` chooses one of this folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger


class Tracker(Protocol):
    """One run elsewhere; built from ``conf/logger/`` with the run's ``folder``.

    Methods may raise whatever they like: the caller turns it into a warning.
    """

    def loggers(self) -> "list[Logger]":
        """Return Lightning loggers for values that training measures."""
        ...

    def log_result(self, result: Mapping[str, Any], sources: Sequence[Path]) -> None:
        """Take a finished run.

        Args:
            result: Its result.json.
            sources: Folders of the runs it was made from.
        """
        ...

    def log_report(self, table: Path, figures: Sequence[Path], sources: Sequence[Path]) -> None:
        """Take a comparison: a CSV file, PNG files, the folders of the compared runs."""
        ...

    def finish(self, exit_code: int) -> None:
        """Close; 0 says that the run finished."""
        ...
