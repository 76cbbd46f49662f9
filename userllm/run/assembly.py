"""Put a contextualized language model together from a config: data, encoder, LM, context, task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import seed_everything

from userllm.build import build
from userllm.context.encoder_prior import EncoderPrior
from userllm.context.item_head import ItemHead
from userllm.context.model import UserLLM
from userllm.context.one_token import refuse_unread
from userllm.context.protocol import Context
from userllm.context.trunk import trunk_of
from userllm.data.corpus import Corpus
from userllm.encoder.load import encoder_inputs, load_encoder
from userllm.encoder.protocol import UserEncoder
from userllm.errors import UserError
from userllm.lm.blocks import decoder_blocks, longest_text, token_width
from userllm.lm.protocol import LoadedLM
from userllm.memory.protocol import Memory
from userllm.report.settings import leaves
from userllm.run.folder import read_result
from userllm.run.launch import ensure
from userllm.run.reference import resolve
from userllm.summarizer.protocol import Summaries
from userllm.task.batch import Material
from userllm.task.exam import Exam, Task, prompt_lengths
from userllm.task.protocol import Part, Questions
from userllm.training.memory import forget_peak_memory
from userllm.transitions.counted import fit_transitions

AUTO = "auto"
LONGEST = 256
"""Questions with the longest histories, whose prompts are measured before training."""


@dataclass(frozen=True)
class Assembly:
    """Everything that training, scoring and measuring one method need.

    Attributes:
        material: Data, split, and how users are written into prompts.
        exams: What is learned and asked: one, or several of a task that has several.
        encoder_run: Folder of the pretraining run; None for contexts without memory and for
            encoders that start from random weights.
    """

    material: Material
    exams: list[Exam]
    loaded: LoadedLM
    model: UserLLM
    encoder_run: Path | None

    @property
    def corpus(self) -> Corpus:
        """The prepared data."""
        return self.material.corpus

    @property
    def made_from(self) -> list[Path]:
        """Folders of the runs that it stands on: the data's, and the encoder's where it has one."""
        return [self.corpus.folder.parent, *filter(None, [self.encoder_run])]

    def questions(self, exam: Exam, part: Part, count: int | None = None) -> Questions:
        """Return the first ``count`` questions of a part; None is all."""
        return exam.subject.questions(self.corpus, self.material.split, part).first(count)


def assemble(cfg: DictConfig, choices: Mapping[str, str]) -> Assembly:
    """Prepare and pretrain what is missing, then build the model; tuning is applied already.

    Args:
        cfg: The config of a contextualize run.
        choices: Its group choices, which name the earlier stages' runs.
    """
    corpus = Corpus.open(ensure("prepare", cfg, choices) / "corpus")
    task: Task = build(cfg.task)
    loaded: LoadedLM = build(cfg.lm).load()
    with torch.device("meta"):
        # A mistake in the context shows before an encoder is pretrained for it.
        outline = _context(cfg, loaded, corpus)
        _memory(cfg, loaded, corpus, outline)
    material = Material(
        corpus=corpus,
        split=corpus.split(cfg.split),
        tokenizer=loaded.tokenizer,
        history=cfg.history,
        text_events=outline.text_events,
        summaries=_summaries(outline, corpus),
        seed=cfg.seed,
    )
    # So does a question that the data cannot answer.
    exams = task.exams(material, weight=1.0)
    asks_prior = any(exam.encoder_prior for exam in exams)
    if asks_prior and not outline.reads_memory:
        raise UserError(
            f"task.encoder_prior=true with context={choices['context']}, which reads no encoder. "
            "Expected one that does, such as context=cross_attention."
        )
    for exam in exams:
        _refuse_nobody(exam, material, cfg.evaluation.part)
        _refuse_long(exam, material, cfg.evaluation.part, loaded)
    encoder_run = _encoder_run(cfg, choices) if outline.reads_memory else None
    # New weights and peak memory do not depend on whether an earlier stage had to run first.
    seed_everything(cfg.seed, workers=True, verbose=False)
    forget_peak_memory()
    encoder = _encoder(cfg, encoder_run, corpus) if outline.reads_memory else None
    context = _context(cfg, loaded, corpus)
    width = token_width(loaded.model)
    model = UserLLM(
        lm=loaded.model,
        context=context,
        encoder=encoder,
        item_head=_item_head(cfg, exams, corpus, width, encoder),
        memory=_memory(cfg, loaded, corpus, context),
        prior=EncoderPrior() if asks_prior else None,
    )
    build(cfg.tuning).apply(model)
    if cfg.training.reuse_text:
        model.trunk = trunk_of(loaded.model, context)
    return Assembly(material, exams, loaded, model, encoder_run)


def method_of(choices: Mapping[str, str]) -> str:
    """Return what tables call a run: its method where one was chosen, else its context."""
    return choices.get("method", choices["context"])


def _refuse_nobody(exam: Exam, material: Material, part: Part) -> None:
    """Raise ``UserError`` when there is nobody to ask, or nothing to ask about."""
    if not len(exam.subject.questions(material.corpus, material.split, part)):
        raise UserError(
            f"task={exam.subject.name}: nobody can be asked in evaluation.part={part} of "
            f"{material.corpus.folder}. Expected users with a held-out event that has an answer; "
            "give more data, or type another split or task, or task.held_out=null if it has that."
        )


def _refuse_long(exam: Exam, material: Material, part: Part, loaded: LoadedLM) -> None:
    """Raise ``UserError`` when text about the longest histories does not fit the language model.

    Most models read on without an error, and answer badly.
    """
    limit = longest_text(loaded.model.config)
    if not (limit and material.text_events):
        return
    asked = exam.subject.questions(material.corpus, material.split, part)
    longest_Q = np.argsort(asked.cuts, kind="stable")[-LONGEST:]
    batch = exam.reader(asked.users[longest_Q], asked.cuts[longest_Q])
    tokens = int(np.max(prompt_lengths(exam, batch).prompt))
    if tokens > limit:
        raise UserError(
            f"context.text_events={material.text_events} makes prompts of {tokens} tokens, and the "
            f"language model was made for {limit}. Type fewer events, or another lm"
        )


def _context(cfg: DictConfig, loaded: LoadedLM, corpus: Corpus) -> Context:
    context: Context = build(cfg.context, **_shapes(cfg, loaded, corpus))
    return context


def _memory(cfg: DictConfig, loaded: LoadedLM, corpus: Corpus, context: Context) -> Memory | None:
    """Return which vectors the context is given; None where it reads none."""
    if not context.reads_memory:
        return None
    memory: Memory = build(cfg.memory, **_shapes(cfg, loaded, corpus))
    refuse_unread(context, memory)
    return memory


def _shapes(cfg: DictConfig, loaded: LoadedLM, corpus: Corpus) -> dict[str, Any]:
    """Return what contexts and memories are built from besides their config."""
    return {
        "text_dim": token_width(loaded.model),
        "user_dim": cfg.encoder.width,
        "num_blocks": len(decoder_blocks(loaded.model)),
        "tokenizer": loaded.tokenizer,
        **encoder_inputs(corpus),
    }


def _summaries(context: Context, corpus: Corpus) -> Summaries | None:
    """Return the summaries of the corpus's histories, for contexts that write one."""
    summarizer = context.summarizer
    return None if summarizer is None else summarizer.open(corpus)


def _encoder_run(cfg: DictConfig, choices: Mapping[str, str]) -> Path | None:
    """Return the pretraining run that ``encoder.checkpoint`` names; None starts from scratch."""
    reference = cfg.encoder.checkpoint
    if reference == AUTO:
        return ensure("pretrain", cfg, choices)
    if reference is None:
        return None
    run = resolve(reference, Path(cfg.paths.runs), "pretrain")
    config = OmegaConf.load(run / "config.yaml")
    if (split := OmegaConf.select(config, "split")) != cfg.split:
        raise UserError(
            f"encoder.checkpoint={reference} was trained with split={split}: behind the cut of "
            f"split={cfg.split} it may have seen events that are asked about. Type "
            f"split={split}, or encoder.checkpoint=auto"
        )
    _refuse_other_settings(reference, config.encoder, cfg.encoder)
    return run


def _refuse_other_settings(reference: str, was: DictConfig, now: DictConfig) -> None:
    """Raise ``UserError`` when a named encoder is another one than the config speaks of."""
    own, here = (
        {
            "encoder": node["_target_"].rpartition(".")[2],
            **dict(leaves(OmegaConf.to_container(node), "encoder")),
        }
        for node in (was, now)
    )
    here.pop("encoder.checkpoint")
    keys = sorted(own.keys() | here.keys())
    if other := [key for key in keys if own.get(key) != here.get(key)]:
        said, typed = (
            ", ".join(f"{key}={one.get(key, 'unset')}" for key in other) for one in (own, here)
        )
        raise UserError(
            f"encoder.checkpoint={reference} was pretrained with {said}; found {typed}. Type the "
            "settings that it was pretrained with, or encoder.checkpoint=auto"
        )


def _encoder(cfg: DictConfig, encoder_run: Path | None, corpus: Corpus) -> UserEncoder:
    """Return the pretrained encoder, or a random one (the paper's PT and RD)."""
    if encoder_run is not None:
        return load_encoder(encoder_run, corpus)
    node = OmegaConf.masked_copy(cfg.encoder, [k for k in cfg.encoder if k != "checkpoint"])
    encoder: UserEncoder = build(node, **encoder_inputs(corpus))
    fit_transitions(encoder, corpus, cfg.split)
    return encoder


def _item_head(
    cfg: DictConfig,
    exams: Sequence[Exam],
    corpus: Corpus,
    width: int,
    encoder: UserEncoder | None,
) -> ItemHead | None:
    """Return the item head when an exam asks for one, started from the encoder's item table.

    Without an encoder the table is as wide as the encoder's would be and random, so that every
    context has a head of the same size.
    """
    heads = [exam.item_head for exam in exams if exam.item_head is not None]
    if not heads:
        return None
    skip = encoder is not None and all(heads)
    if encoder is not None:
        table_IE = encoder.item_table
        bias_I = torch.zeros(len(table_IE)) if skip else encoder.item_bias.nan_to_num(neginf=0.0)
    else:
        items = corpus.vocabulary.sizes["item"]
        table_IE, bias_I = torch.randn(items, cfg.encoder.width) * 0.02, torch.zeros(items)
    return ItemHead(text_dim=width, table_IE=table_IE, bias_I=bias_I, skip=skip)


def pretraining_cost(encoder_run: Path | None) -> dict[str, Any]:
    """Return FLOPs and seconds of the encoder's pretraining, zero without one."""
    if encoder_run is None:
        return {"pretraining_flops": 0.0, "pretraining_seconds": 0.0}
    for outcome in read_result(encoder_run)["outcomes"]:
        if outcome["cost"] is not None:
            cost = outcome["cost"]
            return {
                "pretraining_flops": cost["training_flops"],
                "pretraining_seconds": cost["training_seconds"],
            }
    raise UserError(f"{encoder_run}/result.json says nothing about cost; run pretrain again")
