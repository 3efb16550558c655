"""Which pairs of documents are worth comparing: those that share a band of their signatures.

Documents are numbers here (`curation.dedup.rows`), and a pair is one: the smaller one times 2^32, plus the other. One
of a pair at least is a document of the run: of those from outside only keys are read, and dropped at once where none of
the run's can have the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import kernels
from curation.dataset import connect
from curation.dedup.rows import distinct, united

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from curation.dataset import Workspace
    from curation.dedup.rows import Rows
    from curation.kernels.grouping import Groups, Keyed

#: Buckets up to this size are compared each with each. In larger ones each document is compared with `HUBS` of them,
#: and with the next `NEIGHBOURS` in the order of another band. What is left out is counted. The documents from outside
#: that share a band are a bucket of their own, with which each of the run's is compared in the same way.
FULL_BUCKET = 64
HUBS = 8
NEIGHBOURS = 8
#: Keys that are grouped at once at most, and bytes of keys that are held: `_GROUPED` for each of these. Where there are
#: more it takes several turns, for which the run's own are kept, `_KEPT` bytes each, or read again where that is most
#: of the bytes.
_TOGETHER, _HELD_BYTES, _GROUPED, _KEPT = 1 << 25, 13 << 27, 28, 12
#: Pairs of bands, not yet distinct, that wait for others.
_WAITING = 1 << 25
#: Documents that may be copies of each other: `key` is that of their group, `entry` as in `Rows.entries`.
_MEMBERS = pa.schema(
    [("id", pa.string()), ("text_hash", pa.string()), ("row", pa.int64()), ("key", pa.int64()), ("entry", pa.int32())]
)


def copies(
    work: Workspace, rows: Rows, entries: Sequence[str], *, by_signature: bool
) -> tuple[pa.Table, NDArray[np.int64]]:
    """A pair for every document of the run that is a copy of the first of its group; numbers not to be compared.

    First is a document from outside, in the order of `entries` and of ids; where there is none, the smallest id. Copies
    are exact where the normalised text is the same. With `by_signature`, documents whose whole signatures are equal are
    near ones of similarity 1: thousands of pages that differ in a word need not be compared each with each. A document
    of the run with the id of one from outside is the same document, whatever was made of its text there.

    The numbers (ascending) are those of all documents of a group but one, which has the signature of them all.
    """
    connection = connect(work)
    keys = partial(_copy_keys, by_signature=by_signature)
    connection.register("members", _members(work, rows, ["text_hash", "signature_hash"], keys))
    connection.execute(f"""
        CREATE TEMP TABLE grouped AS
        SELECT id, text_hash, "row", entry, first_value(id) OVER same AS first,
            first_value(text_hash) OVER same AS first_hash, first_value(entry) OVER same AS first_entry,
            first_value("row") OVER same AS first_row, row_number() OVER same > 1 AS is_covered
        FROM members
        WINDOW same AS (PARTITION BY {"key" if by_signature else "key, text_hash"} ORDER BY entry < 0, entry, id, "row")
    """)
    covered = connection.sql('SELECT "row" FROM grouped WHERE is_covered').to_arrow_table()["row"]
    if rows.entries:
        connection.register("itself", _itself(work, rows))
        connection.execute("""
            UPDATE grouped SET first = chosen.id, first_hash = chosen.text_hash, first_entry = chosen.entry,
                first_row = chosen."row"
            FROM (
                SELECT first AS old, arg_min(itself, (itself.entry, id)) AS chosen
                FROM grouped JOIN itself USING (id) WHERE grouped.entry < 0 AND first_entry < 0 GROUP BY first
            ) WHERE first_entry < 0 AND first = old
        """)
        connection.execute("""
            UPDATE grouped SET first = itself.id, first_hash = itself.text_hash, first_entry = itself.entry,
                first_row = itself."row"
            FROM itself WHERE grouped.id = itself.id AND grouped.entry < 0
        """)
        connection.execute("""
            INSERT INTO grouped
            SELECT id, own_hash, own_row, -1, id, text_hash, entry, "row", false FROM itself
            WHERE id NOT IN (SELECT id FROM grouped WHERE entry < 0)
        """)
    connection.register(
        "named", pa.table({"number": pa.array(range(len(entries)), pa.int32()), "name": pa.array(entries, pa.string())})
    )
    table = connection.sql("""
        SELECT first AS id_a, id AS id_b, 1::FLOAT AS similarity,
            CASE WHEN text_hash = first_hash THEN 'exact' ELSE 'near' END AS kind, name AS against,
            first_row AS row_a, "row" AS row_b
        FROM grouped LEFT JOIN named ON first_entry = number
        WHERE entry < 0 AND (first_entry >= 0 OR id <> first)
        ORDER BY id_a, against, id_b
    """).to_arrow_table()
    return table, np.sort(covered.to_numpy())


def _members(
    work: Workspace, rows: Rows, names: Sequence[str], keys_of: Callable[[pa.Table], NDArray[np.uint64]]
) -> pa.Table:
    """The documents that share a key, with a number for each group: `_MEMBERS`."""
    nothing = np.empty(0, np.int64)
    found, number = [(nothing, nothing)], 0
    for groups in _groups(work, rows, names, keys_of):
        found.append((groups.rows, np.repeat(np.arange(number, number + len(groups.sizes)), groups.sizes)))
        number += len(groups.sizes)
    members, group = map(np.concatenate, zip(*found, strict=True))
    order = np.argsort(members)
    members, group = members[order], group[order]
    table = rows.take(work, ["id", "text_hash"], members)
    beside = [pa.array(members), pa.array(group), pa.array(rows.entry_of(members))]
    return pa.table([*table.columns, *beside], schema=_MEMBERS)


def _itself(work: Workspace, rows: Rows) -> pa.Table:
    """The documents of the run whose id one from outside has: `id`, the hash of their text, and that one's.

    Columns `id`, `own_hash`, `own_row`, `text_hash`, `entry` and `row`: of several from outside the first.
    """
    connection = connect(work)
    connection.register("members", _members(work, rows, ["id"], lambda table: _hex_keys(table["id"])))
    return connection.sql("""
        SELECT own.id, any_value(own.text_hash) AS own_hash, any_value(own."row") AS own_row,
            min(outside.entry) AS entry, arg_min(outside.text_hash, (outside.entry, outside."row")) AS text_hash,
            arg_min(outside."row", (outside.entry, outside."row")) AS "row"
        FROM members own JOIN members outside ON own.id = outside.id AND own.entry < 0 AND outside.entry >= 0
        GROUP BY own.id
    """).to_arrow_table()


def _copy_keys(table: pa.Table, *, by_signature: bool) -> NDArray[np.uint64]:
    """What copies share: part of a cryptographic hash, of the signature or of the text."""
    keys = _hex_keys(table["text_hash"])
    if by_signature:
        signatures = table["signature_hash"].to_numpy()
        keys = np.where(signatures != 0, signatures, keys)
    return keys


def _hex_keys(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first half of each of these hashes as a number; of other texts any number, the same for the same text."""
    hashes = column.combine_chunks()
    if not len(hashes):
        return np.empty(0, np.uint64)
    data, offsets = hashes.buffers()[2], np.frombuffer(hashes.buffers()[1], np.int32)
    bounds = offsets[hashes.offset : hashes.offset + len(hashes) + 1].astype(np.int64)
    return kernels.grouping.hex_keys(np.frombuffer(data or b"", np.uint8), bounds)


def of_band(
    work: Workspace, rows: Rows, bands: Sequence[str], band: str, covered: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], int]:
    """The distinct pairs that share this band, ascending, and how many comparisons were left out.

    Copies have the signature of one of their group, so only that one takes part: `covered` are the others.
    """
    is_covered = np.zeros(rows.total, np.bool_)
    is_covered[covered] = True
    other = bands[(bands.index(band) + 1) % len(bands)]
    found, left_out = [], 0
    for groups in _groups(work, rows, [band], lambda table: table[band].to_numpy(), is_covered):
        found.append(kernels.grouping.pairs(groups, rows.own, FULL_BUCKET))
        own = groups.below(rows.own)
        large = np.flatnonzero((own > FULL_BUCKET) | (groups.sizes - own > FULL_BUCKET))
        if len(large):
            pairs, skipped = _of_large(work, rows, groups, large, other)
            found.append(pairs)
            left_out += skipped
    return distinct(np.concatenate(found)) if found else np.empty(0, np.uint64), left_out


@dataclass(slots=True)
class _Keys:
    """The keys of documents, read from the columns `names` by `of`, without those that are left out; 0 is none."""

    work: Workspace
    rows: Rows
    names: Sequence[str]
    of: Callable[[pa.Table], NDArray[np.uint64]]
    is_left_out: NDArray[np.bool_] | None
    _own: list[list[Keyed]] | None = None

    def room(self, turns: int) -> int:
        """How many keys may be grouped at once, beside those that are kept for so many turns."""
        kept = _KEPT * self.rows.own if self._are_kept(turns) else 0
        return max(1, min(_TOGETHER, (_HELD_BYTES - kept) // _GROUPED))

    def held(self, turn: int, turns: int, most: int) -> list[Keyed] | None:
        """The keys of one turn in so many with the numbers; None where `most` have no room for those outside."""
        found = self._of_run(turn, turns)
        if not found or not self.rows.entries:
            return found
        bits = kernels.grouping.marks([keys for keys, _ in found])
        most -= sum(len(keys) for keys, _ in found)
        for start, keys in self._read(outside=True):
            found.append(self._chosen(start, keys, turn, turns, bits))
            most -= len(found[-1][0])
            if most < 0:
                return None
        return found

    def _are_kept(self, turns: int) -> bool:
        return turns > 1 and 4 * _KEPT * self.rows.own <= 3 * _HELD_BYTES

    def _of_run(self, turn: int, turns: int) -> list[Keyed]:
        if not self._are_kept(turns):
            return [self._chosen(start, keys, turn, turns) for start, keys in self._read()]
        if self._own is None or len(self._own[0]) != turns:
            self._own, split = None, kernels.grouping.in_turns  # those of fewer turns go before others are read
            self._own = [split(keys, start, turns, self._left_out(start, keys)) for start, keys in self._read()]
        return [piece[turn] for piece in self._own]

    def _read(self, *, outside: bool = False) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        for start, table in self.rows.columns(self.work, self.names, outside=outside):
            yield start, self.of(table)

    def _chosen(
        self, start: int, keys: NDArray[np.uint64], turn: int, turns: int, bits: NDArray[np.uint64] | None = None
    ) -> Keyed:
        return kernels.grouping.chosen(keys, start, turn, turns, self._left_out(start, keys), bits)

    def _left_out(self, start: int, keys: NDArray[np.uint64]) -> NDArray[np.bool_] | None:
        return None if self.is_left_out is None else self.is_left_out[start : start + len(keys)]


def _groups(
    work: Workspace, rows: Rows, names: Sequence[str], keys_of: Callable[[pa.Table], NDArray[np.uint64]],
    is_left_out: NDArray[np.bool_] | None = None,
) -> Iterator[Groups]:  # fmt: skip
    """The groups of documents with the same key, some of the run's in each, as many keys at a time as may be held."""
    keys = _Keys(work, rows, names, keys_of, is_left_out)
    turns = 1
    while rows.own > turns * keys.room(turns):
        turns += 1
    most = turns + rows.total // keys.room(2)  # more would not help: some have the same key
    while (found := keys.held(0, turns, keys.room(turns) if turns < most else rows.total)) is None:
        turns = min(2 * turns, most)
    for turn in range(turns):
        if turn:
            found = keys.held(turn, turns, rows.total)
        if found:
            groups = kernels.grouping.groups(found)
            yield groups.of_some(rows.own) if rows.entries else groups


def _of_large(
    work: Workspace, rows: Rows, groups: Groups, large: NDArray[np.int64], other: str
) -> tuple[NDArray[np.uint64], int]:
    """The pairs of groups too large to compare each with each, in an order that depends on the documents alone."""
    members = np.sort(np.concatenate([groups.rows[groups.bounds[one] : groups.bounds[one + 1]] for one in large]))
    table = rows.take(work, [other, "signature_hash"], members)
    signatures = table["signature_hash"].to_numpy()
    is_tied = _occurs_again(signatures)  # ids are long, and most signatures tell documents apart
    order = [_rank_some(work, rows, "id", members, is_tied), rows.entry_of(members), signatures]
    by_signature, by_band = _ranks(*order), _ranks(*order, table[other].to_numpy())
    texts = _rank_some(work, rows, "text_hash", members, members >= rows.own)
    found, left_out = [], 0
    for one in large:
        mine = groups.rows[groups.bounds[one] : groups.bounds[one + 1]]
        places = np.searchsorted(members, mine)
        places = places[np.argsort(by_signature[places])]
        is_own = members[places] < rows.own
        own, outside = places[is_own], places[~is_own]
        if len(own) > FULL_BUCKET:
            ordered = own[np.argsort(by_band[own])]
            sides = [_all_with_all(own[:HUBS], own)]
            sides += [(ordered[:-step], ordered[step:]) for step in range(1, NEIGHBOURS + 1)]
            pairs = _distinct_pairs(members, sides)
            found.append(pairs)
            left_out += len(own) * (len(own) - 1) // 2 - len(pairs)
        if len(outside) > FULL_BUCKET:
            outside = outside[np.sort(np.unique(texts[outside], return_index=True)[1])]  # the first of each text
            sides = [_all_with_all(own, outside)]
            if len(outside) > FULL_BUCKET:
                ordered = outside[np.argsort(by_band[outside])]
                behind = np.searchsorted(by_band[ordered], by_band[own])
                sides = [_all_with_all(own, outside[:HUBS])]
                for step in range(-NEIGHBOURS, NEIGHBOURS):
                    near = behind + step
                    there = (near >= 0) & (near < len(ordered))
                    sides.append((own[there], ordered[near[there]]))
            pairs = _distinct_pairs(members, sides)
            found.append(pairs)
            left_out += len(own) * len(outside) - len(pairs)
    return np.concatenate(found), left_out


def _rank_some(
    work: Workspace, rows: Rows, column: str, members: NDArray[np.int64], wanted: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The rank of each wanted member's text in a column, equal ones the same; 0 for the others."""
    ranks = np.zeros(len(members), np.int64)
    ranks[wanted] = pc.rank(rows.take(work, [column], members[wanted])[column], tiebreaker="dense").to_numpy()
    return ranks


def _occurs_again(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of these values there are several of."""
    order = np.argsort(values)
    is_same = values[order[1:]] == values[order[:-1]]
    found = np.zeros(len(values), np.bool_)
    found[order[1:]] = is_same
    found[order[:-1]] |= is_same
    return found


def _ranks(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """The place of each row in their order, by the last column first."""
    ranks = np.empty(len(columns[0]), np.int64)
    ranks[np.lexsort(columns)] = np.arange(len(ranks))
    return ranks


def _all_with_all(some: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.repeat(some, len(others)), np.tile(others, len(some))


def _distinct_pairs(
    members: NDArray[np.int64], sides: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> NDArray[np.uint64]:
    """The pairs of members, given by their places, without those of one with itself."""
    first, second = (members[np.concatenate(side)].astype(np.uint64) for side in zip(*sides, strict=True))
    low, high = np.minimum(first, second), np.maximum(first, second)
    return distinct((low << np.uint64(32) | high)[low != high])


def merged(found: Iterator[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The distinct pairs of several bands, ascending; not many more are held than there are."""
    every, waiting = np.empty(0, np.uint64), list[Any]()
    for pairs in found:
        waiting.append(pairs)
        if sum(map(len, waiting)) > max(_WAITING, len(every)):
            every, waiting = united([every, *waiting]), []
    return united([every, *waiting])


def of_one_text(work: Workspace, rows: Rows, pairs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The pairs, ascending, with documents from outside that have the same text taken for the first of them.

    A release may hold a document several times, and so may several releases.
    """
    second = (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    outside = distinct(second[second >= rows.own])
    if not len(outside):
        return pairs
    table = rows.take(work, ["id", "text_hash"], outside)
    texts, ids = (pc.rank(table[name], tiebreaker="dense").to_numpy() for name in ("text_hash", "id"))
    order = np.lexsort((outside, ids, rows.entry_of(outside), texts))
    ordered = texts[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first = np.empty(len(outside), np.int64)
    first[order] = outside[order[is_first]][np.cumsum(is_first) - 1]
    is_outside = second >= rows.own
    second[is_outside] = first[np.searchsorted(outside, second[is_outside])]
    return distinct(pairs & np.uint64(0xFFFFFFFF00000000) | second.astype(np.uint64))
