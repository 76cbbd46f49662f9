"""Take out of a run's files what belongs to a machine or a person, and keep what decides a number.

Left out: host and process, the inventory of files (weights are not kept), where runs, reports and
the cache lay, what a logger was told, what users are called, and the examples (pieces of the data,
whose licence may not allow to publish them). Other absolute paths are made relative: below
$USERLLM_DATA they are written so, below the current folder without it, else as elsewhere/<last
part>. Every number, the config, the commit, versions and hardware stay as they were.
"""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

PATHS = {"runs": "runs", "reports": "reports", "cache": None}
STATUS = ("state", "started", "ended", "seconds", "error")
NUMBER = r"^\d{1,9}$"
PLACES = 9
PUBLIC, OWN = "userllm.data.", "userllm.data.table.Table"
"""Where the readers of data sets are, and the one of files that are nobody else's."""
SILENT = ("paths", "logger", "hydra")
"""Keys whose overrides say only where a run went."""
DATA = "USERLLM_DATA"
ELSEWHERE = "elsewhere"

_WHOLE = re.compile(r"(?:file://)?(?:/[^/\s]|~[\w.-]*/|[A-Za-z]:[\\/]).*", re.DOTALL)
_INSIDE = re.compile(
    r"(?:(?<=[\s=,'\"\[{(:])|(?<=file://))(?:/[\w.+~-]|[A-Za-z]:[\\/])[^\s,'\"\]})]*"
)


def numbered(per_user: pl.DataFrame, config: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows with users numbered in the order of their names, where these are names.

    Short numbers, which data sets give to users that they do not name, stay, but not those of
    somebody's own data, which may be customers'. Runs that ask the same users of a task agree on
    the numbers, so that they can still be compared in pairs.

    Args:
        per_user: The users of a run.
        config: Its config.
    """
    reader = str((config.get("data") or {}).get("_target_", PUBLIC))
    is_public = reader.startswith(PUBLIC) and reader != OWN
    if is_public and per_user["user"].str.contains(NUMBER).all():
        return per_user
    place = pl.col("user").rank("dense").over("task").cast(pl.String)
    return per_user.with_columns(user=place.str.zfill(PLACES))


def tidy_status(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a run ended and what it took."""
    return {key: without_places(status.get(key)) for key in STATUS}


def tidy_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result that names no place on a machine."""
    run = dict(result["run"])
    config = dict(run["config"])
    logger = config.get("logger")
    if isinstance(logger, Mapping):
        config["logger"] = {key: value for key, value in logger.items() if key == "_target_"}
    config = {**without_places(config), "paths": dict(PATHS)}
    overrides = [without_places(text) for text in run["overrides"] if not _is_silent(text)]
    command = shlex.join(["userllm", run["verb"], *overrides])
    run |= {"config": config, "overrides": overrides, "command": command}
    rest = {key: without_places(value) for key, value in result.items()}
    return {**rest, "run": {**without_places(run), "config": config}, "examples": []}


def without_places(value: Any) -> Any:
    """Return a JSON tree in which no text holds an absolute path."""
    if isinstance(value, Mapping):
        return {key: without_places(child) for key, child in value.items()}
    if isinstance(value, list):
        return [without_places(child) for child in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    key, is_override, given = text.partition("=")
    if _WHOLE.fullmatch(text):
        return _relative(text)
    if is_override and re.fullmatch(r"[\w.+~@/-]+", key):
        bare = given.strip("'\"")
        if _WHOLE.fullmatch(bare):
            # Quotes of Hydra's grammar stay around what they held.
            return f"{key}={given.replace(bare, _relative(bare))}"
    return _INSIDE.sub(lambda found: _relative(found.group()), text)


def _relative(place: str) -> str:
    path = Path(place.removeprefix("file://")).expanduser()
    data = os.environ.get(DATA)
    for base, name in ((data, "${oc.env:" + DATA + "}"), (os.getcwd(), "")):
        if base and path.is_relative_to(Path(base).absolute()):
            inside = path.relative_to(Path(base).absolute()).as_posix()
            return "/".join(part for part in (name, inside) if part not in ("", ".")) or "."
    last = re.split(r"[\\/]", place.rstrip("\\/"))[-1]
    return f"{ELSEWHERE}/{last}"


def _is_silent(override: str) -> bool:
    key = override.partition("=")[0].lstrip("+~")
    return re.split(r"[./@]", key)[0] in SILENT
