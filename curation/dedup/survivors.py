"""Who stays of documents that are copies of each other. Documents are nodes of a graph here: numbers from 0."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curation import kernels
from curation.dedup.rows import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Nodes whose signatures are compared while the processor's cache holds them.
_BLOCK = 512


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


@dataclass(frozen=True)
class Graph:
    """So many nodes, the copies and the near ones among them, and those that may stay.

    `ranked` (int32) holds those, best first: those that no rule hit. The others take no part, so nothing is removed
    for a copy that a rule dropped. The first `stay` of them stay, alike or not.
    """

    nodes: int
    copies: Copies
    near: Near
    ranked: NDArray[np.int32]
    stay: int = 0

    @cached_property
    def group_of(self) -> NDArray[np.int32]:
        """The first of each node's group, which stands for the group."""
        group_of = np.arange(self.nodes, dtype=np.int32)
        group_of[self.copies.copy] = self.copies.first
        return group_of

    @cached_property
    def pairs(self) -> NDArray[np.uint64]:
        """Near groups as numbers, ascending: the smaller one times 2^32, plus the other one."""
        return distinct(_pairs(self.group_of[self.near.one], self.group_of[self.near.other]))

    def with_near(self, more: Near) -> Graph:
        """The same graph with these pairs besides."""
        return replace(self, near=Near(*(np.concatenate(both) for both in zip(self.near, more, strict=True))))

    def only(self, nodes: NDArray[np.int64]) -> Graph:
        """The graph of these nodes alone, which ascend: its first node is the first of them, and so on.

        Whatever is a copy of one of them or near to it must be among them.
        """
        place = np.full(self.nodes, -1, np.int32)
        place[nodes] = np.arange(len(nodes), dtype=np.int32)
        copies = Copies(*(place[side] for side in self.copies))
        near = Near(place[self.near.one], place[self.near.other], self.near.similarity)
        ranked = place[self.ranked]
        return Graph(
            len(nodes),
            Copies(*(side[copies.copy >= 0] for side in copies)),
            Near(near.one[near.one >= 0], near.other[near.one >= 0], near.similarity[near.one >= 0]),
            ranked[ranked >= 0],
            int((ranked[: self.stay] >= 0).sum()),
        )


def choose(graph: Graph, least: float) -> Gone:
    """The nodes that go, each with the kept one it was verified similar to.

    They are taken best first; one goes if a kept one is its verified neighbour: of several the most similar, then
    the better one. So none goes for being near one that went. Where a third document was compared with both, that may
    be proof enough: if they are 0.95 and 0.9 similar to it, they are 0.85 similar to each other at least, and that is
    the similarity told. 28 bytes are held for each node, and 28 for each pair.

    >>> copies, ranked = Copies(*np.empty((2, 0), np.int32)), np.arange(3, dtype=np.int32)
    >>> near = Near(np.array([0, 1], np.int32), np.array([1, 2], np.int32), np.array([0.8, 0.8], np.float32))
    >>> gone = choose(Graph(3, copies, near, ranked), 0.75)
    >>> gone.node.tolist(), gone.kept.tolist()
    ([1], [0])
    """
    group_of, ranked, near = graph.group_of, graph.ranked, graph.near
    mine = group_of[ranked]
    best, order = (
        np.full(graph.nodes, -1, np.int32),
        np.full(graph.nodes, -1, np.int32),
    )  # of each group its best member
    best[mine[::-1]] = ranked[::-1]
    order[mine[::-1]] = np.arange(len(ranked) - 1, -1, -1, dtype=np.int32)
    one, other, how_near = group_of[near.one], group_of[near.other], near.similarity
    apart = one != other  # in one group they are copies anyway, and the walk knows no edge of a node with itself
    if not apart.all():
        one, other, how_near = one[apart], other[apart], how_near[apart]
    goes, similar = kernels.survivors.walk(order, one, other, how_near, least, graph.stay)
    is_near = goes[mine] >= 0
    kept = np.where(is_near, best[goes[mine]], best[mine])
    is_gone = is_near | (kept != ranked)
    similarity = np.where(is_near, similar[mine], np.float32(1))
    return Gone(ranked[is_gone], kept[is_gone], similarity[is_gone])


def crowded(graph: Graph, most: int) -> NDArray[np.int64]:
    """The nodes that hang together with one which more than `most` resemble, ascending: a graph of their own.

    >>> near = Near(np.array([0, 0, 0, 5], np.int32), np.array([1, 2, 3, 6], np.int32), np.full(4, 0.8, np.float32))
    >>> graph = Graph(7, Copies(*np.array([[3], [4]], np.int32)), near, np.arange(7, dtype=np.int32))
    >>> crowded(graph, 2).tolist(), crowded(graph, 3).tolist()
    ([0, 1, 2, 3, 4], [])
    """
    one, other = (graph.group_of[side] for side in (graph.near.one, graph.near.other))
    component, edges = kernels.survivors.components(one, other, graph.nodes)
    maybe = np.zeros(graph.nodes, np.bool_)  # several pairs may say the same of two groups
    maybe[component[edges > most]] = True
    inside = maybe[component[one]]
    once = _sides(distinct(_pairs(one[inside], other[inside])))
    resemble = np.bincount(np.concatenate(once), minlength=graph.nodes)
    is_crowded = np.zeros(graph.nodes, np.bool_)
    is_crowded[component[resemble > most]] = True
    return np.flatnonzero(is_crowded[component[graph.group_of]])


def crowds(graph: Graph, most: int) -> NDArray[np.int64]:
    """For each node the number of its crowd, -1 for none: all that resemble a node which more than `most` resemble.

    >>> near = Near(np.zeros(3, np.int32), np.array([1, 2, 3], np.int32), np.full(3, 0.8, np.float32))
    >>> graph = Graph(5, Copies(*np.empty((2, 0), np.int32)), near, np.arange(5, dtype=np.int32))
    >>> crowds(graph, 2).tolist()
    [0, 0, 0, 0, -1]
    """
    one, other = _sides(graph.pairs)
    resemble = np.bincount(np.concatenate([one, other]), minlength=graph.nodes)
    mine = (resemble[one] > most) | (resemble[other] > most)
    members = distinct(np.concatenate([one[mine], other[mine]]))
    found = np.full(graph.nodes, -1, np.int64)
    found[members] = kernels.grouping.parted(graph.pairs[mine], members, graph.nodes, 1)[1]
    return found


class Asked(NamedTuple):
    """Nodes that stay, and different pairs of `one` of them with an `other` of its crowd (all int64).

    All of them come with some of the crowd, then with the next: signatures of so many the processor's cache holds.
    """

    nodes: NDArray[np.int64]
    one: NDArray[np.int64]
    other: NDArray[np.int64]


def to_ask(graph: Graph, crowd: NDArray[np.int64], gone: Gone, done: NDArray[np.bool_], most: int) -> Asked:
    """Whom to compare with all of its crowd: of each `crowd` the best that stay and are not `done`, at least one.

    The others are those that are worse, do not go for one that is done, and do not stay whatever they are like. About
    `most` pairs are asked for, as many in each crowd. Nodes are the first of their groups here.
    """
    group_of, ranked = graph.group_of, graph.ranked
    rank, kept = np.full(graph.nodes, -1), np.arange(graph.nodes)
    rank[group_of[ranked][::-1]] = np.arange(len(ranked) - 1, -1, -1)
    kept[group_of[gone.node]] = group_of[gone.kept]
    members = np.flatnonzero((crowd >= 0) & (rank >= 0))
    members = members[np.lexsort([rank[members], crowd[members]])]
    asked, pairs = [np.empty(0, np.int64)], [np.empty((2, 0), np.int64)]
    each = np.split(members, np.flatnonzero(np.diff(crowd[members])) + 1)
    for mine in each:
        others = np.sort(mine[~done[kept[mine]] & (rank[mine] >= graph.stay)])
        asks = mine[(kept[mine] == mine) & ~done[mine]][: max(1, most // len(each) // max(1, len(others)))]
        asked.append(asks)
        for begin in range(0, len(others), _BLOCK):
            some = others[begin : begin + _BLOCK]
            which, where = np.nonzero(rank[some] > rank[asks][:, None])
            pairs.append(np.stack([asks[which], some[where]]))
    return Asked(np.concatenate(asked), *np.concatenate(pairs, axis=1))


def _pairs(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Both nodes as one number, the smaller one first; not where they are the same."""
    apart = one != other
    one, other = one[apart], other[apart]
    found: NDArray[np.uint64] = np.minimum(one, other).astype(np.uint64) << np.uint64(32)
    found |= np.maximum(one, other).astype(np.uint64)
    return found


def _sides(pairs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
