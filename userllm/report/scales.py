"""Scales computed here, not by the plotting library, because labels are placed in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))
_FEWEST_TICKS = 3


@dataclass(frozen=True)
class Plane:
    """A plot of ``width`` x ``height`` pixels: cost to the right (log), score upwards."""

    width: int
    height: int
    costs: tuple[float, float]
    scores: tuple[float, float]

    def pixel(self, cost: float, score: float) -> tuple[float, float]:
        """Return where a point is drawn, y growing downwards."""
        (left, right), (low, high) = self.costs, self.scores
        x = log10(cost / left) / log10(right / left) * self.width
        return x, (high - score) / (high - low) * self.height


def log_domain(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of a logarithmic axis: at least one decade, with room at both ends."""
    low, high = log10(min(values)), log10(max(values))
    room = max(0.12 * (high - low), (1.0 - (high - low)) / 2, 0.1)
    return 10 ** (low - room), 10 ** (high + room)


def log_ticks(domain: tuple[float, float]) -> list[float]:
    """Return round values inside ``domain``, no denser than needed to read the axis."""
    decades = range(floor(log10(domain[0])), ceil(log10(domain[1])) + 1)
    for steps in _STEPS:
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in ticks if domain[0] <= tick <= domain[1]]
        if len(inside) >= _FEWEST_TICKS:
            break
    return inside


def padded(low: float, high: float, share: float = 0.08) -> tuple[float, float]:
    """Return a linear range with ``share`` of it as room at both ends."""
    room = (high - low or 1.0) * share
    return low - room, high + room
