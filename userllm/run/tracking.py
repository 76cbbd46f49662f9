"""Where metrics go besides metrics.csv: one Weights & Biases run per run, when asked.

W&B never asks and never waits: it is online only when somebody is logged in and the server
answers, else it writes into the run's folder, from where ``wandb sync`` sends it later.
"""

import hashlib
import json
import logging
import netrc
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args
from urllib.parse import urlsplit

from userllm.errors import UserError
from userllm.run.folder import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]

SERVER = "https://api.wandb.ai"
CONNECT_SECONDS = 2.0

_open: dict[Path, Any] = {}
"""Run folder to its open W&B run; more than one while a stage makes one it needs."""


def start(folder: RunFolder) -> None:
    """Open the folder's W&B run when its config asks for one."""
    settings = folder.config["logger"]["wandb"] if "logger" in folder.config else None
    if settings is None:
        return
    try:
        import wandb
    except ImportError:
        raise UserError(
            "logger=wandb needs the wandb package; type pip install 'userllm[wandb]'"
        ) from None
    mode = wandb_mode(settings["mode"])
    _open[folder.path] = wandb.init(
        project=settings["project"],
        entity=settings["entity"],
        id=run_id(folder),
        name=folder.name,
        group=folder.config.get("group"),
        job_type=folder.verb,
        config=folder.redactor.tree(folder.config),
        dir=folder.path,
        mode=mode,
        # A run of another folder may be open: the stage that needs this one.
        reinit="create_new",
        # Offline there is nothing to resume from; sessions of one id join when they are synced.
        resume="allow" if mode == "online" else None,
        settings=wandb.Settings(silent=True, console="off", init_timeout=60),
    )
    log.info("W&B: %s%s", mode, "" if mode == "online" else f", below {folder.path / 'wandb'}")


def loggers(folder: RunFolder) -> "list[Logger]":
    """Return the Lightning loggers of a run, for whoever trains in it; metrics.csv needs none."""
    if folder.path not in _open:
        return []
    from pytorch_lightning.loggers import WandbLogger

    return [WandbLogger(experiment=_open[folder.path])]


def log_summary(folder: RunFolder) -> None:
    """Put the numbers of result.json into the W&B run's summary, where it has a place for them."""
    path = folder.path / "result.json"
    if folder.path not in _open or not path.is_file():
        return
    result = json.loads(path.read_text(encoding="utf-8"))
    summary = {
        f"{outcome['task']}/{outcome['method']}/{outcome['scorer']}/{name}": metric["mean"]
        for outcome in result.get("outcomes", ())
        for name, metric in outcome["metrics"].items()
    }
    _open[folder.path].summary.update(summary)


def log_report(folder: RunFolder, *, table: Path, figures: Sequence[Path]) -> None:
    """Put a comparison's table and figures into the W&B run; without one, do nothing.

    Args:
        folder: The comparison's run.
        table: A CSV file.
        figures: PNG files.
    """
    if folder.path not in _open:
        return
    import csv

    import wandb

    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    images = {f"figure/{path.stem}": wandb.Image(str(path)) for path in figures}
    _open[folder.path].log({"comparison": wandb.Table(columns=list(header), data=rows), **images})


def finish(folder: RunFolder, exit_code: int) -> None:
    """Close the folder's W&B run, however the run ended."""
    run = _open.pop(folder.path, None)
    if run is None:
        return
    try:
        run.finish(exit_code=exit_code)
    except Exception as error:
        # The run is done and on disk; its copy elsewhere must not change how it ended.
        log.warning("W&B did not close cleanly: %s", error)


def run_id(folder: RunFolder) -> str:
    """Return the same id for the same folder, so that an interrupted run goes on as itself."""
    return hashlib.sha256(f"{folder.verb}/{folder.name}".encode()).hexdigest()[:16]


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
