"""Where a result came from: code, versions, machine; and what must never be written down."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "userllm",
    "torch",
    "pytorch-lightning",
    "transformers",
    "tokenizers",
    "peft",
    "hydra-core",
    "omegaconf",
    "numpy",
    "polars",
)
"""Packages whose version can change a number."""

CPUINFO = Path("/proc/cpuinfo")
"""What Linux says about its processors."""

HIDDEN = "***"

_SECRET_NAME = re.compile(r"(^|[_.-])(api_?key|key|token|secret|password)$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"[^\s/\\]{16,}")


class Redactor:
    """Removes secrets from everything that a run writes.

    A secret is a value under a telling name that looks like one (16 characters or more without
    a space or slash), or the value of an environment variable with a telling name.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._secrets = {*_secrets_in(config), *_secrets_in(os.environ)}

    def text(self, text: str) -> str:
        """Return the text with every secret replaced."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def tree(self, value: Any) -> Any:
        """Return a plain config tree with every secret replaced."""
        if isinstance(value, Mapping):
            return {key: self.tree(child) for key, child in value.items()}
        if isinstance(value, list):
            return [self.tree(child) for child in value]
        return self.text(value) if isinstance(value, str) else value


def _secrets_in(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _secrets_in(value)
        elif isinstance(value, str) and _SECRET_NAME.search(str(key)):
            yield from _SECRET_VALUE.findall(value) if _SECRET_VALUE.fullmatch(value) else ()


def describe_environment() -> dict[str, Any]:
    """Return what a reader needs to judge a result: git, versions and hardware."""
    import psutil
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "git": git_state(),
        "versions": versions(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_kind": cpu_kind(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": gpu,
    }


def versions() -> dict[str, str]:
    """Return Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Return the commit of the checkout the package runs from, null for an installed wheel."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    commit = _git(checkout, "rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git(checkout, "status", "--porcelain"))}


def _git(checkout: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def cpu_model() -> str:
    """Return the processor's name as its maker writes it, where the system tells."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpu_kind() -> str | None:
    """Return what tells processors of one name apart, which may round differently; None if unknown.

    Rented machines often hide all but the maker's name.
    """
    told, keys = _cpuinfo(), {"cpu family": "family", "model": "model", "stepping": "stepping"}
    return ", ".join(f"{name} {told[key]}" for key, name in keys.items() if key in told) or None


def _cpuinfo() -> dict[str, str]:
    """Return what `CPUINFO` says about the first processor; empty where there is none."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
