"""Numbers for the pieces of a text, equal ones the same, and the tables that they are found with.

What a place in a table depends on is a random number of the process, so that no text can be made whose words all meet
in one; no answer depends on it.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from curation.kernels.compiled import helper, inlined
from curation.kernels.memory import AHEAD, fetch
from curation.kernels.utf8 import eight, hashed, same

#: An odd factor: the highest bits of a key times it are the key's place in a table.
SALT = np.uint64(secrets.randbits(64) | 1)
#: From so many slots on, a megabyte, the places of a table are asked for ahead.
_FAR = 1 << 16


@helper
def table_size(items: int) -> int:
    """A power of two at which a table of so many items is half full at most."""
    size = 16
    while size < 2 * items:
        size *= 2
    return size


@helper
def shift_of(size: int) -> Any:
    """How far to shift a salted key so that it is a place among so many, a power of two."""
    shift = 64
    while size > 1:
        size >>= 1
        shift -= 1
    return np.uint64(shift)


@inlined
def key_of(data: Any, start: int, end: int, salt: Any) -> Any:
    """A key of a piece: up to eight bytes are their own, with their number; of more it is a hash.

    The highest byte is one that stands in no UTF-8, unless eight bytes fill it.
    """
    length = end - start
    if length > 8:
        return hashed(data, start, end, salt) & np.uint64(2**56 - 1) | np.uint64(0xC1 << 56)
    tag = np.uint64(0xF8 + length) << np.uint64(56)
    return eight(data, start, end) | (tag if length < 8 else np.uint64(0))


@helper
def number(
    data: Any, begin: int, starts: Any, ends: Any, first: int, last: int, found: int, done: int, numbers: Any,
    times: Any, pieces: Any, table: Any, size: int, salt: Any,
) -> tuple[int, int]:  # fmt: skip
    """Number the pieces of a text from `first` to `last` by their bytes, in the order of first appearance.

    `numbers` gets a number for each; `times` and `pieces` get for each number how often it occurs, and the first piece
    of it. Comes back with how many numbers there are, and how many pieces have one: not all where `size` slots are half
    full, which `table_size` of the pieces never are. Then ask again, with both and a larger table.

    Pieces with the same key are equal if they have up to eight bytes, else they are compared. The table has for each
    slot the key, and 1 more than the number.
    """
    one, two = np.uint64(1), np.uint64(2)
    table[: 2 * size] = 0
    shift, last_slot = shift_of(size), np.uint64(size - 1)
    for known in range(found):
        piece = first + pieces[known]
        key = key_of(data, begin + starts[piece], begin + ends[piece], salt)
        slot = key * salt >> shift
        while table[two * slot + one] != 0:
            slot = slot + one & last_slot
        table[two * slot], table[two * slot + one] = key, np.uint64(known + 1)
    for piece in range(done, last - first):
        if size >= _FAR and (piece - done) % AHEAD == 0:
            for later in range(first + piece, min(first + piece + AHEAD, last)):
                key = key_of(data, begin + starts[later], begin + ends[later], salt)
                fetch(table, np.int64(two * (key * salt >> shift)))
        start, end = begin + starts[first + piece], begin + ends[first + piece]
        length = end - start
        key = key_of(data, start, end, salt)
        slot = key * salt >> shift
        while table[two * slot + one] != 0:
            if table[two * slot] == key:
                if length <= 8:
                    break
                other = first + pieces[table[two * slot + one] - one]
                if ends[other] - starts[other] == length and same(data, begin + starts[other], start, length):
                    break
            slot = slot + one & last_slot
        known = np.int64(table[two * slot + one])
        if known == 0:
            if 2 * found == size:
                return found, piece
            table[two * slot] = key
            times[found], pieces[found] = 0, piece
            found += 1
            known = found
            table[two * slot + one] = np.uint64(known)
        numbers[piece] = known - 1
        times[known - 1] += 1
    return found, last - first
