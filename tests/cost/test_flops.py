"""Closed forms against PyTorch's counter, which is right when attention is unfused."""

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.context.fakes import histories
from tests.context.families import families, token_rows
from tests.context.test_contexts import make_model, whole
from tests.contract.contexts import CASES, make
from userllm.context.model import UserLLM
from userllm.context.work import Lengths, forward_flops, training_flops
from userllm.tuning.parts import train_only

EVENTS, PROMPT, ANSWER = 5, 7, 3
LENGTHS = Lengths(events=EVENTS, prompt=PROMPT, answer=ANSWER, logits=ANSWER + 1)


def counted(model: UserLLM, *, train: bool) -> int:
    ids = token_rows(1, PROMPT + ANSWER)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        memory = model.read_user(histories([EVENTS]))
        logits = model.answer_logits(memory, whole(ids[:, :PROMPT]), whole(ids[:, PROMPT:]))
        if train:
            logits.square().mean().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("kind", ["none", "gated", "plain", "soft_prompt"])
def test_forward_flops_equal_the_counter(family: str, kind: str) -> None:
    model = make_model(kind, family)
    model.requires_grad_(False)
    expected = counted(model, train=False)
    assert sum(forward_flops(model, LENGTHS).values()) == expected


@pytest.mark.parametrize("case", CASES)
def test_forward_flops_of_every_option_equal_the_counter(case: str) -> None:
    model = make(case)
    model.requires_grad_(False)
    expected = counted(model, train=False)
    assert sum(forward_flops(model, LENGTHS).values()) == expected


def test_chosen_blocks_are_counted() -> None:
    model = make_model("gated", layers=1)
    model.requires_grad_(False)
    expected = counted(model, train=False)
    assert sum(forward_flops(model, LENGTHS).values()) == expected


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("frozen", [(), ("lm",), ("lm", "encoder")], ids=str)
def test_training_flops_are_within_three_percent_of_the_counter(
    case: str, frozen: tuple[str, ...]
) -> None:
    model = make(case)
    train_only(model, {"lm", "encoder", "memory", "gates"} - set(frozen))
    if not any(p.requires_grad for p in model.parameters()):
        pytest.skip("nothing learns")
    expected = counted(model, train=True)
    assert training_flops(model, LENGTHS) == pytest.approx(expected, rel=0.03)


def test_a_frozen_model_below_the_first_reading_block_is_not_charged_for_a_backward_pass() -> None:
    deep, shallow = make_model("gated", layers=3), make_model("gated", layers=1)
    for model in (deep, shallow):
        train_only(model, {"encoder", "memory", "gates"})
    assert training_flops(shallow, LENGTHS) < 0.75 * training_flops(deep, LENGTHS)
