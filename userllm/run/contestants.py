"""Methods that are measured together: finished runs, and configs that need no training."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from userllm.config import Loaded, load
from userllm.context.model import UserLLM
from userllm.errors import UserError
from userllm.run.assembly import Assembly, assemble
from userllm.run.finished import Finished, reopen
from userllm.run.question_work import Asking
from userllm.run.reference import resolve
from userllm.run.serving import next_tokens
from userllm.run.stored_prompt import question_lengths
from userllm.task.exam import Exam, prompt_lengths
from userllm.task.protocol import Questions

UNTRAINED = ("encoder.checkpoint=null", "evaluation.retention=false")
"""Costs depend on shapes, so a composed method is measured with random new weights."""

ASKED = 256
"""Users whose mean lengths decide what a question costs in closed form."""


@dataclass(frozen=True)
class Contestant:
    """One method with the questions that it is asked.

    Attributes:
        label: Name in tables.
        overrides: What was typed; a run's reference alone for a finished run.
        history: Most events of a user that it sees.
        asked: Users of whom enough is known or, where there are none, those with the most events.
        finished: The run that it is; None for a composed config.
    """

    label: str
    overrides: list[str]
    history: int
    assembly: Assembly
    exam: Exam
    asked: Questions
    finished: Finished | None = None

    @property
    def model(self) -> UserLLM:
        """The joined model."""
        return self.assembly.model


@dataclass(frozen=True)
class Entry:
    """A method as it was typed, before anything is built.

    Attributes:
        reference: The finished run that it names; None for a composed config.
        loaded: The composed config; None for a run.
    """

    label: str
    words: list[str]
    history: int
    reference: str | None
    loaded: Loaded | None


def entries(cfg: DictConfig) -> list[Entry]:
    """Return what the config asks for, every config composed and checked.

    Raises:
        UserError: A method is neither a run nor overrides that ``contextualize`` takes.
    """
    named = [str(cfg.run)] if cfg.run is not None else []
    shared = shlex.split(cfg.shared)
    found: list[Entry] = []
    for text in [*named, *cfg.methods]:
        if "=" in text:
            found += [_composed(text, shared, history) for history in cfg.histories or [None]]
        else:
            found.append(_named(text, cfg))
    if not found:
        raise UserError(
            "nothing to measure: give run=<run>, or methods=['context=none','method=tp'], each a "
            "finished run or overrides of contextualize, or --meta for language models without "
            "weights"
        )
    return found


def enter(
    entry: Entry, cfg: DictConfig, device: torch.device, *, known: int | None = None
) -> list[Contestant]:
    """Build an entry's model; a task of several questions gives several contestants.

    Args:
        entry: A method as it was typed.
        cfg: The benchmark's config.
        device: Where its model is put.
        known: How many events those who are asked have; None takes as many as the method sees.
            Lengths of history are compared about the same users, whose questions are as long.
    """
    finished = None
    if entry.loaded is None:
        finished = reopen(OmegaConf.merge(cfg, {"run": entry.reference}))  # type: ignore[arg-type]
        assembly, evaluation = finished.assembly, finished.config.evaluation
    else:
        config = entry.loaded.config
        config.paths, config.seed = cfg.paths, cfg.seed
        assembly, evaluation = assemble(config, entry.loaded.choices), config.evaluation
    assembly.model.to(device).eval()
    contestants = []
    for exam in assembly.exams:
        asked = assembly.questions(exam, evaluation.part)
        if cfg.histories and known and known > (most := int(asked.cuts.max())):
            raise UserError(
                f"histories: {known} events, but nobody who is asked has more than {most}. Type "
                f"histories of at most {most}"
            )
        asked = _longest(asked, known or entry.history)
        if assembly.material.summaries is not None:
            assembly.material.summaries.prepare(asked.users, asked.cuts)
        name = f", {exam.subject.name}" if len(assembly.exams) > 1 else ""
        label = entry.label + name
        contestants.append(
            Contestant(label, entry.words, entry.history, assembly, exam, asked, finished)
        )
    return contestants


def asking_of(one: Contestant, tokens: int) -> Asking:
    """Return the lengths of a contestant's questions, one entry per user."""
    users, cuts = one.asked.users, one.asked.cuts
    lengths = prompt_lengths(one.exam, one.exam.reader(users, cuts))
    writer = one.exam.reader.writer
    question = question_lengths(writer, users, cuts).astype(np.float64)
    written = np.minimum(lengths.events, one.model.context.text_events)
    fixed = float(writer.table.lengths[[0, writer.heading]].sum())
    event = (lengths.prompt - question - fixed) / np.maximum(written, 1.0) * (written > 0)
    chosen = next_tokens(one.exam)
    choices = None if chosen is None else len(chosen)
    first = replace(lengths, logits=1.0, ranked=0.0, tokens=choices)
    return Asking(lengths=first, question=question, event=event, answer=float(tokens))


def share_weights(models: Sequence[UserLLM]) -> None:
    """Keep equal language models once: none gains from its weights being in a cache alone."""
    known: dict[str, Any] = {}
    for model in models:
        for name, parameter in model.lm.named_parameters():
            first = known.setdefault(name, parameter)
            if first.shape == parameter.shape and torch.equal(first, parameter):
                parameter.data = first.data


def _named(reference: str, cfg: DictConfig) -> Entry:
    folder = resolve(reference, Path(cfg.paths.runs), "contextualize")
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(config, dict)
    return Entry(folder.name, [reference], int(config["history"]), reference, None)


def _composed(text: str, shared: list[str], history: int | None) -> Entry:
    words = shlex.split(text)
    length = [] if history is None else [f"history={history}"]
    try:
        loaded = load("contextualize", [*UNTRAINED, *length, *shared, *words])
    except UserError as error:
        raise UserError(f"methods: {text!r}: {error}") from error
    return Entry(
        " ".join(words).replace("context=", "").replace("method=", ""),
        words,
        int(loaded.config.history),
        None,
        loaded,
    )


def _longest(asked: Questions, known: int) -> Questions:
    """Return the questions about users of whom so many events are known, in their order."""
    rows = np.flatnonzero(asked.cuts >= min(known, int(asked.cuts.max())))[:ASKED]
    return Questions(asked.users[rows], asked.cuts[rows], asked.protocol)
