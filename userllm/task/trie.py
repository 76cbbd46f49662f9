"""All answers of a closed set as one prefix tree of tokens.

Nodes are numbered depth first, so a run of consecutive nodes is a piece of the tree that can be
scored in one forward pass under a mask that lets every node see its ancestors.

Shape suffixes: N nodes, A answers, C nodes of one piece.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
PIECES_KEPT = 1024
"""Pieces that are not cut out anew each time: more than a catalogue has that is read whole."""


@dataclass(frozen=True)
class Piece:
    """Nodes that are read together, and the children whose probability they give.

    Attributes:
        nodes_C: Node numbers, ancestors first.
        visible_CC: True where a node may see another: itself and its ancestors.
        children: Nodes scored by this piece.
        readers: For each child, the row of its parent among ``nodes_C``.
    """

    nodes_C: Ints
    visible_CC: NDArray[np.bool_]
    children: Ints
    readers: Ints


class Trie:
    """A prefix tree over token sequences of which none is the beginning of another.

    So every leaf is the end of an answer. Equal sequences (remakes with the same name) share one.

    Args:
        sequences: Token ids of each answer; ending all with one token makes them such.

    Attributes:
        end_N: The number behind the last node below each one.
        inner: The nodes with children; piece ``k`` of a size has those from ``k * size`` on.
    """

    def __init__(self, sequences: list[list[int]]) -> None:
        tokens, parents, depths = [], [], []
        leaf_A = np.zeros(len(sequences), dtype=np.int64)
        path: list[int] = []
        previous: list[int] = []
        for answer in sorted(range(len(sequences)), key=sequences.__getitem__):
            sequence = sequences[answer]
            shared = _common_prefix(previous, sequence)
            del path[shared:]
            for token in sequence[shared:]:
                tokens.append(token)
                parents.append(path[-1] if path else -1)
                depths.append(len(path))
                path.append(len(tokens) - 1)
            leaf_A[answer] = path[-1]
            previous = sequence
        self.token_N = np.array(tokens, dtype=np.int64)
        self.parent_N = np.array(parents, dtype=np.int64)
        self.depth_N = np.array(depths, dtype=np.int64)
        self.leaf_A = leaf_A
        self.end_N = np.arange(1, len(tokens) + 1)
        for node in range(len(tokens) - 1, -1, -1):
            if (parent := parents[node]) >= 0:
                self.end_N[parent] = max(self.end_N[parent], self.end_N[node])
        self.is_leaf_N = np.zeros(len(tokens), dtype=bool)
        self.is_leaf_N[leaf_A] = True
        # Children of node n: child_order[child_start[n + 1] : child_start[n + 2]]; root is -1.
        self.child_order = np.argsort(self.parent_N, kind="stable")
        counts = np.bincount(self.parent_N + 1, minlength=len(tokens) + 1)
        self.child_start = np.concatenate([[0], np.cumsum(counts)])
        self.inner = np.flatnonzero(~self.is_leaf_N)
        self.piece = lru_cache(PIECES_KEPT)(self._piece)

    def children(self, node: int) -> Ints:
        """Return the children of a node; -1 is the root."""
        kids: Ints = self.child_order[self.child_start[node + 1] : self.child_start[node + 2]]
        return kids

    def path(self, answer: int) -> list[int]:
        """Return the nodes from the root's child to the answer's leaf."""
        nodes, node = [], int(self.leaf_A[answer])
        while node >= 0:
            nodes.append(node)
            node = int(self.parent_N[node])
        return nodes[::-1]

    def pieces(self, size: int) -> Iterator[Piece]:
        """Cut the inner nodes into pieces of ``size`` new nodes, each with its ancestors."""
        for number in range(-(-len(self.inner) // size)):
            yield self.piece(number, size)

    def _piece(self, number: int, size: int) -> Piece:
        new = self.inner[number * size :][:size].tolist()
        ancestors: list[int] = []
        node = int(self.parent_N[new[0]])
        while node >= 0:
            ancestors.append(node)
            node = int(self.parent_N[node])
        nodes = np.array([*ancestors[::-1], *new], dtype=np.int64)
        row_of = {int(n): row for row, n in enumerate(nodes)}
        visible = np.eye(len(nodes), dtype=bool)
        for row, n in enumerate(nodes):
            parent = int(self.parent_N[n])
            if parent >= 0:
                visible[row] |= visible[row_of[parent]]
        children = np.concatenate([self.children(n) for n in new])
        readers = np.array([row_of[int(self.parent_N[c])] for c in children], dtype=np.int64)
        return Piece(nodes, visible, children, readers)


def until_decided(sequences: list[list[int]]) -> list[list[int]]:
    """Return each sequence up to the last token that has an alternative, one token at the least."""
    trie = Trie(sequences)
    return [sequence[: _decided_at(trie, answer)] for answer, sequence in enumerate(sequences)]


def _decided_at(trie: Trie, answer: int) -> int:
    path = trie.path(answer)
    chosen = [
        step + 1
        for step, node in enumerate(path)
        if len(trie.children(int(trie.parent_N[node]))) > 1
    ]
    return max(chosen, default=1)


def _common_prefix(first: list[int], second: list[int]) -> int:
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))
