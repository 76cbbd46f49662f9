"""Which events may be learned from and which are held out.

Shape suffixes: N users.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Training events and held-out events of every user, as positions in the user's history.

    Attributes:
        name: Name of the rule that made it.
        train_end: int64 [N]; events before this position may be training targets.
        valid: int64 [N]; position of the event to predict in validation, or -1.
        test: int64 [N]; the same for the test.
    """

    name: str
    train_end: Int64Array
    valid: Int64Array
    test: Int64Array

    def targets(self, part: str) -> tuple[Int64Array, Int64Array]:
        """Return (users, ends) of a part: each user's history is events ``0 .. end-1``.

        Args:
            part: "valid" or "test".
        """
        position_N = {"valid": self.valid, "test": self.test}[part]
        users = np.flatnonzero(position_N >= 0)
        return users, position_N[users]

    def as_array(self) -> Int64Array:
        """Return the three positions as rows, [3, N], to be stored."""
        return np.stack([self.train_end, self.valid, self.test])


def leave_last_out(offsets: Int64Array, timestamps: Int64Array) -> Split:
    """Hold out each user's last event for the test and the one before for validation.

    Users with fewer than three events only train. Other users' later events may be trained on, so
    popularity of the future leaks; ``global_time`` is the split without that.

    Source: User-LLM section 5.1 (the last example of a user is the test example).
    """
    length_N = np.diff(offsets)
    enough_N = length_N >= 3
    return Split(
        "leave_last_out",
        train_end=np.where(enough_N, length_N - 2, length_N),
        valid=np.where(enough_N, length_N - 2, -1),
        test=np.where(enough_N, length_N - 1, -1),
    )


def time_cuts(timestamps: Int64Array) -> tuple[int, int]:
    """Return the instants at which the validation and the test period begin: 80 % and 90 %."""
    ranks = [int(0.8 * len(timestamps)), int(0.9 * len(timestamps))]
    valid_from, test_from = np.partition(timestamps, ranks)[ranks]
    return int(valid_from), int(test_from)


def global_time(offsets: Int64Array, timestamps: Int64Array) -> Split:
    """Cut all users at the same two instants, so that no event behind them is trained on.

    A user is asked for the first event of the validation and of the test period, provided that
    there is an earlier event to go by.
    """
    length_N = np.diff(offsets)
    valid_from, test_from = time_cuts(timestamps)
    train_end = _events_before(valid_from, offsets, timestamps)
    test_start = _events_before(test_from, offsets, timestamps)
    has_valid = (train_end > 0) & (train_end < test_start)
    has_test = (test_start > 0) & (test_start < length_N)
    return Split(
        "global_time",
        train_end=train_end,
        valid=np.where(has_valid, train_end, -1),
        test=np.where(has_test, test_start, -1),
    )


def _events_before(instant: int, offsets: Int64Array, timestamps: Int64Array) -> Int64Array:
    before = np.concatenate([[0], np.cumsum(timestamps < instant)])
    return np.asarray(before[offsets[1:]] - before[offsets[:-1]], dtype=np.int64)


SPLITS: dict[str, Callable[[Int64Array, Int64Array], Split]] = {
    "leave_last_out": leave_last_out,
    "global_time": global_time,
}
