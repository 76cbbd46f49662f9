"""Where metrics go besides metrics.csv: one run of a tracker per run, when ``logger=`` asks.

A tracker never decides how a run ends: what it refuses is one warning, and the run goes on.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userllm.build import build
from userllm.errors import UserError
from userllm.run.failure import one_line
from userllm.run.folder import RunFolder, read_result
from userllm.run.reference import PREFIX, find_runs
from userllm.run.search.pruning import pruners
from userllm.run.tracking.guard import attempt
from userllm.run.tracking.protocol import Tracker

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

_running: list[Path] = []
"""Folders of the runs in progress; more than one while a stage makes one that it needs."""
_open: dict[Path, Tracker] = {}
_sources: dict[Path, dict[Path, None]] = {}
"""Folder to the folders of the runs that it was made from."""


def start(folder: RunFolder) -> None:
    """Open the folder's tracker when its config names one.

    Raises:
        UserError: The tracker's package is not installed.
    """
    _running.append(folder.path)
    node = folder.config.get("logger")
    if not node:
        return
    try:
        _open[folder.path] = build(node, folder=folder)
    except UserError:
        raise
    except Exception as error:
        named = node["_target_"]
        log.warning("%s did not start, the run goes on without: %s", named, one_line(error))
        return
    _sources[folder.path] = dict.fromkeys(_named_sources(folder))


def used(source: Path) -> None:
    """Note that the run in progress is made from an earlier one."""
    if _running and _running[-1] in _open:
        _sources[_running[-1]][source] = None


def loggers(folder: RunFolder) -> "list[Logger]":
    """Return the Lightning loggers of a run, for whoever trains in it; metrics.csv needs none.

    What prunes the trials of a search comes last: it may end the run, after all was logged.
    """
    watching = pruners(folder)
    if folder.path not in _open:
        return watching
    from userllm.run.tracking.guarded import GuardedLogger

    return [*map(GuardedLogger, _open[folder.path].loggers()), *watching]


def log_summary(folder: RunFolder) -> None:
    """Hand over result.json and the files beside it, where the run has written one."""
    if folder.path not in _open or not (folder.path / "result.json").is_file():
        return
    result = read_result(folder.path)
    attempt("the result", _open[folder.path].log_result, result, list(_sources[folder.path]))


def log_report(folder: RunFolder, *, table: Path, figures: Sequence[Path]) -> None:
    """Hand over a comparison's table and figures; without a tracker, do nothing.

    Args:
        folder: The comparison's run.
        table: A CSV file.
        figures: PNG files.
    """
    if folder.path in _open:
        sources = list(_sources[folder.path])
        attempt("the comparison", _open[folder.path].log_report, table, figures, sources)


def finish(folder: RunFolder, exit_code: int) -> None:
    """Close the folder's tracker, however the run ended."""
    if _running and _running[-1] == folder.path:
        _running.pop()
    _sources.pop(folder.path, None)
    tracker = _open.pop(folder.path, None)
    if tracker is not None:
        # The run is done and on disk; its copy elsewhere must not change how it ended.
        attempt("the end of the run", tracker.finish, exit_code)


def _named_sources(folder: RunFolder) -> Iterator[Path]:
    """Yield the runs that a config names: the compared ones, and every ``run:`` reference."""
    if folder.verb == "compare":
        yield from find_runs([str(word) for word in folder.config["runs"]], folder.runs)
    for reference in _references(folder.config):
        yield folder.runs / reference.removeprefix(PREFIX)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(PREFIX):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _references(child)
