"""Folders that are either whole or not there."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import psutil

from userllm.errors import UserError

# NumPy and Polars report a full disk in words only.
WORDS_FOR_FULL = ("No space left", "not enough space", "quota exceeded", "requested and")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which takes the place of ``folder`` when all went well.

    An exception, a kill or a full disk leaves ``folder`` as it was before.

    Raises:
        UserError: The disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    unfinished = _unfinished(folder, os.getpid())
    try:
        unfinished.mkdir()
        yield unfinished
        _flush(unfinished)
        _replace(folder, unfinished)
    except (OSError, pl.exceptions.ComputeError) as error:
        if not _is_disk_full(error):
            raise
        free = shutil.disk_usage(folder.parent).free
        raise UserError(
            f"the disk is full: {folder} could not be written ({free / 2**20:,.1f} MiB are free) "
            "and nothing of it was kept. Free some space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unfinished(folder: Path, process: int | str) -> Path:
    return folder.with_name(f".{folder.name}.unfinished-{socket.gethostname()}-{process}")


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine left when they were killed."""
    for left in folder.parent.glob(_unfinished(folder, "*").name):
        process = int(left.name.rpartition("-")[2].removesuffix(".old"))
        if process == os.getpid() or not psutil.pid_exists(process):
            if left.suffix == ".old" and not folder.exists():
                left.rename(folder)  # killed between the two renames
            shutil.rmtree(left, ignore_errors=True)


def _is_disk_full(error: Exception) -> bool:
    in_words = any(words in str(error) for words in WORDS_FOR_FULL)
    return in_words or getattr(error, "errno", None) == errno.ENOSPC


def _flush(folder: Path) -> None:
    """Force the files to the disk, so that a power cut cannot leave empty ones behind."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _replace(folder: Path, finished: Path) -> None:
    # A folder cannot be renamed over another one that is not empty, so the old one steps aside.
    old = finished.with_name(f"{finished.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        finished.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
