"""Where to write the names of points so that they do not cover each other."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

CHARACTER = 5.6
"""Mean width in pixels of a character at `LINE` height, on the wide side."""
LINE = 14.0
GAP = 9.0
NEXT = GAP + 2
"""From a point to the line above or below it."""
STROKE = 2.0
MARK = 5.0
AWAY = 2.0
"""What a pixel between a label's line and its point's costs, in pixels that it would cover."""

ROUNDS = 3
"""How often each name is placed."""

Align = Literal["left", "right", "center"]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y growing downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, one: tuple[float, float], other: tuple[float, float]) -> "Box":
        """Return what a line between two points covers."""
        (x, y), (other_x, other_y) = one, other
        return cls(
            min(x, other_x) - STROKE,
            min(y, other_y) - STROKE,
            max(x, other_x) + STROKE,
            max(y, other_y) + STROKE,
        )

    def overlap(self, other: "Box") -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def overlaps(self, others: Iterable["Box"]) -> float:
        """Return the area covered together with any of ``others``, counted for each."""
        return sum(self.overlap(other) for other in others)

    def distance(self, point: tuple[float, float]) -> float:
        """Return how far a point is outside, in pixels."""
        x, y = point
        beside = max(self.left - x, x - self.right, 0.0)
        return math.hypot(beside, max(self.top - y, y - self.bottom, 0.0))

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Label:
    """A text and its offset from its point, in pixels."""

    text: str
    dx: float
    dy: float
    align: Align


def place(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    obstacles: Iterable[Box],
    frame: Box,
) -> list[Label]:
    """Choose, point by point, the position that covers least of what is already drawn.

    Names that were placed first make way for later ones in further rounds. A position where
    another point is nearer than its own is as bad as a label that is covered.

    Args:
        points: Positions in pixels.
        texts: What to write, one per point.
        obstacles: What must stay readable: error bars and other labels.
        frame: The plot; text outside of it would be cut off.
    """
    drawn = [*obstacles, *(_mark(x, y) for x, y in points)]
    labels: dict[int, Label] = {}
    for number, (point, text) in list(enumerate(zip(points, texts, strict=True))) * ROUNDS:
        labels.pop(number, None)
        taken = drawn + [box_of(label, *points[other]) for other, label in labels.items()]
        costs = {
            label: _cost(label, point, taken, frame) + _mistaken(label, point, points)
            for label in _candidates(text)
        }
        labels[number] = min(costs, key=lambda label: costs[label])
    return [labels[number] for number in range(len(points))]


def _candidates(text: str) -> list[Label]:
    """List the positions around a point, the most readable first."""
    return [
        Label(text, dx, dy, align)
        for dy in (0.0, -NEXT, NEXT, -NEXT - LINE, NEXT + LINE)
        for dx, align in _sides(dy)
    ]


def _sides(dy: float) -> tuple[tuple[float, Align], ...]:
    beside: tuple[tuple[float, Align], ...] = ((GAP, "left"), (-GAP, "right"))
    return beside if dy == 0 else (*beside, (0.0, "center"))


def box_of(label: Label, x: float, y: float) -> Box:
    """Return what a label covers when its point is drawn at (x, y)."""
    width = CHARACTER * len(label.text)
    start = {"left": 0.0, "right": -width, "center": -width / 2}[label.align]
    left, middle = x + label.dx + start, y + label.dy
    return Box(left, middle - LINE / 2, left + width, middle + LINE / 2)


def _mark(x: float, y: float) -> Box:
    return Box(x - MARK, y - MARK, x + MARK, y + MARK)


def _cost(label: Label, point: tuple[float, float], taken: Iterable[Box], frame: Box) -> float:
    """Return the covered area and more for the way to the point, most for leaving the frame."""
    box = box_of(label, *point)
    outside = box.area - box.overlap(frame)
    return 10 * outside + box.overlaps(taken) + AWAY * abs(label.dy)


def _mistaken(
    label: Label, point: tuple[float, float], points: Sequence[tuple[float, float]]
) -> float:
    """Return the label's area where a reader would take it for another point's, else zero."""
    box = box_of(label, *point)
    nearest = min(box.distance(other) for other in points)
    return box.area if nearest < box.distance(point) else 0.0
