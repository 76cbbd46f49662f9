"""Summaries on disk, one small file each, found by what they were made from.

A name is a hash of the writer's identity and of the history's text, so a summary is written once
for all runs, and a changed history or writer never finds an old one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock


@dataclass(frozen=True)
class Written:
    """A summary and how many tokens its writer read and wrote for it."""

    text: str
    tokens_read: int
    tokens_written: int


class SummaryStore:
    """Keeps the summaries of one writer.

    Args:
        folder: Where the folders of all writers lie.
        identity: All that decides what the writer writes; kept readable beside the summaries.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        words = json.dumps(identity, sort_keys=True, indent=1, default=str)
        self.folder = folder / hashlib.sha256(words.encode()).hexdigest()[:16]
        self.lock = FileLock(self.folder / ".lock")
        if not (self.folder / "writer.json").is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / "writer.json", words)

    def key(self, history: str) -> str:
        """Return the name of the summary of a history."""
        return hashlib.sha256(history.encode()).hexdigest()[:32]

    def get(self, key: str) -> Written | None:
        """Return a summary, or None when there is none or its file was cut short."""
        try:
            return Written(**json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, written: Written) -> None:
        """Keep a summary; other processes see all of it or nothing."""
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        _write(path, json.dumps(asdict(written), ensure_ascii=False, indent=1))

    def _path(self, key: str) -> Path:
        # Hundreds of thousands of files in one folder are slow to list.
        return self.folder / key[:2] / f"{key}.json"


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
