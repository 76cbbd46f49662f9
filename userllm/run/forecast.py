"""``--dry-run``: the cells of a sweep, how far each is, and what the rest will cost."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from userllm.config import Composer, as_config, choices_of, refuse, resolve, without_hydra
from userllm.report import units
from userllm.report.terminal import wide_console
from userllm.run.ending import coloured, differences
from userllm.run.folder import RunFolder
from userllm.run.launch import ALWAYS
from userllm.run.planned import Planned, in_words, look_up, state_of
from userllm.run.sweep import cells_of, is_grid, problems_of

COSTED = ("contextualize", "pretrain")
"""Verbs whose cost has closed forms; others take minutes, or depend on what they are given."""


def forecast(composer: Composer, overrides: Sequence[str]) -> None:
    """Print the plan of a sweep, or of one run; nothing is run and nothing is written.

    Raises:
        UserError: With everything that is wrong with any of the cells.
    """
    console = wide_console()
    cells = cells_of(composer, overrides)
    if not is_grid(composer, overrides):
        refuse(composer.verb, list(problems_of(composer, cells)))
        _forecast_search(composer, overrides, cells[0], console)
        return
    planned = look_up(composer, cells)
    console.print(plan_table(planned))
    left = [cell for cell in planned if cell.state != "finished" or composer.verb in ALWAYS]
    console.print(f"{in_words(cell.state for cell in planned)}; {len(left)} to do")
    # States first: what follows imports PyTorch.
    refuse(composer.verb, list(problems_of(composer, cells)))
    if left:
        _print_cost(composer.verb, left, console)


def plan_table(cells: Sequence[Planned]) -> Table:
    """Return one row per cell: what is special about it, its state, its folder or its error."""
    table = Table("run", "state", title=f"{len(cells)} runs")
    table.add_column("where or why", overflow="fold")
    labels = differences([cell.overrides for cell in cells])
    for label, cell in zip(labels, cells, strict=True):
        where = cell.note or (cell.folder.name if cell.folder else "")
        table.add_row(escape(label), coloured(cell.state), escape(where))
    return table


def _forecast_search(
    composer: Composer, overrides: Sequence[str], shared: Sequence[str], console: Console
) -> None:
    """Print what a search varies, how many trials are over, and what all and the rest cost."""
    from userllm.run.search.overview import overview

    search = overview(composer, overrides)
    table = Table("key", "values", title=f"{search.settings.study}: a search")
    for key, values in search.settings.varied.items():
        table.add_row(escape(key), escape(values))
    console.print(table)
    console.print(f"in common: {' '.join(shared) or 'nothing'}", markup=False)
    console.print(search.words)
    composed = composer.look_at(*shared)
    config, _ = resolve(without_hydra(composed))
    one = Planned(list(shared), config, choices_of(composed.hydra), None, "new")
    counts = {search.settings.trials: "all trials", search.left: "what is left"}
    for count, what in counts.items():
        if count:
            _print_cost(composer.verb, [one] * count, console, f"{what}, none stopped early: ")


def _print_cost(verb: str, cells: Sequence[Planned], console: Console, before: str = "") -> None:
    if verb not in COSTED:
        console.print(f"What {verb} costs is not estimated.")
        return
    # It imports the models; who only looks at states should not wait for that.
    from userllm.run.bills import add_up
    from userllm.run.estimate import ESTIMATES
    from userllm.run.studies import cpu_rate, seconds_here, seconds_on_h100, written

    estimates = [ESTIMATES[verb](cell.config) for cell in cells]
    # Runs that share an encoder say so with the same text; one of them stands for all.
    needs = {one.encoder: cell for one, cell in zip(estimates, cells, strict=True) if one.encoder}
    there = {text for text, cell in needs.items() if state_of(_encoder_run(cell)) == "finished"}
    bill = add_up(estimates, without=there)
    rate = cpu_rate()
    console.print(
        f"{before}{written(bill)} "
        f"(training + evaluation{', some runs as 6ND' if bill.rough else ''}): "
        f"about {units.duration(seconds_here(bill, rate))} on this machine's CPU, one run at a "
        f"time, or {units.duration(seconds_on_h100(bill))} on one H100."
    )


def _encoder_run(cell: Planned) -> Path:
    """Return where the encoder that a cell needs is pretrained."""
    from userllm.run.stage import derive

    needed = derive("pretrain", as_config(cell.config), cell.choices)
    return RunFolder(
        verb="pretrain",
        config=needed.config,
        choices=needed.choices,
        overrides=needed.overrides,
    ).path
