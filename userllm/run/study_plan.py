"""What a study's last sweep consists of, so that runs which nobody started yet are known too."""

import json
from collections.abc import Sequence
from pathlib import Path

from userllm.run.ending import differences
from userllm.run.folder import write_text
from userllm.run.planned import Planned
from userllm.run.reference import record_member


def record_plan(cells: Sequence[Planned]) -> None:
    """Note the cells of a sweep in ``studies/<group>.plan.json``, in place of its last plan.

    Those that are finished already become members of the study, as the others do when they run.
    """
    labels = differences([cell.overrides for cell in cells])
    plans: dict[tuple[Path, str], dict[str, str]] = {}
    for cell, label in zip(cells, labels, strict=True):
        group = cell.config.get("group")
        if not group or cell.folder is None:
            continue
        runs = cell.folder.parents[1]
        if cell.state == "finished":
            record_member(runs, group, cell.folder)
        plans.setdefault((runs, group), {})[f"{cell.folder.parent.name}/{cell.folder.name}"] = label
    for (runs, group), plan in plans.items():
        (runs / "studies").mkdir(parents=True, exist_ok=True)
        write_text(_file(runs, group), json.dumps(plan, indent=2, ensure_ascii=False) + "\n")


def read_plan(runs: Path, study: str) -> dict[Path, str]:
    """Return the run folders of a study's last sweep and what is special about each.

    Empty where nothing was swept, or where the file cannot be read: then runs are known as soon
    as they start.
    """
    try:
        plan = json.loads(_file(runs, study).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {runs / run: str(label) for run, label in plan.items()} if isinstance(plan, dict) else {}


def _file(runs: Path, study: str) -> Path:
    return runs / "studies" / f"{study}.plan.json"
