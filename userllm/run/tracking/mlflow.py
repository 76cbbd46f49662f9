"""``logger=mlflow``: one MLflow run per run, through Lightning's logger.

The default store is a folder of files: many cells of a sweep can write to it at once, and it
needs no server.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userllm.errors import UserError
from userllm.run.folder import RunFolder
from userllm.run.tracking import artifacts
from userllm.run.tracking.describe import method_name, numbers, run_id, study_of
from userllm.run.tracking.guard import attempt

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

TAG = "userllm.run"
"""Tag with the run's identity; MLflow makes up its own ids."""


class Mlflow:
    """An MLflow run that an interrupted run finds again by its tag.

    Args:
        experiment: Experiment that the run belongs to.
        uri: Tracking server; None takes ``MLFLOW_TRACKING_URI``, else the folder
            ``mlruns`` beside the runs.
        folder: The run.

    Raises:
        UserError: MLflow is not installed.
    """

    def __init__(self, *, experiment: str, uri: str | None, folder: RunFolder) -> None:
        # MLflow 3 wants to be asked before it writes plain files.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        # Training waits for each call: MLflow's own seven tries take minutes where nobody answers.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        try:
            import mlflow  # noqa: F401
        except ImportError:
            raise UserError(
                "logger=mlflow needs MLflow; type pip install 'userllm[mlflow]'"
            ) from None
        from pytorch_lightning.loggers import MLFlowLogger

        self.folder = folder
        place = uri or os.environ.get("MLFLOW_TRACKING_URI") or (folder.runs / "mlruns").as_uri()
        named = {TAG: run_id(folder), "verb": folder.verb, "study": study_of(folder)}
        named["method"] = method_name(folder.choices)
        self.logger = MLFlowLogger(
            experiment_name=experiment,
            run_name=folder.name,
            tracking_uri=place,
            tags={name: value for name, value in named.items() if value is not None},
            run_id=_found(place, experiment, run_id(folder)),
        )
        chosen = {**folder.choices, "seed": folder.config.get("seed")}
        params = {mlflow_name(name): value for name, value in chosen.items()}
        attempt("the settings", self.logger.log_hyperparams, params)

    def loggers(self) -> "list[Logger]":
        """Return the logger of training's values, with names that MLflow accepts."""
        from userllm.run.tracking.renamed import RenamedLogger

        return [RenamedLogger(self.logger, mlflow_name)]

    def log_result(self, result: Mapping[str, Any], sources: Sequence[Path]) -> None:
        """Log numbers, the artifacts that the run was made from as tags, and the result files."""
        values = {mlflow_name(name): value for name, value in numbers(result).items()}
        self.logger.log_metrics(values)
        for path in artifacts.artifact_files(self.folder.path).values():
            self._keep(path)
        for source in sources:
            tag = f"source.{artifacts.artifact_type(source)}"
            self.logger.experiment.set_tag(self.logger.run_id, tag, source.name)

    def log_report(self, table: Path, figures: Sequence[Path], sources: Sequence[Path]) -> None:
        """Keep the report's files."""
        for path in artifacts.report_files(table, figures):
            self._keep(path)

    def finish(self, exit_code: int) -> None:
        """Say how the run ended."""
        self.logger.finalize("failed" if exit_code else "success")

    def _keep(self, path: Path) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(path))


def mlflow_name(name: str) -> str:
    """Return a metric's name in the letters that MLflow allows."""
    return re.sub(r"[^\w\-./ ]", "_", name.replace("@", "_at_"), flags=re.ASCII)


def _found(place: str, experiment: str, identity: str) -> str | None:
    """Return MLflow's id of an earlier session of the same run."""
    from mlflow import MlflowClient

    client = MlflowClient(place)
    known = client.get_experiment_by_name(experiment)
    if known is None:
        return None
    runs = client.search_runs([known.experiment_id], f"tags.`{TAG}` = '{identity}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None
