"""Statistics of token vectors as the first block sees them."""

import pytest
import torch

from tests.context.families import VOCAB, families, tiny_model
from userllm.lm.token_scale import token_scale


@pytest.mark.parametrize("family", families())
def test_it_describes_what_the_embedding_layer_gives(family: str) -> None:
    model = tiny_model(family)
    scale = token_scale(model)
    with torch.no_grad():
        tokens = model.get_input_embeddings()(torch.arange(VOCAB))
    torch.testing.assert_close(scale.mean_D, tokens.mean(dim=0))
    assert scale.std == pytest.approx(float(tokens.var(dim=0).mean().sqrt()), rel=1e-4)


def test_a_family_that_scales_its_embeddings_is_seen() -> None:
    assert token_scale(tiny_model("gemma")).factor == pytest.approx(32**0.5, rel=1e-5)
    assert token_scale(tiny_model("llama")).factor == 1.0
