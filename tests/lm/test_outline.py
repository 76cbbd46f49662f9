"""Outlines have the shape of the model, cost no memory and ask no hub."""

import pytest

from userllm.build import build
from userllm.config import load
from userllm.context.none import NoMemory
from userllm.context.work import Lengths, UserLLM, forward_flops
from userllm.cost.flops import weight_count
from userllm.lm.huggingface import HuggingFaceLM
from userllm.lm.outline import known_config, parameter_count, shipped_models
from userllm.lm.tiny import TinyLM

SHAPES = {
    "openai-community/gpt2": 124_439_808,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "google/gemma-3-270m": 268_098_176,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 361_821_120,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "google/gemma-3-1b-it": 999_885_952,
    "TinyLlama/TinyLlama_v1.1": 1_100_048_384,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "google/gemma-2-2b": 2_614_341_888,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "google/gemma-2-9b": 9_241_705_984,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
}
"""Hub id to the number of weights that the hub states."""


def hub(model):
    return HuggingFaceLM(model=model, revision=None, dtype="float32", attention=None)


@pytest.mark.parametrize(("model", "parameters"), SHAPES.items())
def test_a_shipped_shape_has_the_models_number_of_parameters(model, parameters):
    config = known_config(model)
    assert parameter_count(config) == parameters
    stand_in = hub(model).outline()
    assert weight_count(stand_in) < parameters


def test_every_shipped_shape_is_checked_against_a_published_number():
    checked = [parameter_count(known_config(model)) for model in SHAPES]
    assert [parameter_count(known_config(name)) for name in shipped_models()] == checked


def test_an_outline_costs_what_the_loaded_model_costs():
    tiny = TinyLM(width=32, layers=3, heads=4, seed=0)
    lengths = Lengths(events=5.0, prompt=20.0, answer=3.0, logits=4.0)
    costs = [
        forward_flops(UserLLM(lm=lm, context=NoMemory(), encoder=None, item_head=None), lengths)
        for lm in (tiny.load().model, tiny.outline())
    ]
    assert costs[0] == costs[1]


def test_weights_of_an_outline_take_no_memory():
    outline = hub("TinyLlama/TinyLlama_v1.1").outline()
    assert weight_count(outline.model) > 9e8
    assert all(p.is_meta for p in outline.model.layers.parameters())


def test_an_unknown_model_has_no_outline():
    assert hub("nobody/nothing").outline() is None


@pytest.mark.parametrize(("size", "blocks"), [("tiny", 2), ("small", 30), ("paper", 22)])
def test_by_size_is_the_model_that_the_size_names(size, blocks):
    node = load("contextualize", ["lm=by_size", f"size={size}"]).config.lm
    assert build(node).outline().config.num_hidden_layers == blocks
