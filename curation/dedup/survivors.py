"""Who stays of documents that are copies of each other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import kernels

#: What is said of a document that goes: the kept one that it is a copy of, and how similar the two are at least.
GONE = pa.schema([("id", pa.string()), ("duplicate_of", pa.string()), ("similarity", pa.float32())])


def choose(exact: pa.Table, near: pa.Table, ranked: pa.ChunkedArray, least: float, stay: int = 0) -> pa.Table:
    """The documents that go, each with the kept one it was verified similar to: `GONE`.

    `ranked` holds the ids of the documents that may stay, best first: those that no rule hit. The others take no part,
    so nothing is removed for a copy that a rule dropped. The first `stay` of them stay, alike or not. `exact` links
    every copy (`id_b`) to the first of its group (`id_a`); `near` links one of a group with one of another, and what it
    says of them (`similarity`) holds for their whole groups.

    Documents are taken best first; one goes if a kept one is its verified neighbour: of several the most similar, then
    the better one. So none goes for being near one that went. Where a third document was compared with both, that may
    be proof enough: if they are 0.95 and 0.9 similar to it, they are 0.85 similar to each other at least, and that is
    the similarity told.

    >>> near = pa.table({"id_a": ["a", "b"], "id_b": ["b", "c"], "similarity": pa.array([0.8, 0.8], pa.float32())})
    >>> gone = choose(near.slice(0, 0), near, pa.chunked_array([["a", "b", "c"]]), 0.75)
    >>> gone["id"].to_pylist(), gone["duplicate_of"].to_pylist()
    (['b'], ['a'])
    """
    columns = (ranked, exact["id_a"], exact["id_b"], near["id_a"], near["id_b"])
    every = pc.unique(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()))
    of_rank, first, copy, one, other = (_numbers(column, every) for column in columns)
    group_of = np.arange(len(every))
    group_of[copy] = first
    one, other = group_of[one], group_of[other]
    apart = one != other  # in one group they are copies anyway, and the walk knows no edge of a node with itself
    one, other, alike = one[apart], other[apart], near["similarity"].to_numpy()[apart]
    rank = np.full(len(every), -1, np.int64)
    rank[of_rank] = np.arange(len(of_rank))
    best = np.full(len(every), -1, np.int64)  # the best member of each group
    groups, places = np.unique(group_of[of_rank], return_index=True)
    best[groups] = of_rank[places]
    order = np.where(best >= 0, rank[best], -1)
    goes, similar = kernels.survivors.walk(order, one, other, alike, least, stay)
    mine = group_of[of_rank]
    is_near = goes[mine] >= 0
    kept = np.where(is_near, best[goes[mine]], best[mine])
    is_gone = is_near | (kept != of_rank)
    return pa.table(
        {
            "id": every.take(pa.array(of_rank[is_gone])),
            "duplicate_of": every.take(pa.array(kept[is_gone])),
            "similarity": pa.array(np.where(is_near, similar[mine], np.float32(1))[is_gone], pa.float32()),
        },
        schema=GONE,
    )


def _numbers(column: pa.ChunkedArray, every: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where each id is among all."""
    return np.asarray(pc.index_in(column, every).to_numpy(), np.int64)
