"""Bytes of keys and values from a shape are those of the tensors that a model makes."""

import pytest
import torch
from transformers import DynamicCache

from tests.context.families import families, tiny_model, token_rows
from userllm.cost.cache import cache_bytes
from userllm.lm.outline import known_config


@pytest.mark.parametrize("windowed", [False, True], ids=["whole", "windowed"])
@pytest.mark.parametrize("family", families())
def test_bytes_are_those_of_the_cache(family, windowed):
    lm, tokens = tiny_model(family), 9
    cache = DynamicCache(config=lm.config) if windowed else DynamicCache()
    with torch.no_grad():
        lm(input_ids=token_rows(1, tokens), cache=cache, use_cache=True)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(lm.config, tokens, windowed=windowed) == held


def test_a_text_prompt_of_2400_tokens_takes_110_megabytes_of_smollm2():
    config = known_config("HuggingFaceTB/SmolLM2-135M-Instruct")
    assert cache_bytes(config, 2400) == pytest.approx(110e6, rel=0.01)
