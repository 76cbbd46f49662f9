"""The item head starts from the encoder's own ranking."""

import torch

from tests.context.fakes import BagEncoder, histories, make_context
from tests.context.families import tiny_model, token_rows
from tests.context.test_contexts import whole
from userllm.context.item_head import ItemHead
from userllm.context.model import UserLLM


def model_with_head(*, skip: bool) -> UserLLM:
    encoder = BagEncoder()
    head = ItemHead(text_dim=32, table_IE=encoder.table.weight, bias_I=torch.ones(50), skip=skip)
    context = make_context("gated")
    return UserLLM(lm=tiny_model("llama"), context=context, encoder=encoder, item_head=head).eval()


def test_at_the_first_step_the_ranking_is_the_encoders_own() -> None:
    model, events = model_with_head(skip=True), histories([4, 2, 0])
    with torch.no_grad():
        scores = model.item_scores(model.read_user(events), whole(token_rows(3, 5)))
        states = model.encoder(events).state_BE
    torch.testing.assert_close(scores, states @ model.encoder.table.weight.T + 1)


def test_without_the_skip_the_language_model_alone_decides() -> None:
    model = model_with_head(skip=False)
    with torch.no_grad():
        prompt = whole(token_rows(1, 5))
        first, second = (
            model.item_scores(model.read_user(histories([4], seed)), prompt) for seed in (1, 2)
        )
    assert torch.equal(first, second)  # the gates are still closed


def test_the_table_is_a_copy_and_learns_on_its_own() -> None:
    model = model_with_head(skip=True)
    scores = model.item_scores(model.read_user(histories([4])), whole(token_rows(1, 5)))
    scores.square().mean().backward()
    assert model.item_head.table_IE.grad.any()
    assert model.item_head.table_IE is not model.encoder.table.weight


def test_a_language_model_in_half_precision_can_be_ranked_from() -> None:
    model = model_with_head(skip=False)
    model.lm.to(torch.bfloat16)
    with torch.no_grad():
        scores = model.item_scores(model.read_user(histories([4])), whole(token_rows(1, 5)))
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
