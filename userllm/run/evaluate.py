"""``userllm evaluate``: score a finished run again, on other users or another part of the split."""

from typing import Any

from omegaconf import DictConfig

from userllm.errors import UserError
from userllm.run.finished import Finished, reopen, same_run
from userllm.run.folder import RunFolder
from userllm.run.made_from import note_made_from
from userllm.run.scoring import score


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Load the run that ``cfg.run`` names and ask the questions of ``cfg.evaluation``."""
    finished = reopen(cfg)
    note_made_from(folder, finished.folder, *finished.assembly.made_from)
    score(
        finished.config,
        finished.assembly,
        finished.trained,
        folder,
        method=finished.method,
        kept=_kept(finished, asked=cfg.evaluation.retention),
        of=same_run(finished, folder),
    )


def _kept(finished: Finished, *, asked: bool | None) -> dict[str, Any] | None:
    """Return what the run found out about its language model; its weights are still the same.

    Raises:
        UserError: It was asked for and the run did not measure it, which takes the model before
            tuning as well.
    """
    models = [one for one in finished.result["outcomes"] if one["kind"] == "model"]
    kept: dict[str, Any] | None = models[0].get("retention")
    if asked and not kept:
        raise UserError(
            f"evaluation.retention=true: {finished.folder.name} did not measure it. Expected a run "
            "that did, because it compares with the language model before tuning. Type userllm "
            "contextualize … evaluation.retention=true"
        )
    return None if asked is False else kept
