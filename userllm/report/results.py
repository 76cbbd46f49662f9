"""What a run folder says, checked: its ``status.json``, ``result.json`` and ``per_user.parquet``.

The schema is version 1 of ``result.json``: ``run``, ``outcomes``, ``examples``, ``environment``.
An outcome of a model may say more than version 1 asks for, and readers do without it where it is
missing: ``per_block`` (learned numbers by name and block, the gates) and what a later version adds.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import OmegaConf

from userllm.errors import UserError
from userllm.report.settings import question

SCHEMA_VERSION = 1
WITHOUT_USER = "without the user"
"""What the answers are called that a model gives when it is told nothing about the user."""

KEY_COLUMNS = ("method", "task", "protocol", "user")
FACT_COLUMNS = ("history_length", "target_events", "training_events")
"""What is known of a question besides its answers: events before it, and training events of the
item that is asked for and of the user. Tables are sliced by them; older files lack some."""

_SECTIONS: dict[str, type] = {"run": dict, "outcomes": list, "examples": list, "environment": dict}
_RUN_KEYS = ("verb", "name", "folder", "seed", "choices", "config", "overrides", "command")
_OUTCOME_KEYS = ("method", "kind", "task", "scorer", "part", "protocol", "metrics", "primary")
_ENVIRONMENT_KEYS = ("data_name", "data_fingerprint")
_AGAIN = "Remove the folder and run its command again, or leave the folder out of runs=[…]."


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        per_user: One row per (method, task, protocol, user), one float column per metric.
    """

    folder: Path
    run: dict[str, Any]
    outcomes: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    environment: dict[str, Any]
    per_user: pl.DataFrame

    def users_of(self, outcome: Mapping[str, Any]) -> pl.DataFrame:
        """Return ``user``, the metric columns behind one outcome, and the facts that are known."""
        rows = self.per_user.filter(
            *(pl.col(key) == outcome[key] for key in ("method", "task", "protocol"))
        )
        metrics = [name for name in outcome["metrics"] if name in rows.columns]
        facts = [name for name in FACT_COLUMNS if name in rows.columns]
        rows = rows.select("user", *metrics, *facts)
        if outcome["primary"] not in metrics or rows.is_empty():
            raise UserError(
                f"{self.folder / 'per_user.parquet'} has no {outcome['primary']} per user of "
                f"{outcome['method']} on {outcome['task']}, which result.json reports. "
                f"Remove the folder and run again: {self.run['command']}"
            )
        return rows


@dataclass(frozen=True)
class Unfinished:
    """A run that was asked for and has no result: shown as a missing row, never left out.

    Attributes:
        verb: The stage.
        question: What decides in which table it belongs, besides data and task.
        overrides: What was typed, ``key=value``.
        name: The method's name in tables, None where only ``parts`` tells it.
        settings: What else tells the cell from others.
    """

    folder: Path
    verb: str
    state: str
    error: str | None
    parts: dict[str, str]
    seed: int | None
    group: str | None = None
    question: str = ""
    overrides: tuple[str, ...] = ()
    name: str | None = None
    settings: str = ""

    @property
    def method(self) -> str:
        """What the row would have been called."""
        typed = dict(text.split("=", 1) for text in self.overrides if text.startswith("method="))
        if name := self.name or typed.get("method"):
            return name
        group = {"contextualize": "context", "pretrain": "encoder"}.get(self.verb, "")
        return self.parts.get(group, self.folder.name)


def load(folder: Path) -> Result | Unfinished:
    """Read one run folder.

    Raises:
        UserError: A file is missing, cut short or of another schema version; names the file.
    """
    status_file = folder / "status.json"
    status = read_json(status_file) if status_file.exists() else {}
    state = status.get("state", "finished" if (folder / "result.json").exists() else "not there")
    if state != "finished":
        return _unfinished(folder, state, status.get("error"))
    file = folder / "result.json"
    result = read_json(file)
    _check(result, file)
    return Result(
        folder=folder,
        per_user=_read_per_user(folder / "per_user.parquet"),
        **{section: result[section] for section in _SECTIONS},
    )


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object, or say which file is not one and where it stops being one."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing; the run folder is not whole. {_AGAIN}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not whole JSON ({error}). {_AGAIN}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{file} holds a {type(content).__name__}, expected a JSON object. {_AGAIN}"
        )
    return content


def parts(config: Mapping[str, Any]) -> dict[str, str]:
    """Return config group to option, read off the classes that a config builds.

    ``task._target_: userllm.task.next_item.NextItem`` is ``task=next_item``.
    """
    targets = {
        group: str(node["_target_"]).split(".")
        for group, node in config.items()
        if isinstance(node, Mapping) and "_target_" in node
    }
    return {group: path[2] for group, path in targets.items() if path[:2] == ["userllm", group]}


def _unfinished(folder: Path, state: str, error: str | None) -> Unfinished:
    """Collect what a run without a result wrote about itself before it stopped."""
    file = folder / "config.yaml"
    config: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else {}
    command = folder / "command.txt"
    words = shlex.split(command.read_text(encoding="utf-8")) if command.exists() else []
    return Unfinished(
        folder=folder,
        verb=folder.parent.name,
        state=state,
        error=error,
        parts=parts(config),
        seed=config.get("seed"),
        group=config.get("group"),
        question=question(config),
        overrides=tuple(word for word in words if "=" in word),
    )


def _check(result: Mapping[str, Any], file: Path) -> None:
    """Refuse a result this version cannot read, naming the first thing that does not fit."""
    version = result.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{file} has schema_version {version!r}, expected {SCHEMA_VERSION}. "
            "Read it with the userllm version that wrote it, or run its command again."
        )
    for section, kind in _SECTIONS.items():
        if not isinstance(result.get(section), kind):
            raise UserError(f"{file}: {section!r} is missing or not a {kind.__name__}. {_AGAIN}")
    _require(result["run"], _RUN_KEYS, f"{file}: run")
    _require(result["environment"], _ENVIRONMENT_KEYS, f"{file}: environment")
    for number, outcome in enumerate(result["outcomes"]):
        where = f"{file}: outcomes[{number}]"
        _require(outcome, _OUTCOME_KEYS, where)
        _require(outcome["metrics"], (outcome["primary"],), f"{where}.metrics")


def _require(section: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    """Name every key that ``section`` lacks."""
    missing = [key for key in keys if key not in section]
    if missing:
        raise UserError(f"{where} lacks {', '.join(map(repr, missing))}. {_AGAIN}")


def _read_per_user(file: Path) -> pl.DataFrame:
    """Read the per-user values, in one fixed row order."""
    if not file.exists():
        raise UserError(f"{file} is missing, so intervals cannot be computed. {_AGAIN}")
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{file} is not a whole Parquet file ({error}). {_AGAIN}") from error
    missing = [name for name in KEY_COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"{file} lacks the columns {', '.join(missing)}. {_AGAIN}")
    return frame.sort(KEY_COLUMNS)


def lm_origin(environment: Mapping[str, Any]) -> str | None:
    """Return the origin and revision of a run's language model; None where it has none."""
    source = environment.get("lm_source")
    return None if source is None else f"{source['origin']}, revision {source.get('revision')}"
