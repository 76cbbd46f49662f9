"""The encoder's best items as user memory."""

from functools import cache

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from tests.context.fakes import ITEMS, USER_DIM, histories
from tests.contract.contexts import language_model, make
from userllm.config import load
from userllm.context.model import UserLLM
from userllm.context.one_token import refuse_unread
from userllm.context.work import Lengths, forward_flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError
from userllm.lm.name_vectors import name_vectors
from userllm.lm.token_scale import token_scale
from userllm.memory.candidates import Candidates
from userllm.memory.states import States
from userllm.run.folder import identity
from userllm.run.question_work import Asking, append_flops, question_flops
from userllm.tuning.encoder import Encoder
from userllm.tuning.projection import Projection

BESIDE, ALONE = "candidates memory", "candidates alone"
COUNT = 20


@cache
def fresh(case: str) -> UserLLM:
    """Return a model that no test changes."""
    return make(case)


def chosen(model: UserLLM, events: EventBatch) -> tuple[torch.Tensor, torch.Tensor]:
    encoder = model.encoder
    return model.memory.choose(
        encoder(events).state_BE, events, encoder.item_table, encoder.item_bias
    )


def read(model: UserLLM, events: EventBatch) -> UserMemory:
    with torch.no_grad():
        return model.read_user(events)


def test_the_default_is_the_encoders_own_vectors() -> None:
    model, events = fresh("cross_attention"), histories([5, 2])
    memory, encoded = read(model, events), model.encoder(events)
    assert isinstance(model.memory, States)
    assert torch.equal(memory.vectors_BUE, encoded.vectors_BUE)
    assert torch.equal(memory.mask_BU, encoded.mask_BU)
    assert not any(name.startswith("memory.") for name in model.state_dict())
    work = forward_flops(model, Lengths(events=5, prompt=6, answer=0, logits=1))
    assert "candidates" not in work


def test_candidates_are_unseen_items_in_the_encoders_own_order() -> None:
    model, events = fresh(BESIDE), histories([5, 9])
    ids_BC, real_BC = chosen(model, events)
    assert real_BC.all()
    scores_BI = model.encoder.item_scores(model.encoder(events).state_BE, events)
    for row, ids in enumerate(ids_BC.tolist()):
        seen = set(events.features["item"][row].tolist())
        order = scores_BI[row].argsort(descending=True).tolist()
        assert ids == [item for item in order if item not in seen and item >= 3][:COUNT]


def test_seen_items_can_be_asked_for() -> None:
    model, events = make(BESIDE), histories([9])
    without, _ = chosen(model, events)
    model.memory.seen = True
    ids_BC, _ = chosen(model, events)
    scores_BI = model.encoder.item_scores(model.encoder(events).state_BE, events)
    assert torch.equal(ids_BC, scores_BI.topk(COUNT).indices)
    assert not torch.equal(ids_BC, without)


def test_what_is_lacking_in_a_small_catalogue_is_masked() -> None:
    model, events = fresh("more candidates than items"), histories([5, 0])
    ids_BC, real_BC = chosen(model, events)
    assert real_BC.sum(dim=1).tolist() == [ITEMS, ITEMS]
    assert ids_BC[real_BC].min() >= 3
    assert read(model, events).mask_BU.sum(dim=1).tolist() == [5 + ITEMS, 0]


def test_a_vector_is_item_title_and_rank() -> None:
    model, events = fresh(ALONE), histories([4])
    ids_BC, _ = chosen(model, events)
    memory = model.memory
    with torch.no_grad():
        expected = memory.norm(model.encoder.item_table[ids_BC]) + memory.rank_CE
    torch.testing.assert_close(read(model, events).vectors_BUE, expected)


def test_titles_are_on_the_scale_of_items_and_tell_them_apart() -> None:
    model = fresh(BESIDE)
    memory, loaded = model.memory, language_model()
    table_VD = loaded.model.get_input_embeddings().weight.detach()
    vectors_ID = name_vectors(
        ["", "", "", *(f" Thing {item}" for item in range(ITEMS))],
        tokenizer=loaded.tokenizer,
        table_VD=table_VD,
        scale=token_scale(loaded.model),
    )
    normed_ID = torch.nn.functional.layer_norm(vectors_ID, (32,))
    torch.testing.assert_close(memory.titles_ID, normed_ID)
    with torch.no_grad():
        titles_IE = memory.title(memory.titles_ID[3:])
        items_IE = memory.norm(model.encoder.item_table[3:])
    assert 0.5 < titles_IE.std() / items_IE.std() < 2.0
    assert memory.rank_CE.std() < 0.1 * items_IE.std()
    assert "titles_ID" not in memory.state_dict()


def test_they_follow_the_states_and_the_last_events_are_kept_apart() -> None:
    events = histories([5, 1])
    model = fresh("candidates and the last events")
    memory, encoded = read(model, events), model.encoder(events)
    assert memory.vectors_BUE.shape == (2, 2 + COUNT, USER_DIM)
    assert torch.equal(memory.vectors_BUE[0, :2], encoded.vectors_BUE[0, 3:5])
    assert memory.mask_BU.sum(dim=1).tolist() == [2 + COUNT, 1 + COUNT]
    assert torch.equal(memory.vectors_BUE[:, 2:], read(fresh(BESIDE), events).vectors_BUE[:, 5:])
    assert model.given(np.array([5.0, 1.0, 0.0])).tolist() == [2 + COUNT, 1 + COUNT, 0]


def test_nothing_behind_the_cut_and_nobody_else_changes_them() -> None:
    model = fresh(BESIDE)
    events, others = histories([4, 6]), histories([4, 6], seed=8)
    longer = EventBatch(
        {
            name: torch.where(
                events.mask.view(2, 6, *[1] * (ids.dim() - 2)), ids, others.features[name]
            )
            for name, ids in events.features.items()
        },
        events.mask,
    )
    longer.features["item"][0, 4:] = 0
    mixed = {
        name: torch.cat([ids[:1], others.features[name][1:]])
        for name, ids in events.features.items()
    }
    expected = read(model, events).vectors_BUE[0, 6:]
    for changed in (longer, EventBatch(mixed, events.mask)):
        torch.testing.assert_close(read(model, changed).vectors_BUE[0, 6:], expected)


def test_a_gradient_reaches_item_vectors_but_not_the_choice() -> None:
    model, events = make(ALONE), histories([5])
    model.read_user(events).vectors_BUE.square().sum().backward()
    ids_BC, _ = chosen(model, events)
    moved = model.encoder.table.weight.grad.abs().sum(dim=1) > 0
    assert set(moved.nonzero().flatten().tolist()) <= set(ids_BC[0].tolist())
    assert moved.any()
    assert model.encoder.project.weight.grad is None


@pytest.mark.parametrize("tuning", [Encoder(), Projection()])
def test_new_weights_learn_with_the_memory_and_are_saved(tuning: Encoder | Projection) -> None:
    model = make(BESIDE)
    tuning.apply(model)
    learning = {name for name, p in model.memory.named_parameters() if p.requires_grad}
    assert learning == {"norm.weight", "norm.bias", "rank_CE", "title.weight"}
    assert {f"memory.{name}" for name in learning} <= set(model.state_dict())


def test_mixed_precision_rounds_no_vector_that_candidates_are_ranked_with() -> None:
    model, events, tables = make(BESIDE), histories([5, 7, 3, 9]), []

    class Mapped(type(model.encoder)):
        item_table = property(lambda encoder: encoder.table.weight @ encoder.project.weight)

    model.encoder.__class__ = Mapped
    encoded, choose = model.encoder(events), model.memory.choose
    model.memory.choose = lambda state, read, table, bias: (
        tables.append(table) or choose(state, read, table, bias)
    )
    with torch.autocast("cpu", torch.bfloat16):
        model.memory(encoded, events, model.encoder)
    assert torch.equal(tables[0], model.encoder.item_table)


def test_an_encoder_without_a_state_is_refused() -> None:
    model, events = fresh(BESIDE), histories([5])
    encoded = model.encoder(events)
    encoded.state_BE = None
    with pytest.raises(UserError, match="encoder=autoregressive"):
        model.memory(encoded, events, model.encoder)


def test_no_candidates_are_refused() -> None:
    given = {"text_dim": 8, "user_dim": 4, "catalogue": None, "tokenizer": None}
    with pytest.raises(ValueError, match="memory=states"):
        Candidates(**given, count=0, states=True, seen=False, titles=False)


@pytest.mark.parametrize("case", ["one_token", "hybrid one_token"])
def test_a_context_that_would_not_read_them_is_refused(case: str) -> None:
    context = fresh(case).context
    refuse_unread(context, States())
    with pytest.raises(UserError, match="context=soft_prompt"):
        refuse_unread(context, fresh(ALONE).memory)
    refuse_unread(fresh(ALONE).context, fresh(ALONE).memory)


def test_stored_memory_saves_the_choice_and_one_event_more_renews_it() -> None:
    lengths = Lengths(events=5.0, prompt=6.0, answer=0.0, logits=1.0)
    asking = Asking(lengths=lengths, question=6.0, event=0.0, answer=1.0)
    plain, model = fresh("cross_attention"), fresh(BESIDE)
    choice = sum(work.total for work in vars(model.memory.flops(model.encoder)).values())
    assert question_flops(model, asking, "nothing")["candidates"] == choice > 0
    for kept in ("memory", "keys and values"):
        assert "candidates" not in question_flops(model, asking, kept)
    readers = [reader.to_keys_values.weight.numel() for reader in model.context.stack]
    more = append_flops(model, asking, "keys and values") - append_flops(
        plain, asking, "keys and values"
    )
    assert more == choice + COUNT * 2 * sum(readers)


def test_the_default_changes_no_run_s_identity() -> None:
    config = load("contextualize", []).config
    plain = OmegaConf.to_container(config)
    earlier = {key: value for key, value in plain.items() if key != "memory"}
    assert identity("contextualize", config) == identity("contextualize", earlier)
    other = load("contextualize", ["memory=candidates"]).config
    assert identity("contextualize", other) != identity("contextualize", config)
