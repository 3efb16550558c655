"""Who stays of copies: a walk over a graph, best first. `curation.dedup.survivors` says what for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels.compiled import array, kernel, out
from curation.kernels.grouping import root_of

#: What single precision leaves open.
_ROUNDING = 1e-6


def walk(
    order: np.ndarray[Any, Any], first: np.ndarray[Any, Any], second: np.ndarray[Any, Any],
    similarity: np.ndarray[Any, Any], least: float, stay: int = 0,
) -> tuple[np.ndarray[Any, np.dtype[np.int32]], np.ndarray[Any, np.dtype[np.float32]]]:  # fmt: skip
    """Which node each goes for, and how similar they are at least; -1 for one that stays, or takes no part.

    `order` (int32) has the rank of each node, 0 the best, -1 for one that takes no part. `first`, `second` (int32)
    and `similarity` (float32) are edges, none of a node with itself. Nodes are taken best first. One goes if a kept one
    is its neighbour: of several the most similar, then the better one. It goes too if it and a kept one have a
    neighbour in common to which they are so similar that they must be `least` similar to each other: 1 - similarity is
    a distance, for sets as for signatures. Nodes of a rank below `stay` are kept whatever they are like.
    """
    nodes = len(order)
    offsets = np.zeros(nodes + 1, np.int64)
    beside, alike = np.empty(2 * len(first), np.int32), np.empty(2 * len(first), np.float32)
    goes, how = np.full(nodes, -1, np.int32), np.zeros(nodes, np.float32)
    takes_part = np.flatnonzero(order >= 0).astype(np.int32)
    taken = takes_part[np.argsort(order[takes_part])]
    _walk(taken, order, first, second, similarity, least, stay, offsets, beside, alike, goes, how)
    return goes, how


def components(
    first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], nodes: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], np.ndarray[Any, np.dtype[np.int32]]]:
    """For each of so many nodes the smallest that hangs together with it (uint32), and in how many edges it is.

    `first` and `second` (int32) are edges; one of a node with itself does not count.

    >>> component, edges = components(np.array([4, 1], np.int32), np.array([1, 3], np.int32), 5)
    >>> component.tolist(), edges.tolist()
    ([0, 1, 2, 1, 1], [0, 2, 0, 1, 1])
    """
    parents, edges = np.arange(nodes, dtype=np.uint32), np.zeros(nodes, np.int32)
    _join(first, second, parents, edges)
    return parents, edges


@kernel(types.void(array(types.int32), array(types.int32), out(types.uint32), out(types.int32)))
def _join(first: Any, second: Any, parents: Any, edges: Any) -> None:
    for edge in range(len(first)):
        if first[edge] == second[edge]:
            continue
        edges[first[edge]] += 1
        edges[second[edge]] += 1
        one, other = root_of(parents, np.int64(first[edge])), root_of(parents, np.int64(second[edge]))
        parents[max(one, other)] = min(one, other)
    for node in range(len(parents)):
        parents[node] = root_of(parents, np.int64(node))


@kernel(
    types.void(
        array(types.int32), array(types.int32), array(types.int32), array(types.int32), array(types.float32),
        types.float64, types.int64, out(types.int64), out(types.int32), out(types.float32), out(types.int32),
        out(types.float32),
    )
)  # fmt: skip
def _walk(
    taken: Any, order: Any, first: Any, second: Any, similarity: Any, least: float, stay: int, offsets: Any,
    beside: Any, alike: Any, goes: Any, how: Any,
) -> None:  # fmt: skip
    nodes = len(order)
    for edge in range(len(first)):
        offsets[first[edge] + 1] += 1
        offsets[second[edge] + 1] += 1
    for node in range(nodes):
        offsets[node + 1] += offsets[node]
    ends = offsets[:nodes].copy()
    for edge in range(len(first)):
        a, b = first[edge], second[edge]
        beside[ends[a]], alike[ends[a]] = b, similarity[edge]
        beside[ends[b]], alike[ends[b]] = a, similarity[edge]
        ends[a] += 1
        ends[b] += 1
    is_kept = np.zeros(nodes, np.bool_)
    # Of the kept neighbours of each node the most similar, of several the best, and how similar it is.
    nearest, nearness = np.full(nodes, -1, np.int32), np.zeros(nodes, np.float32)
    for node in taken:
        best, highest = np.int64(-1), -1.0
        begin, end = offsets[node], offsets[node + 1]
        looked_at = begin if order[node] < stay else end
        for edge in range(begin, looked_at):
            other, value = np.int64(beside[edge]), np.float64(alike[edge])
            if is_kept[other] and (value > highest or (value == highest and order[other] < order[best])):
                best, highest = other, value
        if best < 0:
            for edge in range(begin, looked_at):
                other = np.int64(nearest[beside[edge]])
                if other < 0:
                    continue
                value = np.float64(alike[edge]) + np.float64(nearness[beside[edge]]) - 1.0
                if value >= least - _ROUNDING and (
                    value > highest or (value == highest and order[other] < order[best])
                ):
                    best, highest = other, value
        if best >= 0:
            goes[node], how[node] = best, highest
            continue
        is_kept[node] = True
        for edge in range(begin, end):
            if alike[edge] > nearness[beside[edge]]:
                nearest[beside[edge]], nearness[beside[edge]] = node, alike[edge]
