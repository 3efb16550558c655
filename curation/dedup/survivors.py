"""Who stays of documents that are copies of each other. Documents are nodes of a graph here: numbers from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curation import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Copies(NamedTuple):
    """Each copy (int32), and the first of its group (int32), which is no copy itself."""

    first: NDArray[np.int32]
    copy: NDArray[np.int32]


class Near(NamedTuple):
    """Pairs (int32), one of a group of copies with one of another, and what holds for their whole groups (float32)."""

    one: NDArray[np.int32]
    other: NDArray[np.int32]
    similarity: NDArray[np.float32]


class Gone(NamedTuple):
    """The nodes that go (int32), the kept one each is a copy of (int32), and how similar the two are at least."""

    node: NDArray[np.int32]
    kept: NDArray[np.int32]
    similarity: NDArray[np.float32]


def choose(nodes: int, copies: Copies, near: Near, ranked: NDArray[np.int32], least: float, stay: int = 0) -> Gone:
    """The nodes that go of so many, each with the kept one it was verified similar to, best first.

    `ranked` holds those that may stay, best first: those that no rule hit. The others take no part, so nothing is
    removed for a copy that a rule dropped. The first `stay` of them stay, alike or not.

    They are taken best first; one goes if a kept one is its verified neighbour: of several the most similar, then
    the better one. So none goes for being near one that went. Where a third document was compared with both, that may
    be proof enough: if they are 0.95 and 0.9 similar to it, they are 0.85 similar to each other at least, and that is
    the similarity told. 28 bytes are held for each node, and 28 for each pair.

    >>> copies, ranked = Copies(*np.empty((2, 0), np.int32)), np.arange(3, dtype=np.int32)
    >>> near = Near(np.array([0, 1], np.int32), np.array([1, 2], np.int32), np.array([0.8, 0.8], np.float32))
    >>> gone = choose(3, copies, near, ranked, 0.75)
    >>> gone.node.tolist(), gone.kept.tolist()
    ([1], [0])
    """
    group_of = np.arange(nodes, dtype=np.int32)
    group_of[copies.copy] = copies.first
    mine = group_of[ranked]
    best, order = np.full(nodes, -1, np.int32), np.full(nodes, -1, np.int32)  # of each group its best member
    best[mine[::-1]] = ranked[::-1]
    order[mine[::-1]] = np.arange(len(ranked) - 1, -1, -1, dtype=np.int32)
    one, other = group_of[near.one], group_of[near.other]
    apart = one != other  # in one group they are copies anyway, and the walk knows no edge of a node with itself
    goes, similar = kernels.survivors.walk(order, one[apart], other[apart], near.similarity[apart], least, stay)
    is_near = goes[mine] >= 0
    kept = np.where(is_near, best[goes[mine]], best[mine])
    is_gone = is_near | (kept != ranked)
    similarity = np.where(is_near, similar[mine], np.float32(1))
    return Gone(ranked[is_gone], kept[is_gone], similarity[is_gone])
