"""Run a committed run again: what to type for it, so that it is what it was."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.tidy import ELSEWHERE, numbered
from userllm.config import load
from userllm.errors import UserError
from userllm.report.results import Result, Unfinished, lm_origin
from userllm.report.results import load as load_result
from userllm.run.launch import execute, stop_if_interrupted
from userllm.run.manifest import git_state

FORMER = {"pack_weights": "false"}
"""Keys that earlier results lack, with the value that says what these were."""


def run_again(old: Result, changes: Sequence[str], runs: Path) -> Result | Unfinished:
    """Run a committed run's own command (:func:`again`) elsewhere, on the weights that it had."""
    weights = ["lm.source=package"] * (lm_origin(old.environment) or "").startswith("package ")
    verb, typed = old.run["verb"], [*weights, *again(old, changes), f"paths.runs='{runs}'"]
    loaded = load(verb, typed)
    outcome = execute(verb, loaded.config, loaded.choices, typed, wait=True)
    stop_if_interrupted(outcome)
    if outcome.error:
        print(f"failed: {outcome.error}", file=sys.stderr)
    found = load_result(Path(outcome.folder))
    if isinstance(found, Unfinished):
        return found
    if outcome.state == "skipped":
        refuse_other_code(found)
    return replace(found, per_user=numbered(found.per_user, found.run["config"]))


def refuse_other_code(found: Result) -> None:
    """Refuse a run that was finished already unless the code of today made it.

    Raises:
        UserError: It was made by another commit, or by code of no commit.
    """
    was, now = found.environment.get("git"), git_state()
    if was != now or (now is not None and now["dirty"]):
        raise UserError(
            f"{found.folder} was finished before, by {_code(was)}; this is {_code(now)}. Expected "
            "the same. Type --fresh to run all again, or --runs <another folder>"
        )


def _code(git: Mapping[str, Any] | None) -> str:
    if git is None:
        return "an installed package"
    return f"commit {str(git['commit'])[:8]}{' with changes' * git['dirty']}"


def again(old: Result, changes: Sequence[str]) -> list[str]:
    """Return what to type to have a committed run again, ``changes`` in place of its own values.

    Raises:
        UserError: It needs a path that was not committed, or its config cannot be read any more.
    """
    set_keys = {change.partition("=")[0] for change in changes}
    typed = [text for text in old.run["overrides"] if text.partition("=")[0] not in set_keys]
    for key, _, value in (text.partition("=") for text in typed):
        if value.strip("'\"").startswith(f"{ELSEWHERE}/"):
            raise UserError(f"{key}={value}: where is it here? Type --set {key}=<path>")
    typed += changes
    return [*former(old.run["config"], load(old.run["verb"], typed).config), *typed]


def former(old: Mapping[str, Any], new: DictConfig) -> list[str]:
    """Return overrides that give a config of today what an older one was without saying it."""
    was = OmegaConf.create(dict(old))
    return [
        f"{key}={value}"
        for key, value in FORMER.items()
        if OmegaConf.select(was, key) is None and OmegaConf.select(new, key) is not None
    ]
