"""``userllm evaluate``: score a finished run again, on other users or another part of the split."""

from omegaconf import DictConfig

from userllm.run.finished import reopen
from userllm.run.folder import RunFolder
from userllm.run.scoring import score


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Load the run that ``cfg.run`` names and ask the questions of ``cfg.evaluation``."""
    finished = reopen(cfg)
    score(finished.config, finished.assembly, finished.trained, folder, method=finished.method)
