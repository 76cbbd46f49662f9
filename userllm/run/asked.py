"""A task in numbers: what an answer is made of, for estimates that see no data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from userllm.run.assumptions import CHOICES_PER_ANSWER, DataSize


@dataclass(frozen=True)
class Asked:
    """One task of a run.

    Attributes:
        share: Its share of the training batches.
        answer: Tokens of a true answer that the language model reads; 0 with an item head.
        users: Share of the users that the test asks.
        reads: Tokens read in each pass of an answer, [passes].
        sees: Positions that they see beyond the prompt, [passes].
        item_head: Whether answers come from an item head.
        nodes: Tokens of all answers that are read, 0 with an item head; None where users' own texts
            are the answers, so that no text repeats.
    """

    share: float
    answer: float
    users: float
    reads: NDArray[np.float64]
    sees: NDArray[np.float64]
    item_head: bool
    nodes: float | None


def tasks_of(node: Mapping[str, Any], data: DataSize, share: float = 1.0) -> Iterator[Asked]:
    """Yield what a task asks; one that consists of several is a weighted list of them.

    Args:
        node: The task's config node.
        data: How long words are taken to be.
        share: The task's share of the training batches.
    """
    parts = {key: child for key, child in node.items() if option_of(child, "task")}
    if not parts:
        yield _asked(node, data, share)
        return
    weights = {key: float(node["weights"].get(key, 0.0)) for key in parts}
    total = sum(weights.values()) or 1.0
    for key, child in parts.items():
        yield from tasks_of(child, data, share * weights[key] / total)


def option_of(node: Any, group: str) -> str:
    """Return which option of a group a config node is, "" for none."""
    target = node.get("_target_", "") if isinstance(node, Mapping) else ""
    path = str(target).split(".")
    return path[2] if path[:2] == ["userllm", group] else ""


def _asked(node: Mapping[str, Any], data: DataSize, share: float) -> Asked:
    """Return a single task: answers are titles, categories, or else texts of users."""
    closed = {
        "next_item": (data.title, data.items),
        "favorite_category": (data.category, data.categories),
    }
    longest = node.get("max_answer_tokens", inf)
    text = (min(data.review, longest), 1)
    option = option_of(node, "task")
    tokens, candidates = closed.get(option, text)
    users = node.get("held_out") or 1.0
    scorer, beams = node.get("scorer", "generate"), node.get("beams", 1)
    kept = CHOICES_PER_ANSWER if node.get("softmax") == "siblings" else tokens
    if scorer == "exhaustive":
        # The whole tree of answers in one pass.
        reads = sees = np.array([candidates * kept], dtype=np.float64)
    else:
        width = beams if scorer == "generate" else min(beams, candidates)
        passes = 0 if scorer == "item_head" else ceil(tokens)
        reads = np.full(passes, float(width))
        sees = reads.cumsum()
    head = scorer == "item_head"
    answer = 0.0 if head else tokens
    nodes = None if option not in closed else 0.0 if head else kept * candidates
    return Asked(share, answer, users, reads, sees, item_head=head, nodes=nodes)
