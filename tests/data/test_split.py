"""Nothing that is held out can be learned from, and every target is learned from once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userllm.data.split import SPLITS, Split, global_time, leave_last_out, time_cuts
from userllm.data.windows import training_cuts, training_windows
from userllm.errors import UserError

histories = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), min_size=1, max_size=8)


def flat(users):
    offsets = np.concatenate([[0], np.cumsum([len(user) for user in users])])
    return offsets, np.array([time for user in users for time in sorted(user)])


@pytest.mark.parametrize("name", SPLITS)
@given(users=histories)
def test_no_training_target_is_at_or_after_a_held_out_event(name, users):
    offsets, timestamps = flat(users)
    split = SPLITS[name](offsets, timestamps)
    for held_out in (split.valid, split.test):
        assert (split.train_end[held_out >= 0] <= held_out[held_out >= 0]).all()
    both = (split.valid >= 0) & (split.test >= 0)
    assert (split.valid[both] < split.test[both]).all()
    assert (split.train_end <= np.diff(offsets)).all()
    assert (split.test < np.diff(offsets)).all()


@given(users=histories)
def test_leave_last_out_tests_the_last_event_of_users_with_three(users):
    offsets, timestamps = flat(users)
    split = leave_last_out(offsets, timestamps)
    for user, history in enumerate(users):
        n = len(history)
        expected = (n - 2, n - 2, n - 1) if n >= 3 else (n, -1, -1)
        assert (split.train_end[user], split.valid[user], split.test[user]) == expected


@given(users=histories)
def test_global_time_never_trains_on_anything_later_than_a_held_out_event(users):
    offsets, timestamps = flat(users)
    split = global_time(offsets, timestamps)
    valid_from, test_from = time_cuts(timestamps)
    trained = [
        time
        for user, end in zip(users, split.train_end, strict=True)
        for time in sorted(user)[:end]
    ]
    assert all(time < valid_from for time in trained)
    for user, history in enumerate(users):
        times = sorted(history)
        if split.valid[user] >= 0:
            assert valid_from <= times[split.valid[user]] < test_from
        if split.test[user] >= 0:
            position = split.test[user]
            assert position >= 1
            assert times[position] >= test_from > times[position - 1]


def test_targets_are_the_users_with_a_held_out_event():
    split = Split("x", np.array([1, 2]), np.array([-1, 2]), np.array([1, 3]))
    assert [array.tolist() for array in split.targets("valid")] == [[1], [2]]
    assert [array.tolist() for array in split.targets("test")] == [[0, 1], [1, 3]]


def split_of(train_end):
    ends = np.array(train_end)
    return Split("x", ends, ends, ends), np.concatenate([[0], np.cumsum(ends)])


train_ends = st.lists(st.integers(0, 40), min_size=1, max_size=6)


@given(ends=train_ends, length=st.integers(1, 12), seed=st.integers(0, 99))
def test_consecutive_windows_cover_every_target_exactly_once(ends, length, seed):
    split, offsets = split_of(ends)
    rng = np.random.default_rng(seed)
    users, starts, stops = training_windows(split, offsets, length, stride=None, rng=rng)
    covered = [
        (int(u), int(t)) for u, a, b in zip(users, starts, stops, strict=True) for t in range(a, b)
    ]
    assert sorted(covered) == [(u, t) for u, end in enumerate(ends) for t in range(end)]
    assert ((stops - starts >= 1) & (stops - starts <= length)).all()


@given(ends=train_ends, length=st.integers(1, 12), stride=st.integers(1, 5))
def test_sliding_windows_are_full_and_end_with_the_last_target(ends, length, stride):
    split, offsets = split_of(ends)
    rng = np.random.default_rng(0)
    users, starts, stops = training_windows(split, offsets, length, stride=stride, rng=rng)
    for user, end in enumerate(ends):
        mine = users == user
        assert (stops[mine] - starts[mine] == min(length, end)).all()
        if end:
            assert (starts[mine][0], stops[mine][-1]) == (0, end)
            assert (np.diff(stops[mine]) <= stride).all()
        else:
            assert not mine.any()


def test_stride_one_gives_the_windows_of_the_paper():
    split, offsets = split_of([6])
    rng = np.random.default_rng(0)
    _, starts, stops = training_windows(split, offsets, 4, stride=1, rng=rng)
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == [(0, 4), (1, 5), (2, 6)]


def test_windows_begin_elsewhere_in_the_next_epoch():
    split, offsets = split_of([100])
    rng = np.random.default_rng(0)
    first = training_windows(split, offsets, 20, stride=None, rng=rng)[1]
    second = training_windows(split, offsets, 20, stride=None, rng=rng)[1]
    assert first.tolist() != second.tolist()


def test_split_of_another_corpus_is_refused():
    split, _ = split_of([3, 4])
    with pytest.raises(ValueError, match="split of 2 users, corpus of 3"):
        training_windows(split, np.arange(4), 5, stride=None, rng=np.random.default_rng(0))


@settings(max_examples=50)
@given(ends=train_ends, least=st.integers(0, 5))
def test_cuts_are_all_targets_with_enough_history(ends, least):
    split, _ = split_of(ends)
    users, cuts = training_cuts(split, min_history=least)
    expected = [(u, t) for u, end in enumerate(ends) for t in range(least, end)]
    assert list(zip(users.tolist(), cuts.tolist(), strict=True)) == expected


def test_a_negative_history_is_refused():
    split, _ = split_of([3, 4])
    with pytest.raises(UserError, match="min_history=-1"):
        training_cuts(split, min_history=-1)
