"""Start programs that end in ``serve`` (see serve.py), and let them work in turns."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Program = subprocess.Popen[str]
Turn = dict[str, float]


def start(command: list[Any], variables: Mapping[str, str] | None = None) -> Program:
    """Start a program that waits for its turns.

    Args:
        command: Its words.
        variables: Of its environment, beside ours.
    """
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(variables or {})},
    )


def line_of(program: Program) -> str:
    """Return the next line of JSON that a program writes; imports may write others.

    Raises:
        RuntimeError: If it ended instead.
    """
    assert program.stdout is not None
    for line in program.stdout:
        if line.startswith("{"):
            return line
    words = " ".join(map(str, program.args)) if isinstance(program.args, list) else program.args
    raise RuntimeError(f"this program ended; run it by hand to see why: {words}")


def train(program: Program, steps: int) -> Turn:
    """Let a program take so many steps; return its targets per second and its peak memory."""
    assert program.stdin is not None
    program.stdin.write(f"{steps}\n")
    program.stdin.flush()
    turn: Turn = json.loads(line_of(program))
    rates = {clock: turn["targets"] / turn[clock] for clock in ("wall", "cpu")}
    return {**rates, "peak_bytes": turn["peak_bytes"]}


def ratios(ours: Sequence[Turn], theirs: Sequence[Turn], factor: float = 1.0) -> dict[str, Any]:
    """Return the median over rounds of a ratio, its range, and the same in processor seconds."""
    wall, cpu = (
        [factor * one[clock] / other[clock] for one, other in zip(ours, theirs, strict=True)]
        for clock in ("wall", "cpu")
    )
    spread = {"n": len(wall), "low": min(wall), "high": max(wall), "by_cpu_seconds": median(cpu)}
    return {"value": median(wall), **spread}
