import json

import numpy as np
import pytest
from PIL import Image
from test_tracking import folder_of

from userllm.errors import UserError
from userllm.run import tracking

RESULT = {
    "outcomes": [
        {
            "method": "encoder",
            "kind": "model",
            "task": "next_item",
            "metrics": {"ndcg@10": {"mean": 0.5}},
            "cost": {"flops_per_user": 3},
        }
    ]
}


def write_result(folder):
    (folder.path / "result.json").write_text(json.dumps(RESULT))


def log(folder, values, step):
    """Log as training does; whatever is refused is lost without an error."""
    tracking.start(folder)
    for logger in tracking.loggers(folder):
        logger.log_metrics(values, step)
    write_result(folder)
    tracking.log_summary(folder)
    tracking.finish(folder, 0)


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_mlflow_keeps_an_interrupted_run_one_run_with_names_it_accepts(tmp_path, no_server):
    mlflow = pytest.importorskip("mlflow")
    folder = folder_of(tmp_path, "logger=mlflow", "group=mine")
    log(folder, {"valid/ndcg@10": 0.25, "train/lr/tables, norms": 1.0}, 1)
    log(folder, {"valid/ndcg@10": 0.75}, 2)
    client = mlflow.MlflowClient((folder.runs / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("userllm")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == folder.name
    assert run.info.status == "FINISHED"
    told = {name: run.data.tags[name] for name in ("study", "verb", "method")}
    assert told == {"study": "mine", "verb": "pretrain", "method": "autoregressive"}
    history = client.get_metric_history(run.info.run_id, "valid/ndcg_at_10")
    assert [(point.step, point.value) for point in history] == [(1, 0.25), (2, 0.75)]
    assert run.data.metrics["next_item/ndcg_at_10"] == 0.5
    assert run.data.metrics["next_item/cost/flops_per_user"] == 3.0
    assert "result.json" in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_mlflow_takes_a_report(tmp_path, no_server):
    mlflow = pytest.importorskip("mlflow")
    folder = folder_of(tmp_path, "runs=[]", "logger=mlflow", verb="compare")
    tracking.start(folder)
    tracking.log_report(folder, table=report(tmp_path), figures=[tmp_path / "report" / "f.png"])
    tracking.finish(folder, 0)
    client = mlflow.MlflowClient((folder.runs / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("userllm").experiment_id])
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"table.csv", "table.md", "f.png"}


def report(tmp_path):
    """Return the table of a report with a figure."""
    place = tmp_path / "report"
    place.mkdir()
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(place / "f.png")
    (place / "table.md").write_text("| a |\n|---|\n| 1 |\n")
    (place / "table.csv").write_text("a\n1\n")
    return place / "table.csv"


def test_tensorboard_writes_curves_numbers_and_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = folder_of(tmp_path, "logger=tensorboard")
    log(folder, {"valid/ndcg@10": 0.25, "bad": float("nan")}, 1)
    log(folder, {"valid/ndcg@10": 0.75}, 2)
    read = EventAccumulator(str(folder.path / "tensorboard")).Reload()
    points = [(point.step, point.value) for point in read.Scalars("valid/ndcg@10")]
    assert points == [(1, 0.25), (2, 0.75)]
    assert read.Scalars("next_item/ndcg@10")[-1].value == 0.5
    comparison = folder_of(tmp_path, "runs=[]", "logger=tensorboard", verb="compare")
    tracking.start(comparison)
    tracking.log_report(comparison, table=report(tmp_path), figures=[tmp_path / "report" / "f.png"])
    tracking.finish(comparison, 0)
    read = EventAccumulator(str(comparison.path / "tensorboard")).Reload()
    assert read.Tags()["images"] == ["figure/f"]


def test_without_tensorboard_the_message_says_what_to_type(tmp_path, monkeypatch):
    loggers = pytest.importorskip("pytorch_lightning.loggers")

    class Missing:
        def __init__(self, *_given, **_named):
            raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr(loggers, "TensorBoardLogger", Missing)
    folder = folder_of(tmp_path, "logger=tensorboard")
    with pytest.raises(UserError, match=r"pip install 'userllm\[tensorboard\]'"):
        tracking.start(folder)
    tracking.finish(folder, 2)
