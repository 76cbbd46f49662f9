"""A study that was run and collected, made up: two ways, two seeds, a floor."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from experiments.collect import collect
from userllm.run.reference import record_member

USERS = 60
HOST, PERSON = "calculon-7", "hermes"
PROTOCOL = "leave_last_out, full catalogue, ties count against, k = 10"
METHODS = {"none": 0.2, "cross_attention": 0.5}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Where the study ``made_up`` was run and collected; tests only read it."""
    home = tmp_path_factory.mktemp("made") / PERSON
    for method, right in METHODS.items():
        for seed in (0, 1):
            record_member(home / "runs", "made_up", write_run(home / "runs", method, right, seed))
    collect("made_up", home / "runs", home / "experiments" / "made_up")
    return home


@pytest.fixture
def runs(made, tmp_path):
    """A copy of its runs."""
    return Path(shutil.copytree(made / "runs", tmp_path / "runs"))


@pytest.fixture
def study(made, tmp_path):
    """A copy of the folder of the collected study."""
    return Path(shutil.copytree(made / "experiments", tmp_path / "experiments")) / "made_up"


def write_run(runs, method, right, seed):
    """Write a finished run as userllm does, full of what must not be published."""
    run = runs / "contextualize" / f"{method}-s{seed}-0123abc{seed}"
    run.mkdir(parents=True)
    rng = np.random.default_rng([seed, *method.encode()])
    users = [f"user {number}" for number in range(USERS)]
    outcomes, frames = [], []
    for name, kind, share in ((method, "model", right), ("popularity", "reference", 0.3)):
        hits = (rng if kind == "model" else np.random.default_rng(0)).random(USERS) < share
        shared = {"method": name, "task": "next_item", "protocol": PROTOCOL}
        frames.append(
            pl.DataFrame({"user": users, "recall@10": hits * 1.0}).with_columns(
                pl.lit(value).alias(key) for key, value in shared.items()
            )
        )
        mean = float(hits.mean())
        outcomes.append(
            {
                **shared,
                "kind": kind,
                "scorer": "item_head",
                "part": "test",
                "primary": "recall@10",
                "metrics": {
                    "recall@10": {
                        "mean": mean,
                        "low": mean - 0.1,
                        "high": mean + 0.1,
                        "n": USERS,
                        "interval": "wilson",
                    }
                },
                "cost": cost(method) if kind == "model" else None,
            }
        )
    pl.concat(frames).write_parquet(run / "per_user.parquet")
    result = result_of(run, method, seed, outcomes)
    (run / "result.json").write_text(json.dumps(result), encoding="utf-8")
    status = {
        "state": "finished",
        "host": HOST,
        "pid": 4711,
        "seconds": 12.5,
        "error": None,
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:00:12+00:00",
        "files": {"checkpoints/last.ckpt": 10**9},
    }
    (run / "status.json").write_text(json.dumps(status), encoding="utf-8")
    (run / "metrics.csv").write_text("step,metric,value\n1,train/loss,2.0\n", encoding="utf-8")
    return run


def result_of(run, method, seed, outcomes):
    """Return what result.json says, places and names included."""
    runs = run.parents[1]
    place = f"paths.runs={runs}"
    return {
        "schema_version": 1,
        "run": {
            "verb": "contextualize",
            "name": f"{method}-s{seed}",
            "folder": run.name,
            "group": "made_up",
            "seed": seed,
            "choices": {"context": method, "logger": "wandb"},
            "config": {
                "seed": seed,
                "group": "made_up",
                "paths": {"runs": str(runs), "cache": "/c"},
                "data": {"_target_": "userllm.data.table.Table", "path": "/srv/logs/mine.csv"},
                "context": {"_target_": f"userllm.context.{method}.C"},
                "logger": {"_target_": "userllm.run.tracking.wandb.Wandb", "entity": PERSON},
            },
            "overrides": [
                f"context={method}",
                f"seed={seed}",
                "data.path='/srv/logs/mine.csv'",
                place,
                f"logger.entity={PERSON}",
            ],
            "command": f"userllm contextualize context={method} {place}",
        },
        "outcomes": outcomes,
        "examples": [{"user": "user 1", "history": [{"title": "A secret"}]}],
        "environment": {
            "data_name": "mine",
            "data_fingerprint": "f" * 64,
            "cpu": "A CPU",
            "threads": 2,
            "gpu": None,
            "versions": {"torch": "2.9"},
            "git": {"commit": "c" * 40, "dirty": False},
        },
    }


def cost(method):
    """Return what an answer costs, other for every method."""
    many = len(method)
    return {
        "prompt_tokens": 10.0 * many,
        "user_vectors": 5.0,
        "flops_per_user": 1e9 * many,
        "flops_parts": {"blocks": 1e9 * many},
        "latency_ms": {
            "p50": 3.0 * many,
            "p95": 4.0 * many,
            "repeats": 20,
            "threads": 2,
            "device": "cpu",
            "load": 0.1,
        },
        "peak_memory_bytes": 10**8,
        "trainable_parameters": 10,
        "total_parameters": 100,
        "training_seconds": 5.0,
        "training_examples": 80,
        "training_steps": 10,
        "training_flops": 1e12,
        "pretraining_flops": 0,
        "pretraining_seconds": 0,
    }
