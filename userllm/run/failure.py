"""What an exception means for a run: its state, one line for a person, the exit code."""

import errno
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from userllm.errors import UserError

INTERRUPTED = 130
TERMINATED = 143
BAD_INPUT = 2
CRASHED = 1

AGAIN_SECONDS = 0.05
"""Until a signal that came in a finalizer is given again."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed")


class Terminated(KeyboardInterrupt):
    """SIGTERM, as something that unwinds the stack like Ctrl-C."""


class StageError(UserError):
    """A stage that another one needs failed; whether trying again can help is its to say.

    Args:
        message: What happened.
        exit_code: That of the stage.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into ``Terminated`` inside the block, and give both signals back after it.

    SIGINT is given back too, since Lightning leaves it ignored after an interrupted fit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Raise, but not in a finalizer: there Python drops it, and a job is told only once to end."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise Terminated


def diagnose(failure: BaseException, folder: Path) -> tuple[str, str, int]:
    """Return state, message and exit code for what ended a run.

    Args:
        failure: What was raised.
        folder: Where the run wrote, for a full disk.
    """
    chain = list(_chain(failure))
    if any(isinstance(error, KeyboardInterrupt) for error in chain):
        terminated = any(isinstance(error, Terminated) for error in chain)
        return "interrupted", "interrupted", TERMINATED if terminated else INTERRUPTED
    if full := next((error for error in chain if _is_disk_full(error)), None):
        named = getattr(full, "filename", None)
        return "failed", _disk_full(Path(os.fsdecode(named)) if named else folder), BAD_INPUT
    if isinstance(failure, OSError) and failure.errno in _DENIED and failure.filename:
        return "failed", _denied(failure), BAD_INPUT
    if isinstance(failure, UserError):
        code = failure.exit_code if isinstance(failure, StageError) else BAD_INPUT
        return "failed", str(failure), code
    if isinstance(failure, SystemExit) and failure.code == TERMINATED:
        return "interrupted", "interrupted", TERMINATED
    lines = str(failure).strip().splitlines() or ["no message"]
    return "failed", f"{type(failure).__name__}: {lines[-1].strip()}", CRASHED


def one_line(error: Exception) -> str:
    """Return an exception in one line: its name and where its message starts."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0].strip()}"


def _chain(failure: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what it came from; Lightning turns Ctrl-C into ``SystemExit``."""
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    # PyTorch, Arrow and Polars write in native code and keep only the words.
    return any(words in str(error) for words in _FULL_WORDS)


def _denied(error: OSError) -> str:
    return (
        f"{os.fsdecode(error.filename)}: {error.strerror}; use an account that may, or choose "
        "another place (paths.runs, paths.reports, paths.cache, data.dir or data.path)"
    )


def _disk_full(folder: Path) -> str:
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    free = shutil.disk_usage(existing).free / 1e6
    return (
        f"the disk is full: {folder} ({free:.0f} MB free); make room or choose another folder "
        "(paths.runs, paths.reports or paths.cache), then run the same command again"
    )
