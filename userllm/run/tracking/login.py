"""Can W&B be reached, and as whom? Asked without a prompt and answered within seconds."""

import netrc
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

Mode = Literal["online", "offline", "disabled"]

SERVER = "https://api.wandb.ai"
CONNECT_SECONDS = 2.0


def wandb_mode(wanted: str) -> Mode:
    """Return how to log: as told, else online when logged in and the server answers."""
    told = os.environ.get("WANDB_MODE") or wanted
    if told in get_args(Mode):
        return cast("Mode", told)
    return "online" if is_logged_in() and is_reachable(server_url()) else "offline"


def server_url() -> str:
    """Return the W&B server in use."""
    return os.environ.get("WANDB_BASE_URL") or SERVER


def is_logged_in() -> bool:
    """Return whether a W&B key is set, without reading more of it than that."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(server_url()).hostname or ""
    for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            if name and netrc.netrc(Path(name).expanduser()).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def is_reachable(url: str, seconds: float = CONNECT_SECONDS) -> bool:
    """Return whether a server takes a connection within a few seconds."""
    parts = urlsplit(url)
    address = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    answers: list[bool] = []

    def connect() -> None:
        with suppress(OSError):
            socket.create_connection(address, timeout=seconds).close()
            answers.append(True)

    # In a thread, because looking a name up without a network ignores every timeout.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(seconds)
    return bool(answers)
