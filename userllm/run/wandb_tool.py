"""``userllm wandb sync`` and ``userllm wandb dashboard``: what W&B is told after the runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from userllm.check import suggest
from userllm.config import conf_dir
from userllm.errors import UserError
from userllm.run.reference import find_runs, study_members, study_names
from userllm.run.tracking.dashboard import Study, read_study, report, workspace
from userllm.run.tracking.login import is_logged_in, is_reachable, server_url
from userllm.run.tracking.offline import Sent, sync
from userllm.schema import VERBS

RUNS = "runs"
USAGE = "type userllm wandb sync [runs or studies] or userllm wandb dashboard study=<name>"


def wandb_tool(words: Sequence[str]) -> None:
    """Run one of the two commands.

    Args:
        words: ``sync`` with runs, patterns or studies (none: all runs), or ``dashboard`` with
            ``study=``, ``project=``, ``entity=``; ``paths.runs=`` goes with both.

    Raises:
        UserError: A word is unknown, nobody is logged in, or there is nothing to show.
    """
    name, *rest = words or ("",)
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    plain = [word for word in rest if "=" not in word]
    runs = Path(options.pop("paths.runs", RUNS)).absolute()
    if name == "sync":
        _refuse_unknown(options, ())
        print_sent(sync(find_runs(plain, runs) if plain else all_runs(runs)))
    elif name == "dashboard":
        _refuse_unknown(options, ("study", "project", "entity"))
        study = options.pop("study", plain[0] if plain else None)
        if study is None:
            raise UserError(f"a dashboard shows a study; {USAGE}")
        publish(study, runs, options)
    else:
        raise UserError(f"wandb {name}: unknown; {USAGE}")


def all_runs(runs: Path) -> list[Path]:
    """Return every run's folder."""
    return sorted(path.parent for verb in VERBS for path in (runs / verb).glob("*/status.json"))


def print_sent(sent: Sent) -> None:
    """Print what was sent, what had been, and what is still here."""
    table = Table("W&B", "parts of runs")
    table.add_row("sent now", str(len(sent.sent)))
    table.add_row("sent before", str(len(sent.before)))
    table.add_row("not sent", str(len(sent.kept)))
    table.add_row("runs without an offline part", str(len(sent.without)))
    console = Console()
    console.print(table)
    for part in sent.kept:
        console.print(f"not sent: {escape(str(part))}", soft_wrap=True, highlight=False)
    if sent.kept:
        raise UserError("some parts were not sent; they are kept, type the same command again")


def publish(name: str, runs: Path, options: dict[str, str]) -> None:
    """Build a study's workspace and report and save them at W&B."""
    members = study_members(runs, name)
    if not members:
        raise UserError(f"there is no study {name!r} in {runs}; {suggest(name, study_names(runs))}")
    try:
        import wandb
        import wandb_workspaces  # noqa: F401
    except ImportError:
        raise UserError(
            "a dashboard needs wandb-workspaces; type pip install 'userllm[wandb]'"
        ) from None
    if not (is_logged_in() and is_reachable(server_url())):
        raise UserError("a dashboard lives on the W&B server; type wandb login, with a network")
    project = options.get("project") or default_project()
    entity = options.get("entity") or wandb.Api().default_entity
    study = read_study(name, members, project=project, entity=str(entity))
    for url in save(study):
        Console().print(url, soft_wrap=True, highlight=False)


def save(study: Study) -> list[Any]:
    """Send the workspace and the report; return where they are."""
    return [made.save().url for made in (workspace(study), report(study))]


def default_project() -> str:
    """Return the project of logger=wandb."""
    from omegaconf import OmegaConf

    return str(OmegaConf.load(conf_dir() / "logger" / "wandb.yaml").project)


def _refuse_unknown(options: dict[str, str], known: Sequence[str]) -> None:
    for name in options:
        if name not in known:
            raise UserError(f"{name}: unknown, {suggest(name, [*known, 'paths.runs'])}")
