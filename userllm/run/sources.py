"""Which files a corpus was prepared from: a finished one is not taken for that of changed files."""

import json
import os
from collections.abc import Iterable, Mapping
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
    files = {Path(name): stamp for name, stamp in noted["files"].items()}
    told = _moved(files, noted[VARIABLE]) or _changed(files)
    if told:
        raise UserError(
            f"{folder} was prepared from {told}. Expected the same data, because what was trained "
            f"on it would not fit. Type paths.runs=<another folder> to keep both, or delete "
            f"{folder} to prepare it again."
        )
    now = {str(path): [*_stamp(path), stamp[2]] for path, stamp in files.items() if path.is_file()}
    if noted["files"] | now != noted["files"]:
        # The same content at another time: it is not read for that again.
        noted["files"] |= now
        with suppress(OSError):
            write_text(folder / FILE, json.dumps(noted, indent=2) + "\n")


def _moved(files: Iterable[Path], was: str | None) -> str:
    """Return the file that lay in an earlier ``$USERLLM_DATA``, and where that is now."""
    now = os.environ.get(VARIABLE)
    if not was or not now or Path(now).expanduser() == Path(was).expanduser():
        return ""
    inside = Path(was).expanduser().absolute()
    return next(
        (f"{p}, and {VARIABLE} is {now} now" for p in files if p.is_relative_to(inside)), ""
    )


def _changed(files: Mapping[Path, list[Any]]) -> str:
    """Return the file whose content is not what it was; a copy only has another time."""
    for path, (size, time, digest) in files.items():
        if not path.is_file() or _stamp(path) == [size, time]:
            continue
        if path.stat().st_size != size or sha256(path) != digest:
            return f"{path}, which has changed since"
    return ""


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
