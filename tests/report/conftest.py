"""Run folders as the verbs write them, made up: realistic numbers, hostile titles."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from userllm.report.comparison import build_tables
from userllm.report.results import load

USERS = 120
HOSTILE = "<script>alert(1)</script>"
PROTOCOL = "leave_last_out, label from the last 50 events, 18 candidates, ties count against"
QUESTION = "What is this user's favorite category?"
CATEGORIES = ("Drama", "Comedy", "Action", "Sci-Fi & Fantasy", "Film-Noir")

# context: (chance of a right answer, prompt tokens, user vectors, FLOPs per user, p50 in ms)
CONTEXTS = {
    "none": (0.49, 14, 0, 3.04e9, 123.0),
    "text_prompt": (0.58, 620, 0, 158e9, 1487.0),
    "soft_prompt": (0.60, 14, 16, 6.55e9, 164.0),
    "cross_attention": (0.73, 14, 50, 3.56e9, 152.0),
    "hybrid": (0.74, 144, 50, 34e9, 420.0),
}
HISTORY = np.random.default_rng(3).integers(5, 90, USERS)
TARGET_EVENTS = np.random.default_rng(4).integers(0, 40, USERS).clip(3) - 3
FLOORS = {"majority": 0.487, "count_history": 0.79}


@dataclass
class FakeRuns:
    """Writes run folders below ``path``."""

    path: Path
    folders: list[Path] = field(default_factory=list)

    def finished(
        self,
        context: str = "none",
        *,
        seed: int = 0,
        data: str = "movielens_100k",
        fingerprint: str = "f" * 64,
        origin: str = "random",
        protocol: str = PROTOCOL,
        overrides: tuple[str, ...] = (),
        config: dict[str, Any] | None = None,
        right: float | None = None,
        metric: str = "accuracy",
        cost: dict[str, Any] | None = None,
        copy: str = "",
    ) -> Path:
        """Write a finished contextualize run, with the two floors every run repeats."""
        folder = self._folder(context, seed, "".join(overrides) + data + protocol + copy)
        chance = CONTEXTS[context][0] if right is None else right
        frames = [_answers(context, chance, seed, metric, protocol)]
        outcomes = [_outcome(context, "model", frames[0], metric, protocol)]
        outcomes[0]["cost"] = {**_cost(context), **(cost or {})}
        for name, floor in FLOORS.items():
            frames.append(_answers(name, floor, 0, metric, protocol))
            outcomes.append(_outcome(name, "reference", frames[-1], metric, protocol))
        choices = {"data": data, "task": "favorite_category", "context": context, "lm": "tiny"}
        command = f"userllm contextualize context={context} seed={seed} {' '.join(overrides)}"
        result = {
            "schema_version": 1,
            "run": {
                "verb": "contextualize",
                "name": folder.name.rpartition("-")[0],
                "folder": folder.name,
                "group": "demo",
                "seed": seed,
                "choices": choices,
                "config": {**_config(context, seed, data), **(config or {})},
                "overrides": [f"context={context}", f"seed={seed}", *overrides],
                "command": command.strip(),
            },
            "outcomes": outcomes,
            "examples": _examples(context, seed),
            "environment": _environment(data, fingerprint, origin),
        }
        _write(folder / "result.json", result)
        _write(folder / "status.json", {"state": "finished", "error": None})
        pl.concat(frames).write_parquet(folder / "per_user.parquet")
        return folder

    def stopped(self, context: str, state: str, error: str | None = None, seed: int = 0) -> Path:
        """Write a run that started and has no result."""
        folder = self._folder(context, seed, state)
        config = _config(context, seed, "movielens_100k")
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = f"userllm contextualize context={context} seed={seed}"
        (folder / "command.txt").write_text(f"{command}\n", encoding="utf-8")
        _write(folder / "status.json", {"state": state, "error": error})
        return folder

    def demo(self) -> list[Path]:
        """Write what a study looks like: seeds, a variant, failures."""
        for context in ("none", "text_prompt", "cross_attention"):
            for seed in (0, 1, 2):
                self.finished(context, seed=seed)
        self.finished("soft_prompt")
        self.finished("hybrid", overrides=("context.events=10",), config=_events(10))
        self.finished("hybrid", overrides=("context.events=50",), config=_events(50), right=0.75)
        self.stopped("soft_prompt", "failed", "non-finite loss in step 31", seed=1)
        self.stopped("soft_prompt", "running", seed=2)
        return self.folders

    def _folder(self, context: str, seed: int, what: str) -> Path:
        digits = f"{np.frombuffer(what.encode(), np.uint8).astype(np.int64).cumsum().sum():08x}"
        name = f"movielens_100k-favorite_category-{context}-s{seed}-{digits}"
        folder = self.path / "contextualize" / name
        folder.mkdir(parents=True)
        self.folders.append(folder)
        return folder


@pytest.fixture
def fake_runs(tmp_path):
    return FakeRuns(tmp_path / "runs")


@pytest.fixture(scope="session")
def demo_folders(tmp_path_factory):
    """A whole study; tests only read it."""
    return FakeRuns(tmp_path_factory.mktemp("demo") / "runs").demo()


@pytest.fixture(scope="session")
def demo(demo_folders):
    """The tables of a whole study; tests only read them."""
    return build_tables([load(folder) for folder in demo_folders])


def _events(events: int) -> dict[str, Any]:
    target = "userllm.context.hybrid.Hybrid"
    return {"context": {"_target_": target, "events": events}}


def _config(context: str, seed: int, data: str) -> dict[str, Any]:
    return {
        "name": None,
        "group": "demo",
        "seed": seed,
        "threads": 2,
        "history": 50,
        "data": {"_target_": f"userllm.data.{data}.Reader", "name": data},
        "task": {"_target_": "userllm.task.favorite_category.FavoriteCategory", "window": 50},
        "context": {"_target_": f"userllm.context.{context}.Context", "dropout": 0.0},
        "lm": {"_target_": "userllm.lm.tiny.TinyLM", "width": 256},
        "training": {"steps": 300, "sampler": {"seed": seed}},
        "paths": {"runs": "runs", "reports": "reports", "cache": None},
    }


def _answers(method: str, chance: float, seed: int, metric: str, protocol: str) -> pl.DataFrame:
    """Return who was answered right; the same users are hard for every method."""
    difficulty = np.random.default_rng(7).random(USERS)
    noise = np.random.default_rng([seed, *method.encode()]).random(USERS)
    right = 0.7 * difficulty + 0.3 * noise < np.quantile(0.7 * difficulty + 0.3 * noise, chance)
    second = right | (noise < 0.5)
    return pl.DataFrame(
        {
            "method": method,
            "task": "favorite_category",
            "protocol": protocol,
            "user": [str(user) for user in range(1, USERS + 1)],
            metric: right.astype(np.float64),
            "recall@5": second.astype(np.float64),
            "history_length": HISTORY,
            "target_events": TARGET_EVENTS,
        }
    )


def _outcome(
    method: str, kind: str, answers: pl.DataFrame, metric: str, protocol: str
) -> dict[str, Any]:
    metrics = {
        name: {
            "mean": answers[name].mean(),
            "low": 0.0,
            "high": 1.0,
            "n": USERS,
            "interval": "wilson",
        }
        for name in (metric, "recall@5")
    }
    return {
        "method": method,
        "kind": kind,
        "task": "favorite_category",
        "scorer": "exhaustive",
        "part": "test",
        "protocol": protocol,
        "metrics": metrics,
        "primary": metric,
        "cost": None,
    }


def _cost(context: str) -> dict[str, Any]:
    _, tokens, vectors, flops, p50 = CONTEXTS[context]
    measured = {"repeats": 20, "threads": 2, "device": "cpu", "load": 0.3}
    return {
        "prompt_tokens": tokens,
        "user_vectors": vectors,
        "flops_per_user": flops,
        "flops_parts": {"language model": 0.9 * flops, "encoder": 0.1 * flops},
        "latency_ms": {"p50": p50, "p95": 1.2 * p50, **measured},
        "peak_memory_bytes": 812_000_000,
        "trainable_parameters": 0 if context == "none" else 1_800_000,
        "total_parameters": 136_300_000,
        "training_seconds": 40.5,
        "training_examples": 1408,
        "training_steps": 176,
        "training_flops": 1.2e13,
        "pretraining_flops": 0 if context in ("none", "text_prompt") else 4.1e12,
        "pretraining_seconds": 0 if context in ("none", "text_prompt") else 128,
    }


def _examples(context: str, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng([seed, *context.encode()])
    titles = [HOSTILE, "Blade Runner (1982)", "Fargo & Friends (1996)", 'The "Usual" Suspects']
    return [
        {
            "user": str(user),
            "history": [
                {
                    "title": titles[(user + event) % len(titles)],
                    "categories": [CATEGORIES[event % 5], CATEGORIES[(event + user) % 5]],
                    "rating": float(1 + (user + event) % 5),
                }
                for event in range(12)
            ],
            "question": QUESTION,
            "truth": CATEGORIES[user % 5],
            "answers": {
                context: [str(name) for name in rng.permutation(CATEGORIES)[:3]],
                "majority": ["Drama"],
            },
        }
        for user in range(1, 5)
    ]


def _environment(data: str, fingerprint: str, origin: str) -> dict[str, Any]:
    return {
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "versions": {"python": "3.11.2", "torch": "2.9.0", "userllm": "0.1.0"},
        "platform": "Linux-6.1-x86_64",
        "cpu": "Example CPU @ 2.40GHz",
        "cores": 2,
        "threads": 2,
        "memory_bytes": 16_000_000_000,
        "gpu": None,
        "data_fingerprint": fingerprint,
        "data_name": data,
        "lm_source": {"name": "tiny", "origin": origin},
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:05:00+00:00",
    }


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")
