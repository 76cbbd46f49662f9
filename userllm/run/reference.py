"""Find runs by the words people type: ``run:<verb>/<name>``, a folder, a pattern, a study."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from userllm.check import suggest
from userllm.errors import UserError
from userllm.run.folder import read_status
from userllm.schema import VERBS

PREFIX = "run:"

MEASURED = ("pretrain", "contextualize", "evaluate", "benchmark")
"""Verbs whose runs have outcomes to compare."""


def resolve(reference: str, runs: Path, verb: str | None = None) -> Path:
    """Return the one finished run that a reference names.

    Args:
        reference: ``run:pretrain/<name>`` with or without the hash, or a run's folder.
        runs: The folder of all runs (``paths.runs``).
        verb: The stage that the run must be of, where only one makes sense.

    Raises:
        UserError: No such run, several, or none that is finished; candidates are listed.
    """
    folder = Path(reference)
    if (folder / "status.json").is_file():
        found_verb, matches = folder.absolute().parent.name, [folder.absolute()]
    else:
        found_verb, _, name = reference.removeprefix(PREFIX).partition("/")
        if found_verb not in VERBS or not name:
            raise UserError(
                f"{reference!r} names no run; type run:<verb>/<name> or the run's folder"
            )
        matches = [path for path in _runs_of(runs, found_verb) if name in _names(path)]
    if verb is not None and found_verb != verb:
        raise UserError(f"{reference!r} is a {found_verb} run, expected run:{verb}/<name>")
    finished = [path for path in matches if is_finished(path)]
    if len(finished) != 1:
        raise UserError(_why_not_one(reference, runs, found_verb, matches, finished))
    return finished[0]


def pin(config: Any, runs: Path) -> Any:
    """Return a plain config in which every ``run:`` reference names one folder, hash included.

    Otherwise a run that was made from another run would keep its identity when the other is
    made anew under the same name.
    """
    if isinstance(config, Mapping):
        return {key: pin(value, runs) for key, value in config.items()}
    if isinstance(config, list):
        return [pin(value, runs) for value in config]
    if isinstance(config, str) and config.startswith(PREFIX):
        path = resolve(config, runs)
        return f"{PREFIX}{path.parent.name}/{path.name}"
    return config


def find_runs(words: Sequence[str], runs: Path) -> list[Path]:
    """Return the runs that words name, each once, in the order given.

    Args:
        words: Run folders, a folder of runs, ``run:`` references, names of studies, or patterns
            such as ``contextualize/demo*`` below ``runs`` or the current folder.
        runs: The folder of all runs.

    Raises:
        UserError: A word that names nothing.
    """
    found: dict[Path, None] = {}
    for word in words:
        matches = _matches(word, runs)
        if not matches:
            raise UserError(
                f"{word!r} is no run folder, no pattern that matches one below {runs} and no "
                f"study; studies: {', '.join(study_names(runs)) or 'none yet'}"
            )
        found.update(dict.fromkeys(matches))
    return list(found)


def record_member(runs: Path, study: str, member: Path) -> None:
    """Note that a run belongs to a study; doing it again changes nothing."""
    if member in study_members(runs, study):
        return
    path = _study_file(runs, study)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"run": f"{member.parent.name}/{member.name}"}) + "\n"
    if path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n"):
        line = "\n" + line
    # One write in append mode cannot be mixed up with another process's.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def study_members(runs: Path, study: str) -> list[Path]:
    """Return the folders of a study's runs, finished or not; empty for an unknown study."""
    path = _study_file(runs, study)
    if not path.is_file():
        return []
    members = []
    for line in path.read_text(encoding="utf-8").splitlines():
        # A line that a full disk cut short is that of a run which failed, and is noted again.
        with suppress(ValueError, KeyError, TypeError):
            members.append(runs / json.loads(line)["run"])
    return list(dict.fromkeys(members))


def study_names(runs: Path) -> list[str]:
    """Return the studies that have runs."""
    return sorted(path.stem for path in (runs / "studies").glob("*.jsonl"))


def is_finished(path: Path) -> bool:
    """Return whether a run's folder holds everything it ever will."""
    return read_status(path).get("state") == "finished"


def _study_file(runs: Path, study: str) -> Path:
    return runs / "studies" / f"{study}.jsonl"


def _matches(word: str, runs: Path) -> list[Path]:
    if word.startswith(PREFIX):
        return [resolve(word, runs)]
    if members := study_members(runs, word):
        return members
    folder = Path(word)
    if _is_run(folder):
        return [folder.absolute()]
    parts = [folder] if folder.name in MEASURED else [folder / verb for verb in MEASURED]
    if members := [path for part in parts for path in _runs_of(part.parent, part.name)]:
        return [path.absolute() for path in members]
    pattern = os.path.normpath(word)
    bases = [Path(folder.anchor)] if folder.is_absolute() else [Path.cwd(), runs]
    relative = os.path.relpath(pattern, folder.anchor) if folder.is_absolute() else pattern
    hits = [path for base in bases for path in sorted(base.glob(relative))]
    return [path.absolute() for path in hits if _is_run(path)]


def _is_run(path: Path) -> bool:
    """Return whether a folder is a run's; of one that was published the result alone is left."""
    return any((path / name).is_file() for name in ("status.json", "result.json"))


def _runs_of(runs: Path, verb: str) -> list[Path]:
    folder = runs / verb
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _names(path: Path) -> tuple[str, str]:
    return path.name, path.name.rpartition("-")[0]


def _why_not_one(
    reference: str, runs: Path, verb: str, matches: list[Path], finished: list[Path]
) -> str:
    if finished:
        names = "\n".join(f"  run:{verb}/{path.name}" for path in finished)
        return f"{reference!r} names {len(finished)} finished runs; type one of:\n{names}"
    if matches:
        states = "\n".join(f"  {p.name}: {read_status(p).get('state', 'new')}" for p in matches)
        return f"{reference!r} is not finished, run its command first:\n{states}"
    known = [path.name for path in _runs_of(runs, verb) if is_finished(path)]
    name = reference.partition("/")[2]
    if not known:
        return f"{reference!r}: no finished {verb} run in {runs}; type userllm {verb} first"
    return f"{reference!r}: no such run in {runs}; {suggest(name, known)}"
