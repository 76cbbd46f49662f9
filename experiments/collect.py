"""Keep what came out of a study: its runs' small files, the table and figures made from them.

Usage: python experiments/collect.py STUDY [--name NAME] [--runs runs] [--partial] [--add]

Writes experiments/<NAME>/results, table.md and figures, and a README.md where there is none. What
is left out of the files, and how paths are made relative, is in tidy.py.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from experiments.tables import HERE, read, refresh
from experiments.tidy import numbered, tidy_result, tidy_status
from userllm.config import config_folders
from userllm.errors import UserError
from userllm.report import units
from userllm.report.results import Result
from userllm.run.folder import read_result, read_status, write_text
from userllm.run.listing import first_comment
from userllm.run.made_from import refuse_remade
from userllm.run.reference import record_member, study_members, study_names
from userllm.run.study_plan import read_plan
from userllm.run.whole import CURVE

CURVE_BYTES = 32 * 1024
"""Longer training curves are not kept."""
LIMIT_MIB = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect one study; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", help="group of the runs, as in userllm compare <study>")
    parser.add_argument("--name", help="folder in experiments/; default: the study's name")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--partial", action="store_true", help="leave unfinished runs out")
    parser.add_argument(
        "--add", action="store_true", help="keep what is there of runs that are not among these"
    )
    parser.add_argument(
        "--limit-mib", type=float, default=LIMIT_MIB, help="most the files may take"
    )
    options = parser.parse_args(arguments)
    target = HERE / (options.name or options.study)
    try:
        collect(
            options.study,
            options.runs.absolute(),
            target,
            partial=options.partial,
            add=options.add,
            limit_mib=options.limit_mib,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def collect(
    study: str,
    runs: Path,
    target: Path,
    *,
    partial: bool = False,
    add: bool = False,
    limit_mib: float = LIMIT_MIB,
) -> None:
    """Copy a study's finished runs into ``target/results`` and write its table and figures.

    Args:
        study: Its name.
        runs: The folder of all runs.
        target: The study's folder in experiments/; earlier results there are replaced.
        partial: Leave unfinished runs out instead of refusing.
        add: Replace earlier results of these runs only: a study may be run piece by piece.
        limit_mib: Most MiB the copies may take together.

    Raises:
        UserError: There is no such study, a run of it is not finished or was made from one that
            came out otherwise since, or it is too large.
    """
    finished = _finished(study, runs, partial=partial)
    names = {folder.name for folder in finished}
    earlier = study_members(target / "results", study) if add else []
    # One that somebody deleted since is not wanted any more.
    kept = [folder for folder in earlier if folder.name not in names and folder.is_dir()]
    draft = target / ".results.draft"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for folder in finished:
            copy_run(folder, draft / folder.parent.name / folder.name)
        for folder in kept:
            shutil.copytree(folder, draft / folder.parent.name / folder.name)
        for folder in [*kept, *finished]:
            record_member(draft, study, draft / folder.parent.name / folder.name)
        size = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
        if size > limit_mib * 2**20:
            raise UserError(
                f"the results of {study} take {size / 2**20:.1f} MiB, expected {limit_mib:g} at "
                "most: ask fewer users (evaluation.users), or type --limit-mib to allow it"
            )
        shutil.rmtree(target / "results", ignore_errors=True)
        draft.rename(target / "results")
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    refresh(target)
    readme = target / "README.md"
    if not readme.exists():
        write_text(readme, introduction(study, target))
    print(f"{target}: {len(kept) + len(finished)} runs, {size / 1024:.0f} KiB")
    if made := _uncommitted(target):
        print(f"{made} of them were made by code that was not committed; their commit is a guess")


def copy_run(folder: Path, target: Path) -> None:
    """Copy what a published run consists of, and nothing that belongs to a machine."""
    target.mkdir(parents=True)
    result = read_result(folder)
    _write(target / "result.json", tidy_result(result))
    _write(target / "status.json", tidy_status(read_status(folder)))
    users = numbered(pl.read_parquet(folder / "per_user.parquet"), result["run"]["config"])
    users.write_parquet(target / "per_user.parquet", compression="zstd", compression_level=19)
    curve = folder / CURVE
    if curve.is_file() and curve.stat().st_size <= CURVE_BYTES:
        shutil.copyfile(curve, target / CURVE)


def introduction(study: str, target: Path) -> str:
    """Return the first README of a study: what the results themselves say about it."""
    results = [item for item in read(target) if isinstance(item, Result)]
    machines = sorted({machine(result.environment) for result in results})
    seconds = sum(read_status(result.folder).get("seconds") or 0.0 for result in results)
    data = sorted({result.environment["data_name"] for result in results})
    files = (folder / "study" / f"{study}.yaml" for folder in config_folders())
    question = next(
        (first_comment(file) for file in files if file.is_file()), f"The study {study}."
    )
    lines = [
        f"# {target.name}",
        "",
        question,
        "",
        f"- Again: `make reproduce STUDY={target.name}`; a run's command is in its `result.json`.",
        f"- Data: {', '.join(data)}.",
        f"- Hardware: {'; '.join(machines)}.",
        f"- Time: {units.duration(seconds)} in {len(results)} runs, one after the other.",
        "",
        "The numbers are in [table.md](table.md), made by `make tables` from `results/`.",
        "",
    ]
    return "\n".join(lines)


def machine(environment: dict[str, Any]) -> str:
    """Return what a run was made on, in words."""
    gpu, cpu = environment.get("gpu"), environment.get("cpu")
    threads = environment.get("threads")
    return str(gpu) if gpu else f"{cpu}, {threads} thread{'' if threads == 1 else 's'}"


def _finished(study: str, runs: Path, *, partial: bool) -> list[Path]:
    """Return the study's finished runs in order of stage and name."""
    members = study_members(runs, study)
    if not members:
        known = ", ".join(study_names(runs)) or "none"
        raise UserError(f"{runs} has no study {study!r}; it has: {known}. Is it the right --runs?")
    planned = dict.fromkeys([*members, *read_plan(runs, study)])
    states = {folder: read_status(folder).get("state", "not run") for folder in planned}
    left = [folder for folder, state in states.items() if state != "finished"]
    if left and not partial:
        told = "\n".join(f"  {folder.name}: {states[folder]}" for folder in left)
        raise UserError(
            f"{len(left)} of {len(states)} runs of {study} are not finished:\n{told}\n"
            f"Type userllm sweep study={study} to go on, or --partial to leave them out."
        )
    found = [folder for folder, state in states.items() if state == "finished"]
    for folder in found:
        refuse_remade(folder)
    return sorted(found, key=lambda folder: (folder.parent.name, folder.name))


def _uncommitted(target: Path) -> int:
    states = [item.environment.get("git") for item in read(target) if isinstance(item, Result)]
    return sum(bool(state and state["dirty"]) for state in states)


def _write(file: Path, content: dict[str, Any]) -> None:
    write_text(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
