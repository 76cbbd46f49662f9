"""Is a finished run still all there? A file may be deleted, cut short, or of another version."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from userllm.errors import UserError

INPUTS = ("command.txt", "config.yaml", "manifest.json")
"""Files that the same command can write again without running anything."""

CURVE = "metrics.csv"
KEPT = (*INPUTS, CURVE, "result.json", "per_user.parquet", "checkpoints", "corpus")
"""Files and folders that a finished run consists of; the rest tells how it went."""

BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"


def inventory(folder: Path) -> dict[str, int]:
    """Return every file that a finished run consists of, with its size in bytes."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for name in KEPT
        for path in _files(folder / name)
    }


def damage(folder: Path, files: Mapping[str, int], *, schema_version: int) -> dict[str, str]:
    """Return what happened to every file of a finished run that is not as it was.

    Args:
        folder: The run's.
        files: What there was when it finished; empty for runs of older versions.
        schema_version: The version of result.json that is read today.

    Raises:
        UserError: result.json was written by a newer version, which running again would destroy.
    """
    found = {}
    for name, size in files.items():
        file = folder / name
        if not file.is_file():
            found[name] = "is missing"
        elif file.stat().st_size != size:
            found[name] = f"has {file.stat().st_size} bytes, had {size}"
    version = _version(folder / "result.json")
    if isinstance(version, int) and version > schema_version:
        raise UserError(
            f"{folder / 'result.json'} has schema_version {version}, expected {schema_version}: a "
            "newer userllm wrote it. Use that one, or delete the folder to run it again."
        )
    if version != schema_version:
        told = f"is of version {version}, not {schema_version}"
        found["result.json"] = "is missing or not whole" if version is None else told
    return found


def needed(verb: str, files: Mapping[str, int], name: str) -> bool:
    """Return whether a run without this file has to be made again.

    Scores do without the training curve and the weights behind them; people delete weights to save
    space. Those of a pretrained encoder are what the run is for.
    """
    if name.startswith("checkpoints/"):
        return verb == "pretrain" and name == (BEST if BEST in files else LAST)
    return name not in (*INPUTS, CURVE)


def _version(file: Path) -> Any:
    """Return the schema version that a result names, None where it cannot be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))["schema_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from sorted(child for child in path.rglob("*") if child.is_file())
