"""Run every script here, one after the other, and put what they measured into one table a machine.

Usage: python experiments/speed/bench.py [--again] [--only NAME …] [--threads N]

A result of today's code on this machine is not measured again, so a bench that was cut short goes
on where it stopped; what was measured on other machines stays. What others took of the machine
meanwhile stands in every row.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record

from userllm.run.folder import slug

HERE = Path(__file__).parent
MINUTE = 60.0


@dataclass(frozen=True)
class Job:
    """One script with its arguments; the name is that of its result."""

    name: str
    script: str
    words: tuple[str, ...] = ()

    def command(self, out: Path, threads: int) -> list[str]:
        """Return what is typed; threads among the job's own words win."""
        given = () if "--threads" in self.words else ("--threads", str(threads))
        return [sys.executable, str(HERE / self.script), *given, *self.words, "--out", str(out)]


JOBS = (
    Job("machine", "machine.py"),
    Job("startup", "startup.py"),
    Job("encoder-1", "encoder.py", ("--threads", "1")),
    Job("encoder", "encoder.py"),
    Job("catalogue", "catalogue.py"),
    Job("append", "append.py"),
    Job("overhead", "overhead.py"),
    Job("contexts", "contexts.py"),
    Job("growth", "contexts.py", ("--growth", "1")),
    Job("generate", "generate.py"),
    Job("exhaustive", "exhaustive.py"),
    Job("prepare", "prepare.py"),
)


def main() -> int:
    """Run the jobs; return 1 when one could not be measured, whatever the bars say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="measure what is finished, too")
    parser.add_argument("--only", nargs="*", default=[job.name for job in JOBS], metavar="NAME")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    unknown = set(options.only) - {job.name for job in JOBS}
    if unknown:
        parser.error(f"no such job: {', '.join(sorted(unknown))}")
    chosen = [job for job in JOBS if job.name in options.only and (HERE / job.script).is_file()]
    mine = HERE / "results" / folder_name(record.machine())
    failed = run(chosen, mine, options.threads, again=options.again)
    (HERE / "table.md").write_text(page_of(HERE / "results"), encoding="utf-8")
    print(f"\n{table_of(read(mine, JOBS))}")
    return 1 if failed else 0


def run(jobs: Sequence[Job], results: Path, threads: int, *, again: bool) -> list[str]:
    """Run the jobs that are not finished, and return the names of those that failed."""
    failed = []
    for job in jobs:
        out = results / f"{job.name}.json"
        command = job.command(out, threads)
        if not again and is_finished(out, command):
            print(f"{job.name}: measured already")
            continue
        print(f"{job.name}: {' '.join(command[1:-2])}", flush=True)
        began = time.monotonic()
        if subprocess.run(command, env=environment(threads), check=False).returncode:
            failed.append(job.name)
            print(f"{job.name}: failed", file=sys.stderr)
        print(f"{job.name}: {(time.monotonic() - began) / MINUTE:.1f} min", flush=True)
    return failed


def is_finished(out: Path, command: Sequence[str]) -> bool:
    """Return whether a result is there that this command would make again, of today's code."""
    if not out.is_file():
        return False
    known = json.loads(out.read_text(encoding="utf-8"))
    script = Path(command[1])
    asked = [script.name, *record.without_out(command[2:])]
    same_code = known.get("fingerprint") == record.fingerprint(script)
    return same_code and known.get("command") == asked


def environment(threads: int) -> dict[str, str]:
    """Return the variables of a script: as many threads as asked for, and no network.

    On a machine of their own, threads that wait for each other do so awake for some microseconds,
    peers' threads too; `userllm` alone would let them sleep, for the sake of others.
    """
    count = str(threads)
    limits = {"OMP_NUM_THREADS": count, "POLARS_MAX_THREADS": count, "MKL_NUM_THREADS": count}
    quiet = {"GOMP_SPINCOUNT": "10000"}
    return {**os.environ, **limits, **quiet, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}


def read(results: Path, jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Return the results that are there, in the order of the jobs."""
    paths = [results / f"{job.name}.json" for job in jobs]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def folder_name(machine: Mapping[str, Any]) -> str:
    """Return where results of a machine lie."""
    return slug(title_of(machine).replace(",", "").lower())


def title_of(machine: Mapping[str, Any]) -> str:
    """Return what a machine is called."""
    return f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"


def page_of(results: Path) -> str:
    """Return the tables of all machines that were measured as one Markdown page."""
    measured = [read(folder, JOBS) for folder in sorted(results.iterdir())]
    return "# Speed\n\n" + "\n".join(table_of(one) for one in measured if one)


def table_of(results: Sequence[dict[str, Any]]) -> str:
    """Return all rows of one machine as a section in Markdown."""
    rows = [(result, row) for result in results for row in result["rows"]]
    barred = [row for _, row in rows if row["met"] is not None]
    met = sum(row["met"] for row in barred)
    busy = sum(row["busy_share"] > record.BUSY for _, row in rows)
    lines = [
        f"## {title_of(results[0]['machine'])}",
        "",
        f"{met} of {len(barred)} bars are met. {busy} of {len(rows)} rows were measured while "
        f"others took more than {record.BUSY:.0%} of the machine: judge them by their ratios.",
        "",
        "| what | measured | bar | met? | threads | n | others took | load |",
        "|---|--:|--:|:-:|--:|--:|--:|--:|",
        *(_line(result, row) for result, row in rows),
        "",
        *_versions(results),
    ]
    return "\n".join(lines) + "\n"


def _line(result: dict[str, Any], row: dict[str, Any]) -> str:
    verdict = {None: "", True: "yes", False: "**no**"}[row["met"]]
    spread = f" [{row['low']:,.4g}, {row['high']:,.4g}]" if "low" in row and "high" in row else ""
    share = f"{row['busy_share']:.0%}"
    cells = [
        row["name"].replace("|", "/"),
        f"{row['value']:,.4g} {row['unit']}{spread}",
        record.bar_of(row),
        verdict,
        str(row["threads"]),
        str(row.get("n", "")),
        f"**busy: {share}**" if row["busy_share"] > record.BUSY else share,
        "" if result["load_before"] is None else f"{result['load_before']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _versions(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line per set of versions that rows hold for."""
    seen: dict[str, list[str]] = {}
    for result in results:
        versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        script = f"{' '.join(result['command'])} ({result['written']})"
        seen.setdefault(versions, []).append(script)
    return [f"Measured with {what}: {'; '.join(scripts)}." for what, scripts in seen.items()]


if __name__ == "__main__":
    sys.exit(main())
