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
    was = {o["task"]: o for o in finished.result["outcomes"] if o["kind"] == "model"}
    outcomes = []
    for exam in assembly.exams:
        evaluation = finished.config.evaluation
        asked = assembly.questions(exam, evaluation.part, evaluation.users)
        outcome = was[exam.subject.name]
        tokens = outcome["cost"]["answer_tokens"]
        cost = measure(finished.config, assembly, exam, asked, finished.trained, device, tokens)
        outcomes.append(outcome | {"cost": cost})
        Console().print(cost_table(f"{finished.method}, {exam.subject.name}", cost))
    shutil.copyfile(finished.folder / "per_user.parquet", folder.path / "per_user.parquet")
    environment = {
        key: finished.result["environment"][key]
        for key in ("data_fingerprint", "data_name", "lm_source")
    }
    folder.write_result({"outcomes": outcomes, "examples": [], "environment": environment})
