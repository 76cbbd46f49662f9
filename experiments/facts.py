"""Hashes of everything a finished run read, learned and said: what the audit compares."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from experiments.tamper import Part
from userllm.data.corpus import Corpus
from userllm.data.gather import HistoryGather
from userllm.encoder.lit import WindowBatches
from userllm.encoder.load import load_encoder
from userllm.encoder.markov import WindowedMarkov
from userllm.encoder.popularity import Popularity
from userllm.encoder.ranking import EncoderScorer
from userllm.run.contextualize import training_batches
from userllm.run.finished import Finished, reopen
from userllm.task.ranking import RankingExam
from userllm.training.weights import read_weights

MOST_BATCHES = 200
"""Training batches that are compared; more only repeat the same users."""
ASKED, TOGETHER = 256, 32
"""Questions that are compared, and how many of them are asked at once."""


def encoder_facts(run: Path, corpus: Corpus, part: Part) -> dict[str, str]:
    """Return what a pretraining run read and learned, and what floors say.

    Args:
        run: Its folder.
        corpus: What it was trained on.
        part: Whose questions are asked.
    """
    config: Any = OmegaConf.load(run / "config.yaml")
    split, encoder = corpus.split(config.split), load_encoder(run, corpus)
    windows = WindowBatches(
        gather=HistoryGather(corpus),
        split=split,
        length=encoder.max_events + 1,
        batch_size=config.training.batch_size,
        seed=config.seed,
    )
    users, ends = (some[:ASKED] for some in split.targets(part))
    popularity = Popularity().fit(corpus, split)
    markov = WindowedMarkov(window=10, last=20, decay=0.8).fit(corpus, split)
    batches = range(min(config.training.steps, MOST_BATCHES))
    facts: dict[str, Any] = {
        "training windows": [windows(number) for number in batches],
        "who is asked": [users, ends],
        "popularity's scores": popularity.scores(users, ends),
        "Markov chain's scores": markov.scores(users, ends),
        "weights of the last step": read_weights(run / "checkpoints" / "last.ckpt", "encoder"),
        "training curve": _curve(run, part),
    }
    if part == "test":
        # The step was chosen on the validation events, which are as they were.
        best = run / "checkpoints" / "best.ckpt"
        facts["weights of the best step"] = read_weights(best, "encoder")
        with torch.inference_mode():
            facts["scores"] = EncoderScorer(encoder, windows.gather).scores(users, ends)
    return {name: digest(value) for name, value in facts.items()}


def model_facts(run: Path, part: Part) -> dict[str, str]:
    """Return what a language model read and learned, and what it says to the questions of a part.

    Args:
        run: Folder of a finished contextualize run.
        part: Whose questions are asked.
    """
    paths = OmegaConf.load(run / "config.yaml").paths
    finished = reopen(OmegaConf.create({"run": str(run), "paths": paths}))
    facts: dict[str, Any] = {"training questions": _training(finished)}
    if finished.trained.steps:
        facts["weights"] = read_weights(run / "checkpoints" / "last.ckpt", "model")
        facts["training curve"] = _curve(run, part)
    facts |= _answers(finished, part)
    return {name: digest(value) for name, value in facts.items()}


def digest(value: Any) -> str:
    """Return a hash of nested values: arrays, tensors, dataclasses, mappings, lists."""
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def _training(finished: Finished) -> list[Any]:
    config = finished.config
    batches = training_batches(config, finished.assembly, config.training.batch_size)
    # A method that learns nothing still shows what it would have been given.
    steps = finished.trained.steps or config.training.steps
    return [batches(number) for number in range(min(steps, MOST_BATCHES))]


def _answers(finished: Finished, part: Part) -> dict[str, list[Any]]:
    """Return what the model is given, what it makes of it, and its scores; never the truth."""
    model = finished.assembly.model.cpu().eval()
    facts: dict[str, list[Any]] = {
        name: []
        for name in ("who is asked", "histories", "prompts", "memories", "left out", "scores")
    }
    for exam in finished.assembly.exams:
        assert isinstance(exam, RankingExam)
        corpus, split = exam.material.corpus, exam.material.split
        asked = finished.assembly.questions(exam, part, ASKED)
        facts["who is asked"].append([asked.users, asked.cuts])
        references = exam.subject.references(corpus, split)
        for rows in asked.by_length(TOGETHER):
            users, cuts = asked.users[rows], asked.cuts[rows]
            batch = exam.reader(users, cuts)
            with torch.inference_mode():
                facts["memories"].append(model.read_user(batch.events))
                facts["scores"].append(exam.answer(model, batch))
            facts["histories"].append(batch.events)
            facts["prompts"].append(batch.prompt)
            facts["left out"].append(exam.subject.seen(corpus, users, cuts))
            for name, reference in references.items():
                facts.setdefault(f"scores of {name}", []).append(reference(users, cuts))
    return facts


def _curve(run: Path, part: Part) -> list[list[str]]:
    """Return the training curve, without what is measured on events that changed."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return [row for row in rows if part == "test" or row[1].startswith("train/")]


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        array = value.detach().cpu()
        found.update(f"{array.dtype}{tuple(array.shape)}".encode())
        found.update(array.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value):
            found.update(str(key).encode())
            _feed(found, value[key])
    elif isinstance(value, list | tuple):
        found.update(f"[{len(value)}".encode())
        for child in value:
            _feed(found, child)
    elif is_dataclass(value):
        for field in fields(value):
            found.update(field.name.encode())
            _feed(found, getattr(value, field.name))
    else:
        found.update(repr(value).encode())
