"""A question behind stored keys and values is answered as in the whole prompt, and cheaper."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.context.families import families, tiny_model, token_rows
from userllm.context.model import TokenBatch, UserLLM
from userllm.context.text_prompt import TextPrompt
from userllm.context.work import Lengths
from userllm.cost.cache import cache_bytes
from userllm.run.question_work import Asking, append_flops, question_flops
from userllm.run.stored_prompt import StoredPrompt, read_behind, split_question, store

ABOUT, QUESTION = 9, 4


def model_of(family):
    lm = tiny_model(family)
    return UserLLM(lm=lm, context=TextPrompt(text_events=3), encoder=None, item_head=None).eval()


def parts(padding=0):
    """Return a prompt of two rows, what it says of the user, and the question."""
    ids_BT = token_rows(2, ABOUT + QUESTION)
    mask_BT = torch.ones_like(ids_BT, dtype=torch.bool)
    mask_BT[0, :padding] = False
    whole, about = TokenBatch(ids_BT, mask_BT), TokenBatch(ids_BT[:, :ABOUT], mask_BT[:, :ABOUT])
    return whole, about, TokenBatch(ids_BT[:, ABOUT:], mask_BT[:, ABOUT:])


@pytest.mark.parametrize("family", families())
@torch.no_grad()
def test_a_question_behind_what_is_stored_gives_the_logits_of_the_whole_prompt(family):
    model = model_of(family)
    whole, about, question = parts(padding=3)
    stored = store(model, about)
    expected = model.prefill(None, whole).logits_BV
    for _ in range(2):  # What is stored stays as it is.
        found = read_behind(model, stored, question).logits_BV
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def append(model, stored, text):
    """Return what is stored with one more text, such as an event, behind it."""
    prefill = read_behind(model, stored, text)
    layers = [(layer.keys, layer.values) for layer in prefill.cache.layers]
    return StoredPrompt(layers, prefill.mask_BS, stored.next_B + text.mask_BT.sum(dim=1))


@pytest.mark.parametrize("family", families())
@torch.no_grad()
def test_what_is_appended_might_have_been_there_from_the_start(family):
    model = model_of(family)
    whole, about, question = parts()
    first = TokenBatch(about.ids_BT[:, :5], about.mask_BT[:, :5])
    rest = TokenBatch(about.ids_BT[:, 5:], about.mask_BT[:, 5:])
    stored = append(model, store(model, first), rest)
    found = read_behind(model, stored, question).logits_BV
    torch.testing.assert_close(found, model.prefill(None, whole).logits_BV, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", families())
@torch.no_grad()
def test_stored_bytes_are_those_of_the_shape(family):
    model = model_of(family)
    _, about, _ = parts()
    stored = store(model, about)
    held = sum(keys.nbytes + values.nbytes for keys, values in stored.layers)
    assert held == 2 * cache_bytes(model.lm.config, ABOUT)


@pytest.mark.parametrize("family", families())
@torch.no_grad()
def test_the_work_of_a_question_and_of_an_event_equals_the_counter(family):
    model = model_of(family)
    ids_1T = token_rows(1, ABOUT + QUESTION)
    mask_1T = torch.ones_like(ids_1T, dtype=torch.bool)
    stored = store(model, TokenBatch(ids_1T[:, :ABOUT], mask_1T[:, :ABOUT]))
    question = TokenBatch(ids_1T[:, ABOUT:], mask_1T[:, ABOUT:])
    lengths = Lengths(events=3.0, prompt=ABOUT + QUESTION, answer=0.0, logits=1.0)
    asking = Asking(lengths, question=QUESTION, event=QUESTION, answer=1.0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        read_behind(model, stored, question)
    parts = question_flops(model, asking, "prompt")
    assert sum(parts.values()) == counter.get_total_flops()
    # An event of as many tokens takes the same without the logits.
    assert append_flops(model, asking, "prompt") == parts["blocks"]


class _Words:
    """A prompt writer whose questions have two lengths."""

    class table:  # noqa: N801 - an attribute of the writer
        lengths = np.array([2, 3])

    @staticmethod
    def questions(users, cuts):
        return np.array([[0, -1], [1, -1]])


def test_a_prompt_is_split_in_front_of_each_question():
    ids_BT = torch.arange(1, 13).view(2, 6)
    mask_BT = torch.ones_like(ids_BT, dtype=torch.bool)
    mask_BT[0, :2] = False
    users = np.arange(2)
    about, question = split_question(_Words(), TokenBatch(ids_BT, mask_BT), users, users)
    assert [row[m].tolist() for row, m in zip(about.ids_BT, about.mask_BT, strict=True)] == [
        [3, 4],
        [7, 8, 9],
    ]
    assert [row[m].tolist() for row, m in zip(question.ids_BT, question.mask_BT, strict=True)] == [
        [5, 6],
        [10, 11, 12],
    ]
    assert about.mask_BT[:, -1].all()
    assert question.mask_BT[:, -1].all()
