"""What the runs of a study cost together, told from their configs."""

from collections.abc import Collection, Sequence

from userllm.config import Composer
from userllm.data.progress import track
from userllm.run.cells import CellConfigs
from userllm.run.estimate import ESTIMATES, Estimate
from userllm.run.search.overview import overview
from userllm.run.studies import FULL_SIZE, Bill
from userllm.run.sweep import cells_of, is_grid

NOT_ESTIMATED = {
    "optim",
    "logger",
    "cost",
    "group",
    "name",
    "threads",
    "pack_weights",
    "split",
}
"""Keys of a config that change nothing about what a run computes, or little."""


def bills(study: str, verb: str, overrides: Sequence[str] = ()) -> tuple[Bill, Bill]:
    """Add up the estimates of a study's runs, as configured and at full size.

    The preparation of data is not counted. Of a search, each trial is taken to cost what a run does
    that varies nothing and is not stopped early.

    Args:
        study: Its name.
        verb: What it sweeps.
        overrides: What to change about it.
    """
    composer = Composer(verb)
    words = [f"study={study}", *overrides]
    cells = cells_of(composer, words)
    trials = 1 if is_grid(composer, words) else overview(composer, words).settings.trials
    if verb not in ESTIMATES:
        return Bill(len(cells), 0.0, 0.0, 0), Bill(len(cells), 0.0, 0.0, 0)
    estimate = ESTIMATES[verb]
    config_of = CellConfigs(composer, cells[0], without=NOT_ESTIMATED)
    told = [
        [estimate(config_of(cell, size=size)) for size in (None, FULL_SIZE)]
        for cell in track(cells, study, len(cells))
    ] * trials
    configured, full = zip(*told, strict=True)
    return add_up(configured), add_up(full)


def add_up(estimates: Sequence[Estimate], *, without: Collection[str] = ()) -> Bill:
    """Return the bill of runs of one study, which share pretrained encoders.

    Args:
        estimates: One per run.
        without: Encoders that are pretrained already.
    """
    encoders = {one.encoder: one.pretraining for one in estimates if one.encoder not in without}
    return Bill(
        runs=len(estimates),
        training=sum(one.training for one in estimates) + sum(encoders.values()),
        evaluation=sum(one.evaluation for one in estimates),
        rough=sum(one.rough for one in estimates),
    )
