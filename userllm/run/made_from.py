"""Which earlier runs a run is made from: on others it neither goes on nor counts as done."""

import json
import os
from pathlib import Path

from userllm.errors import UserError
from userllm.run.folder import RunFolder, read_result

FILE = "made_from.json"
CONTENT = {
    "prepare": "data_fingerprint",
    "pretrain": "encoder_weights",
    "contextualize": "learned_weights",
}
"""Verb to what a result of it says of its content, in ``environment``."""


def note_made_from(folder: RunFolder, *earlier: Path) -> None:
    """Write down the earlier runs that a run begins with.

    Raises:
        UserError: There are checkpoints of a training that began with others.
    """
    if any(folder.path.glob("checkpoints/*.ckpt")):
        refuse_remade(folder.path)
    noted = {os.path.relpath(run, folder.path): _content(run) for run in earlier}
    folder.write_json(FILE, noted)


def refuse_remade(folder: Path) -> None:
    """Refuse a run where an earlier one was made anew and came out otherwise; gone ones pass.

    Args:
        folder: The run's.

    Raises:
        UserError: Naming the earlier run, what it was and what it is.
    """
    for earlier, was in _earlier(folder).items():
        now = _content(earlier)
        if was and now and was != now:
            raise UserError(
                f"{folder.name} was made from {earlier.parent.name}/{earlier.name} with "
                f"{CONTENT[earlier.parent.name]} {was[:12]}, which was made again since and has "
                f"{now[:12]}. Expected the same. Delete {folder} to run it on what there is now, "
                "or type paths.runs=<another folder> to keep both."
            )


def refuse_stale(folder: Path) -> None:
    """Refuse a finished run as :func:`refuse_remade` does, or where files of its data have changed.

    Args:
        folder: The run's; that of a corpus, too.

    Raises:
        UserError: Naming what has changed.
    """
    refuse_remade(folder)
    for run in (folder, *_earlier(folder)):
        if run.parent.name == "prepare":
            # Imported here: a list of runs starts without what reads data.
            from userllm.run.sources import refuse_changed

            refuse_changed(run)


def _earlier(folder: Path) -> dict[Path, str | None]:
    """Return the earlier runs that a run began with, and what they were then."""
    try:
        noted = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {Path(os.path.normpath(folder / name)): was for name, was in noted.items()}


def _content(run: Path) -> str | None:
    """Return the digest of what an earlier run made; None where that is not known."""
    try:
        environment = read_result(run)["environment"]
    except (OSError, ValueError, KeyError):
        return None
    found: str | None = environment.get(CONTENT.get(run.parent.name, ""))
    return found
