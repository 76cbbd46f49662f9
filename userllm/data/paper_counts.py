"""The counts of the paper's Table 1, and the same counts of any data by every likely rule.

The paper does not state how long a user's history must be, nor whether the test window is
among the training windows. Two numbers of its table settle both: the users, and the training
examples, which are the sum of (n - k) over users with n >= m events.

Source: User-LLM Table 1 and section 5.1.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LENGTH = 50
"""Events of a window in the paper's Table 1."""

MINIMUMS = (LENGTH + 1, LENGTH + 2, LENGTH + 3)
SUBTRACTED = (LENGTH, LENGTH + 1, LENGTH + 2)
# Windows of 50 events and a label, the last of them the test; a user needs one more to train on.
USUAL_RULE = (LENGTH + 2, LENGTH + 1)

# Counts farther away than this, summed over both, are of other data whatever the rule is.
NEAR = 0.1


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper's Table 1; the number of test examples is the number of users."""

    users: int
    items: int
    train: int


TABLE_1 = {
    "MovieLens-20M": PaperRow(82_977, 27_280, 13_821_405),
    "Google Review": PaperRow(80_080, 270_721, 3_387_375),
    "Amazon Review": PaperRow(5_756, 177_978, 357_258),
}


def paper_counts(
    users: Array, items: Array, *, catalogue: int, dataset: str | None
) -> dict[str, Any]:
    """Return Table 1's counts of what was read, before any filter, for the data card.

    Args:
        users: User code of every event; codes have no gaps.
        items: Item code of every event.
        catalogue: Number of items in the item table.
        dataset: A key of ``TABLE_1`` to compare with, or None.
    """
    length_N = np.bincount(users)
    kept = {m: int((length_N >= m).sum()) for m in MINIMUMS}
    train = {m: {k: int((length_N[length_N >= m] - k).sum()) for k in SUBTRACTED} for m in MINIMUMS}
    target = None if dataset is None else TABLE_1[dataset]
    nearest, distance = _nearest(kept, train, target)
    fits = target is not None and distance <= NEAR
    m, k = nearest if fits else USUAL_RULE
    read = {
        "users": kept[m],
        "items": catalogue,
        "items_with_events": _distinct(items),
        "items_of_these_users": _distinct(items[length_N[users] >= m]),
        "train": train[m][k],
    }
    return {
        "dataset": dataset,
        "sequence_length": LENGTH,
        "users_by_minimum": {str(m): n for m, n in kept.items()},
        "train_by_rule": {str(m): {str(k): n for k, n in of.items()} for m, of in train.items()},
        "rule": {"minimum_events": m, "subtracted": k, "fits": fits},
        "read": read,
        "paper": None if target is None else asdict(target),
    }


def _distinct(codes: Array) -> int:
    return int(np.count_nonzero(np.bincount(codes)))


def _nearest(
    users: dict[int, int], train: dict[int, dict[int, int]], target: PaperRow | None
) -> tuple[tuple[int, int], float]:
    """Return (m, k) with the smallest sum of relative distances to two targets, and that sum."""
    if target is None:
        return USUAL_RULE, 0.0
    far = {
        (m, k): abs(users[m] / target.users - 1) + abs(train[m][k] / target.train - 1)
        for m in MINIMUMS
        for k in SUBTRACTED
    }
    rule = min(far, key=lambda rule: (far[rule], rule != USUAL_RULE))
    return rule, far[rule]


# Count -> its name in Table 1; the paper has one number of items and does not say of which.
NAMES = {
    "users": "#users",
    "items": "#items in the catalogue",
    "items_with_events": "#items with events",
    "items_of_these_users": "#items of these users",
    "train": "#train",
    "sequence_length": "sequence length",
    "test": "#test",
}


def table_1_rows(counts: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return Table 1 as (name, what was read, the paper's); other data has no third column."""
    length = {"sequence_length": counts["sequence_length"]}
    columns = [{**counts["read"], **length, "test": counts["read"]["users"]}]
    if paper := counts["paper"]:
        columns.append({**paper, **length, "test": paper["users"]})
    return [
        (name, *(f"{column[key]:,}" if key in column else "" for column in columns))
        for key, name in NAMES.items()
    ]


def window_rows(counts: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return one row per m: the users with n >= m events, and their sum of n - k for every k.

    The last row repeats the paper's numbers, which one column should meet.
    """
    rows = [
        (f"n >= {m}", f"{users:,}", *(f"{n:,}" for n in counts["train_by_rule"][m].values()))
        for m, users in counts["users_by_minimum"].items()
    ]
    if paper := counts["paper"]:
        rows.append(("the paper's", f"{paper['users']:,}", *[f"{paper['train']:,}"] * 3))
    return rows


def rule_in_words(counts: dict[str, Any]) -> str:
    """Return a sentence on the rule that the counts of Table 1 follow."""
    m, k = counts["rule"]["minimum_events"], counts["rule"]["subtracted"]
    rule = f"users with n >= {m} events, n - {k} training examples each"
    if counts["paper"] is None:
        return f"Rule of these counts: {rule}. The data is none of the paper's."
    paper, read = counts["paper"], counts["read"]
    off = ", ".join(f"#{key} {read[key] / paper[key] - 1:+.2%}" for key in ("users", "train"))
    if counts["rule"]["fits"]:
        return f"The rule that fits the paper's {counts['dataset']} best: {rule} ({off})."
    return (
        f"No rule comes near the paper's {counts['dataset']}, so this is only a part of it or "
        f"another release. Rule of these counts: {rule} ({off})."
    )
