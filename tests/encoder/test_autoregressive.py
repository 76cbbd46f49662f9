"""What the autoregressive encoder promises, and its loss against numbers made another way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from encoder_events import one_event_changed, row
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize("feature", ["item", "category", "rating"])
def test_changing_an_event_leaves_earlier_states_alone_and_moves_later_ones(
    encoder, events, feature
):
    changed = one_event_changed(events, feature, user=6, position=7)
    before, after = encoder.states(events)[6], encoder.states(changed)[6]
    assert torch.equal(before[:8], after[:8])
    assert ((before[8:] - after[8:]).abs().amax(dim=1) > 1e-6).all()


def test_padded_batch_equals_each_history_alone(encoder, events):
    together = encoder.states(events)
    for user in range(8):
        alone = encoder.states(row(events, user))[0]
        assert torch.allclose(together[user, : len(alone)], alone, atol=1e-5)


def test_wider_padding_changes_nothing(encoder, gather):
    users, ends = np.arange(4), np.array([3, 5, 2, 6])
    narrow, wide = gather(users, ends, 12), gather(users, ends, 12, pad_to=12)
    states = encoder.states(wide)
    assert states.shape == (4, 13, 16)
    assert torch.allclose(encoder.states(narrow), states[:, :7], atol=1e-5)
    assert not states[:, 7:].any()


def test_history_without_events_has_the_state_of_its_beginning(encoder, gather):
    states = encoder.states(gather(np.arange(2), np.array([0, 4]), 12))
    assert torch.allclose(states[0, 0], states[1, 0])
    assert states[0, 0].any()


def test_longer_history_than_it_can_read_is_refused(encoder, gather):
    with pytest.raises(ValueError, match="13 events, but max_events is 12"):
        encoder.states(gather(np.array([0]), np.array([13]), 13))


def test_reading_and_predicting_share_one_table(encoder):
    names = [name for name, _ in encoder.named_parameters()]
    assert "embedding.tables.item.weight" in names
    assert not [name for name in names if name.startswith("heads.item.table")]
    assert encoder.heads["item"].table.weight is encoder.embedding.table("item").weight


def test_item_map_starts_as_the_identity(encoder):
    assert torch.equal(encoder.heads["item"].map.weight, torch.eye(16))
    assert torch.equal(encoder.item_table, encoder.embedding.table("item").weight)


def hand_loss(encoder, events):
    """Go event by event with a whole softmax each, as the paper writes it."""
    totals = {"item": [], "category": [], "rating": []}
    for user in range(len(events.mask)):
        history = row(events, user)
        states = encoder.states(history)[0]
        for position in range(int(events.mask[user].sum())):
            for name, losses in totals.items():
                head = encoder.heads[name]
                scores = head.table.weight @ (head.map.weight @ states[position])
                log = F.log_softmax(scores[3:] + head.bias, dim=0)
                wanted = [
                    i for i in history.features[name][0, position].flatten().tolist() if i >= 3
                ]
                if wanted:
                    losses.append(-sum(log[i - 3] for i in wanted) / len(wanted))
    return sum(sum(losses) / len(losses) for losses in totals.values()) / 3


def test_loss_equals_the_loss_worked_out_event_by_event(encoder, events):
    events.features["rating"][2, 1] = 2
    events.features["category"][3, 0] = 0
    torch.nn.init.normal_(encoder.heads["item"].bias)
    assert encoder.pretraining_loss(events).item() == pytest.approx(
        hand_loss(encoder, events).item(), abs=1e-5
    )


def test_loss_does_not_depend_on_padding_and_takes_one_event_more_than_is_read(encoder, gather):
    users, ends = np.arange(3), np.array([13, 6, 13])
    batch = gather(users, ends, 13)
    wide = gather(users[1:2], ends[1:2], 13, pad_to=13)
    narrow = gather(users[1:2], ends[1:2], 13)
    assert torch.isfinite(encoder.pretraining_loss(batch))
    assert encoder.pretraining_loss(wide).item() == pytest.approx(
        encoder.pretraining_loss(narrow).item(), abs=1e-6
    )


def test_closed_form_equals_the_counter_on_unfused_attention(encoder, gather):
    # Every position filled, as the counter does not know that padding is skipped.
    events = gather(np.array([0, 1]), np.array([9, 9]), 9)
    kernel = torch.nn.attention.SDPBackend.MATH
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(kernel):
        encoder.states(events)
    assert counter.get_total_flops() == 2 * encoder.flops(9).total


def test_unknown_feature_is_refused_with_what_there_is(corpus, make_encoder):
    with pytest.raises(ValueError, match=r"\['item', 'year'\].*'category', 'item', 'rating'"):
        make_encoder(corpus.vocabulary, features=["item", "year"])


def test_feature_without_width_is_refused(corpus, make_encoder):
    with pytest.raises(ValueError, match=r"no entry for \['rating'\]"):
        make_encoder(corpus.vocabulary, feature_width={"item": 16, "category": 4})


def test_encoder_of_items_alone_works(corpus, events, make_encoder):
    encoder = make_encoder(corpus.vocabulary, features=["item"])
    assert torch.isfinite(encoder.pretraining_loss(events))


def test_batch_of_full_histories_equals_the_same_with_padding_beside_it(encoder, gather):
    full = gather(np.array([0, 1]), np.array([6, 6]), 6)
    mixed = gather(np.array([0, 1, 2]), np.array([6, 6, 2]), 6)
    assert torch.allclose(encoder.states(full), encoder.states(mixed)[:2], atol=1e-5)
