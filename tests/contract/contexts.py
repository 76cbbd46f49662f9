"""Every way that ``context=`` can be spelled, built on a tiny model."""

from functools import cache

import torch
from omegaconf import DictConfig, OmegaConf

from tests.context.fakes import CATALOGUE, VOCABULARY, BagEncoder, open_up
from userllm.build import build
from userllm.config import Composer, conf_dir
from userllm.context.model import UserLLM
from userllm.lm.protocol import LoadedLM
from userllm.lm.tiny import TinyLM

OPTIONS = sorted(path.stem for path in (conf_dir() / "context").glob("*.yaml"))
# Packaged models are not needed to hold a contract.
STAND_INS = {"text_events": "sentence@{place}.sentence=hashed"}
FORMS = {
    "plain": ["context=cross_attention", "context.form=plain"],
    "literal": ["context=cross_attention", "context.form=literal"],
    "perceiver": ["context=cross_attention", "context.perceiver_latents=4"],
    "last events": ["context=cross_attention", "context.memory_events=2"],
    "every second block": ["context=cross_attention", "context.every_k=2"],
    "soft prompt of latents": [
        "context=soft_prompt",
        "context.learned_vectors=0",
        "context.perceiver_latents=10",
    ],
    "mlp adapter": ["context=soft_prompt", "context.hidden_width=24"],
    "item tokens only": [
        "context=item_tokens",
        "context.fields=[item]",
        "context.semantic_init=false",
        "context.projector=false",
        "context.events=3",
    ],
}


def _spelled(option: str) -> list[str]:
    stand_in = STAND_INS.get(option)
    return [f"context={option}", *([stand_in.format(place="context")] if stand_in else [])]


def _in_hybrid(option: str) -> list[str]:
    stand_in = STAND_INS.get(option)
    inner = [stand_in.format(place="context.entry")] if stand_in else []
    return ["context=hybrid", f"context@context.entry={option}", *inner]


MEMORIES = {
    f"{memory} memory": [f"memory={memory}"]
    for memory in sorted(path.stem for path in (conf_dir() / "memory").glob("*.yaml"))
    if memory != "states"
} | {
    "candidates alone": ["memory=candidates", "memory.states=false", "memory.titles=false"],
    "candidates through a perceiver": ["memory=candidates", "context.perceiver_latents=4"],
    "candidates and the last events": ["memory=candidates", "context.memory_events=2"],
    "candidates in a soft prompt": ["memory=candidates", "context=soft_prompt"],
    "more candidates than items": ["memory=candidates", "memory.count=60", "memory.seen=true"],
}


CASES = (
    {option: _spelled(option) for option in OPTIONS}
    | FORMS
    | MEMORIES
    | {f"hybrid {o}": _in_hybrid(o) for o in OPTIONS if o not in ("hybrid", "cross_attention")}
)


def language_model() -> LoadedLM:
    """Return a tiny model with a tokenizer of its own."""
    return TinyLM(width=32, layers=3, heads=4, seed=0).load()


@cache
def composer() -> Composer:
    """Return what reads conf/, once for all cases."""
    return Composer("contextualize")


@cache
def node(case: str, group: str = "context") -> DictConfig:
    """Return a group's config in a case, with sizes that fit the tiny model."""
    problems, usable = composer().sort_out([*CASES[case], "encoder.heads=2"])
    tree, _, found = composer().resolved(usable)
    assert not [*problems, *found]
    return OmegaConf.create(tree[group])


def make(case: str) -> UserLLM:
    """Return a joined model whose user matters; the weights are always the same."""
    loaded = language_model()
    torch.manual_seed(0)
    encoder = BagEncoder()
    shapes = {
        "text_dim": 32,
        "user_dim": encoder.width,
        "num_blocks": 3,
        "tokenizer": loaded.tokenizer,
        "vocabulary": VOCABULARY,
        "catalogue": CATALOGUE,
    }
    context = build(node(case), **shapes)
    model = UserLLM(
        lm=loaded.model,
        context=context,
        encoder=encoder if context.reads_memory else None,
        item_head=None,
        memory=build(node(case, "memory"), **shapes) if context.reads_memory else None,
    )
    open_up(context)
    return model.eval()
