"""A study's W&B workspace and report as code; nothing here talks to a server.

Charts refer to the names that ``describe.numbers`` gives, tables to those of ``Wandb``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from userllm.errors import UserError
from userllm.run.folder import read_result
from userllm.run.reference import is_finished

COSTS = ("flops_per_user", "latency_ms/p50", "prompt_tokens", "peak_memory_bytes", "training_flops")
"""Costs that a chart shows accuracy against."""

CURVES = {"train/loss": "Training loss", "valid/ndcg@10": "NDCG@10 on validation users"}
WHOLE, HALF = 24, 12
"""Width of the grid that panels stand on, and half of it."""
HEIGHT = 9


@dataclass(frozen=True)
class Study:
    """What a dashboard shows.

    Attributes:
        name: The study; its runs' group.
        project: W&B project.
        entity: User or team.
        metrics: Task to its primary metric.
        methods: Names in the legend, as found in the runs.
    """

    name: str
    project: str
    entity: str
    metrics: dict[str, str]
    methods: list[str]

    @property
    def accuracies(self) -> list[str]:
        """Name of every task's primary metric."""
        return [f"{task}/{metric}" for task, metric in self.metrics.items()]


def read_study(name: str, runs: Sequence[Path], *, project: str, entity: str) -> Study:
    """Return what the finished runs of a study have to show.

    Raises:
        UserError: None of them is finished.
    """
    metrics: dict[str, str] = {}
    methods: dict[str, None] = {}
    for run in runs:
        if is_finished(run) and (run / "result.json").is_file():
            result = read_result(run)
            for outcome in result["outcomes"]:
                metrics.setdefault(outcome["task"], outcome["primary"])
                if outcome["kind"] == "model":
                    methods[outcome["method"]] = None
    if not metrics:
        raise UserError(f"no run of {name!r} is finished; run the study first")
    return Study(name, project, entity, metrics, list(methods))


def workspace(study: Study) -> Any:
    """Return the workspace: accuracy, cost, training and tables, runs grouped by method."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import And

    sections = [
        ws.Section(name=name, panels=panels, is_open=True)
        for name, panels in sections_of(study).items()
    ]
    grouped = ws.RunsetSettings(
        filters=And(ws.Metric("Group") == study.name), groupby=[ws.Config("method")]
    )
    return ws.Workspace(
        entity=study.entity,
        project=study.project,
        name=study.name,
        sections=sections,
        runset_settings=grouped,
    )


def report(study: Study) -> Any:
    """Return the report: a chapter per section, with a run set of the study in each."""
    import wandb_workspaces.reports.v2 as wr

    intro = (
        f"Runs of the study {study.name}, grouped by method. Every number is on held-out users; "
        "the comparison table and its intervals come from userllm compare."
    )
    blocks: list[Any] = [wr.P(intro), wr.TableOfContents()]
    for name, panels in sections_of(study).items():
        # A table belongs to single runs, a chart to the mean of a method's seeds.
        groups = [] if name == "Tables" else ["config.method"]
        runs = wr.Runset(
            entity=study.entity,
            project=study.project,
            name=study.name,
            filters=f"Group = '{study.name}'",
            groupby=groups,
        )
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        entity=study.entity,
        project=study.project,
        title=f"{study.name}: {', '.join(study.metrics)}"[:128],
        description=f"Methods: {', '.join(study.methods)}",
        blocks=blocks,
        width="fluid",
    )


def sections_of(study: Study) -> dict[str, list[Any]]:
    """Return section name to panels, the same for the workspace and the report."""
    import wandb_workspaces.reports.v2 as wr

    accuracy = [
        wr.BarPlot(title=name, metrics=[name], groupby="config.method", layout=_place(wr, at))
        for at, name in enumerate(study.accuracies)
    ]
    against = [(task, metric, cost) for task, metric in study.metrics.items() for cost in COSTS]
    costs = [
        wr.ScatterPlot(
            title=f"{task}: {metric} against {cost}",
            x=wr.SummaryMetric(f"{task}/cost/{cost}"),
            y=wr.SummaryMetric(f"{task}/{metric}"),
            layout=_place(wr, at),
        )
        for at, (task, metric, cost) in enumerate(against)
    ]
    curves = [
        wr.LinePlot(title=title, x="trainer/global_step", y=[name], layout=_place(wr, at))
        for at, (name, title) in enumerate(CURVES.items())
    ]
    tables = [
        wr.WeavePanelSummaryTable(
            table_name=name, layout=wr.Layout(x=0, y=at * HEIGHT, w=WHOLE, h=HEIGHT)
        )
        for at, name in enumerate(("comparison", "outcomes", "per_user"))
    ]
    return {"Accuracy": accuracy, "Cost": costs, "Training": curves, "Tables": tables}


def _place(wr: Any, at: int) -> Any:
    return wr.Layout(x=HALF * (at % 2), y=HEIGHT * (at // 2), w=HALF, h=HEIGHT)
