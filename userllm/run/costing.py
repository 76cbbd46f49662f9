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
from userllm.task.protocol import Questions
from userllm.training.memory import peak_memory_bytes

SAMPLE = 256
"""Questions whose mean length is reported."""


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
    asked: Questions,
    trained: Trained,
    device: torch.device,
) -> dict[str, Any]:
    """Return tokens, FLOPs, latency, memory and training cost of one method."""
    sample = asked.first(SAMPLE)
    batch = assembly.reader(sample.users, sample.cuts)
    events = batch.events.mask.sum(dim=1).numpy()
    prompt = batch.prompt.mask_BT.sum(dim=1).numpy()
    flops = _flops(assembly, Lengths(events=events, prompt=prompt, answer=0.0, logits=1.0))
    latency: Latency = build(cfg.cost)
    parameters = list(assembly.model.parameters())
    context, given = assembly.model.context, assembly.model.given(events)
    return {
        "prompt_tokens": float(np.mean(prompt + context.prefix_length(given))),
        "user_vectors": float(np.mean(context.vectors(given))),
        "flops_per_user": sum(flops.values()),
        "flops_parts": flops,
        "latency_ms": latency.measure(_asker(assembly, asked, device), device),
        "peak_memory_bytes": peak_memory_bytes(),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "total_parameters": sum(p.numel() for p in parameters),
        "training_seconds": trained.seconds,
        "training_examples": trained.examples,
        "training_steps": trained.steps,
        "training_flops": trained.flops,
        **pretraining_cost(assembly.encoder_run),
    }


def _flops(assembly: Assembly, lengths: Lengths) -> dict[str, float]:
    """Return mean FLOPs of one question by part, ranking all answers included."""
    parts = {
        name: float(np.mean(count))
        for name, count in forward_flops(assembly.model, lengths).items()
    }
    extensions = assembly.scorer.extensions()
    if extensions:
        parts["answers"] = sum(
            float(np.mean(answer_flops(assembly.model, lengths, queries, keys)))
            for queries, keys in extensions
        )
    return parts


def _asker(assembly: Assembly, asked: Questions, device: torch.device) -> Any:
    def ask(number: int) -> None:
        row = number % len(asked)
        batch = assembly.reader(asked.users[row : row + 1], asked.cuts[row : row + 1]).to(device)
        with torch.inference_mode():
            memory = assembly.model.read_user(batch.events)
            assembly.scorer.scores(assembly.model, memory, batch.prompt)

    return ask
