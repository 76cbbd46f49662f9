"""Every parameter is in exactly the intended group."""

import pytest
import torch

from tests.context.fakes import histories
from tests.context.families import tiny_model, token_rows
from tests.context.test_contexts import make_model, whole
from userllm.context.item_head import ItemHead
from userllm.errors import UserError
from userllm.tuning.encoder import Encoder
from userllm.tuning.full import Full
from userllm.tuning.lora import Lora
from userllm.tuning.parts import parts_of
from userllm.tuning.projection import Projection

LORA = {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": None, "layers": "all"}
LEARNING = {
    "full": (Full(), {"lm", "encoder", "memory", "gates", "head"}),
    "lora": (Lora(**LORA), {"lora", "encoder", "memory", "gates", "head"}),
    "encoder": (Encoder(), {"encoder", "memory", "gates", "head"}),
    "projection": (Projection(), {"memory", "gates", "head"}),
}


def model_with_head(kind: str, family: str = "llama"):
    model = make_model(kind, family)
    if model.encoder is not None:
        table = model.encoder.table.weight
        bias = torch.zeros(len(table))
        model.item_head = ItemHead(text_dim=32, table_IE=table, bias_I=bias, skip=True)
    return model


@pytest.mark.parametrize("tuning", LEARNING)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma"])
@pytest.mark.parametrize("kind", ["none", "gated", "soft_prompt", "hybrid"])
def test_exactly_the_intended_parts_learn(tuning: str, family: str, kind: str) -> None:
    model = model_with_head(kind, family)
    strategy, expected = LEARNING[tuning]
    strategy.apply(model)
    parts = parts_of(model)
    learning = {part for part, values in parts.items() if any(p.requires_grad for p in values)}
    present = {part for part, values in parts.items() if values}
    assert learning == expected & present
    for part, values in parts.items():
        assert all(p.requires_grad == (part in expected) for p in values), part


@pytest.mark.parametrize("tuning", LEARNING)
def test_every_parameter_is_in_one_part_and_only_one(tuning: str) -> None:
    model = model_with_head("gated")
    LEARNING[tuning][0].apply(model)
    grouped = [id(p) for values in parts_of(model).values() for p in values]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_learns_is_in_single_precision_whatever_the_language_model_is(dtype) -> None:
    model = make_model("gated", "llama")
    model.lm.to(dtype)
    with pytest.raises(UserError, match=r"tuning=full with lm.dtype=.*lm.dtype=float32"):
        Full().apply(model)
    Lora(**LORA).apply(model)
    assert model.lm.dtype == dtype
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    memory = model.read_user(histories([3, 2]))
    prompt = whole(token_rows(2, 5))
    logits = model.answer_logits(memory, prompt, whole(token_rows(2, 3)))
    logits.float().sum().backward()
    assert all(p.grad is not None for n, p in model.lm.named_parameters() if ".lora_" in n)


def test_a_tied_output_layer_belongs_to_the_language_model_once() -> None:
    model = model_with_head("none", "gemma")
    tied = model.lm.get_input_embeddings().weight
    assert model.lm.get_output_embeddings().weight is tied
    assert sum(p is tied for values in parts_of(model).values() for p in values) == 1


def test_fresh_lora_matrices_change_nothing() -> None:

    model = model_with_head("none")
    Lora(**LORA).apply(model)
    ids = token_rows(2, 6)
    assert torch.equal(model.lm(input_ids=ids).logits, tiny_model("llama")(input_ids=ids).logits)
    assert all(p.shape[0] == 8 or p.shape[1] == 8 for p in parts_of(model)["lora"])


@pytest.mark.parametrize("tuning", ["encoder", "projection"])
def test_a_frozen_language_model_gets_no_gradients(tuning: str) -> None:
    model = model_with_head("gated")
    LEARNING[tuning][0].apply(model)
    memory, ids = model.read_user(histories([4, 2])), token_rows(2, 6)
    model.answer_logits(memory, whole(ids[:, :4]), whole(ids[:, 4:])).square().mean().backward()
    assert all(parameter.grad is None for parameter in model.lm.parameters())
    assert any(parameter.grad is not None for parameter in model.context.parameters())
