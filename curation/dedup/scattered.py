"""Signatures of candidates, written again so that those that are compared lie together.

Of many million documents those of one cluster are anywhere: whoever compares some of the pairs would read nearly every
part. So pairs are parted first, those that hang together into one partition. Then each part is read once, and its
signatures are written partition by partition; whoever compares the pairs of one reads its signatures alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation.dataset import ROW_GROUP_ROWS
from curation.dedup.verifying import minima

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from curation.dataset import Part, Workspace
    from curation.dedup.rows import Rows


def write(
    work: Workspace,
    rows: Rows,
    documents: NDArray[np.int64],
    partition: NDArray[np.uint32],
    values: int,
    made_from: str,
) -> None:
    """Write the signatures of one part's documents, given by their numbers, ascending, by the partition of each."""
    held = minima(rows.pieces(work, ["minhash"], documents), len(documents), values)
    part = rows.parts[int(np.searchsorted(rows.starts, documents[0], side="right")) - 1]
    order = np.argsort(partition, kind="stable")
    ends = np.flatnonzero(np.diff(partition[order].astype(np.int64), append=-1)) + 1
    with work.scattered.writing(part, made_from) as writer:
        for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            mine = held[order[begin:end]].astype("<u4")
            offsets = np.arange(0, mine.nbytes + 1, mine.shape[1] * 4, dtype=np.int32)
            column = pa.Array.from_buffers(pa.binary(), len(mine), [None, pa.py_buffer(offsets), pa.py_buffer(mine)])
            writer.write(pa.table({"minhash": column}))


def row_groups(counts: NDArray[np.int64]) -> list[list[range]]:
    """For each part, which has so many documents of each partition, the row groups that `write` makes of each.

    >>> row_groups(np.array([[3, 0, 20_000, 1]]))
    [[range(0, 1), range(1, 1), range(1, 3), range(3, 4)]]
    """
    ends = (-(-counts // ROW_GROUP_ROWS)).cumsum(axis=1).tolist()
    return [list(map(range, [0, *of_part[:-1]], of_part)) for of_part in ends]


def read(
    work: Workspace, places: Iterable[tuple[Part, Sequence[int]]], documents: int, values: int
) -> NDArray[np.uint32]:
    """The signatures of so many documents of one partition, by number: uint32 (documents, values).

    `places` has the parts that have any, in order, and the row groups of each.
    """
    pieces = (work.scattered.read_groups(part, [group]) for part, groups in places for group in groups)
    return minima(pieces, documents, values)  # row group by row group: all of a part may be as much as is held
