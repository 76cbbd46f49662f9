"""``logger=wandb``: one Weights & Biases run per run.

W&B never asks and never waits: it is online only when somebody is logged in and the server
answers, else it writes into the run's folder, from where ``userllm wandb sync`` sends it later.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from userllm.errors import UserError
from userllm.run.folder import RunFolder
from userllm.run.tracking import artifacts
from userllm.run.tracking.describe import numbers, run_id, settings, study_of, tags
from userllm.run.tracking.guard import attempt
from userllm.run.tracking.login import wandb_mode

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

START_SECONDS = 60


class Wandb:
    """A W&B run: group = study, job type = verb, id = identity of the run.

    Args:
        project: Project that the run belongs to.
        entity: User or team; None is the logged-in user's default.
        mode: Whether to send now (online), later (offline), as possible (auto), never (disabled).
        folder: The run.

    Raises:
        UserError: W&B is not installed.
    """

    def __init__(
        self,
        *,
        project: str,
        entity: str | None,
        mode: Literal["auto", "online", "offline", "disabled"],
        folder: RunFolder,
    ) -> None:
        try:
            import wandb
        except ImportError:
            raise UserError(
                "logger=wandb needs the wandb package; type pip install 'userllm[wandb]'"
            ) from None
        self.folder = folder
        chosen = wandb_mode(mode)
        self.run = wandb.init(
            project=project,
            entity=entity,
            id=run_id(folder),
            name=folder.name,
            group=study_of(folder),
            job_type=folder.verb,
            tags=tags(folder.choices),
            config=settings(folder),
            dir=folder.path,
            mode=chosen,
            # A run of another folder may be open: the stage that needs this one.
            reinit="create_new",
            # Offline there is nothing to resume from; sessions of one id join when they are synced.
            resume="allow" if chosen == "online" else None,
            settings=wandb.Settings(silent=True, console="off", init_timeout=START_SECONDS),
        )
        where = "" if chosen == "online" else f", below {folder.path / 'wandb'}"
        log.info("W&B: %s%s", chosen, where)

    def loggers(self) -> "list[Logger]":
        """Return the logger of training's values."""
        from pytorch_lightning.loggers import WandbLogger

        return [WandbLogger(experiment=self.run)]

    def log_result(self, result: Mapping[str, Any], sources: Sequence[Path]) -> None:
        """Put numbers into the summary, tables on the page, files into artifacts with lineage."""
        self._summarize(numbers(result))
        self._log_table("outcomes", artifacts.outcome_rows(result))
        self._log_table("per_user", artifacts.per_user_rows(self.folder.path))
        self._log_lineage(sources, artifacts.artifact_files(self.folder.path))

    def log_report(self, table: Path, figures: Sequence[Path], sources: Sequence[Path]) -> None:
        """Put table and figures on the page, and all files of the report into an artifact."""
        import wandb

        self._log_table("comparison", artifacts.csv_rows(table))
        for path in figures:
            attempt(
                path.name, lambda p=path: self.run.log({f"figure/{p.stem}": wandb.Image(str(p))})
            )
        files = {path.name: path for path in artifacts.report_files(table, figures)}
        self._log_lineage(sources, files)

    def finish(self, exit_code: int) -> None:
        """Close the W&B run."""
        self.run.finish(exit_code=exit_code)

    def _summarize(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            attempt(f"{name}={value}", self.run.summary.update, {name: value})

    def _log_table(self, name: str, table: tuple[list[str], artifacts.Rows] | None) -> None:
        if table is None:
            return
        import wandb

        columns, rows = table

        def send() -> None:
            shown = wandb.Table(columns=[*columns], data=rows, allow_mixed_types=True)
            self.run.log({name: shown})

        attempt(f"the table {name}", send)

    def _log_lineage(self, sources: Sequence[Path], files: Mapping[str, Path]) -> None:
        for source in sources:
            attempt(f"what {source.name} is to this run", self._use, source)
        own = self.folder.path
        attempt("the result files", lambda: self.run.log_artifact(_artifact(own, files)))

    def _use(self, source: Path) -> None:
        artifact = _artifact(source, artifacts.artifact_files(source))
        if self.run.offline:
            # Asking for it needs a server. This is what asking does once there is one: commit
            # the version, the same as its own run's, and mark it used.
            self.run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        else:
            self.run.use_artifact(artifact)


def _artifact(run: Path, files: Mapping[str, Path]) -> Any:
    import wandb

    made = wandb.Artifact(
        artifacts.artifact_name(run), type=artifacts.artifact_type(run), metadata={"run": run.name}
    )
    for name, path in files.items():
        made.add_file(str(path), name=name)
    return made
