"""Make an environment of its own for each peer, beside the packages of this one.

Usage: python experiments/speed/peers/environments.py [replay rectools recbole]

They cannot share ours: RecBole needs NumPy 1, RePlay a Lightning of its own. Every one gets the
torch that is installed here, so that no figure is one of torch versions.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = {
    "replay": ["replay-rec[torch]==0.22.0"],
    "rectools": ["rectools[torch]==0.19.0"],
    # Newer NumPy, pandas and SciPy lack names that it uses; so does setuptools from 81 on.
    "recbole": [
        "recbole==1.2.1",
        "numpy==1.26.4",
        "pandas==2.1.4",
        "scipy==1.11.4",
        "setuptools<81",
    ],
}
READY = "ready.txt"


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer's environment, whether it is there or not."""
    folder = Path(sys.prefix, "peers", peer)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def make(peer: str) -> Path:
    """Install a peer where it is not installed yet, and return its interpreter.

    Raises:
        subprocess.CalledProcessError: If a package cannot be had; its output says which.
    """
    python = python_of(peer)
    mark = python.parent.parent / READY
    wanted = "\n".join([f"torch=={version('torch')}", *PACKAGES[peer]])
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return python
    uv = [sys.executable, "-m", "uv"]
    links = os.environ.get("PIP_FIND_LINKS", "").split()
    found = [word for link in links for word in ("--find-links", link)]
    subprocess.run(
        [*uv, "venv", "--clear", "-q", "--python", sys.executable, python.parent.parent], check=True
    )
    install = [*uv, "pip", "install", "-q", "--python", python, *found]
    subprocess.run([*install, *wanted.split("\n")], check=True)
    mark.write_text(wanted, encoding="utf-8")
    return python


def main() -> None:
    """Make those that were named, or all."""
    for peer in sys.argv[1:] or PACKAGES:
        print(make(peer))


if __name__ == "__main__":
    main()
