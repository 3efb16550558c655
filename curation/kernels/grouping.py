"""Which rows have the same key, and the pairs of those."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels.compiled import array, helper, inlined, kernel, out
from curation.kernels.numbering import SALT, shift_of, table_size

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Keys (uint64), and of each the row (uint32) that has it.
Keyed = tuple[np.ndarray[Any, np.dtype[np.uint64]], np.ndarray[Any, np.dtype[np.uint32]]]

#: Keys of one partition, whose table fits the processor's cache.
_PARTITION = 1 << 15
_PARTITIONS = 1 << 12


class Groups(NamedTuple):
    """Rows that share a key with another: those of group i are `rows[bounds[i]:bounds[i + 1]]`, in ascending order."""

    bounds: np.ndarray[Any, np.dtype[np.int64]]
    rows: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def sizes(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many rows each group has."""
        return np.diff(self.bounds)

    def below(self, row: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many of each group's rows are smaller than this one: they are its first."""
        smaller = np.concatenate([[0], np.cumsum(self.rows < row)])
        return np.diff(smaller[self.bounds])

    def of_some(self, row: int) -> Groups:
        """The groups that have rows smaller than this one."""
        wanted = self.rows[self.bounds[:-1]] < row
        sizes = self.sizes
        return Groups(np.concatenate([[0], np.cumsum(sizes[wanted])]), self.rows[np.repeat(wanted, sizes)])


#: Bits for each key that is marked: of keys that are not, one in so many is taken for one at the most.
_BITS = 8


def marks(keys: Iterable[np.ndarray[Any, Any]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Bits that tell of a key (uint64) whether it may be among all of these: `is_marked`."""
    keys = list(keys)
    size = 64
    while size < _BITS * sum(map(len, keys)):
        size *= 2
    bits = np.zeros(size // 64, np.uint64)
    for some in keys:
        _mark(some, SALT, bits)
    return bits


@kernel(types.void(array(types.uint64), types.uint64, out(types.uint64)))
def _mark(keys: Any, salt: Any, bits: Any) -> None:
    shift, one, low = shift_of(64 * len(bits)), np.uint64(1), np.uint64(63)
    for key in keys:
        place = key * salt >> shift
        bits[np.int64(place >> np.uint64(6))] |= one << (place & low)


@inlined
def is_marked(bits: Any, key: Any, salt: Any, shift: Any) -> bool:
    """Whether this key may be among those that were marked: it is for all that are, and for few others."""
    place = key * salt >> shift
    return bits[np.int64(place >> np.uint64(6))] >> (place & np.uint64(63)) & np.uint64(1) != np.uint64(0)


def chosen(
    keys: np.ndarray[Any, Any],
    start: int = 0,
    turn: int = 0,
    turns: int = 1,
    is_left_out: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
    bits: np.ndarray[Any, np.dtype[np.uint64]] | None = None,
) -> Keyed:
    """The keys (uint64) of one turn in so many, but 0, with their rows, which count from `start`.

    Without the rows that are left out, and the keys that are not among those marked in `bits`, where these are given.

    >>> [found.tolist() for found in chosen(np.array([7, 0, 9], np.uint64), 4)]
    [[7, 9], [4, 6]]
    """
    found, rows = np.empty(len(keys), np.uint64), np.empty(len(keys), np.uint32)
    left_out = np.empty(0, np.bool_) if is_left_out is None else is_left_out
    marked = np.empty(0, np.uint64) if bits is None else bits
    count = _choose(keys, start, turn, turns, left_out, marked, SALT, found, rows)
    return (found, rows) if count == len(keys) else (found[:count].copy(), rows[:count].copy())


@kernel(
    types.int64(
        array(types.uint64), types.int64, types.int64, types.int64, array(types.bool_), array(types.uint64),
        types.uint64, out(types.uint64), out(types.uint32),
    )
)  # fmt: skip
def _choose(
    keys: Any, start: int, turn: int, turns: int, is_left_out: Any, bits: Any, salt: Any, found: Any, rows: Any
) -> int:
    count, half = 0, np.uint64(32)
    mine, every, shift = np.uint64(turn), np.uint64(turns), shift_of(64 * len(bits))
    for i in range(len(keys)):
        key = keys[i]
        found[count], rows[count] = key, start + i
        is_wanted = (key != np.uint64(0)) & ((key >> half) * every >> half == mine)
        if is_wanted and len(is_left_out):
            is_wanted = not is_left_out[i]
        if is_wanted and len(bits):
            is_wanted = is_marked(bits, key, salt, shift)
        count += is_wanted
    return count


def in_turns(
    keys: np.ndarray[Any, Any], start: int, turns: int, is_left_out: np.ndarray[Any, np.dtype[np.bool_]] | None = None
) -> list[Keyed]:
    """What `chosen` gives for each turn of so many, in one pass.

    >>> [found[1].tolist() for found in in_turns(np.array([7, 0, 2**63, 9], np.uint64), 4, 2)]
    [[4, 7], [6]]
    """
    found, rows, ends = np.empty(len(keys), np.uint64), np.empty(len(keys), np.uint32), np.zeros(turns + 1, np.int64)
    _choose_all(keys, start, np.empty(0, np.bool_) if is_left_out is None else is_left_out, ends, found, rows)
    return [(found[first:last], rows[first:last]) for first, last in pairwise([0, *ends[:-1].tolist()])]


@kernel(
    types.void(
        array(types.uint64), types.int64, array(types.bool_), out(types.int64), out(types.uint64), out(types.uint32)
    )
)
def _choose_all(keys: Any, start: int, is_left_out: Any, ends: Any, found: Any, rows: Any) -> None:
    half, every = np.uint64(32), np.uint64(len(ends) - 1)
    for i in range(len(keys)):
        if keys[i] != np.uint64(0) and not (len(is_left_out) and is_left_out[i]):
            ends[np.int64((keys[i] >> half) * every >> half) + 1] += 1
    for turn in range(1, len(ends)):
        ends[turn] += ends[turn - 1]
    for i in range(len(keys)):  # each turn's end is where it begins, until its keys are placed
        if keys[i] != np.uint64(0) and not (len(is_left_out) and is_left_out[i]):
            turn = np.int64((keys[i] >> half) * every >> half)
            found[ends[turn]], rows[ends[turn]] = keys[i], start + i
            ends[turn] += 1


def groups(found: list[Keyed]) -> Groups:
    """The groups of two and more rows with the same key; no key is 0, and rows ascend from piece to piece.

    In linear time: keys are parted by a hash, then looked up part by part. The order of the groups means nothing. The
    list is empty afterwards: what is parted takes memory once.

    >>> found = groups([chosen(np.array([7, 0, 9, 7, 0, 5], np.uint64))])
    >>> found.bounds.tolist(), found.rows.tolist()
    ([0, 2], [0, 3])
    """
    total, parts = sum(len(keys) for keys, _ in found), 1
    while parts < _PARTITIONS and parts * _PARTITION < total:
        parts *= 2
    held, fill = np.empty((total, 2), np.uint64), np.zeros(parts + 1, np.int64)
    for keys, _ in found:
        _count(keys, SALT, fill)
    np.cumsum(fill, out=fill)
    ends = fill[:-1].copy()
    found.reverse()
    while found:
        _place(*found.pop(), SALT, held, ends)
    members, bounds = np.empty(total, np.int64), np.empty(total // 2 + 2, np.int64)
    count = _group(held, fill, SALT, members, bounds)
    return Groups(bounds[: count + 1].copy(), members[: bounds[count]].copy())


@kernel(types.void(array(types.uint64), types.uint64, out(types.int64)))
def _count(keys: Any, salt: Any, fill: Any) -> None:
    parts = len(fill) - 1
    down = shift_of(parts)
    for key in keys:
        fill[np.int64(key * salt >> down) + 1 if parts > 1 else 1] += 1


@kernel(types.void(array(types.uint64), array(types.uint32), types.uint64, out(types.uint64, 2), out(types.int64)))
def _place(keys: Any, rows: Any, salt: Any, held: Any, ends: Any) -> None:
    parts = len(ends)
    down = shift_of(parts)
    for i in range(len(keys)):
        part = np.int64(keys[i] * salt >> down) if parts > 1 else 0
        held[ends[part], 0], held[ends[part], 1] = keys[i], np.uint64(rows[i])
        ends[part] += 1


@kernel(types.int64(out(types.uint64, 2), out(types.int64), types.uint64, out(types.int64), out(types.int64)))
def _group(held: Any, fill: Any, salt: Any, members: Any, bounds: Any) -> int:
    parts = len(fill) - 1
    spent = np.uint64(64) - shift_of(parts)
    one = np.uint64(1)
    most = 0
    for part in range(parts):
        most = max(most, fill[part + 1] - fill[part])
    size = table_size(most)
    slots, counts = np.empty(size, np.uint64), np.empty(size, np.int32)
    places, mine = np.empty(size, np.int64), np.empty(most, np.int32)
    found, filled = 0, 0
    bounds[0] = 0
    for part in range(parts):
        begin, end = fill[part], fill[part + 1]
        size = table_size(end - begin)
        counts[:size] = 0
        shift, last_slot = shift_of(size), np.uint64(size - 1)
        for i in range(begin, end):
            slot = (held[i, 0] * salt << spent) >> shift
            while counts[slot] > 0 and slots[slot] != held[i, 0]:
                slot = slot + one & last_slot
            slots[slot], places[slot] = held[i, 0], -1
            counts[slot] += 1
            mine[i - begin] = slot
        for i in range(begin, end):
            slot = np.uint64(mine[i - begin])
            if counts[slot] < 2:
                continue
            if places[slot] < 0:
                places[slot] = filled
                filled += counts[slot]
                found += 1
                bounds[found] = filled
            members[places[slot]] = np.int64(held[i, 1])
            places[slot] += 1
    return found


def pairs(groups: Groups, own: int, most: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The pairs of rows of a group in which a row below `own` is: the smaller row times 2^32, plus the other one.

    A group's rows below `own` are paired with each other where they are up to `most`, and with the others where those
    are up to `most`. No two others are paired.

    >>> found = pairs(Groups(np.array([0, 4]), np.array([1, 2, 5, 7])), 5, 64)
    >>> [divmod(int(pair), 2**32) for pair in found]
    [(1, 2), (1, 5), (1, 7), (2, 5), (2, 7)]
    """
    mine = groups.below(own)
    others = groups.sizes - mine
    inside = np.where(mine <= most, mine * (mine - 1) // 2, 0)
    across = np.where(others <= most, mine * others, 0)
    found = np.empty(int((inside + across).sum()), np.uint64)
    _pair(groups.bounds, groups.rows, mine, most, found)
    return found


@kernel(types.void(array(types.int64), array(types.int64), array(types.int64), types.int64, out(types.uint64)))
def _pair(bounds: Any, rows: Any, mine: Any, most: int, found: Any) -> None:
    filled = 0
    for group in range(len(bounds) - 1):
        begin, end = bounds[group], bounds[group + 1]
        middle = begin + mine[group]
        for first in range(begin, middle):
            low = first + 1 if middle - begin <= most else middle
            high = end if end - middle <= most else middle
            for second in range(low, high):
                found[filled] = np.uint64(rows[first]) << np.uint64(32) | np.uint64(rows[second])
                filled += 1


def agreement(
    values: np.ndarray[Any, Any],
    first: np.ndarray[Any, Any],
    others: np.ndarray[Any, Any],
    second: np.ndarray[Any, Any],
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """For each pair of a row of `values` and one of `others` (uint32, a signature each) the share of equal places."""
    shares = np.empty(len(first), np.float64)
    _agree(values, first, others, second, shares)
    return shares


@kernel(
    types.void(
        array(types.uint32, 2), array(types.int64), array(types.uint32, 2), array(types.int64), out(types.float64)
    )
)
def _agree(values: Any, first: Any, others: Any, second: Any, shares: Any) -> None:
    for pair in range(len(first)):
        one, other = values[first[pair]], others[second[pair]]
        same = np.uint32(0)  # as wide as the values: several are compared at once
        for place in range(len(one)):
            same = np.uint32(same + np.uint32(one[place] == other[place]))
        shares[pair] = np.float64(same) / np.float64(values.shape[1])


def hex_keys(digits: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The number that the first sixteen hexadecimal digits of each string are; 0 for an empty string.

    >>> [hex(key) for key in hex_keys(np.frombuffer(b"00000000000000ff1234", np.uint8), np.array([0, 20, 20]))]
    ['0xff', '0x0']
    """
    keys = np.zeros(len(bounds) - 1, np.uint64)
    _read_hex(digits, bounds, keys)
    return keys


@kernel(types.void(array(types.uint8), array(types.int64), out(types.uint64)))
def _read_hex(digits: Any, bounds: Any, keys: Any) -> None:
    for row in range(len(bounds) - 1):
        value = np.uint64(0)
        for at in range(bounds[row], min(bounds[row + 1], bounds[row] + 16)):
            digit = digits[at]
            value = value << np.uint64(4) | np.uint64(digit - 0x30 if digit < 0x40 else (digit | 0x20) - 0x57)
        keys[row] = value


def parted(
    pairs: np.ndarray[Any, np.dtype[np.uint64]], rows: np.ndarray[Any, np.dtype[np.int64]], total: int, most: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], np.ndarray[Any, np.dtype[np.uint32]]]:
    """For each pair, and each row of one, the number of its partition: no pair has a row in another one.

    `rows` are all that stand in the pairs, ascending, each below `total`. A partition has about `most` of them, or more
    where they hang together; with 1 each of those is one. 8 bytes are held for each of `total`.

    >>> pairs = np.array([1 << 32 | 7, 2 << 32 | 3, 3 << 32 | 4], np.uint64)
    >>> of_pair, of_row = parted(pairs, np.array([1, 2, 3, 4, 7]), 8, 2)
    >>> of_pair.tolist(), of_row.tolist()
    ([0, 1, 1], [0, 1, 1, 1, 0])
    """
    parents, counts = np.arange(total, dtype=np.uint32), np.zeros(total, np.uint32)
    of_pair, of_row = np.empty(len(pairs), np.uint32), np.empty(len(rows), np.uint32)
    _part(pairs, rows, most, parents, counts, of_pair, of_row)
    return of_pair, of_row


@helper
def root_of(parents: Any, row: int) -> int:
    """The smallest row that hangs together with this one, as far as is known; the way there becomes half as long."""
    row = np.int64(row)
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = np.int64(parents[row])
    return row


@kernel(
    types.void(
        array(types.uint64), array(types.int64), types.int64, out(types.uint32), out(types.uint32), out(types.uint32),
        out(types.uint32),
    )
)  # fmt: skip
def _part(pairs: Any, rows: Any, most: int, parents: Any, counts: Any, of_pair: Any, of_row: Any) -> None:
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    for pair in pairs:
        one, other = root_of(parents, np.int64(pair >> half)), root_of(parents, np.int64(pair & low))
        parents[max(one, other)] = min(one, other)
    for row in rows:
        counts[root_of(parents, row)] += 1
    before = 0
    for row in rows:  # a root comes before the others
        if parents[row] == row:
            size = np.int64(counts[row])
            counts[row] = before // most
            before += size
    for i in range(len(rows)):
        of_row[i] = counts[root_of(parents, rows[i])]
    for i in range(len(pairs)):
        of_pair[i] = counts[root_of(parents, np.int64(pairs[i] >> half))]
