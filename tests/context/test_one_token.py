"""One token that carries the whole history."""

import pytest
import torch

from tests.context.families import tiny_model
from userllm.context.one_token import OneToken
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError

NOBODY = EventBatch({}, torch.zeros(2, 0, dtype=torch.bool))


@pytest.fixture
def context() -> OneToken:
    torch.manual_seed(0)
    context = OneToken(text_dim=32, user_dim=16, hidden_width=24)
    context.attach(tiny_model("llama"))
    return context


def encoded(events: int) -> UserMemory:
    torch.manual_seed(1)
    mask = torch.arange(events) < torch.tensor([[events], [0]])
    return UserMemory(torch.randn(2, events, 16), mask, torch.randn(2, 16))


@pytest.mark.parametrize("events", [1, 50])
def test_there_is_one_position_however_long_the_history(context: OneToken, events: int) -> None:
    prefix, mask = context.prefix(context.compress(encoded(events), NOBODY), 2)
    assert prefix.shape == (2, 1, 32)
    assert mask.tolist() == [[True], [False]]
    assert context.prefix_length(float(events)) == 1


def test_only_the_state_matters(context: OneToken) -> None:
    memory = encoded(4)
    before, _ = context.prefix(context.compress(memory, NOBODY), 2)
    memory.vectors_BUE += 1.0
    after, _ = context.prefix(context.compress(memory, NOBODY), 2)
    assert torch.equal(before, after)
    memory.state_BE[:, ::2] += 1.0
    changed, _ = context.prefix(context.compress(memory, NOBODY), 2)
    assert not torch.allclose(before, changed)


def test_an_encoder_without_a_state_is_refused(context: OneToken) -> None:
    memory = encoded(4)
    memory.state_BE = None
    with pytest.raises(UserError, match="encoder=autoregressive"):
        context.compress(memory, NOBODY)


def test_it_starts_at_the_scale_of_tokens(context: OneToken) -> None:
    prefix, _ = context.prefix(context.compress(encoded(4), NOBODY), 2)
    scale = tiny_model("llama").get_input_embeddings().weight.std()
    assert 0.3 < prefix.std() / scale < 4
