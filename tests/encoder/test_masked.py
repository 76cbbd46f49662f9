"""What the masked encoder promises, and its loss against numbers made another way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from encoder_events import one_event_changed, row

from userllm.data.gather import EventBatch
from userllm.encoder.masked import MaskedEncoder
from userllm.softmax.exact import ExactSoftmax


@pytest.fixture
def make_masked(corpus):
    def make(**changes):
        settings = {
            "width": 16,
            "layers": 2,
            "heads": 4,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "repeat_score": False,
            "feed_forward": 4,
            "max_events": 12,
            "features": ["item", "category", "rating"],
            "feature_width": {"item": 16, "category": 4, "rating": 3},
            "mask_share": 0.3,
            "mask_last": 0.5,
            "softmax": ExactSoftmax(memory_mib=1),
        }
        torch.manual_seed(0)
        return MaskedEncoder(vocabulary=corpus.vocabulary, **settings | changes).eval()

    return make


def test_events_are_read_in_both_directions(make_masked, events):
    encoder = make_masked()
    changed = one_event_changed(events, "item", user=6, position=7)
    moved = (encoder(events).vectors_BUE - encoder(changed).vectors_BUE)[6].abs().amax(dim=1)
    assert (moved > 1e-6).all()


def hand_loss(encoder, events):
    """Take one user at a time, mask the last event, and score with a whole softmax."""
    losses = {name: [] for name in encoder.heads}
    for user in range(len(events.mask)):
        history = row(events, user)
        length = int(history.mask.sum())
        before = {n: ids[:, : length - 1] for n, ids in history.features.items()}
        state = encoder(EventBatch(before, history.mask[:, : length - 1])).state_BE[0]
        for name, head in encoder.heads.items():
            log = F.log_softmax((head.table.weight @ head.map(state))[3:] + head.bias, dim=0)
            wanted = [i - 3 for i in history.features[name][0, -1].flatten().tolist() if i >= 3]
            losses[name].append(-sum(log[i] for i in wanted) / len(wanted))
    return sum(sum(values) / len(values) for values in losses.values()) / len(losses)


def test_masking_the_last_event_trains_exactly_what_ranks_the_next_one(make_masked, events):
    encoder = make_masked(mask_share=1e-9, mask_last=1.0)
    loss = encoder.pretraining_loss(events)
    assert loss.item() == pytest.approx(hand_loss(encoder, events).item(), abs=1e-5)


def predicting_states(encoder, events):
    """Return the states that a loss predicts from."""
    kept = []
    encoder.heads.loss = lambda states, *_: kept.append(states) or states.sum()
    torch.manual_seed(0)
    encoder.pretraining_loss(events)
    return kept[0]


@pytest.mark.parametrize("feature", ["item", "category", "rating"])
def test_nothing_of_a_masked_event_is_read(make_masked, events, feature):
    encoder = make_masked(mask_share=1e-9, mask_last=1.0)
    last = one_event_changed(events, feature, user=6, position=11)
    earlier = one_event_changed(events, feature, user=6, position=10)
    states = predicting_states(encoder, events)
    assert torch.equal(states, predicting_states(encoder, last))
    assert not torch.equal(states, predicting_states(encoder, earlier))


def test_events_are_masked_as_often_as_asked(make_masked, gather):
    encoder = make_masked(mask_share=0.2, mask_last=0.8)
    events = gather(np.arange(8), np.full(8, 11), 11)
    counts = []
    encoder.heads.loss = lambda states, *_: counts.append(len(states)) or states.sum()
    for _ in range(200):
        encoder.pretraining_loss(events)
    assert np.mean(counts) == pytest.approx(8 * (10 * 0.2 + 0.8), rel=0.05)


def test_the_loss_takes_one_event_more_than_is_read(make_masked, gather):
    encoder = make_masked()
    assert torch.isfinite(encoder.pretraining_loss(gather(np.arange(3), np.full(3, 13), 13)))


def test_a_batch_in_which_nothing_is_masked_has_no_loss(make_masked, events):
    loss = make_masked(mask_share=1e-9, mask_last=1e-9).pretraining_loss(events)
    assert loss == 0
    loss.backward()


@pytest.mark.parametrize("name", ["mask_share", "mask_last"])
@pytest.mark.parametrize("share", [0.0, 1.5])
def test_an_impossible_share_is_refused(make_masked, name, share):
    with pytest.raises(ValueError, match=rf"{name} \({share}\)"):
        make_masked(**{name: share})
