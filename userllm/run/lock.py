"""Who holds a run's folder, since when, and how another process waits for it.

The operating system drops a lock when its process dies, however it dies. The owner's name beside
it only says whom to ask, so a stale one does no harm.
"""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from userllm.errors import UserError
from userllm.report.units import duration

log = logging.getLogger(__name__)

LOCK = ".lock"
OWNER = ".owner.json"
PATIENCE = 0.2
"""Seconds to wait for somebody who only looked whether the lock is free."""


@contextmanager
def hold(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold a folder inside the block, so that two processes never write the same run.

    Args:
        folder: The run's; made where it is missing.
        wait: Wait for another process that holds it, instead of failing.

    Raises:
        UserError: Another process holds it and ``wait`` is off; says which, and for how long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        owner = owner_of(folder)
        if not wait:
            raise UserError(
                f"{folder} is in use by {owner}; wait for it or stop it, then try again"
            ) from None
        log.info("waiting for %s, which makes %s", owner, folder)
        lock.acquire()
    try:
        _sign(folder)
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def is_held(folder: Path) -> bool:
    """Return whether a living process holds a folder; nothing is made or written."""
    if not (folder / LOCK).is_file():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        # Somebody else's runs, which may only be read: what their status says has to do.
        return True
    lock.release()
    return False


def owner_of(folder: Path) -> str:
    """Return who holds a folder and for how long, in words."""
    owner = _signature(folder)
    who = f"process {owner.get('pid', '?')} on {owner.get('host', 'this machine')}"
    seconds = seconds_since(owner.get("since"))
    return who if seconds is None else f"{who} (for {duration(seconds)})"


def held_since(folder: Path) -> str | None:
    """Return when the present owner took a folder."""
    return _signature(folder).get("since")


def seconds_since(moment: str | None) -> float | None:
    """Return the seconds since an ISO time; 0 where the clock went backwards in between."""
    if moment is None:
        return None
    with suppress(ValueError):
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    return None


def _sign(folder: Path) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    # A reader that finds half of it finds nobody's name, which is harmless.
    (folder / OWNER).write_text(json.dumps(owner), encoding="utf-8")


def _signature(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return owner if isinstance(owner, dict) else {}
    return {}
