"""Cut training histories into windows and into single targets.

Shape suffixes: N users, W windows.
"""

import numpy as np

from userllm.data.corpus import Corpus
from userllm.data.split import Int64Array, Split
from userllm.errors import UserError


def training_windows(
    split: Split, offsets: Int64Array, length: int, *, stride: int | None, rng: np.random.Generator
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return (users, starts, ends), [W] each: events ``start .. end-1`` are a window's targets.

    Args:
        split: Windows stay before its ``train_end``.
        offsets: The corpus's offsets, [N+1].
        length: Largest number of targets in a window.
        stride: None cuts a history into consecutive windows, so that every target appears exactly
            once; histories longer than ``length`` are cut at a random phase, so that over epochs a
            target is seen behind contexts of every length. A number slides the window by so many
            events (1 is the paper's rule); the last window ends with the last target.
        rng: Draws the phases.

    Source: User-LLM section 5.1 (sliding windows).
    """
    if len(offsets) != len(split.train_end) + 1:
        raise ValueError(f"split of {len(split.train_end)} users, corpus of {len(offsets) - 1}")
    train_N = split.train_end
    if stride is None:
        phase_N = rng.integers(1, length + 1, size=len(train_N))
        first_N = np.where(train_N > length, phase_N, length)
        step = length
    else:
        first_N = np.full(len(train_N), length)
        step = stride
    windows_N = np.where(train_N > 0, 1 + -(-np.maximum(train_N - first_N, 0) // step), 0)
    users, number = _repeat(windows_N)
    ends = np.minimum(first_N[users] + number * step, train_N[users])
    if stride is None:
        starts = np.where(number == 0, 0, first_N[users] + (number - 1) * step)
    else:
        starts = np.maximum(ends - length, 0)
    return users, starts, ends


def training_cuts(split: Split, *, min_history: int) -> tuple[Int64Array, Int64Array]:
    """Return every (user, cut) where event ``cut`` is a training target with enough history.

    Args:
        split: Cuts stay before its ``train_end``.
        min_history: Least number of events before the cut.

    Raises:
        UserError: ``min_history`` is negative, where a cut would lie in another user's events.
    """
    if min_history < 0:
        raise UserError(f"task.min_history={min_history}: expected 0 or more")
    users, number = _repeat(np.maximum(split.train_end - min_history, 0))
    return users, number + min_history


def _repeat(counts_N: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return each user as often as counted, and the number 0, 1, ... of the repetition."""
    users = np.repeat(np.arange(len(counts_N)), counts_N)
    before_N = np.cumsum(counts_N) - counts_N
    return users, np.arange(len(users)) - before_N[users]


def training_positions(corpus: Corpus, split: Split) -> Int64Array:
    """Return the flat positions of all training events, user by user."""
    ends_N = split.train_end
    first_N = np.cumsum(ends_N) - ends_N
    shift_N = np.asarray(corpus.offsets)[:-1] - first_N
    position: Int64Array = np.arange(int(ends_N.sum())) + np.repeat(shift_N, ends_N)
    return position
