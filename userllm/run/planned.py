"""The cells of a sweep before any of them runs: where each lives and how far it is.

Nothing here imports PyTorch, so that a plan of a hundred cells is on the screen in seconds.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from userllm.check import MISSING, find_problems
from userllm.config import Composer, as_config, choices_of, refuse, resolve, without_hydra
from userllm.data.progress import track
from userllm.errors import UserError
from userllm.run.folder import RunFolder, lost_files, read_status
from userllm.run.lock import OWNER, is_held
from userllm.run.made_from import refuse_stale
from userllm.run.reference import pin

STATES = ("finished", "running", "interrupted", "failed", "new")


@dataclass(frozen=True)
class Planned:
    """One cell.

    Attributes:
        overrides: What makes it different from the verb's defaults.
        config: Its config, resolved.
        choices: Config group to option.
        folder: Where its run is or will be; None where a run that it refers to is not there yet.
        state: One of ``STATES``.
        note: Why it failed, or what of a finished run is lost.
    """

    overrides: list[str]
    config: dict[str, Any]
    choices: dict[str, str]
    folder: Path | None
    state: str
    note: str = ""


def look_up(composer: Composer, cells: Sequence[Sequence[str]]) -> list[Planned]:
    """Return the cells with their states.

    Raises:
        UserError: With the misspelt names of all cells, and the interpolations that lead nowhere.
    """
    problems: list[str] = []
    found: list[Planned] = []
    for cell in track(cells, "looking up runs", len(cells)):
        misspelt, usable = composer.sort_out(cell)
        composed = composer.look_at(*usable)
        config, unresolved = resolve(without_hydra(composed))
        problems += [*misspelt, *unresolved]
        if not problems:
            if _has_gaps(config):
                refuse(composer.verb, find_problems(composer.verb, config))
            found.append(_planned(composer.verb, list(cell), config, choices_of(composed.hydra)))
    refuse(composer.verb, problems)
    return found


def state_of(folder: Path) -> str:
    """Return one of ``STATES``; a run that says running but that nobody holds was killed."""
    state = str(read_status(folder).get("state", "new"))
    may_run = state == "running" or (folder / OWNER).is_file()
    if may_run and is_held(folder):
        return "running"
    return "interrupted" if state == "running" else state


def in_words(states: Iterable[str]) -> str:
    """Return how many runs are in which state."""
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def _planned(
    verb: str, cell: list[str], config: dict[str, Any], choices: dict[str, str]
) -> Planned:
    runs = Path(config["paths"]["runs"]).absolute()
    try:
        pinned = as_config(pin(config, runs))
    except UserError as error:
        return Planned(cell, config, choices, None, "new", str(error).splitlines()[0])
    folder = RunFolder(verb=verb, config=pinned, choices=choices, overrides=cell).path
    state = state_of(folder)
    if state != "finished":
        note = str(read_status(folder).get("error") or "") if state == "failed" else ""
        return Planned(cell, config, choices, folder, state, note)
    try:
        lost, again = lost_files(verb, folder)
        refuse_stale(folder)
    except UserError as error:
        return Planned(cell, config, choices, folder, "failed", str(error))
    note = "; ".join(f"{name} {lost[name]}" for name in again)
    return Planned(cell, config, choices, folder, "interrupted" if again else "finished", note)


def _has_gaps(config: dict[str, Any]) -> bool:
    """Return whether a value is still to be given, or stands in for an unresolved one."""
    return MISSING in json.dumps(config, default=lambda _: MISSING)
