"""Methods take turns, what has to be ready is not timed, and a busy machine is marked."""

import time

import pytest
import torch

from userllm.cost import latency, neighbours
from userllm.cost.latency import Latency, Timed

CPU = torch.device("cpu")


def noting(calls, name, *, pause=0.0):
    def ask(number):
        calls.append((name, number))
        time.sleep(pause)

    return Timed(ready=lambda number: calls.append((f"ready {name}", number)), ask=ask)


def test_every_method_does_its_first_repeat_before_any_does_its_second():
    calls = []
    asks = {name: noting(calls, name) for name in "abc"}
    Latency(repeats=2, warmup=1).interleave(asks, CPU)
    expected = [
        (word, number) for number in range(3) for name in "abc" for word in (f"ready {name}", name)
    ]
    assert calls == expected


def test_getting_ready_is_not_timed():
    slow = Timed(ready=lambda _: time.sleep(0.05), ask=lambda _: None)
    times = Latency(repeats=3, warmup=0).interleave({"": slow}, CPU)[""]
    assert times["p95"] < 25


def test_who_takes_long_is_repeated_less_often_and_says_so():
    calls = []
    asks = {"slow": noting(calls, "slow", pause=0.03), "quick": noting(calls, "quick")}
    found = Latency(repeats=5, warmup=1).interleave(asks, CPU, seconds=0.02)
    assert (found["slow"]["repeats"], found["slow"]["warmup"]) == (1, 0)
    assert (found["quick"]["repeats"], found["quick"]["warmup"]) == (5, 1)
    assert found["slow"]["p50"] >= 30


def test_parts_are_reported_beside_the_whole():
    def ask(number):
        time.sleep(0.02)
        return [0.001 * number]

    asks = {"all": Timed(ready=lambda _: time.sleep(0.05), ask=ask, parts=("part",))}
    found = Latency(repeats=3, warmup=1).interleave(asks, CPU)
    assert found["part"]["p50"] == pytest.approx(2.0)
    assert found["all"]["p50"] >= 20
    assert found["part"]["repeats"] == found["all"]["repeats"] == 3


def test_every_row_says_where_it_was_measured():
    found = Latency(repeats=4, warmup=2).measure(lambda _: None, CPU)
    assert found["repeats"] == 4
    assert found["threads"] == torch.get_num_threads()
    assert found["device"] == "cpu"
    assert found["p95"] >= found["p50"] >= 0
    assert {"load", "load_after", "other_cpu", "busy"} <= found.keys()


@pytest.mark.parametrize(("taken", "busy"), [(0.0, False), (0.9, True)])
def test_a_busy_machine_is_marked(monkeypatch, taken, busy):
    readings = iter(
        neighbours.CpuTimes(everyone=taken * at, own=0.0, wall=at, cores=1) for at in (1.0, 2.0)
    )
    monkeypatch.setattr(
        latency, "Neighbours", lambda: neighbours.Neighbours(lambda: next(readings))
    )
    assert Latency(repeats=1, warmup=0).measure(lambda _: None, CPU)["busy"] is busy


def test_nothing_to_repeat_is_refused():
    with pytest.raises(ValueError, match="repeats"):
        Latency(repeats=0, warmup=0)
