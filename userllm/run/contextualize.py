"""``userllm contextualize``: teach a language model to read users, then score and measure it."""

import logging
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor

from userllm.context.lit import ContextModule
from userllm.context.model import UserLLM
from userllm.context.work import Lengths, training_flops
from userllm.errors import UserError
from userllm.run import tracking
from userllm.run.assembly import Assembly, assemble
from userllm.run.costing import Trained
from userllm.run.folder import RunFolder
from userllm.run.scoring import score
from userllm.task.batch import QuestionBatch
from userllm.task.protocol import Questions
from userllm.training.batches import EpochBatches
from userllm.training.fit import fit
from userllm.training.module import ParameterGroup
from userllm.training.table import parameter_table
from userllm.tuning.parts import parts_of

log = logging.getLogger(__name__)
SAMPLE = 512
"""Training questions whose mean length decides what one example costs."""


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Train what ``cfg.tuning`` allows on the task's training questions, then evaluate."""
    assembly = assemble(cfg, folder.choices)
    trained = train(cfg, assembly, folder)
    score(cfg, assembly, trained, folder, method=folder.choices["context"])


def train(cfg: DictConfig, assembly: Assembly, folder: RunFolder) -> Trained:
    """Train for the configured steps or FLOPs; a method with nothing to learn is left as it is."""
    questions = assembly.task.questions(assembly.corpus, assembly.split, "train")
    if not len(questions):
        raise UserError(
            f"task={assembly.task.name}: no training questions in {assembly.corpus.folder}. "
            "Expected users with more events; lower task.min_history or give more data."
        )
    groups = parameter_groups(cfg, assembly.model)
    if not groups:
        log.info("nothing learns in this method; it is measured as it is")
        return Trained(0, 0, 0.0, 0.0)
    per_example = flops_per_example(assembly, questions)
    steps = training_steps(cfg, per_example)
    module = ContextModule(
        model=assembly.model,
        loss=lambda model, batch: question_loss(assembly, model, batch),
        groups=groups,
        steps=steps,
        betas=cfg.optim.betas,
        eps=cfg.optim.eps,
        warmup=cfg.training.warmup,
    )
    Console().print(parameter_table(module))
    rows = EpochBatches(
        lambda _: [questions.users, questions.cuts],
        batch_size=min(cfg.training.batch_size, len(questions)),
        seed=cfg.seed,
    )
    summary = fit(
        module,
        lambda number: assembly.reader(*rows(number)),
        steps=steps,
        seed=cfg.seed,
        folder=folder.path,
        trainer_options=as_dict(cfg.trainer),
        loggers=tracking.loggers(folder),
        checkpoint_every=cfg.training.checkpoint_every,
        validate=None,
        validate_every=steps,
        monitor="loss",
        threads=cfg.threads,
    )
    examples = steps * cfg.training.batch_size
    return Trained(steps, examples, summary.seconds, examples * per_example)


def question_loss(assembly: Assembly, model: UserLLM, batch: QuestionBatch) -> Tensor:
    """Return the task's loss of a batch of questions."""
    memory = model.read_user(batch.events)
    return assembly.scorer.loss(model, memory, batch.prompt, batch.labels_B)


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


def flops_per_example(assembly: Assembly, questions: Questions) -> float:
    """Return the mean training FLOPs of one example, from the lengths of a sample."""
    pick = np.linspace(0, len(questions) - 1, num=min(SAMPLE, len(questions))).astype(np.int64)
    batch = assembly.reader(questions.users[pick], questions.cuts[pick])
    answer, logits = assembly.scorer.training_lengths(batch.labels_B.numpy())
    lengths = Lengths(
        events=batch.events.mask.sum(dim=1).numpy(),
        prompt=batch.prompt.mask_BT.sum(dim=1).numpy(),
        answer=answer,
        logits=logits,
    )
    return float(np.mean(training_flops(assembly.model, lengths)))


def training_steps(cfg: DictConfig, per_example: float) -> int:
    """Return the steps of the run: as configured, or as many as the FLOPs budget pays for."""
    budget = cfg.training.flops
    if budget is None:
        return int(cfg.training.steps)
    steps = int(budget / (per_example * cfg.training.batch_size))
    if steps < 1:
        raise UserError(
            f"training.flops={budget:g} does not pay for one step of "
            f"{cfg.training.batch_size} examples, which costs "
            f"{per_example * cfg.training.batch_size:.3g}. Type a larger training.flops or a "
            "smaller training.batch_size."
        )
    return steps


def as_dict(node: DictConfig) -> dict[str, Any]:
    """Return a node of plain values as a dict."""
    return dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]
