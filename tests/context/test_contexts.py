"""What every way of giving a user to a language model must satisfy."""

import pytest
import torch
from torch import Tensor, nn

from tests.context.fakes import BagEncoder, histories, make_context, memory_of, open_up
from tests.context.families import families, tiny_model, token_rows
from userllm.context.memory import last_vectors
from userllm.context.model import TokenBatch, UserLLM
from userllm.context.perceiver import Perceiver
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError

ENTRIES = ("gated", "plain", "soft_prompt", "hybrid")


def make_model(kind: str, family: str = "llama", *, opened: bool = True, **changes) -> UserLLM:
    lm = tiny_model(family)
    context = make_context(kind, **changes)
    torch.manual_seed(13)
    encoder = BagEncoder() if context.reads_memory else None
    model = UserLLM(lm=lm, context=context, encoder=encoder, item_head=None).eval()
    if opened:
        open_up(context)
    return model


def left_padded(ids_BT: Tensor, lengths: list[int]) -> TokenBatch:
    mask_BT = torch.arange(ids_BT.shape[1]) >= ids_BT.shape[1] - torch.tensor(lengths)[:, None]
    return TokenBatch(ids_BT * mask_BT, mask_BT)


def whole(ids_BT: Tensor) -> TokenBatch:
    return TokenBatch(ids_BT, torch.ones_like(ids_BT, dtype=torch.bool))


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("kind", ["none", "gated", "plain"])
def test_a_fresh_context_leaves_the_logits_exactly_as_they_were(family: str, kind: str) -> None:
    ids = token_rows(2, 9)
    plain = tiny_model(family)
    model = make_model(kind, family, opened=False)
    with torch.no_grad():
        expected = plain(input_ids=ids).logits[:, 5:-1]
        memory = model.read_user(histories([4, 2]))
        got = model.answer_logits(memory, whole(ids[:, :6]), whole(ids[:, 6:]))
    assert torch.equal(got, expected)


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("kind", ["gated", "plain"])
def test_attaching_keeps_the_checkpoint_keys_and_generate(family: str, kind: str) -> None:
    lm = tiny_model(family)
    before = set(lm.state_dict())
    model = make_model(kind, family, opened=False)
    assert set(model.lm.state_dict()) == before
    ids = token_rows(2, 5)
    model.context.bind(memory_of([3, 2]))
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    assert torch.equal(model.lm.generate(ids, **options), lm.generate(ids, **options))


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("kind", ENTRIES)
def test_an_opened_context_reads_the_user(family: str, kind: str) -> None:
    model = make_model(kind, family)
    ids = token_rows(1, 6)
    with torch.no_grad():
        first, second = (
            model.answer_logits(
                model.read_user(histories([4], seed)), whole(ids[:, :4]), whole(ids[:, 4:])
            )
            for seed in (1, 2)
        )
    assert not torch.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("kind", ENTRIES)
def test_a_padded_batch_equals_single_examples(family: str, kind: str) -> None:
    model = make_model(kind, family)
    events, prompts, answers = histories([4, 2, 0]), token_rows(3, 6), token_rows(3, 2, seed=4)
    lengths = [6, 3, 5]
    with torch.no_grad():
        batched = model.answer_logits(
            model.read_user(events), left_padded(prompts, lengths), whole(answers)
        )
        for row, length in enumerate(lengths):
            size = max(int(events.mask[row].sum()), 1)
            alone = EventBatch(
                {"item": events.features["item"][row : row + 1, :size]},
                events.mask[row : row + 1, :size],
            )
            single = model.answer_logits(
                model.read_user(alone),
                whole(prompts[row : row + 1, -length:]),
                whole(answers[row : row + 1]),
            )
            torch.testing.assert_close(batched[row], single[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gated", "plain"])
def test_a_user_without_events_changes_nothing(kind: str) -> None:
    model = make_model(kind)
    ids = token_rows(1, 6)
    with torch.no_grad():
        got = model.answer_logits(
            model.read_user(histories([0])), whole(ids[:, :4]), whole(ids[:, 4:])
        )
        expected = model.answer_logits(None, whole(ids[:, :4]), whole(ids[:, 4:]))
    assert torch.equal(got, expected)


@pytest.mark.parametrize("kind", ENTRIES)
def test_masked_user_vectors_cannot_be_read(kind: str) -> None:
    model = make_model(kind)
    memory, ids = memory_of([2, 4]), token_rows(2, 6)
    with torch.no_grad():
        before = model.answer_logits(memory, whole(ids[:, :4]), whole(ids[:, 4:]))
        memory.vectors_BUE[0, 2:] = 1e3
        after = model.answer_logits(memory, whole(ids[:, :4]), whole(ids[:, 4:]))
    torch.testing.assert_close(before, after)


@pytest.mark.parametrize("kind", ["gated", "plain", "soft_prompt"])
def test_every_parameter_of_a_context_gets_a_gradient_once_open(kind: str) -> None:
    model = make_model(kind, perceiver_latents=3)
    ids = token_rows(2, 6)
    memory = model.read_user(histories([4, 3]))
    model.answer_logits(memory, whole(ids[:, :4]), whole(ids[:, 4:])).square().mean().backward()
    silent = [n for n, p in model.context.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_gates_open_first_because_they_alone_get_a_gradient_at_the_start() -> None:
    model = make_model("gated", opened=False)
    ids = token_rows(2, 6)
    memory = model.read_user(histories([4, 3]))
    model.answer_logits(memory, whole(ids[:, :4]), whole(ids[:, 4:])).square().mean().backward()
    assert all(gate.grad.abs() > 0 for gate in model.context.gates)
    assert not any(reader.to_output.weight.grad.any() for reader in model.context.readers)


def test_a_soft_prompt_starts_at_the_scale_of_token_embeddings() -> None:
    model = make_model("soft_prompt", opened=False)
    scale = model.lm.get_input_embeddings().weight.std()
    prefix, _ = model.context.prefix(memory_of([4]), 1)
    assert (prefix.std(dim=-1) > 0.2 * scale).all()
    assert (prefix.std(dim=-1) < 5 * scale).all()


@pytest.mark.parametrize(
    ("layers", "every_k", "expected"),
    [("all", 1, [0, 1, 2]), ("upper_half", 1, [2]), (2, 1, [1, 2]), ("all", 2, [0, 2])],
)
def test_blocks_are_counted_from_the_top(layers: object, every_k: int, expected: list[int]) -> None:
    assert make_context("gated", layers=layers, every_k=every_k).blocks == expected


def test_more_blocks_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="has 3 blocks"):
        make_context("gated", layers=4)


def test_the_last_vectors_are_kept_in_order() -> None:
    states = torch.arange(2 * 5).view(2, 5, 1).float()
    mask = torch.arange(5) < torch.tensor([4, 1])[:, None]
    memory = last_vectors(UserMemory(states, mask), 2)
    assert memory.vectors_BUE[0, :, 0].tolist() == [2.0, 3.0]
    assert memory.mask_BU.tolist() == [[True, True], [True, False]]
    assert memory.vectors_BUE[1, 0, 0] == 5.0


def test_a_perceiver_ignores_padding_and_keeps_empty_users_empty() -> None:
    torch.manual_seed(0)
    perceiver = Perceiver(width=16, latents=3, layers=2, heads=2, dropout=0.0).eval()
    memory = memory_of([2, 4])
    memory.mask_BU[1] = False
    before = perceiver(memory)
    memory.vectors_BUE[0, 2:] = 9.0
    after = perceiver(memory)
    torch.testing.assert_close(before.vectors_BUE[0], after.vectors_BUE[0])
    assert after.mask_BU.tolist() == [[True] * 3, [False] * 3]


def test_generation_reads_the_same_memory_for_every_beam() -> None:
    model = make_model("gated")
    ids = token_rows(2, 5)
    model.context.bind(memory_of([3, 2]))
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "num_beams": 3}
    together = model.lm.generate(ids, **options)
    for row, length in enumerate((3, 2)):
        memory = memory_of([3, 2])
        alone = type(memory)(memory.vectors_BUE[row : row + 1], memory.mask_BU[row : row + 1])
        model.context.bind(alone)
        assert torch.equal(model.lm.generate(ids[row : row + 1], **options)[0], together[row])
        assert length == int(alone.mask_BU.sum())


def test_an_unknown_architecture_is_refused_by_name() -> None:
    lm = tiny_model("llama")
    lm.model.layers = nn.ModuleList()
    with pytest.raises(UserError, match="LlamaForCausalLM"):
        make_context("gated").attach(lm)
