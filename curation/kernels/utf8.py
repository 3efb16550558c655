"""Helpers for kernels: characters of UTF-8, and eight bytes at a time. Positions are bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curation.kernels import masks
from curation.kernels.compiled import helper, inlined
from curation.kernels.unicode import MARK, SIZE, VARIATION_SELECTORS

#: 2^64 divided by the golden ratio: odd, and its multiples are spread evenly.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ONES, HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_FIRST_SELECTOR, _LAST_SELECTOR = VARIATION_SELECTORS


def packed(letters: str) -> tuple[np.uint64, ...]:
    """A phrase of at most sixteen lower-case letters of ASCII, for `phrase`: two numbers, two masks, its size."""
    raw = letters.encode("ascii")
    mask = 256 ** len(raw) - 1
    value = int.from_bytes(raw, "little")
    return tuple(map(np.uint64, (value % 2**64, value >> 64, mask % 2**64, mask >> 64, len(raw))))


def _loader(bits: int) -> Any:
    """An intrinsic that loads an unsigned little-endian number from a place in a uint8 array, without any check."""

    @intrinsic  # type: ignore[untyped-decorator]
    def load(typing: Any, data: Any, at: Any) -> Any:  # noqa: ARG001  # numba gives the context first
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, args[0])
            place = builder.gep(array.data, [args[1]])
            return builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()), align=1)

        return getattr(types, f"uint{bits}")(data, types.int64), generate

    return load


#: The byte at a place that is known to be inside: plain indexing asks first whether the place is negative.
byte = _loader(8)
#: The eight bytes from a place on, all of which are known to be inside.
load = _loader(64)


@helper
def decode(data: Any, at: int, end: int) -> Any:
    """The code point of the character at `at`, and how many bytes it takes; (U+FFFD, 1) for what is no UTF-8."""
    first = np.int64(byte(data, at))
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        if first >= 0xC2 and at + 2 <= end:
            return (first & 0x1F) << 6 | np.int64(byte(data, at + 1)) & 0x3F, 2
    elif first < 0xF0:
        if at + 3 <= end:
            return (first & 0xF) << 12 | (np.int64(byte(data, at + 1)) & 0x3F) << 6 | np.int64(
                byte(data, at + 2)
            ) & 0x3F, 3
    elif first < 0xF5 and at + 4 <= end:
        high = (first & 7) << 18 | (np.int64(byte(data, at + 1)) & 0x3F) << 12
        return high | (np.int64(byte(data, at + 2)) & 0x3F) << 6 | np.int64(byte(data, at + 3)) & 0x3F, 4
    return 0xFFFD, 1


@helper
def before(data: Any, start: int, end: int) -> int:
    """Where the character begins that ends at `end`; not before `start`, which must be less than `end`."""
    at = end - 1
    while at > start and byte(data, at) & 0xC0 == 0x80:
        at -= 1
    return at


@helper
def property_of(table: Any, point: int) -> Any:
    """The bits of a code point in `unicode.properties()`."""
    if point < SIZE:
        return table[point]
    return np.uint32(MARK if _FIRST_SELECTOR <= point <= _LAST_SELECTOR else 0)


@helper
def _looked_up(data: Any, at: int, end: int, table: Any) -> tuple[int, int, int]:
    point, size = decode(data, at, end)
    return point, size, np.int64(property_of(table, point))


@inlined
def character(data: Any, at: int, end: int, table: Any) -> tuple[int, int, int]:
    """The code point of the character at `at`, how many bytes it takes, and its bits in `unicode.properties()`."""
    first = np.int64(byte(data, at))
    if first < 0x80:
        return first, 1, np.int64(table[first])
    return _looked_up(data, at, end, table)


@inlined
def character_before(data: Any, start: int, end: int, table: Any) -> tuple[int, int, int]:
    """The code point of the character that ends at `end`, where it begins, and its bits."""
    last = np.int64(byte(data, end - 1))
    if last < 0x80:
        return last, end - 1, np.int64(table[last])
    at = before(data, start, end)
    point, _, bits = _looked_up(data, at, end, table)
    return point, at, bits


@helper
def characters(data: Any, start: int, end: int) -> int:
    """How many characters there are."""
    count = np.int64(0)
    while start < end:
        count += masks.count(masks.below(end - start) & ~masks.within(data, start, 0x80, 0xBF))
        start += masks.SIZE
    return count


@helper
def eight(data: Any, at: int, end: int) -> Any:
    """The bytes from `at` to `end`, at most eight of them, as a little-endian uint64 padded with zeros."""
    if at + 8 <= len(data):
        loaded = load(data, at)
        left = end - at
        return loaded if left >= 8 else loaded & ((np.uint64(1) << np.uint64(8 * left)) - np.uint64(1))
    value: Any = np.uint64(0)
    for place in range(min(end - at, 8)):
        value |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return value


@helper
def phrase(data: Any, start: int, end: int, letters: Any) -> bool:
    """Whether a phrase of `packed` stands at `start`, in any case.

    The sign for kelvin is a capital k as well; no other character outside ASCII has a lower case inside.
    """
    low, high, low_mask, high_mask, size = letters
    if start + np.int64(size) > end:
        return False
    first, second = eight(data, start, end), eight(data, start + 8, end)
    if ((first & low_mask) | (second & high_mask)) & HIGHS:  # with a kelvin the phrase is longer
        first, second, at = np.uint64(0), np.uint64(0), start
        for place in range(np.int64(size)):
            letter = np.uint64(0)
            if at < end:
                letter = np.uint64(byte(data, at))
                if letter == 0xE2 and at + 3 <= end and byte(data, at + 1) == 0x84 and byte(data, at + 2) == 0xAA:
                    letter, at = np.uint64(0x6B), at + 2
            at += 1
            if place < 8:
                first |= letter << np.uint64(8 * place)
            else:
                second |= letter << np.uint64(8 * place - 64)
    return lower(first) & low_mask == low and lower(second) & high_mask == high


@helper
def lower(letters: Any) -> Any:
    """Eight bytes with capitals of ASCII made small: what is added sets the highest bit from "A" on, or past "Z"."""
    plain = letters & ~HIGHS
    from_a, past_z = plain + (ONES * np.uint64(0x3F)), plain + (ONES * np.uint64(0x25))
    return letters | ((from_a ^ past_z) & ~letters & HIGHS) >> np.uint64(2)


@helper
def same(data: Any, a: int, b: int, size: int) -> bool:
    """Whether the `size` bytes at `a` are those at `b`."""
    done = 0
    while done < size:
        if eight(data, a + done, a + size) != eight(data, b + done, b + size):
            return False
        done += 8
    return True


@helper
def mixed(value: Any) -> Any:
    """A uint64 whose every bit depends on every bit of `value`: the finaliser of MurmurHash3, a bijection."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@helper
def seed(size: int) -> Any:
    """What `hashed` of so many bytes begins with."""
    return np.uint64(size) * GOLDEN


@helper
def add(value: Any, more: Any) -> Any:
    """The hash so far, with another uint64 of what is hashed."""
    return mixed(value ^ more) + GOLDEN


@helper
def last(value: Any) -> Any:
    """The hash, once all is added: never 0."""
    return value | np.uint64(value == 0)


@helper
def hashed(data: Any, start: int, end: int, salt: Any) -> Any:
    """A 64-bit hash of these bytes: eight at a time, each mixed into what came before; never 0."""
    value = seed(end - start) ^ salt
    at = start
    while at < end:
        value = add(value, eight(data, at, end))
        at += 8
    return last(value)
