"""What every script here shares: rows with their bars, the machine they hold for, one JSON file.

A script measures, makes its rows with :func:`row` and hands them to :func:`write`. The machine is
watched from the import of this module on, so import it first.

Usage: python experiments/speed/<name>.py --out FILE.json [--threads N]
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from userllm.cost.neighbours import BUSY, CpuTimes, Neighbours, cpu_times
from userllm.run.manifest import cpu_model, versions

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def arguments(description: str | None, **numbers: int) -> argparse.Namespace:
    """Return the options of a script: ``--out``, ``--threads`` and whole numbers of its own.

    Args:
        description: What the script measures, for ``--help``.
        numbers: Option to its default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help="JSON file to write; none: only print")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processor threads")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    return parser.parse_args()


def row(
    name: str,
    value: float,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    **more: Any,
) -> Row:
    """Return one measured figure.

    Args:
        name: What was measured.
        value: What came out.
        unit: Of what; "x" for a ratio.
        at_least: The bar, where more is better.
        at_most: The bar, where less is better.
        more: ``threads`` where they are not those of the process, ``n`` repeats, ``low`` and
            ``high`` of their spread, ``busy_share`` of its own, versions, whatever a reader needs.
    """
    bar = at_least if at_least is not None else at_most
    met = None
    if bar is not None:
        met = bool(value >= bar if at_least is not None else value <= bar)
    sense = None if bar is None else ("at_least" if at_least is not None else "at_most")
    fixed = {"name": name, "value": float(value), "unit": unit}
    return {**fixed, "bar": bar, "sense": sense, "met": met, "threads": threads(), "n": 1, **more}


def write(out: Path | None, what: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Print the rows, write them with the machine they hold for, and return what was written.

    Args:
        out: The file; None prints only.
        what: What the script measures, in one line.
        rows: From :func:`row`.
    """
    state = _NEIGHBOURS.report()
    share = state["other_cpu"]
    result = {
        "what": what,
        "rows": [{"busy_share": share, **one} for one in rows],
        "versions": versions(),
        "machine": machine(),
        "fingerprint": fingerprint(Path(sys.argv[0])),
        "command": [Path(sys.argv[0]).name, *without_out(sys.argv[1:])],
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": time.monotonic() - _BEGAN,
        "load_before": state["load"],
        "load_after": state["load_after"],
        "busy_share": share,
    }
    for one in result["rows"]:
        print(sentence(one))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.with_suffix(".tmp")
        draft.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        os.replace(draft, out)
    return result


def sentence(one: Row) -> str:
    """Return one row as a line for the terminal."""
    bar = bar_of(one)
    verdict = {None: "", True: ", met", False: ", MISSED"}[one["met"]]
    busy = f"; others took {one['busy_share']:.0%}" if one["busy_share"] > BUSY else ""
    return (
        f"{one['name']}: {one['value']:,.4g} {one['unit']}{f' ({bar}{verdict})' if bar else ''}"
        f", {one['threads']} threads{busy}"
    )


def bar_of(one: Row) -> str:
    """Return a row's bar in words, "" where it has none."""
    sign = {"at_least": "≥", "at_most": "≤"}.get(one.get("sense") or "", "")
    return f"{sign} {one['bar']:,.4g}".strip() if one["bar"] is not None else ""


def threads() -> int:
    """Return the threads that this process computes with."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def machine() -> dict[str, Any]:
    """Return what the figures hold for: processor, cores, memory."""
    memory = round(psutil.virtual_memory().total / 2**30)
    return {"processor": cpu_model(), "cores": os.cpu_count(), "memory_gib": memory}


def fingerprint(script: Path) -> str:
    """Return a hash of what a figure follows from: our code and configs, the script, versions.

    Args:
        script: The script; what it shares with others, and the peers' scripts, count too.
    """
    files = [*ROOT.glob("userllm/**/*.py"), *ROOT.glob("conf/**/*.yaml")]
    here = Path(__file__).parent
    files += [script, Path(__file__), here / "own.py", here / "worlds.py"]
    files += (here / "peers").glob("*")
    digest = hashlib.sha256(json.dumps([versions(), machine()]).encode())
    for path in sorted({path.resolve() for path in files if path.is_file()}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cpu_times_of_all() -> CpuTimes:
    """Read the counters; what scripts start, such as peers, is theirs once it has ended."""
    now = cpu_times()
    return replace(now, own=sum(os.times()[:4]))


def without_out(words: Sequence[str]) -> list[str]:
    """Return a command line without where its result goes."""
    kept = list(words)
    if "--out" in kept:
        at = kept.index("--out")
        del kept[at : at + 2]
    return kept


_BEGAN = time.monotonic()
_NEIGHBOURS = Neighbours(cpu_times_of_all)
