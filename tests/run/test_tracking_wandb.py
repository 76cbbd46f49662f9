"""What a study leaves for W&B, read back from the files that ``wandb sync`` would send."""

import json
import os
import subprocess
import sys

import pytest
from wandb_file import read

from userllm.run.tracking.artifacts import artifact_name
from userllm.run.tracking.offline import offline_parts

SMALL = (
    *("size=tiny", "data=synthetic", "lm=tiny", "training.steps=2", "size.pretrain_steps=4"),
    *("evaluation.users=8", "cost.repeats=2", "cost.warmup=0", "group=pair", "logger=wandb"),
)


def userllm(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "userllm.cli", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert "did not take" not in done.stderr
    return done


def parts_of(run):
    """Return what each offline session of a run wrote, by kind of message."""
    return [read(next(part.glob("*.wandb"))) for part in offline_parts(run)]


def keys(messages, kind, items):
    told = [item for one in messages.get(kind, ()) for item in getattr(one, items)]
    return {"/".join(item.nested_key) or item.key for item in told}


def config_of(messages):
    (run,) = messages["run"]
    return {item.key: json.loads(item.value_json) for item in run.config.update}


def artifacts(messages):
    """Return name to message of the artifacts that are not tables."""
    return {one.name: one for one in messages["artifact"] if one.type != "run_table"}


@pytest.fixture
def offline(monkeypatch):
    """W&B writes files, and nothing is told of it on the terminal."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_of_two_cells_is_kept_run_by_run_with_tables_and_lineage(tmp_path, offline):
    methods = ("none", "cross_attention")
    userllm("contextualize", "-m", f"context={','.join(methods)}", *SMALL, cwd=tmp_path)
    userllm("compare", "pair", "logger=wandb", cwd=tmp_path)
    assert not (tmp_path / "wandb").exists()
    runs = {verb: sorted((tmp_path / "runs" / verb).iterdir()) for verb in
            ("pretrain", "contextualize", "compare")}  # fmt: skip
    assert {verb: len(found) for verb, found in runs.items()} == {
        "pretrain": 1, "contextualize": 2, "compare": 1,
    }  # fmt: skip
    told = {run: parts_of(run)[0] for found in runs.values() for run in found}
    starts = {run: messages["run"][0] for run, messages in told.items()}
    assert len({start.run_id for start in starts.values()}) == 4
    for run, start in starts.items():
        assert start.display_name == run.name
        assert start.job_type == run.parent.name
        assert start.run_group == ("" if run.parent.name == "pretrain" else "pair")
    cells = {config_of(told[run])["method"]: run for run in runs["contextualize"]}
    assert set(cells) == set(methods)
    for method, run in cells.items():
        assert {f"context={method}", "data=synthetic", "task=favorite_category"} <= set(
            starts[run].tags
        )
        assert {"outcomes", "per_user"} <= {
            name.partition("/")[0] for name in keys(told[run], "history", "item")
        }
        summary = keys(told[run], "summary", "update")
        assert {"favorite_category/accuracy", "favorite_category/cost/latency_ms/p50"} <= summary
    (encoder,), (comparison,) = runs["pretrain"], runs["compare"]
    assert {"valid/ndcg@10", "train/loss"} <= keys(told[encoder], "history", "item")
    shown = keys(told[comparison], "history", "item")
    assert {"comparison", "figure"} <= {name.partition("/")[0] for name in shown}
    check_lineage(told, encoder, cells, comparison)


def check_lineage(told, encoder, cells, comparison):
    """Data → encoder → run → comparison, each the same version wherever it is named."""

    def made(run):
        (own,) = [one for one in artifacts(told[run]).values() if not one.use_after_commit]
        assert own.name == artifact_name(run)
        return own

    def used(run):
        return {one.name: one for one in artifacts(told[run]).values() if one.use_after_commit}

    assert {one.type for one in used(encoder).values()} == {"data"}
    (data,) = used(encoder)
    assert set(used(cells["none"])) == {data}
    assert set(used(cells["cross_attention"])) == {data, made(encoder).name}
    assert used(cells["cross_attention"])[made(encoder).name].digest == made(encoder).digest
    for run in cells.values():
        assert used(comparison)[made(run).name].digest == made(run).digest
        files = {entry.path for entry in made(run).manifest.contents}
        assert {"result.json", "config.yaml", "per_user.parquet"} <= files
    assert {made(encoder).type, made(comparison).type} == {"encoder", "report"}
    report = {entry.path for entry in made(comparison).manifest.contents}
    assert {"table.csv", "table.json", "slices.csv"} <= report


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_the_same_and_odd_values_cost_nothing(tmp_path, offline):
    script = tmp_path / "twice.py"
    script.write_text(TWICE)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "pretrain").iterdir()
    first, second = parts_of(folder)
    assert first["run"][0].run_id == second["run"][0].run_id
    steps = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.item}
        for one in (*first["history"], *second["history"])
    ]
    logged = [(row["trainer/global_step"], row["good"]) for row in steps if "good" in row]
    assert logged == [(1, 1.0), (2, 1.0)]
    assert first["exit"][0].exit_code == 130
    assert second["exit"][0].exit_code == 0


TWICE = """
import sys
from pathlib import Path
from test_tracking import RunFolder, load, tracking

loaded = load("pretrain", ["logger=wandb", f"paths.runs={sys.argv[1]}/runs"])
folder = RunFolder(verb="pretrain", config=loaded.config, choices=loaded.choices, overrides=[])
folder.path.mkdir(parents=True)
for step, code in ((1, 130), (2, 0)):
    tracking.start(folder)
    (logger,) = tracking.loggers(folder)
    values = {"good": 1.0, "": 2.0, "we ird/ké@10": float("nan"), ("a",): 1.0, "x": object()}
    logger.log_metrics(values, step)
    tracking.finish(folder, code)
"""
