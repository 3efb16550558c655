"""Which pairs of documents are worth comparing: those that share a band of their signatures.

Documents are numbers here (`curation.dedup.rows`), and a pair is one: the smaller one times 2^32, plus the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation import kernels
from curation.dataset import connect
from curation.dedup.rows import distinct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from curation.dataset import Workspace
    from curation.dedup.rows import Rows
    from curation.kernels.grouping import Groups

#: Buckets up to this size are compared each with each. In larger ones each document is compared with `HUBS` of them,
#: and with the next `NEIGHBOURS` in the order of another band. What is left out is counted.
FULL_BUCKET = 64
HUBS = 8
NEIGHBOURS = 8
#: Keys that are grouped at once: 40 bytes each.
_TOGETHER = 1 << 25


def copies(work: Workspace, rows: Rows, *, by_signature: bool) -> tuple[pa.Table, NDArray[np.int64]]:
    """A pair for every document that is a copy of one with a smaller id (smallest id of the group, id); their numbers.

    Copies are exact where the normalised text is the same. With `by_signature`, documents whose whole signatures are
    equal are near ones of similarity 1: thousands of pages that differ in a word need not be compared each with each.
    """
    dataset, found = work.signal("signature"), []
    number = 0
    for groups in _groups(work, rows, ["text_hash", "signature_hash"], lambda table: _copy_keys(table, by_signature)):
        members = np.sort(groups.rows)
        group = np.empty(len(members), np.int64)
        group[np.searchsorted(members, groups.rows)] = number + np.repeat(np.arange(len(groups.sizes)), groups.sizes)
        number += len(groups.sizes)
        table = rows.take(dataset, ["id", "text_hash"], members)
        found.append(table.append_column("row", pa.array(members)).append_column("key", pa.array(group)))
    if not found:
        return pa.table({name: [] for name in ("id_a", "id_b", "similarity", "kind")}), np.empty(0, np.int64)
    connection = connect(work)
    connection.register("members", pa.concat_tables(found))
    same = "key" if by_signature else "key, text_hash"
    table = connection.sql(f"""
        SELECT first AS id_a, id AS id_b, 1::FLOAT AS similarity,
            CASE WHEN text_hash = first_hash THEN 'exact' ELSE 'near' END AS kind, "row"
        FROM (
            SELECT id, text_hash, "row", first_value(id) OVER same AS first,
                first_value(text_hash) OVER same AS first_hash
            FROM members WINDOW same AS (PARTITION BY {same} ORDER BY id)
        )
        WHERE id <> first
        ORDER BY id_a, id_b
    """).to_arrow_table()
    return table.drop_columns("row"), np.sort(table["row"].to_numpy())


def _copy_keys(table: pa.Table, by_signature: bool) -> NDArray[np.uint64]:
    """What copies share: part of a cryptographic hash, of the signature or of the text."""
    hashes = table["text_hash"].combine_chunks()
    data, offsets = hashes.buffers()[2], np.frombuffer(hashes.buffers()[1], np.int32)
    bounds = offsets[hashes.offset : hashes.offset + len(hashes) + 1].astype(np.int64)
    keys = kernels.grouping.hex_keys(np.frombuffer(data or b"", np.uint8), bounds)
    if by_signature:
        signatures = table["signature_hash"].to_numpy()
        keys = np.where(signatures != 0, signatures, keys)
    return keys


def of_band(
    work: Workspace, rows: Rows, bands: Sequence[str], band: str, copied: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], int]:
    """The distinct pairs that share this band, ascending, and how many comparisons were left out.

    Copies have the signature of the first of their group, so only that one takes part: `copied` are the others.
    """
    is_copy = np.zeros(rows.total, np.bool_)
    is_copy[copied] = True
    found, left_out = [], 0
    for groups in _groups(work, rows, [band], lambda table: table[band].to_numpy(), is_copy):
        found.append(kernels.grouping.pairs(groups, FULL_BUCKET))
        large = np.flatnonzero(groups.sizes > FULL_BUCKET)
        if len(large):
            other = bands[(bands.index(band) + 1) % len(bands)]
            pairs, skipped = _of_large(work, rows, groups, large, other)
            found.append(pairs)
            left_out += skipped
    return distinct(np.concatenate(found)) if found else np.empty(0, np.uint64), left_out


def _groups(
    work: Workspace, rows: Rows, names: Sequence[str], keys_of: Callable[[pa.Table], NDArray[Any]],
    is_left_out: NDArray[np.bool_] | None = None,
) -> Iterator[Groups]:  # fmt: skip
    """The groups of documents with the same key, as many keys at a time as may be held."""
    times = 1 + rows.total // _TOGETHER
    for time in range(times):
        found: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for start, table in rows.columns(work.signal("signature"), names):
            keys = keys_of(table)
            wanted = keys != 0
            if times > 1:
                wanted &= keys % np.uint64(times) == time
            if is_left_out is not None:
                wanted &= ~is_left_out[start : start + len(keys)]
            found.append((keys[wanted], np.flatnonzero(wanted) + start))
        if found:
            yield kernels.grouping.groups(*map(np.concatenate, zip(*found, strict=True)))


def _of_large(
    work: Workspace, rows: Rows, groups: Groups, large: NDArray[np.int64], other: str
) -> tuple[NDArray[np.uint64], int]:
    """The pairs of groups too large to compare each with each, in an order that depends on the documents alone."""
    members = np.sort(np.concatenate([groups.rows[groups.bounds[one] : groups.bounds[one + 1]] for one in large]))
    table = rows.take(work.signal("signature"), ["id", other, "signature_hash"], members)
    ids = np.array(table["id"].to_pylist())
    beside, signatures = table[other].to_numpy(), table["signature_hash"].to_numpy()
    found, left_out = [], 0
    for one in large:
        mine = groups.rows[groups.bounds[one] : groups.bounds[one + 1]]
        places = np.searchsorted(members, mine)
        hubs = mine[np.lexsort((ids[places], signatures[places]))[:HUBS]]
        order = mine[np.lexsort((ids[places], signatures[places], beside[places]))]
        sides = [(np.repeat(hubs, len(mine)), np.tile(mine, len(hubs)))]
        sides += [(order[:-step], order[step:]) for step in range(1, NEIGHBOURS + 1)]
        first, second = (np.concatenate(side).astype(np.uint64) for side in zip(*sides, strict=True))
        low, high = np.minimum(first, second), np.maximum(first, second)
        pairs = distinct((low << np.uint64(32) | high)[low != high])
        found.append(pairs)
        left_out += len(mine) * (len(mine) - 1) // 2 - len(pairs)
    return np.concatenate(found), left_out


def merged(found: Iterator[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The distinct pairs of several bands, ascending; not many more are held than there are."""
    every, waiting = np.empty(0, np.uint64), list[Any]()
    for pairs in found:
        waiting.append(pairs)
        if sum(map(len, waiting)) > max(_TOGETHER, len(every)):
            every, waiting = distinct(np.concatenate([every, *waiting])), []
    return distinct(np.concatenate([every, *waiting]))
