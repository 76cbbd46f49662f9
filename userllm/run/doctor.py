"""``userllm doctor``: everything a person would be asked about when something does not work."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import platformdirs
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from userllm.build import allowed_packages
from userllm.config import config_folders
from userllm.run.manifest import describe_environment
from userllm.run.tracking.login import is_logged_in, is_reachable, server_url

HUB = "https://huggingface.co"
GROUPLENS = "https://files.grouplens.org"


def examine() -> None:
    """Print versions, hardware, folders and what can be reached; no secret is shown."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _findings():
        table.add_row(name, escape(value))
    Console().print(table)


def _findings() -> Iterator[tuple[str, str]]:
    environment = describe_environment()
    yield from environment["versions"].items()
    yield "git", _git(environment["git"])
    yield "platform", environment["platform"]
    yield "cpu", f"{environment['cpu']}, {environment['cores']} cores"
    yield "threads", f"{environment['threads']} (set with threads=<n>)"
    yield "memory", f"{environment['memory_bytes'] / 1e9:.1f} GB"
    yield "gpu", environment["gpu"] or "none"
    yield "config", ", ".join(map(str, config_folders()))
    yield "allowed packages", ", ".join(allowed_packages())
    cache = Path(os.environ.get("USERLLM_CACHE") or platformdirs.user_cache_dir("userllm"))
    yield "cache", f"{cache} ({_folder(cache)})"
    yield "runs", f"{Path('runs').absolute()} ({_folder(Path('runs'))})"
    yield from _reachable()
    yield "wandb", _wandb()
    for module, extra in (("hydra_plugins.hydra_joblib_launcher", "sweep"),):
        yield "joblib launcher", "installed" if _has(module) else _how_to_get(extra)


def _git(state: dict[str, object] | None) -> str:
    if state is None:
        return "not a checkout"
    return f"{state['commit']}{' with changes' if state['dirty'] else ''}"


def _folder(path: Path) -> str:
    existing = next(
        parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists()
    )
    free = f"{shutil.disk_usage(existing).free / 1e9:.1f} GB free"
    if not path.exists():
        return f"not made yet, {free}"
    used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return f"{used / 1e6:.0f} MB, {free}"


def _reachable() -> Iterator[tuple[str, str]]:
    servers = {"models": HUB, "MovieLens": GROUPLENS, "W&B server": server_url()}
    with ThreadPoolExecutor() as pool:
        for name, url, answers in zip(
            servers, servers.values(), pool.map(is_reachable, servers.values()), strict=True
        ):
            yield name, f"{url} {'answers' if answers else 'does not answer'}"


def _wandb() -> str:
    if not _has("wandb"):
        return _how_to_get("wandb")
    return "logged in" if is_logged_in() else "not logged in: logger=wandb stays offline"


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _how_to_get(extra: str) -> str:
    return f"not installed; type pip install 'userllm[{extra}]'"
