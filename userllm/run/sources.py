"""Which files a corpus was prepared from: a finished one is not taken for that of changed files."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from userllm.data.download import sha256
from userllm.data.own_files import VARIABLE
from userllm.data.protocol import RawData
from userllm.errors import UserError
from userllm.run.folder import write_text

FILE = "sources.json"


def note_sources(raw: RawData, folder: Path) -> None:
    """Write down the files that were read, and where ``$USERLLM_DATA`` was."""
    hashes = raw.provenance.get("files", {})
    files = {str(path.absolute()): [*_stamp(path), hashes.get(path.name)] for path in raw.files}
    noted = {VARIABLE: os.environ.get(VARIABLE), "files": files}
    write_text(folder / FILE, json.dumps(noted, indent=2) + "\n")


def refuse_changed(folder: Path) -> None:
    """Refuse a prepared corpus whose files say something else by now; gone ones say nothing.

    Raises:
        UserError: A file has changed, or ``$USERLLM_DATA`` names another folder than it lies in.
    """
    if not (folder / FILE).is_file():
        return
    noted = json.loads((folder / FILE).read_text(encoding="utf-8"))
    was, now = noted[VARIABLE], os.environ.get(VARIABLE)
    for name, stamp in noted["files"].items():
        path = Path(name)
        lies_there = was and path.is_relative_to(Path(was).expanduser().absolute())
        if lies_there and now and Path(now).expanduser() != Path(was).expanduser():
            told = f"{path}, and {VARIABLE} is {now} now"
        elif path.is_file() and _has_changed(path, stamp):
            told = f"{path}, which has changed since"
        else:
            if path.is_file() and stamp[:2] != _stamp(path):
                # The same content at another time: it is not read for that again.
                noted["files"][name] = [*_stamp(path), stamp[2]]
                with suppress(OSError):
                    write_text(folder / FILE, json.dumps(noted, indent=2) + "\n")
            continue
        raise UserError(
            f"{folder} was prepared from {told}. Expected the same data, because what was trained "
            f"on it would not fit. Type paths.runs=<another folder> to keep both, or delete "
            f"{folder} to prepare it again."
        )


def _has_changed(path: Path, stamp: list[Any]) -> bool:
    *before, digest = stamp
    size, _ = now = _stamp(path)
    # A copy has another time; the content decides.
    return now != before and (size != before[0] or digest != sha256(path))


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
