"""Which methods are worth considering at all."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]], *, lower: bool = False) -> list[int]:
    """Return the indices of (cost, score) that no other point beats, cheapest first.

    A point is beaten by one that is at least as cheap and at least as good, and better in one of
    the two; of equal points none beats the other.

    Args:
        points: Cost and score of each method.
        lower: Whether a lower score is better; a lower cost always is.
    """
    signed = [(cost, -score if lower else score) for cost, score in points]

    def beaten(point: tuple[float, float]) -> bool:
        return any(
            other[0] <= point[0] and other[1] >= point[1] and other != point for other in signed
        )

    front = [index for index, point in enumerate(signed) if not beaten(point)]
    return sorted(front, key=lambda index: signed[index])
