"""Score a model on its task's questions and write what came out."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import torch
from omegaconf import DictConfig

from userllm.data.columns import CATEGORIES, RATING, TITLE, USER
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, RATING_FEATURE
from userllm.lm.packed import pack
from userllm.metric.interval import interval
from userllm.report.outcome import outcome_table, retention_table
from userllm.report.terminal import wide_console
from userllm.run.assembly import Assembly
from userllm.run.costing import Trained, measure
from userllm.run.facts import question_facts
from userllm.run.folder import RunFolder
from userllm.task.exam import SHOWN, Answered, Exam
from userllm.task.prompt import item_names
from userllm.task.protocol import Questions
from userllm.training.weights import weights_hash

SHOWN_EVENTS = 10


def model_device() -> torch.device:
    """Return where a model is scored and measured: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def score(
    cfg: DictConfig,
    assembly: Assembly,
    trained: Trained,
    folder: RunFolder,
    *,
    method: str,
    kept: dict[str, Any] | None = None,
    of: Mapping[str, Any] | None = None,
) -> None:
    """Ask the held-out questions, write ``per_user.parquet`` and ``result.json``, print tables.

    Args:
        cfg: The config of the run.
        assembly: Its model, trained.
        trained: What that took.
        folder: Where to write.
        method: What tables call it.
        kept: What tuning left of the language model, where that was measured.
        of: Seed, choices and config of the run that is scored, where another one trained it.
    """
    device = model_device()
    assembly.model.to(device).eval()
    if cfg.pack_weights:
        pack([assembly.model])
    outcomes: list[dict[str, Any]] = []
    examples: list[dict[str, Any]] = []
    per_user: list[pl.DataFrame] = []
    for exam in assembly.exams:
        asked = assembly.questions(exam, cfg.evaluation.part, cfg.evaluation.users)
        answered = _ask(cfg, assembly, exam, asked, device, method)
        cost = measure(cfg, assembly, exam, asked, trained, device, answered[method].tokens)
        mine = [_outcome(cfg, exam, asked, name, one) for name, one in answered.items()]
        mine[0] |= {
            "kind": "model",
            "scorer": exam.scorer,
            "cost": cost,
            "per_block": assembly.model.context.per_block(),
            **({"retention": kept} if kept else {}),
        }
        wide_console().print(outcome_table(mine))
        outcomes += mine
        examples += _examples(assembly, exam, asked, answered, device)
        per_user += _per_user(assembly, exam, asked, answered)
    if kept:
        wide_console().print(retention_table(kept))
    pl.concat(per_user, how="diagonal").write_parquet(folder.path / "per_user.parquet")
    environment = {
        "data_fingerprint": assembly.corpus.fingerprint,
        "data_name": assembly.corpus.card["name"],
        "lm_source": assembly.loaded.source,
        "learned_weights": weights_hash(assembly.model, learning=True),
    }
    found = {"outcomes": outcomes, "examples": examples, "environment": environment}
    folder.write_result({**found, "run": of or {}})


def _ask(
    cfg: DictConfig,
    assembly: Assembly,
    exam: Exam,
    asked: Questions,
    device: torch.device,
    method: str,
) -> dict[str, Answered]:
    """Return the answers of the model, then those of methods that need none."""
    if assembly.material.summaries is not None:
        assembly.material.summaries.prepare(asked.users, asked.cuts)
    size = cfg.evaluation.batch_size
    own = exam.ask(assembly.model, asked, batch_size=size, device=device)
    return {method: own, **exam.references(asked)}


def _outcome(
    cfg: DictConfig, exam: Exam, asked: Questions, name: str, answered: Answered
) -> dict[str, Any]:
    """Return the outcome of a reference; the model's own is one with more to say."""
    metrics = {**answered.metrics, **answered.partial}
    return {
        "method": name,
        "kind": "reference",
        "task": exam.subject.name,
        "scorer": "count",
        "part": cfg.evaluation.part,
        "protocol": asked.protocol,
        "metrics": {key: interval(values).as_dict() for key, values in metrics.items()},
        "primary": exam.subject.primary,
        "cost": None,
    }


def _per_user(
    assembly: Assembly, exam: Exam, asked: Questions, answered: Mapping[str, Answered]
) -> list[pl.DataFrame]:
    """Return one row per method and question, so that comparisons can be paired."""
    names = assembly.corpus.users[USER].cast(pl.String).gather(asked.users)
    facts = question_facts(assembly.corpus, assembly.material.split, asked.users, asked.cuts)
    return [
        pl.DataFrame(
            {
                "method": [method] * len(asked),
                "task": exam.subject.name,
                "protocol": asked.protocol,
                "user": names,
                **one.metrics,
                **facts,
            }
        )
        for method, one in answered.items()
    ]


def _examples(
    assembly: Assembly,
    exam: Exam,
    asked: Questions,
    answered: Mapping[str, Answered],
    device: torch.device,
) -> list[dict[str, Any]]:
    """Return the first users with history, question, truth and every method's best answers.

    ``unpersonalized`` is what the same model answers when it is told nothing about the user
    (Source: User-LLM Appendix F).
    """
    shown = Questions(asked.users[:SHOWN], asked.cuts[:SHOWN], asked.protocol)
    truths = exam.truths(shown)
    strangers = exam.without_history(assembly.model, shown, device=device)
    names = assembly.corpus.users[USER].cast(pl.String)
    return [
        {
            "task": exam.subject.name,
            "user": names[int(user)],
            "history": _history(assembly, int(user), int(cut)),
            "question": exam.reader.writer.question(int(user), int(cut)),
            "truth": truths[row],
            "answers": {method: one.shown[row] for method, one in answered.items()},
            "unpersonalized": strangers[row],
        }
        for row, (user, cut) in enumerate(zip(shown.users, shown.cuts, strict=True))
    ]


def _history(assembly: Assembly, user: int, cut: int) -> list[dict[str, Any]]:
    corpus = assembly.corpus
    start = int(corpus.offsets[user])
    at = range(start + max(0, cut - SHOWN_EVENTS), start + cut)
    items = [int(corpus.features[ITEM_FEATURE][i]) - FIRST_ID for i in at]
    ratings = [int(corpus.features[RATING_FEATURE][i]) - FIRST_ID for i in at]
    rows = corpus.items[items]
    return [
        {
            TITLE: name,
            CATEGORIES: categories,
            RATING: corpus.rating_values[rating] if rating >= 0 else None,
        }
        for name, categories, rating in zip(
            item_names(rows), rows[CATEGORIES].to_list(), ratings, strict=True
        )
    ]
