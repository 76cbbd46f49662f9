"""Packed weights give what plain ones give, and only where nothing learns."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.context.fakes import histories
from tests.context.families import families, tiny_model, token_rows
from tests.context.test_contexts import make_model, whole
from userllm.lm.packed import available, pack

needs_onednn = pytest.mark.skipif(not available(), reason="torch was built without oneDNN")


def layers(*sizes: int, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(a, b, bias=bias) for a, b in pairwise(sizes)))


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (3, 7, 24), (700, 24)])
def test_products_are_the_plain_ones(shape: tuple[int, ...], *, bias: bool) -> None:
    plain = layers(24, 48, 5, bias=bias)
    packed = copy.deepcopy(plain)
    pack([packed])
    states = torch.randn(shape).transpose(0, -2).contiguous().transpose(0, -2)
    with torch.inference_mode():
        torch.testing.assert_close(packed(states), plain(states), atol=1e-6, rtol=1e-5)


@needs_onednn
def test_the_packed_weights_are_read_where_nothing_learns_and_nowhere_else() -> None:
    model = layers(24, 48)
    pack([model])
    states = torch.randn(3, 24)
    with torch.no_grad():
        before = model(states)
        model[0].weight.zero_()
        assert torch.equal(model(states), before)
    assert not torch.equal(model(states), before)


@needs_onednn
def test_gradients_are_those_of_the_weights() -> None:
    plain = layers(24, 48)
    packed = copy.deepcopy(plain)
    pack([packed])
    states = torch.randn(3, 24)
    for model in (plain, packed):
        model(states).square().sum().backward()
    assert torch.equal(packed[0].weight.grad, plain[0].weight.grad)


@needs_onednn
def test_shared_weights_are_copied_once() -> None:
    first, second = layers(24, 48), layers(24, 48)
    second[0].weight = first[0].weight
    pack([first, second])
    assert first[0].forward.args[1] is second[0].forward.args[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_number_types_are_left_alone(dtype: torch.dtype) -> None:
    model = layers(24, 48).to(dtype)
    pack([model])
    assert "forward" not in vars(model[0])


@pytest.mark.parametrize("family", families())
def test_a_language_model_answers_the_same(family: str) -> None:
    plain, prompt = tiny_model(family), whole(token_rows(2, 5))
    packed = copy.deepcopy(plain)
    pack([packed])
    with torch.inference_mode():
        torch.testing.assert_close(
            packed(prompt.ids_BT).logits, plain(prompt.ids_BT).logits, atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("kind", ["gated", "soft_prompt", "hybrid"])
def test_a_whole_model_reads_a_user_the_same(kind: str) -> None:
    model, prompt, answer = make_model(kind), whole(token_rows(2, 5)), whole(token_rows(2, 3))
    with torch.inference_mode():
        plain = model.answer_logits(model.read_user(histories([4, 2])), prompt, answer)
        pack([model])
        packed = model.answer_logits(model.read_user(histories([4, 2])), prompt, answer)
    torch.testing.assert_close(packed, plain, atol=1e-5, rtol=1e-4)
