"""What an answer costs, from the same model object that was scored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from userllm.build import build
from userllm.context.work import Lengths, answer_flops, forward_flops
from userllm.cost.latency import Latency
from userllm.run.assembly import Assembly, pretraining_cost
from userllm.task.exam import Exam, prompt_lengths
from userllm.task.protocol import Questions
from userllm.training.memory import peak_memory_bytes

SAMPLE = 256
"""Questions whose mean length is reported."""

PROMPT_PARTS = ("reading", "blocks", "head")
"""Parts of the model that work again whenever the prompt is read again."""


@dataclass(frozen=True)
class Trained:
    """What training took."""

    steps: int
    examples: int
    seconds: float
    flops: float


def measure(
    cfg: DictConfig,
    assembly: Assembly,
    exam: Exam,
    asked: Questions,
    trained: Trained,
    device: torch.device,
    answer_tokens: float,
) -> dict[str, Any]:
    """Return tokens, FLOPs, latency, memory and training cost of one method in one exam.

    Args:
        cfg: The run's config.
        assembly: The model.
        exam: What is asked.
        asked: Its questions.
        trained: What training took, of all exams together.
        device: Where the model is.
        answer_tokens: Mean number of tokens written per answer, as it was counted; the closed
            form of written answers is made for so many.
    """
    sample = asked.first(SAMPLE)
    batch = exam.reader(sample.users, sample.cuts)
    lengths = prompt_lengths(exam, batch)
    written = _summary_cost(assembly, asked)
    flops = _flops(assembly, exam, lengths, answer_tokens)
    if written:
        flops["summary"] = written["summaries"]["flops_per_summary"]
    latency: Latency = build(cfg.cost)
    parameters = list(assembly.model.parameters())
    context, given = assembly.model.context, assembly.model.given(lengths.events)
    return {
        "prompt_tokens": float(np.mean(lengths.prompt + context.prefix_length(given))),
        "user_vectors": float(np.mean(context.vectors(given))),
        "answer_tokens": answer_tokens,
        "flops_per_user": sum(flops.values()),
        "flops_parts": flops,
        "latency_ms": latency.measure(_asker(assembly, exam, asked, device), device),
        "peak_memory_bytes": peak_memory_bytes(),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "total_parameters": sum(p.numel() for p in parameters),
        "training_seconds": trained.seconds,
        "training_examples": trained.examples,
        "training_steps": trained.steps,
        "training_flops": trained.flops,
        **pretraining_cost(assembly.encoder_run),
        **written,
    }


def _summary_cost(assembly: Assembly, asked: Questions) -> dict[str, Any]:
    """Return what the summaries took, for contexts that have some; they are written once."""
    summaries = assembly.material.summaries
    return {} if summaries is None else {"summaries": summaries.cost(asked.users, asked.cuts)}


def _flops(
    assembly: Assembly, exam: Exam, lengths: Lengths, answer_tokens: float
) -> dict[str, float]:
    """Return mean FLOPs of one question by part, ranking or writing the answer included."""
    parts = {
        name: float(np.mean(count)) * (exam.readings if name in PROMPT_PARTS else 1)
        for name, count in forward_flops(assembly.model, lengths).items()
    }
    extensions = exam.extensions(answer_tokens)
    if extensions:
        parts["answers"] = sum(
            float(np.mean(answer_flops(assembly.model, lengths, queries, keys)))
            for queries, keys in extensions
        )
    return parts


def _asker(assembly: Assembly, exam: Exam, asked: Questions, device: torch.device) -> Any:
    def ask(number: int) -> None:
        row = number % len(asked)
        batch = exam.reader(asked.users[row : row + 1], asked.cuts[row : row + 1]).to(device)
        exam.answer(assembly.model, batch)

    return ask
