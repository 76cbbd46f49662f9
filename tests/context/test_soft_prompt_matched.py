"""The control has the parameters of what it controls for."""

import pytest
import torch
from torch import nn

from userllm.build import build
from userllm.config import load
from userllm.errors import UserError
from userllm.lm.tiny import TinyLM

SIZES = {"tiny": (64, 32, 2), "smollm2": (576, 128, 30), "a billion": (2048, 128, 18)}
OPTIONS = (
    [],
    ["context.reference.form=plain", "context.reference.layers=upper_half"],
    ["context.reference.perceiver_latents=16", "context.perceiver_latents=16"],
    ["context.reference.attention_width=512", "context.learned_vectors=0"],
)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def matched(text_dim: int, user_dim: int, num_blocks: int, *overrides: str) -> tuple:
    node = load("contextualize", ["context=soft_prompt_matched", *overrides]).config.context
    sizes = {"text_dim": text_dim, "user_dim": user_dim, "num_blocks": num_blocks}
    with torch.device("meta"):
        return build(node, **sizes), build(node.reference, **sizes)


@pytest.mark.parametrize("overrides", OPTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_the_totals_differ_by_less_than_one_percent(size: str, overrides: list[str]) -> None:
    context, reference = matched(*SIZES[size], *overrides)
    assert count(context) == pytest.approx(count(reference), rel=0.01)
    assert repr(context).startswith(
        f"MatchedSoftPrompt(\n  {count(context):,} parameters, {count(reference):,} in"
    )


def test_the_reference_is_counted_and_not_kept() -> None:
    context, _ = matched(64, 32, 2)
    assert not [name for name, _ in context.named_modules() if "reference" in name]


def test_a_reference_that_is_too_small_is_refused() -> None:
    small = ["context.reference.attention_width=4", "context.reference.heads=1"]
    with pytest.raises(UserError, match=r"nearest soft prompt.*context\.reference"):
        matched(64, 32, 2, *small, "context.learned_vectors=50")


def test_the_widened_adapter_is_the_one_that_starts_at_token_scale() -> None:
    torch.manual_seed(0)
    node = load("contextualize", ["context=soft_prompt_matched"]).config.context
    context = build(node, text_dim=64, user_dim=32, num_blocks=2)
    lm = TinyLM(width=64, layers=2, heads=4, seed=0).load().model
    context.attach(lm)
    with torch.no_grad():
        projected = context.projector(torch.randn(1, 50, 32))
    assert 0.3 < projected.std() / lm.get_input_embeddings().weight.std() < 4
