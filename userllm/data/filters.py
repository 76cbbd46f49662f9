"""Drop rare users and items, and keep count of what each step leaves.

Source: User-LLM section 5.1 states no filter; Table 1's counts suggest one (see the data card).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userllm.data.columns import ITEM, USER
from userllm.data.ordering import Coded
from userllm.errors import UserError


@dataclass(frozen=True)
class Count:
    """What is left after one step of the preparation."""

    step: str
    events: int
    users: int
    items: int


def count(step: str, coded: Coded) -> Count:
    """Count events, users and catalogue items."""
    return Count(step, coded.events.height, coded.users.height, coded.items.height)


def keep_frequent(
    coded: Coded, min_user_events: int, min_item_events: int
) -> tuple[Coded, list[Count]]:
    """Drop rare items, then rare users, again and again until nothing changes (a k-core).

    Args:
        coded: Coded events of all users and items.
        min_user_events: Least number of events of a kept user.
        min_item_events: Least number of events of a kept item; 0 keeps items nobody touched.

    Returns:
        What is kept, coded anew without gaps, and the count after each step that dropped
        something (after the first two always).
    """
    users, items = coded.events[USER].to_numpy(), coded.events[ITEM].to_numpy()
    keep = np.ones(len(users), dtype=bool)
    counts: list[Count] = []
    changed = True
    while changed:
        before = keep.sum()
        frequent_items = np.bincount(items[keep], minlength=coded.items.height) >= min_item_events
        keep &= frequent_items[items]
        counts.append(
            _count(f"items with >= {min_item_events} events", users[keep], frequent_items)
        )
        # A user without events is no user, so the bar is never below one.
        least = max(min_user_events, 1)
        frequent_users = np.bincount(users[keep], minlength=coded.users.height) >= least
        keep &= frequent_users[users]
        counts.append(
            _count(f"users with >= {min_user_events} events", users[keep], frequent_items)
        )
        changed = keep.sum() < before
    return _without_gaps(coded, keep, frequent_users, frequent_items), _steps_that_dropped(counts)


def _count(step: str, users: NDArray[np.int32], frequent_items: NDArray[np.bool_]) -> Count:
    return Count(step, len(users), len(np.unique(users)), int(frequent_items.sum()))


def _without_gaps(
    coded: Coded,
    keep: NDArray[np.bool_],
    kept_users: NDArray[np.bool_],
    kept_items: NDArray[np.bool_],
) -> Coded:
    """Return the kept events with users and items numbered 0, 1, 2, ... again."""
    new_user = np.cumsum(kept_users, dtype=np.int32) - np.int32(1)
    new_item = np.cumsum(kept_items, dtype=np.int32) - np.int32(1)
    events = coded.events.filter(pl.Series(keep))
    return Coded(
        events=events.with_columns(
            pl.Series(USER, new_user[events[USER].to_numpy()]),
            pl.Series(ITEM, new_item[events[ITEM].to_numpy()]),
        ),
        users=coded.users.filter(pl.Series(kept_users)),
        items=coded.items.filter(pl.Series(kept_items)),
    )


def _steps_that_dropped(counts: list[Count]) -> list[Count]:
    later = [
        now
        for before, now in pairwise(counts[1:])
        if (now.events, now.users, now.items) != (before.events, before.users, before.items)
    ]
    return [*counts[:2], *later]


def refuse_empty(counts: list[Count], longest: int, name: str) -> None:
    """Raise ``UserError`` with the counts per step when no event is left.

    Args:
        counts: What each step left.
        longest: Events of the longest history before users and items were dropped.
        name: Name of the dataset.
    """
    if counts[-1].events:
        return
    table = "\n".join(
        f"  {c.step:<40} {c.events:>12,} events {c.users:>10,} users {c.items:>10,} items"
        for c in counts
    )
    raise UserError(
        f"data={name}: no events are left after the filters:\n{table}\n"
        f"The longest history holds {longest:,} events. "
        "Lower data.min_user_events or data.min_item_events, or give more data."
    )
