"""``userllm benchmark``: measure again what an answer of a finished run costs."""

import shutil

from omegaconf import DictConfig
from rich.console import Console

from userllm.report.outcome import cost_table
from userllm.run.costing import measure
from userllm.run.finished import reopen
from userllm.run.folder import RunFolder
from userllm.run.scoring import model_device


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Measure the run that ``cfg.run`` names; its accuracy is copied from its own result."""
    finished = reopen(cfg)
    assembly = finished.assembly
    device = model_device()
    assembly.model.to(device).eval()
    asked = assembly.task.questions(
        assembly.corpus, assembly.split, finished.config.evaluation.part
    ).first(finished.config.evaluation.users)
    cost = measure(finished.config, assembly, asked, finished.trained, device)
    outcomes = [o | {"cost": cost} for o in finished.result["outcomes"] if o["kind"] == "model"]
    shutil.copyfile(finished.folder / "per_user.parquet", folder.path / "per_user.parquet")
    environment = {
        key: finished.result["environment"][key]
        for key in ("data_fingerprint", "data_name", "lm_source")
    }
    folder.write_result({"outcomes": outcomes, "examples": [], "environment": environment})
    Console().print(cost_table(finished.method, cost))
