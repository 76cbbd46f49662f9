"""Where two costs meet."""

import numpy as np
import pytest

from userllm.cost.crossover import crossover

AT = np.linspace(0, 10, 101)


def test_lines_meet_where_they_do():
    assert crossover(AT, 3 * AT, 5 + AT) == pytest.approx(2.5)


def test_a_cost_that_starts_higher_is_never_lower():
    assert crossover(AT, 6 + AT, 5 + 0 * AT) == 0


def test_a_cost_that_stays_lower_is_always_lower():
    assert crossover(AT, 0.1 * AT, 5 + AT) is None
