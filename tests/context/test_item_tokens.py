"""Events as words: what they start from, in which order they stand, and what is left out."""

import pytest
import torch

from tests.context.fakes import CATALOGUE, VOCABULARY, histories
from userllm.context.item_tokens import ItemTokens
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import FIRST_ID, UNKNOWN
from userllm.lm.tiny import TinyLM

LOADED = TinyLM(width=32, layers=1, heads=4, seed=0).load()
TABLE = LOADED.model.get_input_embeddings().weight.detach()
FIELDS = ["item", "category", "rating"]


def make(**changes: object) -> ItemTokens:
    torch.manual_seed(0)
    settings = {
        "fields": FIELDS,
        "events": 20,
        "semantic_init": True,
        "projector": True,
        "projector_factor": 4,
    }
    context = ItemTokens(
        text_dim=32,
        vocabulary=VOCABULARY,
        catalogue=CATALOGUE,
        tokenizer=LOADED.tokenizer,
        **(settings | changes),
    )
    context.attach(LOADED.model)
    return context


def words(context: ItemTokens, field: str) -> torch.Tensor:
    return context.tables[field].weight.detach()


def test_an_event_is_its_fields_in_order_and_events_go_from_old_to_new() -> None:
    context, events = make(projector=False), histories([3, 1])
    memory = context.compress(None, events)
    assert memory.mask_BU.sum(dim=1).tolist() == [9, 3]
    items, ratings = events.features["item"][0], events.features["rating"][0]
    assert torch.equal(memory.vectors_BUE[0, 0::3], words(context, "item")[items])
    assert torch.equal(memory.vectors_BUE[0, 2::3], words(context, "rating")[ratings])
    both = words(context, "category")[events.features["category"][0]]
    torch.testing.assert_close(memory.vectors_BUE[0, 1::3], both.mean(dim=1))


def test_only_the_last_events_are_written() -> None:
    long = histories([9, 2])
    memory = make(events=4).compress(None, long)
    last = EventBatch({n: ids[:1, 5:] for n, ids in long.features.items()}, long.mask[:1, 5:])
    expected = make(events=20).compress(None, last)
    torch.testing.assert_close(memory.vectors_BUE[:1], expected.vectors_BUE)
    assert memory.mask_BU.sum(dim=1).tolist() == [12, 6]


def test_padded_categories_are_left_out_and_an_event_without_any_is_an_unknown_word() -> None:
    context = make(projector=False, fields=["category"])
    events = EventBatch(
        {"category": torch.tensor([[[4, 0], [0, 0]]])}, torch.ones(1, 2, dtype=torch.bool)
    )
    got = context.compress(None, events).vectors_BUE[0]
    torch.testing.assert_close(got, words(context, "category")[[4, UNKNOWN]])


def test_the_projector_starts_as_the_identity_and_learns() -> None:
    events = histories([4])
    with_it, without = make(), make(projector=False)
    projected, plain = (one.prefix(one.compress(None, events), 1)[0] for one in (with_it, without))
    assert torch.equal(projected, plain)
    projected.square().mean().backward()
    assert with_it.projector[-1].weight.grad.any()


@pytest.mark.parametrize("semantic_init", [True, False])
@pytest.mark.parametrize("field", FIELDS)
def test_words_have_the_statistics_of_tokens(field: str, semantic_init: bool) -> None:
    table = words(make(semantic_init=semantic_init), field)[FIRST_ID:]
    around = table - TABLE.mean(dim=0)
    token_spread = (TABLE - TABLE.mean(dim=0)).square().mean().sqrt()
    assert around.square().mean().sqrt() == pytest.approx(float(token_spread), rel=0.2)


def test_names_that_share_tokens_start_close_only_with_semantic_init() -> None:
    def likeness(context: ItemTokens) -> float:
        table = words(context, "item") - TABLE.mean(dim=0)
        ten, twenty, other = (
            FIRST_ID + CATALOGUE.titles[FIRST_ID:].index(f"Thing {n}") for n in (12, 21, 40)
        )
        cosine = torch.nn.functional.cosine_similarity
        return float(cosine(table[ten], table[twenty], 0) - cosine(table[ten], table[other], 0))

    assert likeness(make()) > 0.3
    assert abs(likeness(make(semantic_init=False))) < 0.6


@pytest.mark.parametrize("changes", [{"fields": []}, {"fields": ["item"] * 2}, {"events": 0}])
def test_fields_that_make_no_sense_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match="expected one to three different fields"):
        make(**changes)
