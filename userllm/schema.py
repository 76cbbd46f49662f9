"""What a run's config may hold: one dataclass per verb, and one per node of plain values.

A node with a ``_target_`` needs no entry here, since its constructor is its schema (``Any``).
"""

from dataclasses import dataclass, fields
from math import inf
from typing import Any, Literal


@dataclass(frozen=True)
class Paths:
    """Where files go; no part of what a run is."""

    runs: str
    reports: str
    cache: str | None


@dataclass(frozen=True)
class Size:
    """How big everything is, read by interpolation in the other groups."""

    users: int
    items: int
    events_per_user: int
    encoder_width: int
    encoder_layers: int
    encoder_heads: int
    encoder_dropout: float
    pretrain_steps: int
    pretrain_batch: int
    pretrain_lr: float
    context_steps: int
    context_batch: int
    micro_batch: int | None
    context_flops: float
    history: int
    min_user_events: int
    users_asked: int | None
    lm: str
    table7: dict[str, int] | None


@dataclass(frozen=True)
class Optim:
    """What AdamW has besides learning rates and decay."""

    betas: tuple[float, float]
    eps: float


@dataclass(frozen=True)
class PretrainTraining:
    """How long and how fast the encoder learns."""

    steps: int
    batch_size: int
    micro_batch: int | None
    learning_rate: float
    weight_decay: float
    warmup: float
    validate_every: int
    checkpoint_every: int


@dataclass(frozen=True)
class LearningRates:
    """One learning rate per part of a contextualized language model."""

    lm: float
    lora: float
    encoder: float
    memory: float
    gates: float
    head: float


@dataclass(frozen=True)
class ContextTraining:
    """How long and how fast a language model learns to read users."""

    steps: int
    flops: float | None
    batch_size: int
    micro_batch: int | None
    learning_rates: LearningRates
    weight_decay: float
    warmup: float
    checkpoint_every: int
    reuse_text: bool
    group_by_length: bool


@dataclass(frozen=True)
class Evaluation:
    """Whom a finished model is measured on."""

    users: int | None
    batch_size: int
    part: Literal["valid", "test"]
    retention: bool | None


@dataclass(frozen=True)
class Prepare:
    """Keys of ``userllm prepare``."""

    name: str | None
    data: Any
    size: Size
    paths: Paths


@dataclass(frozen=True)
class _Run:
    """Keys that every verb shares which runs a model."""

    name: str | None
    group: str | None
    threads: int | None
    logger: Any
    paths: Paths


@dataclass(frozen=True)
class Pretrain(_Run):
    """Keys of ``userllm pretrain``."""

    seed: int
    data: Any
    split: Literal["leave_last_out", "global_time"]
    history: int
    encoder: Any
    optim: Optim
    training: PretrainTraining
    trainer: Any
    metric: Any
    size: Size


@dataclass(frozen=True)
class _Answering(_Run):
    """Keys that every verb shares which has a language model answer."""

    pack_weights: bool


@dataclass(frozen=True)
class Contextualize(_Answering):
    """Keys of ``userllm contextualize``."""

    seed: int
    data: Any
    split: Literal["leave_last_out", "global_time"]
    history: int
    encoder: Any
    memory: Any
    context: Any
    lm: Any
    tuning: Any
    task: Any
    optim: Optim
    training: ContextTraining
    trainer: Any
    metric: Any
    evaluation: Evaluation
    cost: Any
    size: Size


@dataclass(frozen=True)
class Evaluate(_Answering):
    """Keys of ``userllm evaluate``."""

    run: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Benchmark(_Answering):
    """Keys of ``userllm benchmark``."""

    seed: int
    run: str | None
    methods: list[str]
    shared: str
    histories: list[int]
    answer_tokens: int
    batch: int
    seconds: float
    slide: int | None
    meta: bool
    lms: list[str]
    cost: Any


@dataclass(frozen=True)
class Compare:
    """Keys of ``userllm compare``."""

    name: str | None
    runs: list[str]
    baseline: str | None
    logger: Any
    paths: Paths


VERBS: dict[str, type] = {
    "prepare": Prepare,
    "pretrain": Pretrain,
    "contextualize": Contextualize,
    "evaluate": Evaluate,
    "benchmark": Benchmark,
    "compare": Compare,
}
"""Verb to the dataclass of its top-level keys."""

EXTRA_KEYS: dict[tuple[str, str], dict[str, Any]] = {
    ("contextualize", "encoder"): {"checkpoint": str | None},
}
"""Keys of a ``_target_`` node that a verb reads itself and no constructor takes."""

ADDED_KEYS: dict[str, Any] = {"memory": {"_target_": "userllm.memory.states.States"}}
"""Top-level keys that earlier runs lack, with the value that says what these were."""


BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        (
            "history",
            "threads",
            "training.batch_size",
            "training.micro_batch",
            "training.validate_every",
            "training.checkpoint_every",
            "evaluation.users",
            "evaluation.batch_size",
            "cost.repeats",
            "encoder.width",
            "batch",
            "answer_tokens",
        ),
        (1, inf),
    ),
    **dict.fromkeys(
        (
            "training.steps",
            "training.flops",
            "training.weight_decay",
            "training.learning_rate",
            *(f"training.learning_rates.{part.name}" for part in fields(LearningRates)),
            "cost.warmup",
            "seconds",
        ),
        (0, inf),
    ),
    "training.warmup": (0, 1),
}
"""Keys to the least and the most that they may be, where nobody else says so in time."""

BOUNDS_OF: dict[str, dict[str, tuple[float, float]]] = {"pretrain": {"training.steps": (1, inf)}}
"""What one verb has otherwise: an encoder that learns nothing is ``method=xattn_random``."""


def says_nothing(key: str, value: Any) -> bool:
    """Return whether a key has the value that runs without it have."""
    return key in ADDED_KEYS and value == ADDED_KEYS[key]
