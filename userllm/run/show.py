"""``userllm show``: one user of a finished run, as a person would read it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from userllm.errors import UserError
from userllm.report.results import WITHOUT_USER, Result, load

NOTHING = "(nothing)"


def show(run: Path, user: str | None) -> None:
    """Print a user's history, then each question with every method's answer and the truth.

    The answer of the same model that was told nothing about the user stands below, as in the
    paper's Appendix F.

    Args:
        run: Folder of a finished run.
        user: Which of the users that the run kept; None takes the first.

    Raises:
        UserError: The run is not finished, keeps no examples, or not this user's.
    """
    result = load(run)
    if not isinstance(result, Result):
        raise UserError(f"{run} is {result.state}, so it has no answers to show; run it again.")
    console = Console()
    for example in _pick(result, user):
        console.print(Text(f"User {example['user']} in {result.run['folder']}", style="bold"))
        console.print(_history(example["history"]))
        console.print(Text(example["question"], style="bold"))
        console.print(_answers(example))


def _pick(result: Result, user: str | None) -> list[Mapping[str, Any]]:
    """Return the examples of one user, one of each task, or say which users there are."""
    kept: dict[str, list[Mapping[str, Any]]] = {}
    for example in result.examples:
        kept.setdefault(str(example["user"]), []).append(example)
    if not kept:
        raise UserError(
            f"{result.folder} keeps no examples; runs of contextualize and evaluate do."
        )
    if user is None:
        return next(iter(kept.values()))
    if user not in kept:
        raise UserError(
            f"{result.folder} keeps no example of user {user!r}; it has: {', '.join(kept)}"
        )
    return kept[user]


def _history(events: Sequence[Mapping[str, Any]]) -> Table:
    """Return the events, oldest first; titles are text, never markup."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", style="dim")
    table.add_column("title")
    table.add_column("categories", style="dim")
    table.add_column("rating", justify="right")
    for number, event in enumerate(events, start=1):
        rating = "" if event["rating"] is None else f"{event['rating']:g}"
        categories = ", ".join(event["categories"] or ())
        table.add_row(str(number), Text(event["title"]), Text(categories), rating)
    return table


def _answers(example: Mapping[str, Any]) -> Table:
    """Return what every method answered, best first, right answers in green."""
    truth = str(example["truth"])
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row(Text("truth", style="dim"), Text(truth, style="bold"))
    told = dict(example["answers"])
    # The model's own answers come first, and right below them those without the user.
    method = next(iter(told))
    rows = {method: told.pop(method), WITHOUT_USER: example.get("unpersonalized"), **told}
    for name, answers in rows.items():
        if answers is not None:
            said = [
                Text(str(answer) or NOTHING, style="green" if str(answer) == truth else "")
                for answer in answers
            ]
            table.add_row(Text(name, style="dim"), Text(" · ", style="dim").join(said))
    return table
