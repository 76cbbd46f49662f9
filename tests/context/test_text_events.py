"""Events as vectors of their texts: what they depend on and what they do not."""

from dataclasses import replace

import pytest
import torch

from tests.context.fakes import CATALOGUE, VOCABULARY, histories, open_up
from tests.context.families import tiny_model
from userllm.context.text_events import TextEvents
from userllm.data.gather import EventBatch
from userllm.sentence.hashed import HashedSentence


def make(catalogue=CATALOGUE, **changes):
    torch.manual_seed(0)
    settings = {
        "events": 4,
        "learned_vectors": 0,
        "hidden_width": 24,
        "perceiver_latents": 0,
        "perceiver_layers": 1,
        "perceiver_heads": 2,
    }
    context = TextEvents(
        text_dim=32,
        vocabulary=VOCABULARY,
        catalogue=catalogue,
        sentence=HashedSentence(width=16, buckets=512, ngrams=[3], seed=0),
        **settings | changes,
    )
    context.attach(tiny_model("llama"))
    return context.eval()


def changed(events: EventBatch, feature: str, position: int, value: int) -> EventBatch:
    features = {name: ids.clone() for name, ids in events.features.items()}
    features[feature][:, position] = value
    return EventBatch(features, events.mask)


def prefix(context: TextEvents, events: EventBatch) -> torch.Tensor:
    with torch.no_grad():
        vectors, mask = context.prefix(context.compress(None, events), len(events.mask))
    return vectors * mask[:, :, None]


@pytest.mark.parametrize("latents", [0, 3])
def test_events_before_the_last_ones_are_not_read(latents):
    context, events = open_up(make(perceiver_latents=latents)), histories([6])
    base = prefix(context, events)
    old, recent = (
        changed(events, "item", at, 9 + int(events.features["item"][0, at])) for at in (1, 2)
    )
    assert torch.equal(prefix(context, old), base)
    assert not torch.allclose(prefix(context, recent), base, atol=1e-4)


def test_before_training_only_title_and_categories_count():
    titles = list(CATALOGUE.titles)
    titles[3] = titles[3 + 28]  # items 0 and 28 have the same categories
    context, events = make(replace(CATALOGUE, titles=titles)), histories([4])
    base = prefix(context, changed(events, "item", 1, 3))
    assert torch.equal(prefix(context, changed(events, "item", 1, 3 + 28)), base)
    assert not torch.allclose(prefix(context, changed(events, "item", 1, 4)), base, atol=1e-4)
    assert torch.equal(prefix(context, changed(events, "rating", 1, 4)), prefix(context, events))


def test_ratings_and_the_place_in_the_history_can_be_learned():
    context, events = open_up(make()), histories([4])
    base = prefix(context, events)
    rated = prefix(context, changed(events, "rating", 1, 2))
    moved = (rated - base).abs().amax(dim=-1)[0] > 1e-4
    assert moved.tolist() == [False, True, False, False]
    same = changed(changed(events, "item", 0, 5), "item", 1, 5)
    same.features["rating"][:] = 3
    first, second = prefix(context, same)[0, :2]
    assert not torch.allclose(first, second, atol=1e-4)


def test_an_event_keeps_its_vector_when_newer_padding_stands_beside_it():
    context = open_up(make())
    together = prefix(context, histories([4, 2]))
    alone = histories([4, 2])
    alone = EventBatch({n: ids[1:, :2] for n, ids in alone.features.items()}, alone.mask[1:, :2])
    torch.testing.assert_close(together[1:, :2], prefix(context, alone))


def test_text_vectors_are_frozen_and_in_no_state_dict():
    context = make()
    assert not [name for name in context.state_dict() if "vectors" in name]
    assert not context.vectors_IW.requires_grad


def test_a_linear_adapter_is_one_matrix():
    width, dim = 16, 32
    linear = sum(p.numel() for p in make(hidden_width=None).prompt.projector.output.parameters())
    assert linear == width * dim + dim


def test_no_events_to_read_is_refused():
    with pytest.raises(ValueError, match="context=none"):
        make(events=0)
