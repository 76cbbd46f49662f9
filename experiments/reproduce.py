"""Run a committed study again, from nothing, and hold every number against the committed one.

Usage: python experiments/reproduce.py STUDY [key=value …] [--set key=value] [--runs FOLDER]

Words choose runs: seed=0, context=none, experiment=…. --set changes a value of every run, such as
where the data lie or how many threads there are. An interrupted call goes on where it stopped, as
long as the code is that of the same commit.

Verdicts: equal (to the last digit, user by user), within (the new mean lies in the committed 95 %
interval), missed. Closed-form costs have no interval and must agree to 0.1 % (without the writing
of free answers); times and memory are the machine's and are not compared. One miss, and the exit
code is 1.
"""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from rich.table import Table

from experiments.collect import machine
from experiments.rerun import run_again
from experiments.tables import committed, read
from userllm.errors import UserError
from userllm.report.results import Result, Unfinished
from userllm.report.terminal import wide_console
from userllm.run.ending import differences
from userllm.run.journal import log_to_screen

RUNS = Path("runs/reproduce")
"""A study is run again in a folder of its own below this one."""
COSTS = (
    "prompt_tokens",
    "user_vectors",
    "flops_per_user",
    "trainable_parameters",
    "total_parameters",
    "training_steps",
    "training_examples",
    "training_flops",
    "pretraining_flops",
)
COST_TOLERANCE = 1e-3
ROUNDING = 1e-9

Verdict = Literal["equal", "within", "missed"]


@dataclass(frozen=True)
class Line:
    """One number: as it was committed, and as it came out now.

    Attributes:
        label: What sets the run apart.
        what: Method and name of the number.
        low: Lower end of what is accepted.
        high: Upper end.
        now: None where it is missing.
    """

    label: str
    what: str
    was: float
    low: float
    high: float
    now: float | None
    verdict: Verdict
    primary: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, compare and print; return 0, 1 for a miss, 2 for bad input, 130 when interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", help="a folder of experiments/ with results")
    parser.add_argument("only", nargs="*", metavar="key=value", help="run only these")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", dest="changes")
    parser.add_argument("--runs", type=Path, help=f"default: {RUNS}/STUDY")
    parser.add_argument("--fresh", action="store_true", help=f"empty {RUNS}/STUDY first")
    parser.add_argument("--all", action="store_true", help="print every number, not the main ones")
    options = parser.parse_intermixed_args(arguments)
    runs = (options.runs or RUNS / options.study).absolute()
    try:
        chosen = choose(read(committed(options.study)), options.only)
        if options.fresh and options.runs is None:
            shutil.rmtree(runs, ignore_errors=True)
        log_to_screen()
        lines, found = reproduce(chosen, options.changes, runs)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    show(lines, chosen, found, everything=options.all)
    return 1 if any(line.verdict == "missed" for line in lines) else 0


def choose(loaded: Sequence[Result | Unfinished], words: Sequence[str]) -> list[Result]:
    """Return the finished runs that have all the given values.

    Raises:
        UserError: There are none; says which values there are.
    """
    results = [item for item in loaded if isinstance(item, Result)]
    pairs = [word.partition("=")[::2] for word in words]
    chosen = [
        result
        for result in results
        if all(alike(value_of(result, key), value) for key, value in pairs)
    ]
    if not chosen:
        known = {key: sorted({str(value_of(one, key)) for one in results}) for key, _ in pairs}
        told = "; ".join(f"{key}: {', '.join(values)}" for key, values in known.items())
        raise UserError(f"no committed run has {' '.join(words)}. There are {told}")
    return chosen


def alike(value: str | None, wanted: str) -> bool:
    """Say whether two texts are one value; 1.6e14 is 160000000000000.0."""
    try:
        return value is not None and float(value) == float(wanted)
    except ValueError:
        return value == wanted


def value_of(result: Result, key: str) -> str | None:
    """Return a key's value as it was typed, chosen, or in the config; None where it is not."""
    typed = dict(text.lstrip("+").split("=", 1) for text in result.run["overrides"] if "=" in text)
    if key in typed:
        return typed[key]
    if key in result.run["choices"]:
        return str(result.run["choices"][key])
    found = OmegaConf.select(OmegaConf.create(result.run["config"]), key)
    return None if found is None else str(found)


def reproduce(
    chosen: Sequence[Result], changes: Sequence[str], runs: Path
) -> tuple[list[Line], list[Result]]:
    """Run the same again below ``runs``; return every comparison, and the new results.

    Args:
        chosen: Committed runs.
        changes: Overrides for all of them.
        runs: Where to; what is finished there is not run again.
    """
    labels = labels_of(chosen)
    lines: list[Line] = []
    found: list[Result] = []
    for number, (old, label) in enumerate(zip(chosen, labels, strict=True), start=1):
        print(f"run {number} of {len(chosen)}: {label}", flush=True)
        new = run_again(old, changes, runs)
        if isinstance(new, Result):
            found.append(new)
        lines += compare(old, new if isinstance(new, Result) else None, label)
    return lines, found


def compare(old: Result, new: Result | None, label: str) -> Iterator[Line]:
    """Yield a line for each committed number of a run.

    Args:
        old: As committed.
        new: As it came out; None where it failed.
        label: What sets the run apart.
    """
    keys = ("method", "task", "part", "protocol", "scorer")
    same_data = new is not None and all(
        old.environment[key] == new.environment[key] for key in ("data_name", "data_fingerprint")
    )
    if new is None and not old.outcomes:
        yield Line(label, "the run itself", nan, nan, nan, None, "missed", primary=True)
    found = {} if new is None else {tuple(one[k] for k in keys): one for one in new.outcomes}
    for was in old.outcomes:
        now = found.get(tuple(was[key] for key in keys), {}) if same_data else {}
        fixed = numbers(now)
        for name, (mean, low, high, n) in numbers(was).items():
            value, _, _, count = fixed.get(name, (None, None, None, None))
            verdict: Verdict = "within"
            if value is None or count != n or not low - ROUNDING <= value <= high + ROUNDING:
                verdict = "missed"
            elif value == mean and new is not None and _same_users(old, new, was, now, name):
                verdict = "equal"
            primary = name == was["primary"]
            yield Line(label, f"{was['method']} {name}", mean, low, high, value, verdict, primary)


def _same_users(
    old: Result, new: Result, was: Mapping[str, Any], now: Mapping[str, Any], name: str
) -> bool:
    """Return whether a number is equal user by user; true where it is not per user."""
    before, after = (one.users_of(outcome) for one, outcome in ((old, was), (new, now)))
    if name not in before.columns:
        return True
    return before.select("user", name).equals(after.select("user", name))


def numbers(outcome: Mapping[str, Any]) -> dict[str, tuple[float, float, float, int]]:
    """Return name to (mean, low, high, n): metrics, what tuning left, and closed-form costs."""
    found = {}
    kept = {
        f"{name} {when}": values
        for name, one in (outcome.get("retention") or {}).items()
        for when, values in one.items()
    }
    for name, metric in {**outcome.get("metrics", {}), **kept}.items():
        # A metric that is not per user has no interval: only the same number will do.
        ends = [metric[end] for end in ("low", "high")]
        low, high = (metric["mean"] if end is None or isnan(end) else end for end in ends)
        found[name] = (metric["mean"], low, high, metric["n"])
    cost = outcome.get("cost") or {}
    if cost.get("answer_tokens"):
        # How much is written is measured, and differs a little between machines.
        cost = {**cost, "flops_per_user": cost["flops_per_user"] - cost["flops_parts"]["answers"]}
    for name in COSTS:
        if isinstance(value := cost.get(name), int | float):
            room = COST_TOLERANCE * abs(value)
            found[name] = (value, value - room, value + room, 0)
    return found


def labels_of(results: Sequence[Result]) -> list[str]:
    """Return what sets each run apart: stage, what was typed for it alone, seed."""
    typed: dict[str, list[list[str]]] = {}
    for result in results:
        typed.setdefault(result.run["verb"], []).append(result.run["overrides"])
    words = {verb: iter(differences(cells)) for verb, cells in typed.items()}
    labels = []
    for result in results:
        verb, seed = result.run["verb"], f"seed={result.run['seed']}"
        special = [word for word in next(words[verb]).split() if not word.startswith("seed=")]
        labels.append(" ".join([verb, *special, seed]))
    return labels


def show(
    lines: Sequence[Line], old: Sequence[Result], new: Sequence[Result], *, everything: bool
) -> None:
    """Print primary metrics, or everything, and what was missed; the sum of it; both machines."""
    table = Table("run", "number", title="Committed and now")
    for name in ("committed", "accepted", "now", "verdict"):
        table.add_column(name, justify="right")
    styles = {"equal": "dim", "within": "", "missed": "bold red"}
    for line in lines:
        if everything or line.primary or line.verdict == "missed":
            now = "–" if line.now is None else f"{line.now:.6g}"
            accepted = f"{line.low:.6g} to {line.high:.6g}"
            cells = (line.label, line.what, f"{line.was:.6g}", accepted, now, line.verdict)
            table.add_row(*cells, style=styles[line.verdict])
    console = wide_console()
    console.print(table)
    counts = Counter(line.verdict for line in lines)
    told = [f"{counts[verdict]} {verdict}" for verdict in ("equal", "within", "missed")]
    console.print(f"{len(lines)} numbers of {len(old)} runs: {', '.join(told)}.")
    console.print(f"Committed on: {_where(old)}.")
    console.print(f"Now on: {_where(new)}.")


def _where(results: Sequence[Result]) -> str:
    every = [result.environment for result in results]
    told = ((machine(o), o.get("cpu_kind"), f"torch {o['versions']['torch']}") for o in every)
    return "; ".join(sorted({", ".join(filter(None, one)) for one in told})) or "nothing ran"


if __name__ == "__main__":
    sys.exit(main())
