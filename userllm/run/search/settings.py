"""What a search is: settings, fixed overrides, the file that remembers it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from userllm.config import Composer, refuse, resolve, without_hydra
from userllm.errors import UserError
from userllm.hints import describe, fits
from userllm.report.settings import LABELS
from userllm.run.folder import identity, slug
from userllm.run.search.space import split

PART = "evaluation.part"
VALID = f"{PART}=valid"
IDENTITY = 8
"""Hexadecimal digits that tell the searches of one name apart."""

HINTS: dict[str, Any] = {
    "params": dict[str, Any],
    "metric": str,
    "direction": Literal["maximize", "minimize"],
    "trials": int,
    "parallel": int,
    "seed": int,
    "startup": int,
    "prune": bool,
}


@dataclass(frozen=True)
class Settings:
    """A search, from the keys of ``conf/hydra/sweeper/search.yaml`` and the command line.

    Attributes:
        varied: Key to values in Hydra's grammar; empty when all were typed, for one run.
        fixed: Overrides of every trial.
        settled: A hash of what the study and its presets say besides.
        runs: The folder of all runs.
    """

    verb: str
    study: str
    varied: dict[str, str]
    fixed: list[str]
    settled: str
    runs: Path
    metric: str
    direction: Literal["maximize", "minimize"]
    trials: int
    parallel: int
    seed: int
    startup: int
    prune: bool

    @property
    def path(self) -> Path:
        """The file of this search: another space, seed or value of all trials is another one."""
        kept = [t for t in self.fixed if t.partition("=")[0].partition(".")[0] not in LABELS]
        told: list[Any] = [self.verb, kept, self.settled, self.varied, self.metric]
        told += [self.direction, self.parallel, self.seed, self.startup, self.prune]
        text = json.dumps(told, sort_keys=True)
        return self.runs / _name(self.study, hashlib.sha256(text.encode()).hexdigest()[:IDENTITY])


def remembered(study: str, runs: Path) -> list[Path]:
    """Return the files of all searches of one name, in the folder of all runs."""
    return sorted(runs.glob(_name(study, "?" * IDENTITY)))


def _name(study: str, identity: str) -> str:
    return f"searches/{slug(study)}-{identity}.sqlite3"


def read_settings(config: DictConfig, given: Mapping[str, Any], typed: Sequence[str]) -> Settings:
    """Check a search before its first trial.

    Args:
        config: The verb's composed config, Hydra's settings included.
        given: The keys of ``hydra.sweeper``.
        typed: What was typed.

    Raises:
        UserError: A value is missing or of the wrong kind, the test users were asked for, or the
            seed would be searched.
    """
    verb = str(config.hydra.job.config_name)
    refuse(verb, list(_problems(given)))
    varied, fixed = split(given["params"], typed)
    parts = [text for text in fixed if text.startswith(f"{PART}=") and text != VALID]
    if varied and (parts or PART in varied):
        raise UserError(
            f"{PART} is valid in a search: what is chosen by the test users cannot be measured on "
            "them. Leave it out; the end of the search says how to measure the best trial"
        )
    if "seed" in varied:
        raise UserError(
            "seed is what a search would choose the luckiest of. Expected one: type seed=0 in the "
            "search, and measure its best trial with several afterwards"
        )
    if varied and _asks_users(verb) and VALID not in fixed:
        fixed.append(VALID)
    return Settings(
        verb=verb,
        study=str(config.get("group") or verb),
        varied=varied,
        fixed=fixed,
        settled=identity(verb, resolve(without_hydra(config))[0]),
        runs=Path(config.paths.runs).absolute(),
        **{key: given[key] for key in HINTS if key != "params"},
    )


def _problems(given: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, hint in HINTS.items():
        value = given.get(key)
        if key != "params" and not fits(value, hint):
            problems.append(f"hydra.sweeper.{key}: expected {describe(hint)}, got {value!r}")
        elif key in ("trials", "parallel") and given[key] < 1:
            problems.append(f"hydra.sweeper.{key}: expected at least 1, got {value}")
    return problems


def _asks_users(verb: str) -> bool:
    return "evaluation" in Composer(verb).look_at()
