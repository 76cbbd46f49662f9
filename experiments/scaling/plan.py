"""What the paper's trainings take on 1, 8 and 64 GPUs: the tables of docs/scaling.md.

Nothing is trained or loaded. FLOPs are the closed forms that ``userllm ls study`` adds up, weights
are counted on the shapes, and what a row keeps for its backward pass is counted on two blocks of
the real width, the rest being alike.

Usage: python experiments/scaling/plan.py
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from userllm.build import build
from userllm.config import load
from userllm.context.model import TokenBatch, UserLLM
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import FIRST_ID
from userllm.lm.blocks import decoder_blocks
from userllm.lm.outline import known_config
from userllm.report import units
from userllm.run.assumptions import DATA, QUESTION_TOKENS
from userllm.run.estimate import estimate
from userllm.run.outline import encoder_outline, outline
from userllm.run.studies import H100, H100_SHARE

GPUS = (1, 8, 64)
LMS = ("smollm2-135m", "gemma-3-1b")
TASKS = {
    "MovieLens-20M, next item": "paper_movielens_next_item",
    "MovieLens-20M, favorite genre": "paper_movielens_favorite_category",
    "Amazon, next item": "paper_amazon_next_item",
    "Amazon, favorite category": "paper_amazon_favorite_category",
    "Amazon, review": "paper_amazon_review",
}
TUNINGS = ("full", "lora", "encoder")
FROZEN, LEARNING = 2, 16
"""Bytes of a number that is frozen (bfloat16), and of one that learns (float32 with its gradient
and Adam's two moments)."""
LOGIT = 10
"""Bytes of a logit: bfloat16, float32 for the loss, and its gradient."""
ENCODER_SHARE = 0.05
"""Share of the peak that an encoder of width 128 is taken to reach: memory is its limit."""
FEW, ROWS = 300, 256
"""Tokens of the vocabulary while rows are counted, and rows of one pass (micro_batch)."""


@dataclass(frozen=True)
class Weights:
    """Numbers of a model: in its decoder blocks, which can be split, and in all else."""

    count: int
    blocks: int
    blocks_learn: int
    rest: int
    rest_learn: int

    @property
    def learn(self) -> int:
        """All numbers that learn."""
        return self.blocks_learn + self.rest_learn

    def bytes(self, shards: int) -> float:
        """Return the bytes on one of so many processes that split the blocks."""
        split = bytes_of(self.blocks, self.blocks_learn) / shards
        # Of a split model two blocks are whole: the one at work and the next one.
        whole = 0.0 if shards == 1 else 2 * self.gathered / self.count
        return split + whole + bytes_of(self.rest, self.rest_learn)

    @property
    def gathered(self) -> float:
        """Bytes of all blocks' weights as processes send them to each other."""
        return 4.0 * self.blocks if self.blocks_learn == self.blocks else 2.0 * self.blocks


def main() -> None:
    """Print the tables."""
    for name in TABLES:
        print(f"<!-- table: {name} -->\n{table(name)}\n")


def table(name: str) -> str:
    """Return one table of the page."""
    head, *body = list(TABLES[name]())
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def work() -> Iterator[list[str]]:
    """Yield FLOPs and hours of pretraining and of each task; one process evaluates alone."""
    hours = [f"hours, {gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS]
    yield ["training", "batch", "steps", "language model", "FLOPs", *hours, "evaluation, 1 GPU"]
    for data, experiment in (("MovieLens-20M", "paper_movielens"), ("Amazon", "paper_amazon")):
        config = config_of(f"{experiment}_next_item", LMS[0])
        size, spent = config["size"], estimate(config).pretraining
        batch, steps = f"{size['pretrain_batch']:,}", f"{size['pretrain_steps']:,}"
        cells = [units.flops(spent), *_hours(spent, ENCODER_SHARE)]
        yield [f"{data}, encoder", batch, steps, "–", *cells, "–"]
    for task, experiment in TASKS.items():
        for lm in LMS:
            config = config_of(experiment, lm)
            training, told = config["training"], estimate(config)
            batch, steps = f"{training['batch_size']:,}", f"{training['steps']:,}"
            cells = [units.flops(told.training), *_hours(told.training, H100_SHARE)]
            alone = _hours(told.evaluation, H100_SHARE)[0]
            yield [task, batch, steps, lm, *cells, f"{alone} h"]


def memory() -> Iterator[list[str]]:
    """Yield bytes on each process: weights with what belongs to them, and one pass."""
    ways = ["one, ddp", *(f"fsdp, {gpus}" for gpus in GPUS[1:])]
    yield ["language model", "tuning", "learns", *ways, f"a pass of {ROWS} rows"]
    for lm in LMS:
        for tuning in TUNINGS:
            weights, row = weights_of(lm, tuning), row_bytes(lm, tuning)
            cells = [units.memory(weights.bytes(gpus)) for gpus in GPUS]
            yield [lm, tuning, units.parameters(weights.learn), *cells, units.memory(ROWS * row)]


def traffic() -> Iterator[list[str]]:
    """Yield bytes that each process sends in one step, by ring algorithms."""
    yield ["language model", "tuning", "ddp, a step", "fsdp, a pass"]
    for lm in LMS:
        for tuning in TUNINGS:
            weights = weights_of(lm, tuning)
            gradients = 2 * 4.0 * weights.learn
            # Blocks are fetched for the forward and for the backward pass; their gradients are
            # summed up once, each process keeping its part.
            split = 2 * weights.gathered + 4.0 * weights.blocks_learn + 2 * 4.0 * weights.rest_learn
            yield [lm, tuning, units.memory(gradients), units.memory(split)]


@cache
def config_of(experiment: str, lm: str, tuning: str = "full") -> dict[str, Any]:
    """Return the config of a training at full size."""
    words = [f"experiment={experiment}", "size=paper", "lm=huggingface", f"lm.model={lm}"]
    config = load("contextualize", [*words, f"tuning={tuning}"]).config
    return dict(OmegaConf.to_container(config))  # type: ignore[arg-type]


@cache
def weights_of(lm: str, tuning: str) -> Weights:
    """Count the weights of a model that reads MovieLens through cross-attention."""
    config, data = config_of(TASKS["MovieLens-20M, next item"], lm, tuning), DATA["movielens"]
    model = outline(config, head_items=0)
    assert model is not None
    encoder: Any = encoder_outline(
        config["encoder"], items=data.items, categories=data.categories, ratings=data.ratings
    )
    blocks = decoder_blocks(model.lm)
    inside = [p for block in blocks for p in block.parameters()]
    # The table of token embeddings is the output layer's in these models.
    known = {id(p) for p in (*inside, *model.lm.get_input_embeddings().parameters())}
    known |= {id(p) for p in model.encoder.parameters()} if model.encoder else set()
    outside = [p for p in model.parameters() if id(p) not in known]
    outside += list(encoder.parameters())
    return Weights(
        count=len(blocks),
        blocks=_numbers(inside),
        blocks_learn=_numbers(p for p in inside if p.requires_grad),
        rest=_numbers(outside),
        rest_learn=_numbers(p for p in outside if p.requires_grad),
    )


@cache
def row_bytes(lm: str, tuning: str) -> float:
    """Return what one row of a pass keeps until its backward pass, logits included."""
    shape: Any = known_config(lm)
    text = shape.get_text_config()
    one, two = (_row(lm, tuning, blocks) for blocks in (1, 2))
    answer = DATA["movielens"].title + 1
    return one + (text.num_hidden_layers - 1) * (two - one) + LOGIT * answer * text.vocab_size


def _row(lm: str, tuning: str, blocks: int) -> float:
    """Return the bytes that a second row adds to what a model of so few blocks keeps."""
    config = config_of(TASKS["MovieLens-20M, next item"], lm, tuning)
    shape: Any = known_config(lm)
    shape.update({"num_hidden_layers": blocks, "vocab_size": FEW})
    if getattr(shape, "layer_types", None):
        shape.layer_types = shape.layer_types[:blocks]
    context = build(
        config["context"],
        text_dim=int(shape.get_text_config().hidden_size),
        user_dim=config["encoder"]["width"],
        num_blocks=blocks,
        tokenizer=None,
        vocabulary=None,
        catalogue=None,
    )
    model = UserLLM(
        lm=AutoModelForCausalLM.from_config(shape),
        context=context,
        encoder=encoder_outline(config["encoder"], items=FEW, categories=20, ratings=10),
        item_head=None,
    )
    build(config["tuning"]).apply(model)
    model.train()
    return _kept(model, rows=2) - _kept(model, rows=1)


def _kept(model: UserLLM, *, rows: int) -> float:
    """Return the bytes of what autograd keeps of so many rows; a storage counts once."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        alive.append(value)
        return value

    text = torch.full((rows, QUESTION_TOKENS), FIRST_ID)
    answer = torch.full((rows, int(DATA["movielens"].title)), FIRST_ID)
    events = _events(model, rows)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
        torch.autocast("cpu", torch.bfloat16),
    ):
        prompt, true = (TokenBatch(ids, torch.ones_like(ids).bool()) for ids in (text, answer))
        logits = model.answer_logits(model.read_user(events), prompt, true)
        nn.functional.cross_entropy(logits.flatten(0, 1).float(), answer.flatten())
    return float(sum(kept.values()))


def _events(model: UserLLM, rows: int) -> EventBatch:
    encoder: Any = model.encoder
    length = encoder.max_events
    ids = torch.full((rows, length), FIRST_ID)
    groups = torch.full((rows, length, 3), FIRST_ID)
    features = {"item": ids, "category": groups, "rating": ids}
    return EventBatch(features=features, mask=torch.ones(rows, length, dtype=torch.bool))


def _numbers(weights: Any) -> int:
    return sum(weight.numel() for weight in weights)


def bytes_of(numbers: int, learn: int) -> float:
    """Return the bytes of so many numbers of which so many learn."""
    return float(FROZEN * (numbers - learn) + LEARNING * learn)


def _hours(flops: float, share: float) -> list[str]:
    return [units.digits(flops / (gpus * H100 * share) / 3600) for gpus in GPUS]


TABLES = {"work": work, "memory": memory, "traffic": traffic}


if __name__ == "__main__":
    main()
