"""The three forms of cross-attention, above all the one that the paper prints."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.context.fakes import histories, make_context, memory_of, open_up
from tests.context.families import families, tiny_model, token_rows
from tests.context.test_contexts import left_padded, make_model, whole
from userllm.context.attention import MemoryAttention
from userllm.context.cross_attention import CrossAttention
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError
from userllm.lm.blocks import ATTENTION_NAMES, decoder_blocks

# Norm before attention, norm after it or None, norm before the feed-forward, norm after it or None.
LLAMA = ("input_layernorm", None, "post_attention_layernorm", None)
GEMMA2 = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
NORMS = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": GEMMA2,
    "gemma3": GEMMA2,
    "gpt2": ("ln_1", None, "ln_2", None),
    "gpt_neox_sequential": LLAMA,
}
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm")


def first_named(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    return next(getattr(module, name) for name in names if hasattr(module, name))


def recorded(lm: nn.Module, ids: Tensor) -> tuple[Tensor, list[dict]]:
    """Return what enters the first block, and what each attention is given besides."""
    entered, given = [], []

    def keep_block(_: nn.Module, args: tuple, kwargs: dict) -> None:
        entered.append(args[0] if args else kwargs["hidden_states"])

    def keep_attention(_: nn.Module, args: tuple, kwargs: dict) -> None:
        assert len(args) <= 1
        given.append({k: v for k, v in kwargs.items() if k != "hidden_states"})

    blocks = decoder_blocks(lm)
    blocks[0].register_forward_pre_hook(keep_block, with_kwargs=True)
    for block in blocks:
        attention = first_named(block, ATTENTION_NAMES)
        attention.register_forward_pre_hook(keep_attention, with_kwargs=True)
    lm.base_model(input_ids=ids, use_cache=False)
    return entered[0], given


def printed_block(
    block: nn.Module, names: tuple, given: dict, read: Callable[[Tensor], Tensor], entered: Tensor
) -> Tensor:
    """Eq. 1-3, written down: O <- LN(O); O <- CrossAttn(O, E, E) + O; I <- FFN(O)."""
    before, after, ffn_before, ffn_after = (
        nn.Identity() if name is None else getattr(block, name) for name in names
    )
    attended = first_named(block, ATTENTION_NAMES)(before(entered), **given)[0]
    stream = read(entered + after(attended))
    return ffn_after(block.mlp(ffn_before(stream)))


@pytest.mark.parametrize("family", NORMS)
def test_the_literal_form_is_the_equations_as_printed(family: str) -> None:
    ids, memory = token_rows(2, 6), memory_of([3, 2])
    model = make_model("literal", family)
    context = model.context
    for norm in context.stream_norms:
        nn.init.normal_(norm.weight, mean=1.0, std=0.2)
        nn.init.normal_(norm.bias, std=0.2)

    def reader(index: int) -> Callable[[Tensor], Tensor]:
        def read(stream: Tensor) -> Tensor:
            normed = context.stream_norms[index](stream)
            reader = context.readers[index]
            keys_values = reader.keys_values(memory.vectors_BUE)
            return reader(normed, keys_values, memory.mask_BU) + normed

        return read

    with torch.no_grad():
        context.bind(memory)
        got = model.lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
        lm = tiny_model(family)
        hidden, given = recorded(lm, ids)
        for index, block in enumerate(decoder_blocks(lm)):
            hidden = printed_block(block, NORMS[family], given[index], reader(index), hidden)
        expected = first_named(lm.base_model, FINAL_NORMS)(hidden)
        untouched = lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(expected, untouched, atol=1e-2)


def test_every_family_is_literal_or_refused() -> None:
    assert set(families()) - set(NORMS) == {"gpt_neox"}
    with pytest.raises(UserError, match=r"GPTNeoXLayer.*parallel.*context\.form=plain"):
        make_context("literal").attach(tiny_model("gpt_neox"))


def test_a_literal_reader_does_not_normalise_twice() -> None:
    context = make_context("literal")
    assert [type(reader.query_norm) for reader in context.readers] == [nn.Identity] * 3
    assert len(context.stream_norms) == 3


@pytest.mark.parametrize("kind", ["gated", "plain", "literal"])
def test_padding_is_invisible_to_every_form(kind: str) -> None:
    model = make_model(kind)
    prompts, answers = token_rows(2, 6), token_rows(2, 2, seed=4)
    with torch.no_grad():
        memory = memory_of([4, 2])
        both = model.answer_logits(memory, left_padded(prompts, [6, 3]), whole(answers))
        alone = UserMemory(memory.vectors_BUE[1:, :2], memory.mask_BU[1:, :2])
        single = model.answer_logits(alone, whole(prompts[1:, 3:]), whole(answers[1:]))
    torch.testing.assert_close(both[1:], single, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gated", "plain", "literal"])
def test_a_memory_without_gaps_is_read_without_a_mask(kind: str) -> None:
    model, ids = make_model(kind), token_rows(2, 5)
    with torch.no_grad():
        model.context.bind(memory_of([3, 3]))
        assert model.context._mask_BU is None
        quick = model.lm(input_ids=ids).logits
    model.context.bind(memory_of([3, 3]))
    assert model.context._mask_BU is not None
    torch.testing.assert_close(model.lm(input_ids=ids).logits, quick, atol=1e-5, rtol=0.0)


def test_the_gates_are_exported_under_the_blocks_they_stand_before() -> None:
    context = make_context("gated", layers=2)
    assert context.per_block() == {"gate": {1: 0.0, 2: 0.0}}
    context.gates[1].data.fill_(-0.5)
    assert context.per_block()["gate"][2] == pytest.approx(-0.46211716)
    assert make_context("plain").per_block() == {}


@pytest.mark.parametrize(("latents", "layers"), [(16, 6), (1, 1), (10, 2)])
def test_a_perceiver_of_any_size_is_all_that_the_blocks_read(latents: int, layers: int) -> None:
    model = make_model("plain", perceiver_latents=latents, perceiver_layers=layers)
    with torch.no_grad():
        memory = model.read_user(histories([5, 2]))
    assert memory.vectors_BUE.shape[1] == latents == model.context.vectors(50.0)
    assert len(model.context.compression.perceiver.layers) == layers


def test_keys_and_values_are_computed_once_for_all_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    original = MemoryAttention.keys_values
    monkeypatch.setattr(
        MemoryAttention,
        "keys_values",
        lambda self, vectors: calls.append(self) or original(self, vectors),
    )
    model = make_model("gated")
    ids, memory = token_rows(2, 5), memory_of([3, 2])
    options = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    with torch.no_grad():
        model.context.bind(memory)
        model.lm.generate(ids, **options)
    assert len(calls) == len(model.context.blocks)


def test_the_literal_form_leaves_nothing_behind_between_passes() -> None:
    model = make_model("literal")
    ids = token_rows(1, 6)
    with torch.no_grad():
        first, between, again = (
            model.answer_logits(memory_of([length]), whole(ids[:, :4]), whole(ids[:, 4:]))
            for length in (3, 5, 3)
        )
    assert torch.equal(first, again)
    assert not torch.allclose(first, between)


def test_a_literal_context_trains_through_every_block() -> None:
    torch.manual_seed(0)
    context: CrossAttention = open_up(make_context("literal"))
    lm = tiny_model("llama")
    context.attach(lm)
    context.bind(memory_of([3]))
    lm(input_ids=token_rows(1, 5)).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in context.parameters())
