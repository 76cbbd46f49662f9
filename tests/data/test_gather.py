"""Batches are what a plain loop would have collected."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from userllm.data.gather import HistoryGather, ragged_gather


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    pad_to=st.one_of(st.none(), st.integers(5, 8)),
)
def test_ragged_gather_equals_a_loop(lengths, pad_to):
    flat = np.arange(1, 31)
    starts = np.arange(len(lengths)) * 4
    padded, mask = ragged_gather(flat, starts, np.array(lengths), pad_to=pad_to)
    width = pad_to or max(lengths)
    expected = [
        flat[s : s + n].tolist() + [0] * (width - n) for s, n in zip(starts, lengths, strict=True)
    ]
    assert padded.tolist() == expected
    assert mask.sum(axis=1).tolist() == lengths


def naive(corpus, user, start, end, length):
    """Events of one user, one at a time."""
    offset = corpus.offsets[user]
    positions = range(offset + max(start, end - length), offset + end)
    items = [int(corpus.features["item"][i]) for i in positions]
    ratings = [int(corpus.features["rating"][i]) for i in positions]
    return items, ratings, [corpus.item_categories[item].tolist() for item in items]


def test_gather_equals_a_loop(corpus):
    rng = np.random.default_rng(0)
    gather = HistoryGather(corpus)
    lengths = np.diff(corpus.offsets)
    for length in (1, 7, 1000):
        users = rng.integers(0, len(lengths), size=9)
        ends = rng.integers(0, lengths[users] + 1)
        starts = rng.integers(0, ends + 1)
        batch = gather(users, ends, length, starts)
        for row in range(9):
            items, ratings, categories = naive(corpus, users[row], starts[row], ends[row], length)
            n = len(items)
            assert batch.mask[row].tolist() == [True] * n + [False] * (batch.mask.shape[1] - n)
            assert batch.features["item"][row, :n].tolist() == items
            assert batch.features["rating"][row, :n].tolist() == ratings
            assert batch.features["category"][row, :n].tolist() == categories
            for value in batch.features.values():
                assert value.dtype == torch.int64
                assert not value[row, n:].any()


def test_padding_is_as_wide_as_asked_for(corpus):
    batch = HistoryGather(corpus)(np.array([0, 1]), np.array([3, 2]), 10, pad_to=10)
    assert batch.mask.shape == (2, 10)
    assert batch.features["category"].shape[:2] == (2, 10)


def test_events_at_or_after_the_end_are_not_read(corpus):
    gather = HistoryGather(corpus)
    before = gather(np.array([2]), np.array([5]), 50)
    gather.flat = {name: np.array(flat) for name, flat in gather.flat.items()}
    for flat in gather.flat.values():
        flat[corpus.offsets[2] + 5 : corpus.offsets[3]] = 1
    after = gather(np.array([2]), np.array([5]), 50)
    assert all(torch.equal(before.features[name], after.features[name]) for name in after.features)


def test_batch_moves_as_a_whole(corpus):
    batch = HistoryGather(corpus)(np.array([0]), np.array([3]), 10).to("meta")
    assert batch.mask.is_meta
    assert all(value.is_meta for value in batch.features.values())
