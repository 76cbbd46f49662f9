"""Outlines have the shape of the model, cost no memory and ask no hub."""

import pytest

from userllm.build import build
from userllm.config import load
from userllm.context.none import NoMemory
from userllm.context.work import Lengths, UserLLM, forward_flops
from userllm.cost.flops import weight_count
from userllm.lm.huggingface import HuggingFaceLM
from userllm.lm.tiny import TinyLM

SHAPES = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    # 2 · 32,000 · 2048 for words, 22 blocks of 44.0 M, one norm: 1.1 B.
    "TinyLlama/TinyLlama_v1.1": 1_100_048_384,
}


def hub(model):
    return HuggingFaceLM(model=model, revision=None, dtype="float32", attention=None)


@pytest.mark.parametrize(("model", "parameters"), SHAPES.items())
def test_a_shipped_shape_has_the_models_number_of_parameters(model, parameters):
    outline = hub(model).outline()
    config = outline.config
    stand_in = outline.get_input_embeddings().weight.numel()
    words = config.vocab_size * config.hidden_size
    counted = sum(p.numel() for p in outline.parameters()) - stand_in
    # Where output and input share a table, it is counted once, as the output.
    assert counted + words * (not config.tie_word_embeddings) == parameters


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
