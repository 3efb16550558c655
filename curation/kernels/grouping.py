"""Which rows have the same key, and the pairs of those."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels.compiled import array, kernel, out
from curation.kernels.numbering import SALT, shift_of, table_size

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


def groups(keys: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> Groups:
    """The groups of two and more rows (int64, ascending) with the same key (uint64); a key of 0 is none.

    In linear time: keys are parted by a hash, then looked up part by part. The order of the groups means nothing.

    >>> found = groups(np.array([7, 0, 9, 7, 0, 5], np.uint64), np.arange(6))
    >>> found.bounds.tolist(), found.rows.tolist()
    ([0, 2], [0, 3])
    """
    parts = 1
    while parts < _PARTITIONS and parts * _PARTITION < len(keys):
        parts *= 2
    held, fill = np.empty((len(keys), 2), np.uint64), np.zeros(parts + 1, np.int64)
    members, bounds = np.empty(len(keys), np.int64), np.empty(len(keys) // 2 + 2, np.int64)
    found = _group(keys, rows, SALT, held, fill, members, bounds)
    return Groups(bounds[: found + 1].copy(), members[: bounds[found]].copy())


@kernel(
    types.int64(
        array(types.uint64), array(types.int64), types.uint64, out(types.uint64, 2), out(types.int64),
        out(types.int64), out(types.int64),
    )
)  # fmt: skip
def _group(keys: Any, rows: Any, salt: Any, held: Any, fill: Any, members: Any, bounds: Any) -> int:
    parts = len(fill) - 1
    down = shift_of(parts)
    spent = np.uint64(64) - down
    zero, one = np.uint64(0), np.uint64(1)
    for i in range(len(keys)):
        if keys[i] != zero:
            fill[np.int64(keys[i] * salt >> down) + 1 if parts > 1 else 1] += 1
    most = 0
    for part in range(parts):
        most = max(most, fill[part + 1])
        fill[part + 1] += fill[part]
    ends = fill[:parts].copy()
    for i in range(len(keys)):
        if keys[i] != zero:
            part = np.int64(keys[i] * salt >> down) if parts > 1 else 0
            held[ends[part], 0], held[ends[part], 1] = keys[i], np.uint64(rows[i])
            ends[part] += 1
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


def pairs(groups: Groups, most: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Every pair of rows of the groups that have up to `most`: the smaller row times 2^32, plus the other one.

    >>> found = pairs(Groups(np.array([0, 3]), np.array([1, 2, 5])), 64)
    >>> [divmod(int(pair), 2**32) for pair in found]
    [(1, 2), (1, 5), (2, 5)]
    """
    sizes = groups.sizes
    small = sizes[sizes <= most]
    found = np.empty(int((small * (small - 1) // 2).sum()), np.uint64)
    _pair(groups.bounds, groups.rows, most, found)
    return found


@kernel(types.void(array(types.int64), array(types.int64), types.int64, out(types.uint64)))
def _pair(bounds: Any, rows: Any, most: int, found: Any) -> None:
    filled = 0
    for group in range(len(bounds) - 1):
        begin, end = bounds[group], bounds[group + 1]
        if end - begin > most:
            continue
        for first in range(begin, end):
            for second in range(first + 1, end):
                found[filled] = np.uint64(rows[first]) << np.uint64(32) | np.uint64(rows[second])
                filled += 1


def agreement(
    values: np.ndarray[Any, Any], first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """For each pair of rows of `values` (uint32, a signature each) the share of places where they agree."""
    shares = np.empty(len(first), np.float64)
    _agree(values, first, second, shares)
    return shares


@kernel(types.void(array(types.uint32, 2), array(types.int64), array(types.int64), out(types.float64)))
def _agree(values: Any, first: Any, second: Any, shares: Any) -> None:
    for pair in range(len(first)):
        same = 0
        for place in range(values.shape[1]):
            same += values[first[pair], place] == values[second[pair], place]
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
