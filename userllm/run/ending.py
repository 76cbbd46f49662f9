"""What is printed when a sweep is over: how every cell ended, and where to look for why."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from userllm.run.launch import Outcome

STYLES = {
    "finished": "green",
    "skipped": "cyan",
    "running": "blue",
    "failed": "red",
    "interrupted": "yellow",
    "new": "dim",
}


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print one row per cell, then the failed ones with their error and their log."""
    labels = differences([outcome.overrides for outcome in outcomes])
    table = Table("run", "state", "seconds", title=f"{len(outcomes)} runs")
    table.add_column("where or why", overflow="fold")
    for label, outcome in zip(labels, outcomes, strict=True):
        where = outcome.error or Path(outcome.folder).name
        table.add_row(
            escape(label), coloured(outcome.state), f"{outcome.seconds:.0f}", escape(where)
        )
    console = Console()
    console.print(table)
    failed = [pair for pair in zip(labels, outcomes, strict=True) if pair[1].state == "failed"]
    if not failed:
        return
    console.print(Text(f"{len(failed)} failed; the same command tries them again:"))
    for label, outcome in failed:
        console.print(Text(f"  {label or outcome.verb}: {outcome.error}", style="red"))
        if outcome.folder:
            # In one piece, so that it can be copied.
            console.print(Text(f"    {Path(outcome.folder) / 'log.txt'}"), soft_wrap=True)


def differences(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return what of each cell's overrides the other cells do not have too."""
    if len(cells) == 1:
        return [" ".join(cells[0])]
    common = set.intersection(*(set(cell) for cell in cells)) if cells else set()
    return [" ".join(text for text in cell if text not in common) for cell in cells]


def coloured(state: str) -> str:
    """Return a state as markup."""
    return f"[{STYLES[state]}]{state}[/]"
