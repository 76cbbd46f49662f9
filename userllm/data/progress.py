"""Progress bars on the terminal for everything that takes more than a moment."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Value = TypeVar("Value")


def new_progress() -> Progress:
    """Return a bar on standard error, which leaves standard output to results.

    Where nobody watches (a log file, a batch job) it draws nothing.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def stage(description: str) -> Iterator[None]:
    """Show a moving bar while one step of unknown length runs."""
    with new_progress() as progress:
        progress.add_task(description, total=None)
        yield


def track(values: Iterable[Value], description: str, total: int) -> Iterator[Value]:
    """Pass ``values`` on and move a bar by one for each."""
    with new_progress() as progress:
        yield from progress.track(values, total=total, description=description)
