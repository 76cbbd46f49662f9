"""Score a model on its task's questions and write what came out.

Shape suffixes: Q questions, A answers.
"""

from typing import Any

import polars as pl
import torch
from omegaconf import DictConfig

from userllm.data.columns import CATEGORIES, RATING, TITLE, USER
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, RATING_FEATURE
from userllm.metric.interval import interval
from userllm.report.outcome import outcome_table
from userllm.report.terminal import wide_console
from userllm.run.assembly import Assembly
from userllm.run.costing import Trained, measure
from userllm.run.folder import RunFolder
from userllm.task.prompt import item_names
from userllm.task.protocol import Questions
from userllm.task.ranking import Ranked, beam_overlap, rank_questions, rank_scores
from userllm.task.scorer import TitleScorer

SHOWN_USERS = 5
SHOWN_EVENTS = 10
SHOWN_ANSWERS = 5


def model_device() -> torch.device:
    """Return where a model is scored and measured: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def score(
    cfg: DictConfig, assembly: Assembly, trained: Trained, folder: RunFolder, *, method: str
) -> None:
    """Ask the held-out questions, write ``per_user.parquet`` and ``result.json``, print a table."""
    device = model_device()
    assembly.model.to(device).eval()
    task = assembly.task
    asked = task.questions(assembly.corpus, assembly.split, cfg.evaluation.part)
    asked = asked.first(cfg.evaluation.users)
    size = cfg.evaluation.batch_size
    ranked = {
        method: rank_questions(
            assembly.model, assembly.scorer, assembly.reader, asked, batch_size=size, device=device
        )
    }
    references = task.references(assembly.corpus, assembly.split, asked)
    for name, scores in references.items():
        ranked[name] = rank_scores(scores, assembly.reader, asked)
    costs = {method: measure(cfg, assembly, asked, trained, device)}
    outcomes = [
        {
            "method": name,
            "kind": "model" if name == method else "reference",
            "task": task.name,
            "scorer": task.scorer if name == method else "count",
            "part": cfg.evaluation.part,
            "protocol": asked.protocol,
            "metrics": {k: interval(v).as_dict() for k, v in task.metrics(r.ranks_Q).items()},
            "primary": task.primary,
            "cost": costs.get(name),
        }
        for name, r in ranked.items()
    ]
    _add_beam_overlap(assembly, asked, outcomes[0], device)
    _per_user(assembly, asked, ranked).write_parquet(folder.path / "per_user.parquet")
    folder.write_result(
        {
            "outcomes": outcomes,
            "examples": _examples(assembly, asked, ranked),
            "environment": {
                "data_fingerprint": assembly.corpus.fingerprint,
                "data_name": assembly.corpus.card["name"],
                "lm_source": assembly.loaded.source,
            },
        }
    )
    wide_console().print(outcome_table(outcomes))


def _add_beam_overlap(
    assembly: Assembly, asked: Questions, outcome: dict[str, Any], device: torch.device
) -> None:
    """Say how much of the exhaustive top 10 the beam found, where a beam was used and asked."""
    users = assembly.task.overlap_users
    if not isinstance(assembly.scorer, TitleScorer) or not assembly.scorer.beams or not users:
        return
    shares = beam_overlap(
        assembly.model, assembly.scorer, assembly.reader, asked.first(users), device=device
    )
    outcome["metrics"]["beam_overlap@10"] = interval(shares).as_dict()


def _per_user(assembly: Assembly, asked: Questions, ranked: dict[str, Ranked]) -> pl.DataFrame:
    """Return one row per method and question, so that comparisons can be paired."""
    names = assembly.corpus.users[USER].cast(pl.String).gather(asked.users)
    frames = [
        pl.DataFrame(
            {
                "method": [method] * len(asked),
                "task": assembly.task.name,
                "protocol": asked.protocol,
                "user": names,
                **assembly.task.metrics(result.ranks_Q),
                "history_length": asked.cuts,
            }
        )
        for method, result in ranked.items()
    ]
    return pl.concat(frames)


def _examples(
    assembly: Assembly, asked: Questions, ranked: dict[str, Ranked]
) -> list[dict[str, Any]]:
    """Return the first users with history, question, truth and every method's best answers."""
    answers = assembly.task.answers(assembly.corpus)
    names = assembly.corpus.users[USER].cast(pl.String)
    return [
        {
            "user": names[int(asked.users[row])],
            "history": _history(assembly, int(asked.users[row]), int(asked.cuts[row])),
            "question": assembly.task.question,
            "truth": answers[next(iter(ranked.values())).labels_Q[row]],
            "answers": {
                method: [answers[a] for a in result.best_QK[row, :SHOWN_ANSWERS]]
                for method, result in ranked.items()
            },
        }
        for row in range(min(SHOWN_USERS, len(asked)))
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
