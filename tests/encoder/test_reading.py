"""A history read event by event equals the history read at once, for every causal encoder."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.contract.test_every_encoder import OPTIONS, make
from userllm.data.gather import EventBatch
from userllm.encoder.reading import appending
from userllm.errors import UserError

BOTH_WAYS = ["masked"]


@pytest.fixture(params=[option for option in OPTIONS if option not in BOTH_WAYS])
def causal(request, corpus):
    return make(request.param, corpus).eval()


def at(events, position):
    """Return one event [B, 1] of everybody."""
    one = slice(position, position + 1)
    features = {name: ids[:, one] for name, ids in events.features.items()}
    return EventBatch(features, torch.ones_like(events.mask[:, one]))


def assert_same(one, other):
    assert torch.equal(one.mask_BU, other.mask_BU)
    real = one.mask_BU
    torch.testing.assert_close(one.vectors_BUE[real], other.vectors_BUE[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.state_BE, other.state_BE, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("first", [0, 5])
def test_events_one_at_a_time_equal_all_at_once(causal, gather, first):
    users, nine = np.arange(3), np.full(3, 9)
    events = gather(users, nine, 9)
    with torch.no_grad():
        memory, reading = appending(causal).start(gather(users, np.full(3, first), 9))
        assert_same(memory, causal(gather(users, np.full(3, first), 9)))
        for position in range(first, 9):
            memory = causal.append(reading, at(events, position))
            assert_same(memory, causal(gather(users, np.full(3, position + 1), 9)))


def test_histories_of_different_lengths_grow_together(causal, gather):
    users, ends = np.arange(4), np.array([3, 0, 6, 1])
    with torch.no_grad():
        _, reading = causal.start(gather(users, ends, 12))
        for more in range(1, 4):
            one = gather(users, ends + more, 1)
            assert_same(causal.append(reading, one), causal(gather(users, ends + more, 12)))


def test_a_full_history_is_refused_with_what_to_do(causal, gather):
    _, reading = causal.start(gather(np.array([0]), np.array([12]), 12))
    with pytest.raises(ValueError, match=r"full \(12 events\).*start again with its latest"):
        causal.append(reading, gather(np.array([0]), np.array([13]), 1))


def test_what_reads_in_both_directions_refuses_in_one_sentence(corpus):
    for option in BOTH_WAYS:
        with pytest.raises(UserError, match=r"not causal.*Read the whole history again"):
            appending(make(option, corpus))


def test_closed_form_equals_the_counter_on_unfused_attention(causal, gather):
    _, reading = causal.start(gather(np.arange(2), np.array([7, 7]), 12))
    event = gather(np.arange(2), np.array([8, 8]), 1)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        causal.append(reading, event)
    assert counter.get_total_flops() == 2 * causal.append_flops(7.0).total


def test_one_event_behind_two_hundred_is_a_two_hundredth_of_the_work(causal):
    assert causal.flops(200.0).total / causal.append_flops(199.0).total > 100
