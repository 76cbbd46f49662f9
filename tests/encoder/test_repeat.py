"""The number added to items of the history: whose scores it moves, in training and in ranking."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from userllm.build import build
from userllm.config import load
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import FIRST_ID, PAD, UNKNOWN
from userllm.encoder.embedding import hide_items
from userllm.encoder.lit import encoder_groups
from userllm.encoder.load import encoder_inputs
from userllm.encoder.repeat import SPEED, RepeatScore


def batch_of(rows):
    item_BL = torch.tensor(rows)
    return EventBatch({"item": item_BL}, item_BL != PAD)


def repeat_of(value):
    repeat = RepeatScore()
    repeat.weight.data.fill_(value / SPEED)
    return repeat


def test_each_item_before_a_row_moves_once():
    item_BL = torch.tensor([[5, 7, 5, UNKNOWN, 7, 9], [8, 8, 6, PAD, PAD, PAD]])
    user_R = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    before_R = torch.tensor([0, 1, 3, 6, 0, 2, 3])
    shift = RepeatScore().shift(item_BL, user_R, before_R)
    moved = [set(), {5}, {5, 7}, {5, 7, 9}, set(), {8}, {8, 6}]
    expected = [(row, item - FIRST_ID) for row, items in enumerate(moved) for item in items]
    pairs = list(zip(shift.row_P.tolist(), shift.class_P.tolist(), strict=True))
    assert sorted(pairs) == sorted(expected)
    assert shift.row_P.tolist() == sorted(shift.row_P.tolist())


def test_a_ranking_moves_the_same_items():
    events = batch_of([[5, 7, 5, UNKNOWN], [8, PAD, PAD, PAD]])
    scores = torch.zeros(2, 12)
    scores[:, :FIRST_ID] = -torch.inf
    added = repeat_of(-4.0).add(scores, events)
    expected = scores.clone()
    expected[0, [5, 7]] = expected[1, 8] = -4.0
    assert torch.equal(added, expected)


def test_the_loss_is_that_of_moved_scores_worked_out_event_by_event(make_encoder, corpus, gather):
    encoder = make_encoder(corpus.vocabulary, repeat_score=True, features=["item"]).eval()
    encoder.repeat.weight.data.fill_(-0.2)
    events = gather(np.arange(5), np.array([3, 9, 13, 6, 1]), 13)
    losses = []
    for user in range(5):
        items = events.features["item"][user][events.mask[user]]
        for cut in range(len(items)):
            history = EventBatch({"item": items[None, :cut]}, torch.ones(1, cut, dtype=torch.bool))
            scores = encoder.item_scores(encoder(history).state_BE, history)[:, FIRST_ID:]
            losses.append(F.cross_entropy(scores, items[cut, None] - FIRST_ID))
    assert encoder.pretraining_loss(events).item() == pytest.approx(
        torch.stack(losses).mean().item(), abs=1e-5
    )


@pytest.mark.parametrize("option", ["autoregressive", "masked"])
@pytest.mark.parametrize("again", [False, True])
def test_it_learns_whether_people_come_back(option, again, corpus):
    """Every window holds one pair of equal items and else none, or never the same one twice."""
    config = load("pretrain", [f"encoder={option}", "size=tiny", "history=12"]).config.encoder
    config.features, config.repeat_score, config.dropout = ["item"], True, 0.0
    torch.manual_seed(0)
    encoder = build(config, **encoder_inputs(corpus))
    optimizer = torch.optim.AdamW(
        [{**group} for group in encoder_groups(encoder, learning_rate=3e-3, weight_decay=0.0)]
    )
    rng = np.random.default_rng(0)
    size = corpus.vocabulary.sizes["item"] - FIRST_ID
    for _ in range(60):
        rows = np.stack([rng.permutation(size)[:12] for _ in range(16)]) + FIRST_ID
        if again:
            rows[:, 6:] = rng.permuted(rows[:, :6], axis=1)
        loss = encoder.pretraining_loss(batch_of(rows.tolist()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    value = encoder.repeat.value.item()
    assert value > 0.5 if again else value < -0.5


def test_only_items_are_hidden_and_as_many_as_asked():
    torch.manual_seed(0)
    item_R = torch.arange(10_000) % 10
    hidden = hide_items(item_R, 0.3)
    changed = hidden != item_R
    assert (hidden[changed] == UNKNOWN).all()
    assert (item_R[changed] >= FIRST_ID).all()
    assert changed[item_R >= FIRST_ID].float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(hide_items(item_R, 0.0), item_R)


def test_hidden_items_are_still_targets(make_encoder, corpus, gather):
    """With nearly all inputs hidden the loss stays that of guessing items, not of unknowns."""
    encoder = make_encoder(corpus.vocabulary, item_dropout=0.999, features=["item"]).eval()
    events = gather(np.arange(5), np.array([3, 9, 13, 6, 1]), 13)
    inputs = {"item": torch.full_like(events.features["item"], UNKNOWN)}
    state_RE = encoder.states(EventBatch({"item": inputs["item"][:, :12]}, events.mask[:, :12]))
    scores = encoder.heads.item_scores(state_RE[events.mask])[:, FIRST_ID:]
    target = events.features["item"][events.mask] - FIRST_ID
    torch.manual_seed(0)
    loss = encoder.pretraining_loss(events)
    torch.testing.assert_close(loss, F.cross_entropy(scores, target), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_hides_everything_is_refused(share, make_encoder, corpus):
    with pytest.raises(ValueError, match=r"item_dropout .* at least 0 and below 1"):
        make_encoder(corpus.vocabulary, item_dropout=share)
