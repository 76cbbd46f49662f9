"""Does anything behind the cut reach training, prompts or scores? Change it all, and look.

Usage: python experiments/audit.py [key=value …], with the keys of userllm contextualize, such as
data=movielens_100k size=tiny task=favorite_category context=hybrid split=global_time

The data are prepared twice: as they are, and with other items, ratings, times and texts from each
user's cut on. Encoder and language model are trained on both. Everything that is read, learned and
said before the cut must be equal to the last bit: windows, prompts, memories, weights, scores. Only
the truth, and so the metrics, may change.

Two cuts are tried. Behind the test event nothing may matter at all. Behind the validation event
neither, except for the choice of the best step, so there the last step's weights are compared.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table

from experiments.facts import encoder_facts, model_facts
from experiments.tamper import Part, changed_behind, held_out, without_filters
from userllm.config import Loaded, load
from userllm.data.corpus import Corpus
from userllm.data.split import SPLITS
from userllm.errors import UserError
from userllm.report.terminal import wide_console
from userllm.run.folder import read_status
from userllm.run.journal import log_to_screen
from userllm.run.launch import ensure, execute, stop_if_interrupted

CONTEXTS = ("text_prompt", "cross_attention")
PARTS: tuple[Part, ...] = ("test", "valid")
QUICK = (
    *("cost.repeats=1", "cost.warmup=0", "evaluation.retention=false", "evaluation.users=2"),
    "task=next_item",
)
"""Metrics and times are no part of the audit; the next item is what a leak would give away."""
TASKS = ("next_item", "favorite_category")
"""Tasks whose questions say nothing about the event at the cut."""


@dataclass(frozen=True)
class Check:
    """One thing that must not depend on what is behind the cut.

    Attributes:
        where: Split and what was changed.
        what: Run and thing.
        same: Whether it was equal.
    """

    where: str
    what: str
    same: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit and print; return 0, 1 for a leak, 2 for bad input, 130 when interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--quiet", action="store_true", help="print only the verdict and leaks")
    options = parser.parse_intermixed_args(arguments)
    if not options.quiet:
        log_to_screen()
    try:
        with tempfile.TemporaryDirectory() as work:
            checks = list(audit(options.overrides, Path(work)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return show(checks, everything=not options.quiet)


def audit(overrides: Sequence[str], work: Path) -> Iterator[Check]:
    """Yield every check, for the chosen splits and contexts or all of them.

    Args:
        overrides: What is audited, in words of ``userllm contextualize``.
        work: An empty folder.

    Raises:
        UserError: The config cannot run, or a run failed.
    """
    given = dict(text.split("=", 1) for text in overrides if "=" in text)
    rest = [text for text in overrides if text.partition("=")[0] not in ("split", "context")]
    splits = [given["split"]] if "split" in given else list(SPLITS)
    contexts = [given["context"]] if "context" in given else list(CONTEXTS)
    for split in splits:
        typed = [*QUICK, *rest, f"split={split}"]
        ways = {name: load("contextualize", [*typed, f"context={name}"]) for name in contexts}
        for part in PARTS:
            yield from audit_cut(ways, ways, part, work / split / part)


def audit_cut(
    ways: Mapping[str, Loaded], trained: Collection[str], part: Part, work: Path
) -> Iterator[Check]:
    """Yield the checks of one split with one cut.

    Args:
        ways: Context to the config of its run; all have the data and the encoder in common.
        trained: Contexts that are trained; without any, it is the encoder alone.
        part: Which held-out events are the first to change.
        work: An empty folder.

    Raises:
        UserError: A run failed, or the task cannot be audited.
    """
    first = next(iter(ways.values()))
    _refuse_telling_task(first.choices["task"])
    split = first.config.split
    prepared = ensure("prepare", _below(first, work / "plain"), first.choices)
    same = without_filters(Corpus.open(prepared / "corpus"), work / "corpus")
    changed = changed_behind(same, split, part, work / "other")
    events = int(held_out(same, split, part).sum())
    where = f"{split}, {events:,} events from the {part} event on changed"
    if same.vocabulary.sizes != changed.vocabulary.sizes:
        raise UserError(f"{where}: the audit changed the vocabularies, which is its own mistake")
    hashes = []
    for name, corpus in (("before", same), ("after", changed)):
        _put(prepared, corpus, work / name)
        facts = _encoder(first, part, corpus, work / name)
        for context in trained:
            facts |= _model(ways[context], context, part, work / name)
        hashes.append(facts)
    before, after = hashes
    for what in dict.fromkeys([*before, *after]):
        yield Check(where, what, what in before and before[what] == after.get(what))


def show(checks: Sequence[Check], *, everything: bool) -> int:
    """Print the checks, or only what leaks, and the verdict; return the exit code."""
    leaks = [check for check in checks if not check.same]
    console = wide_console()
    if shown := checks if everything else leaks:
        table = Table("what was changed", "what was compared", "verdict", title="Leakage audit")
        for check in shown:
            verdict = "equal" if check.same else "DEPENDS ON IT"
            table.add_row(check.where, check.what, verdict, style="" if check.same else "bold red")
        console.print(table)
    told = f"{len(leaks)} depend on what is behind the cut" if leaks else "none depends on it"
    console.print(f"{len(checks)} things compared, {told}.")
    return 1 if leaks else 0


def _encoder(loaded: Loaded, part: Part, corpus: Corpus, runs: Path) -> dict[str, str]:
    """Train the encoder; return the hash of all that is compared, by name."""
    run = ensure("pretrain", _below(loaded, runs), loaded.choices)
    return {f"encoder: {name}": one for name, one in encoder_facts(run, corpus, part).items()}


def _model(loaded: Loaded, context: str, part: Part, runs: Path) -> dict[str, str]:
    """Train a language model; return the hash of all that is compared, by name."""
    config = _below(loaded, runs)
    if part == "valid":
        # An encoder's best step is chosen on the validation events, which are others now.
        config.encoder.checkpoint = None
    outcome = execute("contextualize", config, loaded.choices, loaded.overrides)
    stop_if_interrupted(outcome)
    if outcome.error:
        raise UserError(f"context={context} failed: {outcome.error}")
    found = model_facts(Path(outcome.folder), part)
    return {f"{context}: {name}": one for name, one in found.items()}


def _refuse_telling_task(task: str) -> None:
    if task not in TASKS:
        raise UserError(
            f"task={task}: its questions name what they ask about, so prompts must change with "
            f"it. Expected one of: {', '.join(TASKS)}"
        )


def _put(prepared: Path, corpus: Corpus, runs: Path) -> None:
    """Copy a finished preparation below ``runs``, with another corpus as its result."""
    target = runs / prepared.parent.name / prepared.name
    shutil.copytree(prepared, target, ignore=shutil.ignore_patterns("corpus"))
    shutil.copytree(corpus.folder, target / "corpus")
    # Without an inventory nobody takes the new files for damaged ones.
    status = {**read_status(target), "files": None}
    (target / "status.json").write_text(json.dumps(status), encoding="utf-8")


def _below(loaded: Loaded, runs: Path) -> DictConfig:
    """Return a run's config with its folder below ``runs``."""
    config = loaded.config.copy()
    config.paths.runs = str(runs)
    return config


if __name__ == "__main__":
    sys.exit(main())
