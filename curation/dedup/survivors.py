"""Who stays of documents that are copies of each other. Documents are nodes of a graph here: numbers from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curation import kernels
from curation.dedup.rows import distinct

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
    group_of = _groups(nodes, copies)
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


def crowds(nodes: int, copies: Copies, near: Near, most: int) -> NDArray[np.int32]:
    """For each node the number of its crowd, -1 for none: those that resemble a node which more than `most` resemble.

    >>> near = Near(np.zeros(3, np.int32), np.array([1, 2, 3], np.int32), np.full(3, 0.8, np.float32))
    >>> crowds(5, Copies(*np.empty((2, 0), np.int32)), near, 2).tolist()
    [0, 0, 0, 0, -1]

    """
    pairs = numbered(nodes, copies, near)
    sides = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    resemble = np.bincount(np.concatenate(sides), minlength=nodes)
    is_crowded = (resemble[sides[0]] > most) | (resemble[sides[1]] > most)
    members = distinct(np.concatenate([side[is_crowded] for side in sides]))
    found = np.full(nodes, -1, np.int32)
    found[members] = kernels.grouping.parted(pairs[is_crowded], members, nodes, 1)[1]
    return found


class Asked(NamedTuple):
    """Nodes that stay (int64), and pairs of one of them with another of its crowd (uint64, `numbered`), ascending."""

    nodes: NDArray[np.int64]
    pairs: NDArray[np.uint64]


def to_ask(
    crowd: NDArray[np.int32], copies: Copies, ranked: NDArray[np.int32], gone: Gone, done: NDArray[np.bool_],
    most: int, stay: int = 0,
) -> Asked:  # fmt: skip
    """Whom to compare with all of its crowd: of each `crowd` the `most` best that stay and are not `done`.

    The others are those that are worse, do not go for one that is done, and are not among the first `stay`. Nodes are
    the first of their groups here.
    """
    nodes = len(crowd)
    group_of = _groups(nodes, copies)
    rank, kept = np.full(nodes, -1), np.arange(nodes)
    rank[group_of[ranked][::-1]] = np.arange(len(ranked) - 1, -1, -1)
    kept[group_of[gone.node]] = group_of[gone.kept]
    members = np.flatnonzero((crowd >= 0) & (rank >= 0))
    members = members[np.lexsort([rank[members], crowd[members]])]
    asked = members[(kept[members] == members) & ~done[members]]
    asked = asked[np.arange(len(asked)) - np.searchsorted(crowd[asked], crowd[asked]) < most]
    open_to = members[~done[kept[members]]]
    pairs = [np.empty(0, np.uint64)]
    for mine in np.split(asked, np.flatnonzero(np.diff(crowd[asked])) + 1):
        low, high = np.searchsorted(crowd[open_to], [crowd[mine[0]], crowd[mine[0]] + 1]) if len(mine) else (0, 0)
        for one in mine.astype(np.uint64):
            others = open_to[low:high]
            others = others[rank[others] >= max(rank[one] + 1, stay)].astype(np.uint64)
            pairs.append(np.minimum(one, others) << np.uint64(32) | np.maximum(one, others))
    return Asked(asked, distinct(np.concatenate(pairs)))


def numbered(nodes: int, copies: Copies, near: Near) -> NDArray[np.uint64]:
    """Near pairs as numbers: the smaller node times 2^32, plus the other one, both the first of their groups."""
    one, other = (_groups(nodes, copies)[side].astype(np.uint64) for side in (near.one, near.other))
    return distinct((np.minimum(one, other) << np.uint64(32) | np.maximum(one, other))[one != other])


def _groups(nodes: int, copies: Copies) -> NDArray[np.int32]:
    """The first of each node's group."""
    group_of = np.arange(nodes, dtype=np.int32)
    group_of[copies.copy] = copies.first
    return group_of
