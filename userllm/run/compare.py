"""``userllm compare``: finished runs to tables, figures and one page."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from userllm.config import config_folders
from userllm.report import (
    document,
    figure,
    gates,
    history_figure,
    latex,
    page,
    slice_table,
    table,
    training_figure,
    window_figure,
)
from userllm.report.comparison import Table, build_tables
from userllm.report.notes import heading
from userllm.report.results import load
from userllm.report.terminal import wide_console
from userllm.run import tracking
from userllm.run.folder import RunFolder, slug
from userllm.run.listing import first_comment
from userllm.run.made_from import refuse_remade
from userllm.run.reference import find_runs

OPTIONAL = ("accuracy_vs_*", "gates_by_block.*", "slices.csv")
"""Names of the files that a report may have or not."""


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Read the runs that ``cfg.runs`` names and write ``reports/<name>/``.

    It is cheap, so it always reads everything anew; equal results give equal files.

    Raises:
        UserError: A word names nothing, a result is broken, or results must not be mixed.
    """
    words = [str(word) for word in cfg.runs]
    paths = find_runs(words, Path(cfg.paths.runs).absolute())
    for path in paths:
        refuse_remade(path)
    tables = build_tables([load(path) for path in paths], cfg.get("baseline"), words)
    name = cfg.name or slug(Path(words[0]).name) or "comparison"
    target = Path(cfg.paths.reports).absolute() / name
    files = contents(tables, name, _question(words))
    write_all(files, target)
    pictures = [target / file for file in files if file.endswith(".png")]
    tracking.log_report(folder, table=target / "table.csv", figures=pictures)
    console = wide_console()
    console.print(table.terminal(tables))
    console.print(f"\nPage: {target / 'index.html'}", soft_wrap=True, highlight=False)


def contents(tables: list[Table], name: str, question: str | None = None) -> dict[str, bytes]:
    """Return file name to content of a report; a figure exists where its cost was measured.

    Args:
        tables: What is compared.
        name: Name of the report.
        question: What the study asks, None where runs of no study are compared.
    """
    files = {
        "table.md": table.markdown(tables).encode(),
        "table.csv": table.csv(tables).encode(),
        "table.tex": latex.latex(tables, name=name).encode(),
        "table.json": document.document(tables, name=name).encode(),
        "index.html": page.render(tables, name=name, question=question).encode(),
    }
    if sliced := slice_table.csv(tables):
        files["slices.csv"] = sliced.encode()
    for stem, charts in figures(tables).items():
        specification = json.dumps(figure.specification(charts), indent=1)
        files[f"{stem}.png"] = figure.png(charts)
        files[f"{stem}.vl.json"] = specification.encode()
    return files


def figures(tables: Sequence[Table]) -> dict[str, list[Any]]:
    """Return the charts of each figure, by file name without ending, that have something to show.

    Args:
        tables: What is drawn, a chart each.
    """
    draws: dict[str, Callable[..., Any]] = {
        **{f"accuracy_vs_{axis.name}": partial(figure.chart, axis=axis) for axis in figure.AXES},
        "accuracy_vs_training": training_figure.chart,
        "accuracy_vs_history": history_figure.chart,
        "gates_by_block": gates.chart,
    }
    drawn = {
        stem: [chart for one in tables if (chart := draw(one, title=heading(one)))]
        for stem, draw in draws.items()
    }
    drawn["accuracy_vs_window"] = window_figure.charts(tables)
    return {stem: charts for stem, charts in drawn.items() if charts}


def _question(words: list[str]) -> str | None:
    """Return what a study asks, where one is compared and its file is known."""
    if len(words) > 1:
        return None
    files = (folder / "study" / f"{words[0]}.yaml" for folder in config_folders())
    return next((first_comment(file) for file in files if file.is_file()), None)


def write_all(files: Mapping[str, bytes], target: Path) -> None:
    """Put all files into ``target``, or none when one cannot be written.

    Optional files of an earlier report that this one does not have are removed; files of other
    names are nobody's business.
    """
    target.mkdir(parents=True, exist_ok=True)
    drafts = target / f".draft.{os.getpid()}"
    try:
        drafts.mkdir(exist_ok=True)
        for name, content in files.items():
            with (drafts / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            os.replace(drafts / name, target / name)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    for old in (file for pattern in OPTIONAL for file in target.glob(pattern)):
        if old.name not in files:
            old.unlink()
