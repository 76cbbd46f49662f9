"""Other processes' share of the machine, from made-up counters."""

import pytest

from userllm.cost.neighbours import CpuTimes, Neighbours, cpu_times


def reader(*readings):
    left = iter(readings)
    return lambda: next(left)


@pytest.mark.parametrize(
    ("others", "share", "busy"),
    [(0.0, 0.0, False), (0.5, 0.025, False), (4.0, 0.2, True), (20.0, 1.0, True)],
)
def test_what_others_took_is_a_share_of_all_cores(others, share, busy):
    before = CpuTimes(everyone=100.0, own=30.0, wall=5.0, cores=2)
    # This process keeps one of two cores busy for ten seconds.
    after = CpuTimes(everyone=110.0 + others, own=40.0, wall=15.0, cores=2)
    report = Neighbours(reader(before, after)).report()
    assert report["other_cpu"] == pytest.approx(share)
    assert report["busy"] is busy


def test_counters_that_run_backwards_are_nobody():
    before = CpuTimes(everyone=100.0, own=30.0, wall=5.0, cores=2)
    after = CpuTimes(everyone=100.0, own=31.0, wall=6.0, cores=2)
    assert Neighbours(reader(before, after)).report()["other_cpu"] == 0.0


def test_the_real_counters_grow_and_hold_this_process():
    before = cpu_times()
    sum(number * number for number in range(300_000))
    after = cpu_times()
    assert after.wall > before.wall
    assert after.own >= before.own
    assert after.everyone >= before.everyone
    assert after.cores >= 1
