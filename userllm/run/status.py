"""``userllm status``: how far a study or some runs are, without disturbing them.

Reads files only and imports no PyTorch: a hundred runs take less than a second.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from userllm.errors import UserError
from userllm.report import units
from userllm.report.terminal import wide_console
from userllm.run.ending import coloured
from userllm.run.planned import in_words
from userllm.run.progress import Progress, read_progress, seconds_left
from userllm.run.reference import find_runs
from userllm.run.study_plan import read_plan

ORDER = ("running", "failed", "interrupted", "new", "finished")
"""What needs eyes comes first: a live view shows only as much as the terminal is high."""
EVERY = 2.0
"""Seconds between two looks."""


def status(words: Sequence[str], *, watch: bool) -> None:
    """Print how far runs are, once or until they are all finished.

    Args:
        words: Studies, run folders, patterns; ``paths.runs=<folder>`` where they are not in runs/.
        watch: Look again and again.

    Raises:
        UserError: A word names no run.
    """
    runs = Path("runs")
    named = []
    for word in words:
        if word.startswith("paths.runs="):
            runs = Path(word.partition("=")[2])
        else:
            named.append(word)
    folders = members(named or [str(runs)], runs.absolute())
    console = wide_console()
    if not watch:
        console.print(view(look(folders)))
    elif console.is_terminal:
        _watch(folders, console)
    else:
        _report(folders, console)


def members(words: Sequence[str], runs: Path) -> dict[Path, str]:
    """Return the runs that words name, with what is special about each; studies come whole.

    Raises:
        UserError: A word names nothing.
    """
    found: dict[Path, str] = {}
    for word in words:
        planned = read_plan(runs, word)
        found |= planned
        try:
            found |= {path: path.name for path in find_runs([word], runs) if path not in planned}
        except UserError:
            if not planned:
                raise
    return found


def look(folders: dict[Path, str]) -> list[Progress]:
    """Return how far runs are, what is under way first."""
    runs = [read_progress(folder, label) for folder, label in folders.items()]
    return sorted(runs, key=lambda run: ORDER.index(run.state))


def view(runs: Sequence[Progress]) -> Group:
    """Return the table of runs and one line about all of them."""
    table = Table("run", "state", "steps", "time", "score")
    for run in runs:
        table.add_row(
            escape(run.label or run.folder.name),
            coloured(run.state),
            _written_steps(run),
            units.duration(run.seconds) if run.seconds else "",
            Text(run.error, style="red") if run.error else _written_scores(run),
        )
    return Group(table, Text(_summary(runs)))


def _summary(runs: Sequence[Progress]) -> str:
    left = seconds_left(runs)
    to_do = sum(run.state != "finished" for run in runs)
    active = any(run.state == "running" for run in runs)
    text = f"{len(runs)} runs: {in_words(run.state for run in runs)}"
    if not to_do:
        return text
    if left is None:
        return f"{text}; no run is finished to tell from how long the rest takes"
    how = "to go" if active else "of work to do, and nothing is running"
    return f"{text}; about {units.duration(left)} {how}"


def _written_steps(run: Progress) -> str:
    if run.state == "finished" or not run.step:
        return ""
    return f"{run.step:,} of {run.steps:,}" if run.steps else f"{run.step:,}"


def _written_scores(run: Progress) -> str:
    return ", ".join(f"{name} {units.score(mean)}" for name, mean in run.scores)


def _watch(folders: dict[Path, str], console: Console) -> None:
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        for runs in _looks(folders):
            live.update(view(runs), refresh=True)


def _report(folders: dict[Path, str], console: Console) -> None:
    """Print a line for a log file whenever something has changed, and the table at the end."""
    before = ""
    runs: list[Progress] = []
    for runs in _looks(folders):
        now = in_words(run.state for run in runs)
        if now != before:
            console.print(now)
        before = now
    console.print(view(runs))


def _looks(folders: dict[Path, str]) -> Iterator[list[Progress]]:
    """Yield how far runs are until all are finished."""
    while True:
        runs = look(folders)
        yield runs
        if all(run.state == "finished" for run in runs):
            return
        time.sleep(EVERY)
