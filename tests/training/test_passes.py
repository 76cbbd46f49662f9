from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.test_fit import STEPS, Regression, train
from userllm.errors import UserError
from userllm.training.parts import PartWeights
from userllm.training.passes import processes, split_batch


@given(
    share=st.integers(1, 500),
    count=st.integers(1, 8),
    micro=st.integers(1, 300),
    accumulate=st.integers(1, 4),
)
def test_passes_of_all_processes_together_are_the_batch(share, count, micro, accumulate):
    options = {"accumulate_grad_batches": accumulate, "devices": count}
    rows, changed = split_batch(share * count, micro, options)
    assert rows * count * changed["accumulate_grad_batches"] == share * count * accumulate
    assert rows <= micro
    assert changed["devices"] == count


@pytest.mark.parametrize("micro", [None, 8, 500])
def test_a_batch_that_fits_is_one_pass(micro):
    assert split_batch(8, micro, {}) == (8, {"accumulate_grad_batches": 1})


def test_a_pass_is_as_large_as_allowed():
    assert split_batch(12800, 256, {})[0] == 256
    assert split_batch(24, 16, {})[0] == 12
    assert split_batch(24, 16, {"devices": 3})[0] == 8


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"batch_size=8 .* 3 processes.*type .*=6"):
        split_batch(8, None, {"devices": 3})


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 1),
        ({"devices": 4, "num_nodes": 2}, 8),
        ({"devices": "2"}, 2),
        ({"devices": "0,3"}, 2),
        ({"devices": [1, 2, 5]}, 3),
        ({"devices": "auto", "accelerator": "cpu"}, 1),
    ],
    ids=str,
)
def test_processes_are_counted_as_lightning_counts_them(options, count):
    assert processes(options) == count


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (4, 2)])
def test_a_run_goes_on_with_steps_that_are_divided_otherwise(tmp_path, before, after):
    class Counted(Regression):
        def __init__(self):
            super().__init__()
            self.passes = Counter()

        def training_step(self, batch, batch_idx):
            self.passes[self.trainer.global_step] += 1
            return super().training_step(batch, batch_idx)

    with pytest.raises(ZeroDivisionError):
        train(tmp_path, Regression(die_at=5), accumulate_grad_batches=before)
    module, summary = train(tmp_path, Counted(), accumulate_grad_batches=after)
    assert summary.resumed_from == 3
    assert module.passes == dict.fromkeys(range(3, STEPS), after)


@pytest.mark.parametrize("world", [1, 2])
def test_the_parts_of_a_step_are_weighed_once(world):
    asked = []

    def weights(numbers):
        asked.append(list(numbers))
        return [float(number) for number in numbers]

    parts = 4 * world
    trainer = SimpleNamespace(accumulate_grad_batches=4, world_size=world, global_rank=world - 1)
    callback, given = PartWeights(weights), []
    for batch in range(12):
        callback.on_train_batch_start(trainer, None, None, batch)
        given.append(callback.weight)
    assert asked == [list(range(step * parts, (step + 1) * parts)) for step in range(3)]
    assert given == [batch * world + world - 1 for batch in range(12)]
