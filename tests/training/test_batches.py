"""Batches are what their number and the seed say, whichever were made before."""

import numpy as np

from userllm.training.batches import EpochBatches, step_rng


def test_epoch_shows_no_row_twice():
    batches = EpochBatches(lambda rng: [np.arange(35)], batch_size=8, seed=0)
    rows = np.concatenate([batches(number)[0] for number in range(4)])
    assert len(set(rows.tolist())) == 32


def test_grouped_batches_hold_like_lengths_and_every_row_once():
    lengths = np.random.default_rng(1).integers(1, 500, size=1_003)
    by_chance, alike = (
        EpochBatches(lambda rng: [np.arange(len(lengths))], batch_size=8, seed=0, lengths=given)
        for given in (None, lambda columns: lengths[columns[0]])
    )
    rows = [[make(number)[0] for number in range(125)] for make in (by_chance, alike)]
    assert sorted(np.concatenate(rows[1])) == sorted(set(np.concatenate(rows[1])))
    padded, least = (
        sum(lengths[batch].max() * len(batch) - lengths[batch].sum() for batch in batches)
        for batches in rows
    )
    assert least < 0.1 * padded
    # Batches of any length come at any time, another order in every epoch, the same for a number.
    means = [lengths[batch].mean() for batch in rows[1]]
    assert abs(np.corrcoef(means, np.arange(125))[0, 1]) < 0.3
    assert not np.array_equal(alike(0)[0], alike(125)[0])
    assert np.array_equal(alike(3)[0], rows[1][3])


def test_generators_of_different_places_differ():
    assert step_rng(0, 1).random() != step_rng(0, 2).random() != step_rng(1, 2).random()


def test_a_step_whose_parts_are_of_two_epochs_makes_each_once():
    made = []

    def epoch(rng):
        made.append(1)
        return [np.arange(10)]

    batches = EpochBatches(epoch, batch_size=2, seed=0)
    for _ in range(3):
        for number in range(3, 7):
            batches(number)
    assert len(made) == 2
