"""From token states to one vector per text, on a random model over bytes."""

import pytest
import torch
from transformers import BertConfig, BertModel

from userllm.lm.tiny import byte_tokenizer
from userllm.sentence.pooled import PooledModel, pool

TEXTS = ["a", "Toy Story (1995)", "Saw", "a rather long title: the sequel", "Saw"]


def tiny_bert() -> BertModel:
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            pad_token_id=0,
        )
    ).eval()


def pooled(pooling="mean", *, batch_tokens=64, max_tokens=64, prefix="", normalize=True):
    return PooledModel(
        model=tiny_bert(),
        tokenizer=byte_tokenizer(),
        pooling=pooling,
        normalize=normalize,
        prefix=prefix,
        max_tokens=max_tokens,
        batch_tokens=batch_tokens,
    )


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_batch_equals_single_texts_however_it_is_cut(pooling):
    alone = torch.cat([pooled(pooling)([text]) for text in TEXTS])
    for batch_tokens in (1, 40, 10_000):
        together = pooled(pooling, batch_tokens=batch_tokens)(TEXTS)
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert torch.allclose(alone.norm(dim=1), torch.ones(len(TEXTS)), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_is_over_the_real_tokens_of_the_model(pooling):
    ids = torch.tensor([byte_tokenizer()(TEXTS[1])["input_ids"]])
    with torch.no_grad():
        states = tiny_bert()(input_ids=ids).last_hidden_state[0]
    expected = {"mean": states.mean(dim=0), "cls": states[0], "last": states[-1]}[pooling]
    found = pooled(pooling, normalize=False)([TEXTS[3], TEXTS[1]])[1]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_padding_states_are_never_read():
    states = torch.randn(2, 4, 3)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    spoiled = torch.where(mask[:, :, None], states, torch.full_like(states, 1e6))
    for pooling in ("mean", "cls", "last"):
        assert torch.allclose(pool(states, mask, pooling), pool(spoiled, mask, pooling))


def test_a_prefix_is_part_of_the_text_and_long_texts_are_cut():
    assert torch.allclose(pooled(prefix="Sa")(["w"]), pooled()(["Saw"]), atol=1e-6)
    assert torch.allclose(pooled(max_tokens=3)(["Saw it"]), pooled()(["Saw"]), atol=1e-6)
