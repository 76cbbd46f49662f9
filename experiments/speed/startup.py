"""Measure how long ``userllm ls`` keeps a prompt waiting.

Usage: python experiments/speed/startup.py [--out FILE.json] [--repeats N]
"""

import subprocess
import sys
import time
from statistics import median

import record

MOST = 1.0


def main() -> None:
    """Start the command some times and write the rows."""
    options = record.arguments(__doc__, repeats=7)
    rows = []
    for words in (["ls"], ["--help"], ["ls", "context"]):
        command = [sys.executable, "-m", "userllm.cli", *words]
        seconds(command)
        times = [seconds(command) for _ in range(options.repeats)]
        spread = {"low": min(times), "high": max(times), "n": len(times)}
        name = f"userllm {' '.join(words)}"
        rows.append(record.row(name, median(times), "s", at_most=MOST, **spread))
    record.write(options.out, "from a command to the prompt", rows)


def seconds(command: list[str]) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
