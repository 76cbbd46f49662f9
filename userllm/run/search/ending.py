"""What is printed when a search is over: its trials, the best one, and what to type next."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from userllm.report.terminal import wide_console
from userllm.run.search.memory import Trial
from userllm.run.search.settings import VALID, Settings

STYLES = {"complete": "green", "pruned": "cyan", "failed": "red"}


def print_trials(settings: Settings, trials: Sequence[Trial]) -> None:
    """Print one row per trial and the commands that go on from the best."""
    best = best_of(trials, settings.direction)
    console = wide_console()
    console.print(trial_table(settings, trials, best))
    for line in next_steps(settings, best):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def best_of(trials: Sequence[Trial], direction: str) -> Trial | None:
    """Return the best trial that was trained to its end, the earliest of equals."""
    sign = -1.0 if direction == "maximize" else 1.0
    complete = [one for one in trials if one.state == "complete" and one.value is not None]
    return min(complete, key=lambda one: (sign * (one.value or 0.0), one.number), default=None)


def trial_table(settings: Settings, trials: Sequence[Trial], best: Trial | None) -> Table:
    """Return what each trial tried and what it was worth on the validation users."""
    table = Table(
        "", *short_names(settings.varied), "state", title=f"{settings.study}: {len(trials)} trials"
    )
    table.add_column(f"{settings.metric} (validation)", justify="right")
    table.add_column("run", overflow="fold")
    for one in trials:
        tried = [escape(str(one.params.get(key, ""))) for key in settings.varied]
        value = "–" if one.value is None else f"{one.value:.4f}"
        state = f"[{STYLES[one.state]}]{one.state}[/]"
        where = one.error or Path(one.folder).name
        style = "bold" if one is best else None
        table.add_row(str(one.number), *tried, state, value, escape(where), style=style)
    return table


def short_names(keys: Iterable[str]) -> list[str]:
    """Return the last part of each key, with as much before it as tells it from the others."""
    parts = {key: key.split(".") for key in keys}
    names = []
    for key, mine in parts.items():
        others = [other for name, other in parts.items() if name != key]
        lengths = range(1, len(mine) + 1)
        shortest = next(n for n in lengths if all(o[-n:] != mine[-n:] for o in others))
        names.append(".".join(mine[-shortest:]))
    return names


def next_steps(settings: Settings, best: Trial | None) -> list[str]:
    """Return what to type once a search is over."""
    if best is None:
        return ["no trial was trained to its end"]
    words = [word for word in best.overrides if word != VALID]
    lines = [
        f"best: trial {best.number}, {settings.metric} {best.value:.4f} on the validation users",
        f"  {shlex.join(['userllm', settings.verb, *words])}",
    ]
    if VALID in best.overrides:
        run = f"run=run:{settings.verb}/{Path(best.folder).name}"
        lines += [
            "on the test users, without training again:",
            f"  userllm evaluate {run} evaluation.part=test",
        ]
    return lines
