"""``userllm wandb sync``: send what W&B runs wrote while nobody was logged in."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from userllm.errors import UserError
from userllm.run.tracking.login import is_logged_in, is_reachable, server_url

MARK = ".synced"
"""What W&B appends to the name of a file that it has sent."""


@dataclass(frozen=True)
class Sent:
    """What became of the offline parts of some runs.

    Attributes:
        sent: Parts that were sent now.
        before: Parts that had been sent already.
        kept: Parts that could not be sent; the same command tries them again.
        without: Runs that have no offline part.
    """

    sent: list[Path]
    before: list[Path]
    kept: list[Path]
    without: list[Path]


def offline_parts(run: Path) -> list[Path]:
    """Return the folders that a run wrote offline, the oldest first; one per interruption."""
    return sorted(path for path in run.glob("wandb/offline-run-*") if list(path.glob("*.wandb")))


def is_sent(part: Path) -> bool:
    """Return whether W&B has sent a part."""
    return bool(list(part.glob(f"*.wandb{MARK}")))


def sync(runs: Sequence[Path]) -> Sent:
    """Send the offline parts of runs that were not sent yet, with ``wandb sync``.

    Args:
        runs: Folders of runs.

    Raises:
        UserError: Nobody is logged in, or the server does not answer.
    """
    parts = [part for run in runs for part in offline_parts(run)]
    without = [run for run in runs if not offline_parts(run)]
    before = [part for part in parts if is_sent(part)]
    todo = [part for part in parts if part not in before]
    if todo:
        _refuse_without_server()
        # One call: W&B sends parts of one run one after the other, in the order of their start.
        command = [sys.executable, "-m", "wandb", "sync", *map(str, todo)]
        subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    sent = [part for part in todo if is_sent(part)]
    return Sent(sent, before, [part for part in todo if part not in sent], without)


def _refuse_without_server() -> None:
    if not is_logged_in():
        raise UserError("nobody is logged in to W&B; type wandb login, then this command again")
    if not is_reachable(server_url()):
        raise UserError(
            f"{server_url()} does not answer; nothing was sent and nothing is lost, type the same "
            "command once there is a network"
        )
