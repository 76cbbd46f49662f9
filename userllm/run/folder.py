"""What a run is, where it is kept, and whether it is finished.

A run is its name and the hash of everything that decides its outcome; the same command finds the
same folder, from any launcher and after any kind of death.
"""

import hashlib
import json
import os
import re
import shlex
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from userllm.report.settings import LABELS, NO_PART
from userllm.run.manifest import Redactor
from userllm.run.whole import damage, inventory, needed
from userllm.schema import says_nothing

SIZE_IS_READ_ELSEWHERE = {"prepare", "pretrain"}
"""Verbs whose ``size`` only feeds interpolations: what they use of it is in the other keys."""

SCHEMA_VERSION = 1

UNREADABLE = {"state": "interrupted", "error": "status.json cannot be read"}


class RunFolder:
    """One run on disk: its inputs, its outputs, its state.

    Args:
        verb: Which stage this is a run of.
        config: The resolved config.
        choices: Config group to chosen option.
        overrides: What was typed to get this config.
    """

    def __init__(
        self,
        *,
        verb: str,
        config: DictConfig,
        choices: Mapping[str, str],
        overrides: Sequence[str],
    ) -> None:
        self.verb = verb
        self.config: dict[str, Any] = _plain(config)
        self.choices = dict(choices)
        self.redactor = Redactor(self.config)
        self.overrides = [self.redactor.text(override) for override in overrides]
        self.runs = Path(self.config["paths"]["runs"]).absolute()
        label = slug(self.config["name"] or default_name(verb, self.config, self.choices))
        self.path = self.runs / verb / f"{label}-{identity(verb, self.config)}"

    @property
    def name(self) -> str:
        """The folder's name: label and hash."""
        return self.path.name

    @property
    def command(self) -> str:
        """One line that runs this again."""
        return shlex.join(["userllm", self.verb, *self.overrides])

    @property
    def checkpoints(self) -> Path:
        """Where weights go; exists once it was asked for."""
        folder = self.path / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def state(self) -> str:
        """One of new, running, finished, failed, interrupted."""
        return str(read_status(self.path).get("state", "new"))

    def set_state(self, state: str, error: str | None = None, *, seconds: float = 0.0) -> None:
        """Write status.json; a run that starts forgets its earlier error and end.

        Args:
            state: What the run is from now on.
            error: Why it failed.
            seconds: What this attempt took, on a clock that nobody sets; attempts add up.
        """
        now, before = timestamp(), read_status(self.path)
        running = state == "running"
        status = {
            "state": state,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": now if running else before.get("started", now),
            "ended": None if running else now,
            "seconds": round(before.get("seconds", 0.0) + seconds, 1),
            "error": error and self.redactor.text(error),
            "files": inventory(self.path) if state == "finished" else None,
        }
        self.write_json("status.json", status)

    def write_inputs(self, manifest: Mapping[str, Any]) -> None:
        """Write what is run: command.txt, config.yaml and manifest.json, without secrets."""
        self.path.mkdir(parents=True, exist_ok=True)
        for draft in self.path.glob(".*.tmp"):
            # Of a process that was killed while it wrote.
            draft.unlink(missing_ok=True)
        write_text(self.path / "command.txt", f"{self.command}\n")
        clean = OmegaConf.create(self.redactor.tree(self.config))
        write_text(self.path / "config.yaml", OmegaConf.to_yaml(clean))
        self.write_json("manifest.json", manifest)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file whole or not at all."""
        text = json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable)
        write_text(self.path / name, f"{text}\n")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json: what the verb found, completed with which run and where.

        Args:
            result: ``outcomes``, ``examples``, what the verb adds to ``environment``, and what it
                says otherwise of ``run``.
        """
        manifest = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        environment = {**manifest, "ended": timestamp(), **result.get("environment", {})}
        run = {
            "verb": self.verb,
            "name": self.path.name.rpartition("-")[0],
            "folder": self.path.name,
            "group": self.config.get("group"),
            "seed": self.config.get("seed"),
            "choices": self.choices,
            "config": self.redactor.tree(self.config),
            "overrides": self.overrides,
            "command": self.command,
            **result.get("run", {}),
        }
        whole = {"schema_version": SCHEMA_VERSION, **result}
        self.write_json("result.json", {**whole, "run": run, "environment": environment})


def identity(verb: str, config: DictConfig | Mapping[str, Any]) -> str:
    """Return 8 hex digits that are equal exactly when two configs ask for the same outcome."""
    ignored = {*LABELS, *(["size"] if verb in SIZE_IS_READ_ELSEWHERE else [])}
    kept = {
        key: value
        for key, value in _plain(config).items()
        if key not in ignored and not says_nothing(key, value)
    }
    text = json.dumps(_canonical(kept), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def default_name(verb: str, config: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """Return the label of a run without a name: the choices that tell runs apart at a glance."""
    if config.get("run"):
        return str(config["run"]).rpartition("/")[2]
    method = "method" if "method" in choices else "context"
    groups = {"pretrain": ("data", "encoder"), "contextualize": ("data", "task", method)}
    parts = [choices[group] for group in groups.get(verb, ("data",)) if group in choices]
    seed = [f"s{config['seed']}"] if "seed" in config else []
    return "-".join([*parts, *seed]) or verb


def read_status(path: Path) -> dict[str, Any]:
    """Return status.json, empty where a run never started.

    A file that a dying disk or a person has spoilt reads as an interrupted run's: the run goes on
    from its last checkpoint and writes the file anew.
    """
    try:
        status = json.loads((path / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return dict(UNREADABLE)
    return status if isinstance(status, dict) and "state" in status else dict(UNREADABLE)


def read_result(path: Path) -> dict[str, Any]:
    """Return result.json as it is, without checking what it says."""
    result: dict[str, Any] = json.loads((path / "result.json").read_text(encoding="utf-8"))
    return result


def lost_files(verb: str, path: Path) -> tuple[dict[str, str], list[str]]:
    """Return what happened to files of a finished run, and for which it has to be made again.

    Raises:
        UserError: result.json was written by a newer version.
    """
    files = read_status(path).get("files") or {}
    lost = damage(path, files, schema_version=SCHEMA_VERSION)
    return lost, [name for name in lost if needed(verb, files, name)]


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, whenever the machine stops."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def slug(text: str) -> str:
    """Return text as part of a folder's name on any system."""
    return re.sub(r"[^\w.=,+-]+", "-", text).strip("-.")[:100]


def timestamp() -> str:
    """Return the time now, UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    return dict(plain)  # type: ignore[arg-type]


def _canonical(value: Any) -> Any:
    """Return a value so that 1 and 1.0 in YAML are the same run."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(child) for key, child in value.items() if key not in NO_PART}
    if isinstance(value, list | tuple):
        return [_canonical(child) for child in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _jsonable(value: Any) -> Any:
    """Return what json cannot write, such as a path or a NumPy number, as something it can."""
    return value.item() if hasattr(value, "item") else str(value)
