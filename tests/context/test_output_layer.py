"""The output layer computes what is asked for, and reads its weights once."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.context.families import families, tiny_model, token_rows
from userllm.context.output_layer import OutputLayer


def inputs(rows: int) -> dict:
    return {"input_ids": token_rows(rows, 7), "logits_to_keep": 1}


@pytest.mark.parametrize("family", families())
def test_logits_of_some_tokens_are_those_of_the_whole_vocabulary(family: str) -> None:
    lm = tiny_model(family)
    with torch.no_grad():
        expected = lm(**inputs(3)).logits
        layer = OutputLayer(lm)
        torch.testing.assert_close(lm(**inputs(3)).logits, expected, atol=1e-5, rtol=0.0)
        tokens_V = torch.tensor([5, 80, 7, 2])
        with layer.limited_to(tokens_V):
            some = lm(**inputs(3)).logits
    torch.testing.assert_close(some, expected[:, :, tokens_V], atol=1e-5, rtol=0.0)


def test_rows_follow_a_model_that_is_moved() -> None:
    lm, tokens_V = tiny_model("llama").requires_grad_(False), torch.tensor([5, 80])
    layer = OutputLayer(lm)
    for device in ("cpu", "meta"):
        lm.to(device)
        with layer.limited_to(tokens_V), torch.no_grad():
            logits = lm(input_ids=token_rows(3, 7).to(device), logits_to_keep=1).logits
        assert (logits.device.type, logits.shape[2]) == (device, 2)
        assert layer._some.weight_VD.device.type == device


@pytest.mark.parametrize("tokens_V", [None, torch.tensor([5, 80])], ids=["all", "some"])
def test_kept_positions_of_many_rows_are_one_product(tokens_V: torch.Tensor | None) -> None:
    lm = tiny_model("llama")
    layer, width = OutputLayer(lm), 97 if tokens_V is None else len(tokens_V)
    with (
        torch.inference_mode(),
        profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled,
        layer.limited_to(tokens_V),
    ):
        lm(**inputs(3))
    products = [e for e in profiled.events() if e.name in ("aten::mm", "aten::bmm")]
    into_logits = [e.input_shapes for e in products if e.input_shapes[1][-1] == width]
    assert into_logits == [[[3, 32], [32, width]]]
