"""``userllm contextualize``: teach a language model to read users, then score and measure it."""

import logging
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from userllm.context.lit import ContextModule
from userllm.context.model import UserLLM
from userllm.context.work import known_text_flops, training_flops
from userllm.errors import Helped, UserError
from userllm.retention.compare import retention
from userllm.run import tracking
from userllm.run.assembly import Assembly, assemble, method_of
from userllm.run.base_model import note_base_model
from userllm.run.costing import Trained
from userllm.run.folder import RunFolder
from userllm.run.language import language_scores
from userllm.run.launch import is_helper
from userllm.run.made_from import note_made_from
from userllm.run.progress import record_steps
from userllm.run.scoring import score
from userllm.task.exam import Exam, example_lengths
from userllm.task.mixture import MixedBatches
from userllm.task.protocol import Values
from userllm.training.fit import fit
from userllm.training.module import ParameterGroup
from userllm.training.passes import added_up, processes, split_batch
from userllm.training.table import parameter_table
from userllm.tuning.parts import parts_of

log = logging.getLogger(__name__)
SAMPLE = 512
"""Training questions whose mean length decides what one example costs."""


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Train what ``cfg.tuning`` allows on the task's training questions, then evaluate."""
    assembly = assemble(cfg, folder.choices)
    note_base_model(assembly, folder)
    note_made_from(folder, *assembly.made_from)
    before = language_scores(cfg, assembly)
    trained = train(cfg, assembly, folder)
    after = language_scores(cfg, assembly)
    kept = retention(before, after) if before and after else None
    score(cfg, assembly, trained, folder, method=method_of(folder.choices), kept=kept)


def train(cfg: DictConfig, assembly: Assembly, folder: RunFolder) -> Trained:
    """Train for the configured steps or FLOPs; a method with nothing to learn is left as it is."""
    options = as_dict(cfg.trainer)
    rows, options = split_batch(cfg.training.batch_size, cfg.training.micro_batch, options)
    batches = training_batches(cfg, assembly, rows)
    groups = parameter_groups(cfg, assembly.model)
    if not groups:
        if is_helper():
            raise Helped(0)
        log.info("nothing learns in this method; it is measured as it is")
        return Trained(0, 0, 0.0, 0.0)
    if options.get("strategy") == "fsdp":
        # Each process meets texts of its own, and reading one gathers blocks from all of them.
        assembly.model.trunk = None
    passes = added_up(options) * processes(options)
    once = known_text_cost(assembly)
    if cfg.training.flops is not None and once >= cfg.training.flops:
        log.info("reading repeated text in advance costs more than the budget: it is read anew")
        assembly.model.trunk, once = None, 0.0
    flops_X = flops_per_batch(assembly, batches)
    steps = training_steps(cfg, passes * float(batches.share_X @ flops_X), once)
    record_steps(folder.path, steps)
    prepare_summaries(assembly, batches, steps * passes)
    module = ContextModule(
        model=assembly.model,
        loss=lambda model, batch: assembly.exams[batch.exam].loss(model, batch),
        groups=groups,
        steps=steps,
        betas=cfg.optim.betas,
        eps=cfg.optim.eps,
        warmup=cfg.training.warmup,
    )
    Console().print(parameter_table(module))
    summary = fit(
        module,
        batches,
        steps=steps,
        seed=cfg.seed,
        folder=folder.path,
        trainer_options=options,
        loggers=tracking.loggers(folder),
        checkpoint_every=cfg.training.checkpoint_every,
        validate=None,
        validate_every=steps,
        monitor="loss",
    )
    counts_X = batches.counts(steps * passes)
    return Trained(
        steps=steps,
        examples=int(counts_X @ batches.sizes),
        seconds=summary.seconds,
        flops=once + float(counts_X @ flops_X),
    )


def training_batches(cfg: DictConfig, assembly: Assembly, rows: int) -> MixedBatches:
    """Return the batches that a run trains on, of so many questions each."""
    return MixedBatches(
        exams=assembly.exams,
        questions=[assembly.questions(exam, "train") for exam in assembly.exams],
        batch_size=rows,
        seed=cfg.seed,
        group_by_length=cfg.training.group_by_length,
    )


def prepare_summaries(assembly: Assembly, batches: MixedBatches, total: int) -> None:
    """Write the summaries that training will read, so that its time is that of training."""
    if assembly.material.summaries is not None:
        _, users, cuts = zip(*(batches.rows(number) for number in range(total)), strict=True)
        assembly.material.summaries.prepare(np.concatenate(users), np.concatenate(cuts))


def parameter_groups(cfg: DictConfig, model: UserLLM) -> list[ParameterGroup]:
    """Return one group per part that learns; gates are not decayed."""
    return [
        ParameterGroup(
            name=part,
            params=learning,
            lr=cfg.training.learning_rates[part],
            weight_decay=0.0 if part == "gates" else cfg.training.weight_decay,
        )
        for part, parameters in parts_of(model).items()
        if (learning := [p for p in parameters if p.requires_grad])
    ]


def flops_per_batch(assembly: Assembly, batches: MixedBatches) -> Values:
    """Return the training FLOPs of one batch of each exam, from the lengths of a sample."""
    return np.array(
        [
            size * flops_per_example(assembly, exam) if exam.weight else 0.0
            for exam, size in zip(assembly.exams, batches.sizes, strict=True)
        ]
    )


def flops_per_example(assembly: Assembly, exam: Exam) -> float:
    """Return the mean training FLOPs of one example, from the lengths of a sample."""
    sample = assembly.questions(exam, "train").sample(SAMPLE)
    batch = exam.reader(sample.users, sample.cuts)
    lengths = example_lengths(exam, batch)
    return float(np.mean(training_flops(assembly.model, lengths)))


def known_text_cost(assembly: Assembly) -> float:
    """Return the FLOPs of reading, once, all text that repeats; 0 where nothing is kept."""
    if assembly.model.trunk is None:
        return 0.0
    total = 0.0
    for exam in assembly.exams:
        if exam.known_passes is not None:
            sample = assembly.questions(exam, "train").sample(SAMPLE)
            prompts = exam.reader(sample.users, sample.cuts).prompt
            different = np.unique(np.where(prompts.mask_BT, prompts.ids_BT, -1), axis=0)
            lengths = (different >= 0).sum(axis=1).astype(np.float64)
            total += known_text_flops(assembly.model, lengths, exam.known_passes)
    return total


def training_steps(cfg: DictConfig, per_step: float, once: float = 0.0) -> int:
    """Return the steps of the run: as configured, or as many as the FLOPs budget pays for.

    Args:
        cfg: The run's config.
        per_step: FLOPs of one step.
        once: FLOPs that the budget pays for besides.
    """
    budget = cfg.training.flops
    if budget is None:
        return int(cfg.training.steps)
    steps = int((budget - once) / per_step)
    if steps < 1:
        raise UserError(
            f"training.flops={budget:g} does not pay for one step of "
            f"{cfg.training.batch_size} examples, which costs {per_step:.3g}. Type a larger "
            "training.flops or a smaller training.batch_size."
        )
    return steps


def as_dict(node: DictConfig) -> dict[str, Any]:
    """Return a node of plain values as a dict."""
    return dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]
