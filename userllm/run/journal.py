"""A run's log.txt: everything that was logged or warned about, without secrets."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from userllm.run.manifest import Redactor

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _CleanFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__(FORMAT)
        self.redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self.redactor.text(super().format(record))


@contextmanager
def journal(path: Path, redactor: Redactor) -> Iterator[None]:
    """Append this process's log records and warnings to a file inside the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(_CleanFormatter(redactor))
    root, ours = logging.getLogger(), logging.getLogger("userllm")
    levels = root.level, ours.level
    # A stage that runs inside another must leave the outer one's capture of warnings on.
    nested = any(isinstance(other.formatter, _CleanFormatter) for other in root.handlers)
    root.setLevel(logging.INFO)
    ours.setLevel(logging.DEBUG)
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(nested)
        root.removeHandler(handler)
        handler.close()
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


def log_to_screen() -> None:
    """Show what a person running a command wants to see: our messages, and others' warnings.

    Called before Lightning is imported, which adds a handler of its own where there is none.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(_is_for_people)
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("userllm").setLevel(logging.INFO)


def _is_for_people(record: logging.LogRecord) -> bool:
    ours = record.name.partition(".")[0] == "userllm"
    # Python warnings speak to programmers; they are in log.txt.
    floor = logging.INFO if ours else logging.WARNING
    return record.levelno >= floor and record.name != "py.warnings"
