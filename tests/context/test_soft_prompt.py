"""Soft prompts in both readings of the paper's "task prompt length" of 10."""

import pytest
import torch

from tests.context.fakes import histories, make_context, memory_of
from tests.context.families import families, tiny_model, token_rows
from tests.context.test_contexts import make_model, whole

EXTRA = {"learned_vectors": 10}
RESAMPLED = {"learned_vectors": 0, "perceiver_latents": 10}


@pytest.mark.parametrize(
    ("changes", "events", "length"),
    [(EXTRA, 5, 15), (EXTRA, 50, 60), (RESAMPLED, 5, 10), (RESAMPLED, 50, 10)],
)
def test_both_readings_have_the_length_they_say(changes: dict, events: int, length: int) -> None:
    model = make_model("soft_prompt", **changes)
    with torch.no_grad():
        prefill = model.prefill(model.read_user(histories([events])), whole(token_rows(1, 6)))
    assert int(prefill.mask_BS.sum()) - 6 == length
    assert model.context.prefix_length(float(events)) == length


@pytest.mark.parametrize("hidden_width", [None, 64])
@pytest.mark.parametrize("family", families())
def test_it_starts_at_the_scale_of_what_tokens_enter_with(
    family: str, hidden_width: int | None
) -> None:
    model = make_model("soft_prompt", family, opened=False, hidden_width=hidden_width)
    with torch.no_grad():
        tokens = model.lm.get_input_embeddings()(token_rows(4, 8))
        prefix, _ = model.context.prefix(memory_of([4]), 1)
    scale = tokens.std()
    assert (prefix.std(dim=-1) > 0.3 * scale).all()
    assert (prefix.std(dim=-1) < 4 * scale).all()


def test_learned_vectors_are_the_same_for_every_user_and_come_first() -> None:
    context = make_context("soft_prompt", learned_vectors=3)
    context.attach(tiny_model("llama"))
    prefix, mask = context.prefix(memory_of([4, 1]), 2)
    assert torch.equal(prefix[0, :3], prefix[1, :3])
    assert mask.tolist() == [[True] * 7, [True] * 4 + [False] * 3]
