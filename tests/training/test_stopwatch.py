"""Every moment belongs to the innermost part, whatever happens in it."""

import time

import pytest
import torch
from torch import nn

from userllm.training.stopwatch import Stopwatch, part_of, timed


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.outer = nn.Sequential(nn.Linear(2, 2), nn.Identity())

    def forward(self, x):
        time.sleep(0.02)
        return self.outer(x)


def test_parts_add_up_to_the_time_there_was():
    watch = Stopwatch(torch.device("cpu"))
    began = time.perf_counter()
    watch.restart()
    with watch.part("outer"):
        time.sleep(0.02)
        with watch.part("inner"):
            time.sleep(0.03)
        time.sleep(0.01)
    seconds = watch.read()
    assert sum(seconds.values()) == pytest.approx(time.perf_counter() - began, abs=2e-3)
    assert seconds["outer"] >= 0.03
    assert seconds["inner"] >= 0.03


def test_a_part_ends_with_an_error():
    watch = Stopwatch(torch.device("cpu"))
    with pytest.raises(ZeroDivisionError), watch.part("broken"):
        raise ZeroDivisionError
    watch.restart()
    time.sleep(0.01)
    assert watch.read().keys() == {""}


def test_modules_are_left_as_they_were():
    model, x = Model(), torch.ones(1, 2)
    expected = model(x)
    watch = Stopwatch(torch.device("cpu"))
    with timed(watch, model, {"outer": "outside", "outer.1": "inside"}):
        assert torch.equal(model(x), expected)
    assert {"", "outside", "inside"} <= watch.read().keys()
    assert watch.seconds["outside"] < watch.seconds[""]
    assert all("forward" not in vars(part) for part in model.modules())


@pytest.mark.parametrize(
    ("path", "part"),
    [("a", "A"), ("a.x", "A"), ("a.b", "B"), ("a.b.c", "B"), ("ab", None), ("", None)],
)
def test_the_longest_path_decides(path, part):
    assert part_of(path, {"a": "A", "a.b": "B"}) == part
