import pytest
from hypothesis import given
from hypothesis import strategies as st

from userllm.training.passes import split_batch


@given(batch=st.integers(1, 500), micro=st.integers(1, 300), accumulate=st.integers(1, 4))
def test_passes_together_are_the_batch(batch, micro, accumulate):
    options = {"accumulate_grad_batches": accumulate, "devices": 2}
    rows, changed = split_batch(batch, micro, options)
    assert rows * changed["accumulate_grad_batches"] == batch * accumulate
    assert rows <= micro
    assert changed["devices"] == 2


@pytest.mark.parametrize("micro", [None, 8, 500])
def test_a_batch_that_fits_is_one_pass(micro):
    assert split_batch(8, micro, {}) == (8, {"accumulate_grad_batches": 1})


def test_a_pass_is_as_large_as_allowed():
    assert split_batch(12800, 256, {})[0] == 256
    assert split_batch(24, 16, {})[0] == 12
