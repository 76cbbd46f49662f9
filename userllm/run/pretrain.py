"""``userllm pretrain``: train a user encoder, and rank the next item with it and with baselines."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import nn

from userllm.build import build
from userllm.cost.latency import Latency
from userllm.data.columns import USER
from userllm.data.corpus import Corpus
from userllm.data.gather import HistoryGather
from userllm.data.hashing import hash_keys
from userllm.data.split import Split
from userllm.encoder.lit import EncoderModule, WindowBatches, encoder_groups
from userllm.encoder.load import encoder_inputs, load_weights
from userllm.encoder.markov import WindowedMarkov
from userllm.encoder.popularity import Popularity
from userllm.encoder.protocol import UserEncoder
from userllm.encoder.ranking import EncoderScorer, Scorer, rank_next_item
from userllm.metric.interval import interval
from userllm.metric.ranking import Ranking
from userllm.report.outcome import outcome_table
from userllm.report.terminal import wide_console
from userllm.run import tracking
from userllm.run.facts import question_facts
from userllm.run.folder import RunFolder
from userllm.run.launch import ensure
from userllm.run.made_from import note_made_from
from userllm.training.fit import FitSummary, fit
from userllm.training.memory import peak_memory_bytes
from userllm.training.passes import added_up, processes, split_batch
from userllm.training.table import parameter_table
from userllm.training.weights import weights_hash
from userllm.transitions.counted import fit_transitions

MONITOR = "ndcg@10"
TASK = "next_item"
PART = "test"
# Batches whose mean window length decides what training costs.
SAMPLE = 64
VALIDATED = 10_000
"""Validation users that are ranked again and again while training; the test ranks everybody."""


@dataclass(frozen=True)
class Stage:
    """The data of a run and how rankings are measured on it."""

    corpus: Corpus
    split: Split
    gather: HistoryGather
    ranking: Ranking

    def per_user(
        self, scorer: Scorer, part: str, *, mask_seen: bool, most: int | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Return every metric of every user of a part, or of ``most`` that a hash chooses."""
        users, ends = self.split.targets(part)
        if most is not None and len(users) > most:
            chosen = np.sort(np.argsort(hash_keys(users), kind="stable")[:most])
            users, ends = users[chosen], ends[chosen]
        ranks = rank_next_item(scorer, self.gather, users, ends, mask_seen=mask_seen)
        return self.ranking.per_user(ranks)


@dataclass(frozen=True)
class Trained:
    """What training took.

    Attributes:
        windows: Training windows seen, repetitions counted.
        flops: Forward and backward FLOPs of all of them.
    """

    summary: FitSummary
    windows: int
    flops: float


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Train, keep the step that ranks the validation users best, then read the test once."""
    prepared = ensure("prepare", cfg)
    note_made_from(folder, prepared)
    corpus = Corpus.open(prepared / "corpus")
    stage = Stage(corpus, corpus.split(cfg.split), HistoryGather(corpus), build(cfg.metric))
    encoder: UserEncoder = build(cfg.encoder, **encoder_inputs(corpus))
    fit_transitions(encoder, corpus, cfg.split)
    scorer = EncoderScorer(encoder, stage.gather)
    trained = train(cfg, folder, stage, scorer)
    module = cast(nn.Module, encoder)
    best = folder.checkpoints / "best.ckpt"
    if trained.summary.best_checkpoint != best:
        # Nobody could be asked for validation, so that the last weights are the best.
        shutil.copyfile(trained.summary.best_checkpoint, best)
    load_weights(module, best)
    module.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
    report(folder, stage, scorer, cost(stage, scorer, trained))


def train(cfg: DictConfig, folder: RunFolder, stage: Stage, scorer: EncoderScorer) -> Trained:
    """Train the encoder for the configured steps, or for what is left of them."""
    encoder, settings = scorer.encoder, cfg.training
    module = EncoderModule(
        encoder=encoder,
        groups=encoder_groups(
            encoder,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
        ),
        steps=settings.steps,
        betas=cfg.optim.betas,
        eps=cfg.optim.eps,
        warmup=settings.warmup,
    )
    Console().print(parameter_table(module))
    options = cast(dict[str, Any], OmegaConf.to_container(cfg.trainer, resolve=True))
    rows, options = split_batch(settings.batch_size, settings.micro_batch, options)
    batches = WindowBatches(
        gather=stage.gather,
        split=stage.split,
        length=encoder.max_events + 1,
        batch_size=rows,
        seed=cfg.seed,
    )

    def validate(_step: int) -> dict[str, float]:
        seen = stage.ranking.mask_seen
        per_user = stage.per_user(scorer, "valid", mask_seen=seen, most=VALIDATED)
        return {name: float(values.mean()) for name, values in per_user.items()}

    summary = fit(
        module,
        batches,
        steps=settings.steps,
        seed=cfg.seed,
        folder=folder.path,
        trainer_options=options,
        loggers=tracking.loggers(folder),
        checkpoint_every=settings.checkpoint_every,
        # A small corpus may have nobody with an event in the validation period.
        validate=validate if len(stage.split.targets("valid")[0]) else None,
        validate_every=settings.validate_every,
        monitor=MONITOR,
    )
    sample = [batches(k).events.mask.sum(dim=1).numpy() for k in range(min(SAMPLE, summary.steps))]
    targets_W = np.concatenate(sample)
    # A pass has as many windows as were asked for, or as there are.
    passes = summary.steps * added_up(options) * processes(options)
    windows = round(passes * len(targets_W) / len(sample))
    return Trained(summary, windows, windows * training_flops(encoder, targets_W))


def report(folder: RunFolder, stage: Stage, encoder: EncoderScorer, spent: dict[str, Any]) -> None:
    """Rank the test users with every method, both ways, and write and print what came out."""
    scorers: dict[str, Scorer] = {
        "encoder": encoder,
        "popularity": Popularity().fit(stage.corpus, stage.split),
        "markov": WindowedMarkov(window=10, last=20, decay=0.8).fit(stage.corpus, stage.split),
    }
    facts = question_facts(stage.corpus, stage.split, *stage.split.targets(PART))
    outcomes, frames = [], []
    for mask_seen in (True, False):
        protocol = f"{stage.split.name}, {stage.ranking.protocol(mask_seen=mask_seen)}"
        for method, scorer in scorers.items():
            per_user = stage.per_user(scorer, PART, mask_seen=mask_seen)
            is_model = method == "encoder"
            outcomes.append(
                {
                    "method": method,
                    "kind": "model" if is_model else "reference",
                    "task": TASK,
                    "scorer": "encoder" if is_model else "count",
                    "part": PART,
                    "protocol": protocol,
                    "metrics": {k: interval(v).as_dict() for k, v in per_user.items()},
                    "primary": stage.ranking.primary,
                    "cost": spent if is_model else None,
                }
            )
            frames.append(user_frame(stage, method, protocol, per_user | facts))
        wide_console().print(outcome_table(outcomes[-len(scorers) :]))
    pl.concat(frames).write_parquet(folder.path / "per_user.parquet")
    data = {
        "data_fingerprint": stage.corpus.fingerprint,
        "data_name": stage.corpus.card["name"],
        "encoder_weights": weights_hash(cast(nn.Module, encoder.encoder)),
    }
    folder.write_result({"outcomes": outcomes, "examples": [], "environment": data})


def user_frame(
    stage: Stage, method: str, protocol: str, columns: Mapping[str, NDArray[Any]]
) -> pl.DataFrame:
    """Return one row per test user, so that comparisons can be paired."""
    users, _ = stage.split.targets(PART)
    names = stage.corpus.users[USER].cast(pl.String).gather(users)
    return pl.DataFrame(
        {
            "method": [method] * len(users),
            "task": TASK,
            "protocol": protocol,
            "user": names,
            **columns,
        }
    )


def cost(stage: Stage, scorer: EncoderScorer, trained: Trained) -> dict[str, Any]:
    """Return what ranking the catalogue for one user costs, and what the training did."""
    encoder = scorer.encoder
    users, ends = stage.split.targets(PART)
    events = np.minimum(ends, encoder.max_events)
    parts = {
        "encoder": float(np.mean(encoder.flops(1.0 * events).total)),
        "items": float(np.mean(encoder.item_flops(1.0).total)),
    }
    parameters = list(encoder.parameters())

    def ask(number: int) -> None:
        row = slice(number % len(users), number % len(users) + 1)
        with torch.inference_mode():
            scorer.scores(users[row], ends[row])

    return {
        "prompt_tokens": 0.0,
        "user_vectors": float(np.mean(encoder.vectors(1.0 * events))),
        "flops_per_user": sum(parts.values()),
        "flops_parts": parts,
        "latency_ms": Latency(repeats=20, warmup=2).measure(ask, parameters[0].device),
        "peak_memory_bytes": peak_memory_bytes(),
        "trainable_parameters": sum(p.numel() for p in parameters),
        "total_parameters": sum(p.numel() for p in parameters),
        "training_seconds": trained.summary.seconds,
        "training_examples": trained.windows,
        "training_steps": trained.summary.steps,
        "training_flops": trained.flops,
        "pretraining_flops": 0.0,
        "pretraining_seconds": 0.0,
    }


def training_flops(encoder: UserEncoder, targets_W: NDArray[np.int64]) -> float:
    """Return the mean forward and backward FLOPs of a window with so many targets."""
    work = encoder.pretraining_flops(targets_W.astype(np.float64))
    return float(np.mean(work.training(inputs=True, learned_share=1.0)))
