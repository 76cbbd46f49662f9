"""Peak memory belongs to the run that is measured, not to the process."""

import sys

import pytest
import torch

from userllm.training.memory import forget_peak_memory, peak_memory_bytes

BIG = 300 * 2**20


def test_the_peak_holds_what_was_freed_again() -> None:
    forget_peak_memory()
    before = peak_memory_bytes()
    values = torch.ones(BIG // 4)
    del values
    assert peak_memory_bytes() > before + BIG // 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start anew")
def test_a_new_measurement_forgets_the_old_peak() -> None:
    forget_peak_memory()
    start = peak_memory_bytes()
    values = torch.ones(BIG // 4)
    del values
    high = peak_memory_bytes()
    forget_peak_memory()
    assert peak_memory_bytes() < (start + high) / 2
