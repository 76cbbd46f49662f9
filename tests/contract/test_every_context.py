"""What every option of ``context=`` must satisfy; a new file in conf/context is found by itself."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

from tests.context.fakes import CATALOGUE, VOCABULARY, histories
from tests.context.families import token_rows
from tests.context.test_contexts import left_padded, whole
from tests.contract.contexts import CASES, language_model, make, node
from userllm.build import build
from userllm.context.attention import MemoryAttention
from userllm.context.model import UserLLM
from userllm.context.places import positions
from userllm.context.work import Lengths, forward_flops
from userllm.data.gather import EventBatch
from userllm.tuning.parts import parts_of

PROMPT, ANSWER = 6, 4


@cache
def fresh(case: str) -> UserLLM:
    return make(case)


@pytest.fixture(params=CASES)
def model(request: pytest.FixtureRequest) -> UserLLM:
    """One model per case: no test here changes a weight, and each binds its own memory."""
    return fresh(request.param)


def one_user(events: EventBatch, row: int) -> EventBatch:
    size = int(events.mask[row].sum())
    features = {name: ids[row : row + 1, :size] for name, ids in events.features.items()}
    return EventBatch(features, events.mask[row : row + 1, :size])


def test_a_padded_batch_equals_single_users(model: UserLLM) -> None:
    events, prompts, answers = histories([5, 2]), token_rows(2, 6), token_rows(2, 3, seed=4)
    lengths = [6, 4]
    with torch.no_grad():
        memory = model.read_user(events)
        batched = model.answer_logits(memory, left_padded(prompts, lengths), whole(answers))
        for row, length in enumerate(lengths):
            single = model.answer_logits(
                model.read_user(one_user(events, row)),
                whole(prompts[row : row + 1, -length:]),
                whole(answers[row : row + 1]),
            )
            torch.testing.assert_close(batched[row], single[0], atol=1e-5, rtol=1e-4)


def test_a_user_without_events_equals_no_memory(model: UserLLM) -> None:
    prompt, answer = whole(token_rows(1, PROMPT)), whole(token_rows(1, ANSWER, seed=4))
    with torch.no_grad():
        # Beside a user with events, so that there is padding to be read by mistake.
        memory = model.read_user(histories([0, 5]))
        both = [whole(part.ids_BT.expand(2, -1)) for part in (prompt, answer)]
        got = model.answer_logits(memory, *both)[:1]
        expected = model.answer_logits(None, prompt, answer)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_masked_vectors_cannot_be_read(model: UserLLM) -> None:
    prompt, answer = whole(token_rows(2, PROMPT)), whole(token_rows(2, ANSWER, seed=4))
    with torch.no_grad():
        memory = model.read_user(histories([2, 5]))
        if memory is None:
            pytest.skip("nothing is read")
        before = model.answer_logits(memory, prompt, answer)
        changed = copy.deepcopy(memory)
        changed.vectors_BUE[~changed.mask_BU] = 1e3
        after = model.answer_logits(changed, prompt, answer)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-4)


def test_the_user_is_read_wherever_there_is_a_memory(model: UserLLM) -> None:
    prompt, answer = whole(token_rows(1, PROMPT)), whole(token_rows(1, ANSWER, seed=4))
    with torch.no_grad():
        first, second = (
            model.answer_logits(model.read_user(histories([5], seed)), prompt, answer)
            for seed in (1, 2)
        )
    assert torch.allclose(first, second, atol=1e-7) == (model.context.vectors(5.0) == 0)


def test_a_cached_prompt_is_continued_as_if_it_were_read_at_once(
    model: UserLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    keys_values = MemoryAttention.keys_values
    monkeypatch.setattr(
        MemoryAttention,
        "keys_values",
        lambda self, vectors: calls.append(self) or keys_values(self, vectors),
    )
    prompt, answers = left_padded(token_rows(2, PROMPT), [6, 4]), token_rows(2, ANSWER, seed=4)
    with torch.no_grad():
        memory = model.read_user(histories([5, 2]))
        got = continued(model, model.prefill(memory, prompt), answers)
        computed = list(calls)
        expected = model.answer_logits(memory, prompt, whole(answers))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    readers = [m for m in model.context.modules() if isinstance(m, MemoryAttention)]
    assert sorted(map(id, computed)) == sorted(map(id, readers)), "once per user and reader"


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("hybrid ")])
def test_a_language_model_in_half_precision_is_read_the_same(case: str) -> None:
    full, half = fresh(case), make(case)
    half.lm.to(torch.bfloat16)
    prompt, answer = whole(token_rows(1, PROMPT)), whole(token_rows(1, ANSWER, seed=4))
    with torch.no_grad():
        expected, got = (
            model.answer_logits(model.read_user(histories([5])), prompt, answer)
            for model in (full, half)
        )
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)


def continued(model: UserLLM, prefill, answers_BA: torch.Tensor) -> torch.Tensor:
    """Return the logits of each answer token, read one at a time behind the cache."""
    logits = [prefill.logits_BV]
    mask_BS = prefill.mask_BS
    for column in range(answers_BA.shape[1] - 1):
        mask_BS = torch.cat([mask_BS, torch.ones_like(mask_BS[:, :1])], dim=1)
        at_BS = positions(mask_BS)
        token_B1 = answers_BA[:, column : column + 1]
        step = model.extend(prefill.cache, token_B1, mask_BS[:, None, None], at_BS[:, -1:], at_BS)
        logits.append(step[:, 0])
    return torch.stack(logits, dim=1)


def test_every_parameter_belongs_to_one_named_part(model: UserLLM) -> None:
    named = [id(p) for part in model.context.parts().values() for p in part]
    assert sorted(named) == sorted(id(p) for p in model.context.parameters())
    in_model = [id(p) for part in parts_of(model).values() for p in part]
    assert sorted(in_model) == sorted(id(p) for p in model.parameters())
    assert set(model.context.parts()) <= {"memory", "gates"}


def test_every_parameter_learns(model: UserLLM) -> None:
    sides = nn.ModuleList([model.context, model.memory])
    named = {name: p for name, p in sides.named_parameters() if p.numel()}
    if not named:
        pytest.skip("nothing learns")
    events = histories([5, 4])
    logits = model.answer_logits(
        model.read_user(events), whole(token_rows(2, PROMPT)), whole(token_rows(2, ANSWER, seed=4))
    )
    gradients = torch.autograd.grad(logits.square().mean(), [*named.values()], allow_unused=True)
    silent = [n for n, g in zip(named, gradients, strict=True) if g is None or not g.any()]
    assert silent == []


def test_the_language_model_keeps_its_checkpoint_keys(model: UserLLM) -> None:
    assert set(model.lm.state_dict()) == set(language_model().model.state_dict())


def test_prefix_length_is_the_number_of_positions_really_put_in_front(model: UserLLM) -> None:
    for events in (5, 0):
        with torch.no_grad():
            memory = model.read_user(histories([events]))
            prefill = model.prefill(memory, whole(token_rows(1, PROMPT)))
        added = int(prefill.mask_BS.sum()) - PROMPT
        expected = model.context.prefix_length(model.given(float(events)))
        assert added == expected or (events == 0 and added < expected)


def test_costs_grow_with_the_history_only_where_a_memory_is_read(model: UserLLM) -> None:
    short, long = (
        sum(forward_flops(model, Lengths(events=n, prompt=6, answer=0, logits=1)).values())
        for n in (1.0, 50.0)
    )
    assert (long > short) == (model.context.vectors(1.0) != 0)


@pytest.mark.parametrize("case", CASES)
def test_it_can_be_outlined_without_memory_for_weights(case: str) -> None:
    with torch.device("meta"):
        context = build(
            node(case),
            text_dim=32,
            user_dim=16,
            num_blocks=3,
            tokenizer=language_model().tokenizer,
            vocabulary=VOCABULARY,
            catalogue=CATALOGUE,
        )
    assert all(p.is_meta for p in context.parameters())
    shapes = {name: p.shape for name, p in fresh(case).context.named_parameters()}
    assert {name: p.shape for name, p in context.named_parameters()} == shapes
