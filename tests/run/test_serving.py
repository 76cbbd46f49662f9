"""What is stored of users changes when work is done, and no answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from userllm.config import load
from userllm.run.contestants import asking_of, enter, entries, share_weights
from userllm.run.outline import outline
from userllm.run.question_work import (
    append_flops,
    keepable,
    question_flops,
    stored_bytes,
    writing_flops,
)
from userllm.run.serving import Serving

CPU = torch.device("cpu")
TOKENS = 3
METHODS = {
    "none": ["nothing"],
    "text_prompt": ["nothing", "prompt"],
    "cross_attention": ["nothing", "memory", "keys and values"],
    "cross_attention context.layers=1": ["nothing", "memory", "keys and values"],
    "cross_attention context.perceiver_latents=4": ["nothing", "memory", "keys and values"],
    "soft_prompt": ["nothing", "memory"],
    "hybrid context.text_events=2": ["nothing", "memory", "keys and values"],
    "one_token": ["nothing", "memory"],
    "item_tokens": ["nothing", "memory"],
    "text_events sentence@context.sentence=hashed": ["nothing", "memory"],
}
SHARED = "size.users=60 task=next_item task.scorer=beam task.softmax=vocabulary history=6"


@pytest.fixture(scope="module", params=METHODS)
def contestant(request, tmp_path_factory):
    runs = tmp_path_factory.getbasetemp() / "serving"
    words = [f"methods=['context={request.param}']", f"shared='{SHARED}'", f"paths.runs={runs}"]
    cfg = load("benchmark", words).config
    (one,) = enter(entries(cfg)[0], cfg, CPU)
    torch.manual_seed(3)
    for parameter in one.model.context.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    # The counter cannot follow weights that learn where no gradients are kept.
    one.model.requires_grad_(False)
    return one


def serving(one, kept):
    return Serving(
        model=one.model, exam=one.exam, asked=one.asked, kept=kept, tokens=TOKENS, device=CPU
    )


def kept_of(one):
    return METHODS[one.label]


def test_what_can_be_stored_is_known(contestant):
    assert keepable(contestant.model) == kept_of(contestant)


@pytest.mark.parametrize("rows", [[1], [0, 1, 2]], ids=["alone", "together"])
def test_stored_or_not_the_answers_are_the_same(contestant, rows):
    rows = np.array(rows)
    plain = serving(contestant, "nothing")
    expected = plain.prefill(rows).logits_BV, plain.answer(rows)
    for kept in kept_of(contestant):
        other = serving(contestant, kept)
        other.get_ready(rows)
        for _ in range(2):
            found = other.prefill(rows).logits_BV, other.answer(rows)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
            assert torch.equal(other.first(rows), expected[0].argmax(dim=1))


def test_the_likeliest_next_token_of_a_closed_list_needs_no_other_logits(contestant):
    rows, answers = np.array([0, 1, 2]), contestant.exam.ranker.answers
    service = serving(contestant, "nothing")
    with torch.inference_mode():
        batch = service._of(rows).batch
        memory = contestant.model.read_user(batch.events)
        all_BV = contestant.model.prefill(memory, batch.prompt).logits_BV
    some_BV = service.prefill(rows).logits_BV
    assert some_BV.shape[1] == len(answers.possible_V) < all_BV.shape[1]
    torch.testing.assert_close(some_BV, all_BV[:, answers.possible_V], atol=1e-5, rtol=0.0)
    for node in [-1, *answers.trie.inner[:50].tolist()]:
        follow_M = torch.from_numpy(answers.trie.token_N[answers.trie.children(node)])
        columns_M = torch.searchsorted(answers.possible_V, follow_M)
        found_B = some_BV[:, columns_M].argmax(dim=1)
        assert torch.equal(found_B, all_BV[:, follow_M].argmax(dim=1))


def test_reading_repeated_text_once_gives_the_same_answers(contestant):
    if contestant.model.trunk is None:
        pytest.skip("all blocks read the user")
    rows = np.array([0, 2])
    quick = serving(contestant, "nothing").answer(rows)
    trunk, contestant.model.trunk = contestant.model.trunk, None
    try:
        plain = serving(contestant, "nothing").answer(rows)
    finally:
        contestant.model.trunk = trunk
    torch.testing.assert_close(quick, plain, atol=1e-4, rtol=1e-4)


def test_the_closed_form_is_what_is_counted(contestant):
    row = np.array([0])
    asking = asking_of(contestant, TOKENS)
    for kept in kept_of(contestant):
        service = serving(contestant, kept)
        service.get_ready(row)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            service.prefill(row)
        parts = question_flops(contestant.model, asking, kept)
        closed = sum(float(np.ravel(part)[0]) for part in parts.values())
        assert closed == counter.get_total_flops(), kept
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            service.answer(row)
        written = float(np.ravel(writing_flops(contestant.model, asking))[0])
        assert closed + written == counter.get_total_flops(), kept


def test_one_more_event_costs_less_than_reading_all_again(contestant):
    asking, model = asking_of(contestant, TOKENS), contestant.model
    again = sum(np.sum(part) for part in question_flops(model, asking, "nothing").values())
    assert append_flops(model, asking, "nothing") is None
    for kept in kept_of(contestant)[1:]:
        added = append_flops(model, asking, kept)
        # Without an encoder an event's vectors are looked up in tables.
        assert np.all(added > 0) or (kept == "memory" and model.encoder is None)
        assert np.sum(added) < 0.6 * again
    if "memory" in kept_of(contestant) and model.encoder is not None:
        whole = model.encoder.flops(asking.lengths.events + 1).total
        step = model.encoder.append_flops(asking.lengths.events).total
        assert np.all(step < 0.4 * whole)


@pytest.mark.parametrize("encoder", ["masked", "dual encoder.embeddings=3"])
def test_an_event_that_changes_all_vectors_makes_all_keys_and_values_again(encoder, tmp_path):
    methods = f"methods=['context=cross_attention encoder={encoder}']"
    words = [methods, f"shared='{SHARED}'", f"paths.runs={tmp_path}"]
    cfg = load("benchmark", words).config
    (one,) = enter(entries(cfg)[0], cfg, CPU)
    asking = asking_of(one, TOKENS)
    more = replace(asking, lengths=replace(asking.lengths, events=asking.lengths.events + 1))
    added = append_flops(one.model, asking, "keys and values")
    added = added - append_flops(one.model, asking, "memory")
    expected = question_flops(one.model, more, "memory")["keys and values"]
    np.testing.assert_allclose(added, np.broadcast_to(expected, np.shape(added)))


def test_without_weights_the_same_is_said(contestant):
    overrides = [*SHARED.split(), *f"context={contestant.label}".split()]
    config = load("contextualize", [*overrides, "encoder.checkpoint=null"]).config
    shape = outline(config, head_items=0)
    shape.trunk = contestant.model.trunk
    asking = asking_of(contestant, TOKENS)
    for kept in kept_of(contestant):
        for what in (question_flops, stored_bytes):
            found, expected = (what(m, asking, kept) for m in (shape, contestant.model))
            np.testing.assert_equal(found, expected)


def test_stored_bytes_are_those_of_the_tensors(contestant):
    row = np.array([0])
    asking = asking_of(contestant, TOKENS)
    model = contestant.model
    for kept in kept_of(contestant)[1:]:
        service = serving(contestant, kept)
        service.get_ready(row)
        stored = service._of(row).stored
        if kept == "prompt":
            held = sum(keys.nbytes + values.nbytes for keys, values in stored.layers)
        elif kept == "memory":
            held = stored.vectors_BUE.nbytes
        else:
            context = getattr(model.context, "entry", model.context)
            held = sum(keys.nbytes + values.nbytes for keys, values in context._keys_values)
        assert np.ravel(stored_bytes(model, asking, kept))[0] == held, kept


def test_equal_language_models_are_kept_once(contestant):
    other = type(contestant.model.lm)(contestant.model.lm.config)
    other.load_state_dict(contestant.model.lm.state_dict())
    changed = next(other.parameters())
    changed.data = changed.data + 1

    class Joined:
        lm = other

    share_weights([contestant.model, Joined])
    pairs = list(zip(contestant.model.lm.parameters(), other.parameters(), strict=True))
    assert [a.data_ptr() == b.data_ptr() for a, b in pairs] == [False] + [True] * (len(pairs) - 1)
