"""A summary is never of a later cut, and a writer has few to write."""

import numpy as np
import pytest

from userllm.summarizer.refresh import refreshed

CUTS = np.arange(400)


@pytest.mark.parametrize("refresh", [1, 2, 7, 25, 64])
def test_a_summary_is_never_of_a_later_cut_and_less_than_one_refresh_behind(refresh) -> None:
    used = refreshed(CUTS, refresh)
    assert (used <= CUTS).all()
    assert (CUTS - used < refresh).all()
    assert (used[1:] >= 1).all()
    assert used[0] == 0


def test_a_refresh_of_one_is_exact() -> None:
    assert np.array_equal(refreshed(CUTS, 1), CUTS)


def test_a_user_needs_few_summaries() -> None:
    assert len(np.unique(refreshed(CUTS[1:], 25))) == 399 // 25 + 5  # 1, 2, 4, 8, 16
