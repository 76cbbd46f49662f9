"""Where tables are printed."""

from rich.console import Console

PIPE_WIDTH = 140
"""Columns to print where nobody's terminal limits them."""


def wide_console() -> Console:
    """Return the terminal, or a wide page when the output goes to a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)
