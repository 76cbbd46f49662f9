"""What the dual encoder promises, and its loss against numbers made another way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from encoder_events import one_event_changed, row

from userllm.data.gather import EventBatch
from userllm.encoder.contrast import BatchContrast
from userllm.encoder.dual import DualEncoder
from userllm.encoder.label_tower import LabelTower

CONTRAST = {"temperature": 0.2, "rows": 1000, "random_items": 0, "log_q": True}


@pytest.fixture
def make_dual(corpus):
    def make(label_features=("item", "category"), contrast=None, **changes):
        torch.manual_seed(0)
        label = LabelTower(
            vocabulary=corpus.vocabulary,
            features=list(label_features),
            feature_width={"item": 16, "category": 4, "rating": 3},
            width=16,
        )
        settings = {
            "width": 16,
            "embeddings": 1,
            "layers": 2,
            "heads": 4,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "feed_forward": 4,
            "max_events": 12,
            "features": ["item", "category", "rating"],
            "feature_width": {"item": 16, "category": 8, "rating": 4},
            "label": label,
            "contrast": BatchContrast(**CONTRAST | (contrast or {})),
        }
        return DualEncoder(vocabulary=corpus.vocabulary, **settings | changes).eval()

    return make


@pytest.mark.parametrize("embeddings", [1, 3])
def test_a_history_has_as_many_vectors_as_asked_and_they_differ(make_dual, events, embeddings):
    vectors_BNE = make_dual(embeddings=embeddings)(events).vectors_BUE
    assert vectors_BNE.shape == (8, embeddings, 16)
    distances = torch.cdist(vectors_BNE, vectors_BNE)
    assert (distances > 0.1).sum() == 8 * embeddings * (embeddings - 1)


@pytest.mark.parametrize("feature", ["item", "category", "rating"])
def test_every_feature_and_no_other_moves_its_own_tower(make_dual, events, feature):
    encoder = make_dual()
    changed = one_event_changed(events, feature, user=6, position=7)
    states = {}
    for name, tower in encoder.user.towers.items():
        tower.register_forward_hook(lambda _m, _i, out, name=name: states.update({name: out}))
    encoder(events)
    before = dict(states)
    encoder(changed)
    moved = {name for name in states if not torch.equal(before[name], states[name])}
    assert moved == {feature}


def test_one_pass_makes_the_states_of_all_cuts(make_dual, gather, monkeypatch):
    """The state before event i is that of a history that ends there."""
    encoder = make_dual(embeddings=2)
    kept = []
    monkeypatch.setattr(
        encoder.contrast, "loss", lambda state, item, label: kept.append(state) or state.sum()
    )
    encoder.pretraining_loss(gather(np.array([3]), np.array([9]), 13))
    for cut in range(9):
        alone = encoder(gather(np.array([3]), np.array([cut]), 12)).state_BE[0]
        torch.testing.assert_close(kept[0][cut], alone, atol=1e-5, rtol=1e-4)


def hand_loss(encoder, events, *, log_q):
    """Go event by event over all different labels of the batch."""
    items = events.features["item"][events.mask].tolist()
    different = sorted(set(items))
    counts = torch.tensor([items.count(item) for item in different])
    table = F.normalize(encoder.label(torch.tensor(different)), dim=-1)
    losses = []
    for user in range(len(events.mask)):
        history = row(events, user)
        for cut in range(int(history.mask.sum())):
            before = {n: ids[:, :cut] for n, ids in history.features.items()}
            state = encoder(EventBatch(before, history.mask[:, :cut])).vectors_BUE[0].mean(dim=0)
            scores = table @ F.normalize(state, dim=0) / 0.2 + (0 if log_q else counts.log())
            target = different.index(history.features["item"][0, cut].item())
            losses.append(-scores.log_softmax(dim=0)[target])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("log_q", [True, False])
def test_loss_equals_the_loss_worked_out_event_by_event(make_dual, gather, log_q):
    events = gather(np.arange(4), np.array([4, 7, 2, 5]), 12)
    encoder = make_dual(contrast={"log_q": log_q})
    expected = hand_loss(encoder, events, log_q=log_q)
    assert encoder.pretraining_loss(events).item() == pytest.approx(expected.item(), abs=1e-5)


def test_random_items_that_fill_the_catalogue_make_the_whole_softmax(make_dual, events):
    encoder = make_dual(contrast={"random_items": 1000})
    memory_states = []
    layout_items = events.features["item"][events.mask]
    loss = encoder.contrast.loss
    encoder.contrast.loss = lambda s, i, t: memory_states.append(s) or loss(s, i, t)
    found = encoder.pretraining_loss(events)
    scores_RI = F.linear(memory_states[0], encoder.item_table, encoder.item_bias)
    expected = F.cross_entropy(scores_RI[:, 3:], layout_items - 3)
    torch.testing.assert_close(found, expected)


def test_rows_are_compared_in_pieces_of_the_asked_size(make_dual, gather):
    events = gather(np.arange(2), np.array([6, 6]), 12)
    whole = make_dual(contrast={"rows": 6}).pretraining_loss(events)
    parts = [make_dual().pretraining_loss(row(events, user)) for user in range(2)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_items_of_equal_categories_are_one_label_without_the_item(make_dual, corpus):
    encoder = make_dual(label_features=["category"])
    categories = corpus.vocabulary.item_categories[3:]
    label_I = encoder.label.label_of_item_I
    same_II = (categories[:, None] == categories[None]).all(dim=-1)
    assert torch.equal(label_I[:, None] == label_I[None], same_II)
    scores_I = encoder.item_table[3:] @ torch.ones(16)
    for label in range(encoder.label.count):
        assert scores_I[label_I == label].unique().numel() == 1
        assert label_I[encoder.label.items(torch.tensor(label)) - 3] == label


def test_names_in_and_categories_out_learn(make_dual, events):
    encoder = make_dual(label_features=["category"], features=["item"], feature_width={"item": 16})
    encoder.pretraining_loss(events).backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


def test_unknown_items_are_no_labels(make_dual, gather):
    events = gather(np.arange(2), np.array([6, 6]), 12)
    encoder = make_dual()
    first_five = gather(np.arange(2), np.array([5, 5]), 12)
    events.features["item"][:, 5] = 2
    torch.testing.assert_close(
        encoder.pretraining_loss(events), encoder.pretraining_loss(first_five)
    )


def test_a_rating_is_refused_as_a_label(make_dual):
    with pytest.raises(ValueError, match=r"'rating'.*still to be met"):
        make_dual(label_features=["item", "rating"])


def test_towers_of_different_widths_are_refused(make_dual):
    with pytest.raises(ValueError, match=r"label tower's width \(16\) must be width \(32\)"):
        make_dual(width=32)


def test_state_and_items_meet_at_their_cosine_over_the_temperature(make_dual, events):
    encoder = make_dual()
    memory = encoder(events)
    expected = F.cosine_similarity(
        memory.vectors_BUE.mean(dim=1)[:, None], encoder.label(torch.arange(3, 43))[None], dim=-1
    )
    scores = encoder.item_scores(memory.state_BE, events)[:, 3:]
    torch.testing.assert_close(scores, expected / 0.2, atol=1e-5, rtol=1e-4)
