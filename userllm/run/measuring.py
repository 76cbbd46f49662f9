"""Several methods measured side by side: closed forms, times in turns, memory one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from omegaconf import DictConfig

from userllm.build import build
from userllm.cost.flops import Count
from userllm.cost.latency import Latency, Timed
from userllm.run.contestants import Contestant, asking_of
from userllm.run.question_work import Kept, as_numbers, keepable, question_costs
from userllm.run.serving import Serving
from userllm.task.protocol import Ints
from userllm.training.memory import forget_peak_memory, peak_memory_bytes

IN_TURN = 8
"""Different users that are asked in turn: what is stored of a long text prompt is large."""


@dataclass(frozen=True)
class _Row:
    """One method with one thing stored."""

    contestant: Contestant
    kept: Kept
    serving: Serving

    def rows(self, number: int, size: int) -> Ints:
        """Return whose questions are asked: another user each time, or always the same batch."""
        users = len(self.contestant.asked)
        if size == 1:
            return np.array([number % min(IN_TURN, users)])
        return np.arange(size) % users


def measure_rows(
    cfg: DictConfig, contestants: Sequence[Contestant], device: torch.device
) -> list[dict[str, Any]]:
    """Return one row per method and per thing that can be stored of its users.

    Args:
        cfg: The benchmark's config.
        contestants: Methods, built.
        device: Where their models are.
    """
    rows = [
        _Row(one, kept, _serving(one, kept, cfg.answer_tokens, device))
        for one in contestants
        for kept in keepable(one.model)
    ]
    latency: Latency = build(cfg.cost)
    alone = _alone(rows, latency, device, cfg.seconds)
    together = _together(rows, cfg.batch, latency, device, cfg.seconds)
    return [
        {
            **_closed(row, cfg.answer_tokens),
            "latency_ms": one,
            "batch": cfg.batch,
            "batch_ms": many,
            "users_per_second": {
                what: 1000.0 * cfg.batch / times["p50"] for what, times in many.items()
            },
            "memory_bytes": {
                str(size): _memory(row, size, device) for size in dict.fromkeys([1, cfg.batch])
            },
        }
        for row, one, many in zip(rows, alone, together, strict=True)
    ]


def _serving(one: Contestant, kept: Kept, tokens: int, device: torch.device) -> Serving:
    return Serving(
        model=one.model, exam=one.exam, asked=one.asked, kept=kept, tokens=tokens, device=device
    )


def _alone(
    rows: Sequence[_Row], latency: Latency, device: torch.device, seconds: float
) -> list[dict[str, dict[str, Any]]]:
    """Return the times of each row for one user, by what is timed; the rows take turns."""
    kinds = [_asks(row.serving) for row in rows]
    asks = {
        f"{number} {kind}": Timed(
            ready=_numbered(row.serving.get_ready, row, 1), ask=_numbered(ask, row, 1)
        )
        for number, row in enumerate(rows)
        for kind, ask in kinds[number].items()
    }
    times = latency.interleave(asks, device, seconds=seconds)
    return [
        {kind: times[f"{number} {kind}"] for kind in kinds[number]} for number in range(len(rows))
    ]


def _together(
    rows: Sequence[_Row], size: int, latency: Latency, device: torch.device, seconds: float
) -> list[dict[str, dict[str, Any]]]:
    """Return the times of each row for a batch; minutes for long texts, so both from one answer."""
    asks = {
        f"{number} answer": Timed(
            ready=_numbered(row.serving.get_ready, row, size),
            ask=_numbered(row.serving.answer_timed, row, size),
            parts=(f"{number} prefill",),
        )
        for number, row in enumerate(rows)
    }
    times = latency.interleave(asks, device, seconds=seconds)
    kinds = ("prefill", "answer")
    return [{kind: times[f"{number} {kind}"] for kind in kinds} for number, _ in enumerate(rows)]


def _asks(serving: Serving) -> dict[str, Callable[[Ints], Any]]:
    """Return what is timed for one user at a time."""
    return {
        "prefill": serving.prefill,
        "first_token": serving.first,
        "answer": serving.answer,
    }


def _numbered(what: Callable[[Ints], Any], row: _Row, size: int) -> Callable[[int], Any]:
    return lambda number: what(row.rows(number, size))


def _memory(row: _Row, size: int, device: torch.device) -> int:
    """Return the most bytes a whole answer takes beyond what was there: weights and what is stored.

    The process is one for all methods, so its own peak would be that of the greediest.
    """
    users = row.rows(0, size)
    row.serving.get_ready(users)
    forget_peak_memory()
    if device.type == "cuda":
        before = int(torch.cuda.memory_allocated(device))
    else:
        before = int(psutil.Process().memory_info().rss)
    row.serving.answer(users)
    return max(peak_memory_bytes() - before, 0)


def _closed(row: _Row, tokens: int) -> dict[str, Any]:
    """Return who is asked, and what the shapes say about the mean question."""
    one, model = row.contestant, row.contestant.model
    asking = asking_of(one, tokens)
    return {
        "method": one.label,
        "overrides": one.overrides,
        "task": one.exam.subject.name,
        "history": one.history,
        "kept": row.kept,
        "lm": one.assembly.loaded.source["name"],
        "data": one.assembly.corpus.card["name"],
        "events": _mean(asking.lengths.events),
        "answer_tokens": tokens,
        **as_numbers(question_costs(model, asking, row.kept), _mean),
        "blocks": int(model.lm.config.get_text_config().num_hidden_layers),
        "weights_bytes": sum(p.nbytes for p in model.parameters()),
        "trained": one.finished is not None,
    }


def _mean(count: Count) -> float:
    return float(np.mean(count))
