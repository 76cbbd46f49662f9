"""What other processes take of the machine while something is measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

BUSY = 0.05
"""Share of the machine's cores from which on a measured time is marked."""


@dataclass(frozen=True)
class CpuTimes:
    """CPU seconds so far.

    Attributes:
        everyone: Of all processes and of what the hypervisor took, over all cores.
        own: Of this process, all threads.
        wall: Seconds on the clock.
        cores: Cores that there are.
    """

    everyone: float
    own: float
    wall: float
    cores: int


def cpu_times() -> CpuTimes:
    """Read the operating system's counters; on Linux these are those of ``/proc/stat``."""
    whole, mine = psutil.cpu_times(), psutil.Process().cpu_times()
    # Guests are counted in user already; idle cores and those that wait for a disk are free.
    busy = ("user", "nice", "system", "irq", "softirq", "steal")
    everyone = sum(float(getattr(whole, name, 0.0)) for name in busy)
    own = float(mine.user + mine.system)
    return CpuTimes(everyone, own, time.monotonic(), psutil.cpu_count() or 1)


class Neighbours:
    """Watches the machine from its construction on.

    Args:
        read: Where the counters come from.
    """

    def __init__(self, read: Callable[[], CpuTimes] = cpu_times) -> None:
        self._read, self._begun, self._load = read, read(), _load()

    def report(self) -> dict[str, Any]:
        """Return the load before and after, others' share of the machine, and whether it is busy.

        Others' share is of all cores together, so that one process that keeps one of two cores
        busy takes half.
        """
        now, begun = self._read(), self._begun
        others = (now.everyone - begun.everyone) - (now.own - begun.own)
        available = max(now.wall - begun.wall, 1e-9) * now.cores
        share = min(max(others / available, 0.0), 1.0)
        return {
            "load": self._load,
            "load_after": _load(),
            "other_cpu": share,
            "busy": share > BUSY,
        }


def _load() -> float | None:
    """Return the load of the last minute, None where the system does not know it."""
    try:
        return float(psutil.getloadavg()[0])
    except (AttributeError, OSError):
        return None
