"""BLAKE2b of many texts, four side by side: what hashlib.blake2b(digest_size=16) makes of each (RFC 7693)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.utf8 import byte, load

#: Texts: where they lie (uint8), and where each begins and the last ends (int64).
Texts = tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]

#: Bytes of a digest.
SIZE = 16
_LANES, _BLOCK = 4, 128
# RFC 7693, 2.6 and 2.7: what the state begins as, and which words of a block each of its rounds takes.
_BEGINNING = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
_SCHEDULE = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4), (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13), (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11), (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5), (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
)  # fmt: skip
_MIXED = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
#: The first word, changed by 2.5's parameters: no key, one after another, digests of `SIZE`.
_FIRST = np.uint64(_BEGINNING[0] ^ 0x01010000 ^ SIZE)
_REST = tuple(map(np.uint64, _BEGINNING[1:]))
# Where `state` holds what comes after the eight words of each lane: a word for each of them too.
_LENGTH, _FINAL = 8, 9
_LAST = np.uint64(2**64 - 1)


_DIGITS = np.frombuffer(b"".join(b"%02x" % value for value in range(256)), np.uint16)


def digests(
    heads: np.ndarray[Any, Any], head_bounds: np.ndarray[Any, Any], data: np.ndarray[Any, Any],
    bounds: np.ndarray[Any, Any],
) -> np.ndarray[Any, np.dtype[np.uint8]]:  # fmt: skip
    """The digests (uint8, texts x 16) of texts, each with a head before it.

    They lie in `data` (uint8) between `bounds` (int64, one more than texts), their heads likewise. A text longer than
    all the others together is left to hashlib: most of the time nothing would lie beside it.
    """
    sizes = np.diff(bounds)
    found = np.empty((len(sizes), SIZE), np.uint8)
    longest = int(sizes.argmax()) if len(sizes) else 0
    if len(sizes) and 2 * sizes[longest] > bounds[-1] - bounds[0]:
        text = data[bounds[longest] : bounds[longest + 1]]
        digest = hashlib.blake2b(heads[head_bounds[longest] : head_bounds[longest + 1]], digest_size=SIZE)
        digest.update(np.ascontiguousarray(text))
        found[longest] = np.frombuffer(digest.digest(), np.uint8)
        sides = [slice(longest), slice(longest + 1, len(sizes))]
    else:
        sides = [slice(len(sizes))]
    state, block, rows = np.zeros(10 * _LANES, np.uint64), np.zeros(16 * _LANES, np.uint64), np.empty(_LANES, np.int64)
    words = found.view(np.uint64)
    for side in sides:
        some = slice(side.start, side.stop + 1)
        _hash(heads, head_bounds[some], data, bounds[some], state, block, rows, words[side])
    return found


def heads(first: bytes, one: Texts, other: Texts, sizes: np.ndarray[Any, np.dtype[np.int64]]) -> Texts:
    r"""What `digests` takes as heads: for each text `first` and what stands in two columns, its size before each.

    Then comes the size of the text that follows, of `sizes`. Sizes are eight bytes, the lowest first.

    >>> of_none = np.empty(0, np.uint8), np.array([0, 0])
    >>> data, bounds = heads(b"web", (np.frombuffer(b"ab", np.uint8), np.array([0, 2])), of_none, np.array([7]))
    >>> bytes(data[bounds[0]:bounds[1]]).replace(bytes(7), b".")
    b'\x03.web\x02.ab.\x00\x07.'
    """
    ends = np.concatenate([[0], np.cumsum(32 + len(first) + np.diff(one[1]) + np.diff(other[1]))])
    found = np.empty(ends[-1], np.uint8)
    _write_heads(np.frombuffer(first, np.uint8), *one, *other, sizes, found)
    return found, ends


@helper
def sized(data: Any, start: int, end: int, target: Any, at: int) -> int:
    """Write how many bytes there are, and them; where the next go."""
    for number in range(8):
        target[at + number] = (end - start) >> 8 * number & 0xFF
    for number in range(end - start):
        target[at + 8 + number] = byte(data, start + number)
    return at + 8 + end - start


@kernel(
    types.void(
        array(types.uint8), array(types.uint8), array(types.int64), array(types.uint8), array(types.int64),
        array(types.int64), out(types.uint8),
    )
)  # fmt: skip
def _write_heads(first: Any, one: Any, one_bounds: Any, other: Any, other_bounds: Any, sizes: Any, target: Any) -> None:
    at = np.int64(0)
    for row in range(len(sizes)):
        at = sized(first, np.int64(0), len(first), target, at)
        at = sized(one, one_bounds[row], one_bounds[row + 1], target, at)
        at = sized(other, other_bounds[row], other_bounds[row + 1], target, at)
        for number in range(8):
            target[at + number] = sizes[row] >> 8 * number & 0xFF
        at += 8


def hexadecimal(digests: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Their hexadecimal digits: uint8, twice as many columns.

    >>> bytes(hexadecimal(np.array([[0, 171]], np.uint8))[0])
    b'00ab'
    """
    return _DIGITS[digests].view(np.uint8)


@intrinsic  # type: ignore[untyped-decorator]
def _compress(typing: Any, state: Any, block: Any) -> Any:  # noqa: ARG001  # numba gives the context
    """Mix a block of each lane into its state (RFC 7693, 3.2)."""
    vector, bytes_ = ir.VectorType(ir.IntType(64), _LANES), ir.VectorType(ir.IntType(8), 8 * _LANES)

    def all_of(value: int) -> Any:
        return ir.Constant(vector, [value] * _LANES)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = [
            context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args, args, strict=True)
        ]

        def place(which: int, number: int) -> Any:
            at = builder.gep(held[which].data, [ir.IntType(64)(number * _LANES)])
            return builder.bitcast(at, vector.as_pointer())

        def read(which: int, number: int) -> Any:
            return builder.load(place(which, number), align=8)

        def turned(value: Any, bits: int) -> Any:
            if bits % 8:
                return builder.or_(builder.lshr(value, all_of(bits)), builder.shl(value, all_of(64 - bits)))
            order = [8 * lane + (at + bits // 8) % 8 for lane in range(_LANES) for at in range(8)]
            raw, chosen = builder.bitcast(value, bytes_), ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
            return builder.bitcast(builder.shuffle_vector(raw, ir.Constant(bytes_, ir.Undefined), chosen), vector)

        words = [read(1, number) for number in range(16)]
        before = [read(0, number) for number in range(8)]
        mixed = [*before, *map(all_of, _BEGINNING)]
        mixed[12] = builder.xor(mixed[12], read(0, _LENGTH))
        mixed[14] = builder.xor(mixed[14], read(0, _FINAL))
        for order in _SCHEDULE:
            for number, (a, b, c, d) in enumerate(_MIXED):
                for word, first, second in ((2 * number, 32, 24), (2 * number + 1, 16, 63)):
                    mixed[a] = builder.add(builder.add(mixed[a], mixed[b]), words[order[word]])
                    mixed[d] = turned(builder.xor(mixed[d], mixed[a]), first)
                    mixed[c] = builder.add(mixed[c], mixed[d])
                    mixed[b] = turned(builder.xor(mixed[b], mixed[c]), second)
        for number, old in enumerate(before):
            new = builder.xor(old, builder.xor(mixed[number], mixed[number + 8]))
            builder.store(new, place(0, number), align=8)
        return context.get_dummy_value()

    return types.void(state, block), generate


@helper
def _word(heads: Any, first: int, behind: int, data: Any, start: int, end: int, at: int) -> Any:
    """Eight bytes of a message, which is the head from `first` and the text behind it; 0 where it has ended."""
    value = np.uint64(0)
    for number in range(8):
        place = first + at + number
        if place >= behind:
            place += start - behind
            if place >= end:
                break
            letter = byte(data, place)
        else:
            letter = byte(heads, place)
        value |= np.uint64(letter) << np.uint64(8 * number)
    return value


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint8), array(types.int64), out(types.uint64),
        out(types.uint64), out(types.int64), out(types.uint64, 2),
    )
)  # fmt: skip
def _hash(
    heads: Any, head_bounds: Any, data: Any, bounds: Any, state: Any, block: Any, rows: Any, digests: Any
) -> None:
    """Each lane takes the next text as soon as it has done with one; `rows` are those that the lanes are at.

    A lane for which none is left mixes on, and nobody reads what.
    """
    rows[:] = -1
    following, left = 0, len(bounds) - 1
    while left:
        for lane in range(_LANES):
            if rows[lane] < 0 and following < len(bounds) - 1:
                rows[lane] = following
                following += 1
                state[lane] = _FIRST
                for number in range(7):
                    state[(number + 1) * _LANES + lane] = _REST[number]
                state[_LENGTH * _LANES + lane] = state[_FINAL * _LANES + lane] = 0
            row = rows[lane]
            if row < 0:
                continue
            first, behind, start, end = head_bounds[row], head_bounds[row + 1], bounds[row], bounds[row + 1]
            at = np.int64(state[_LENGTH * _LANES + lane])
            size = behind - first + end - start
            if at + _BLOCK <= behind - first:
                for number in range(16):
                    block[number * _LANES + lane] = load(heads, first + at + 8 * number)
            elif at >= behind - first and at + _BLOCK <= size:
                place = start + at - (behind - first)
                for number in range(16):
                    block[number * _LANES + lane] = load(data, place + 8 * number)
            else:
                for number in range(16):
                    block[number * _LANES + lane] = _word(heads, first, behind, data, start, end, at + 8 * number)
            state[_LENGTH * _LANES + lane] = min(at + _BLOCK, size)
            if at + _BLOCK >= size:
                state[_FINAL * _LANES + lane] = _LAST
        _compress(state, block)
        for lane in range(_LANES):
            if rows[lane] >= 0 and state[_FINAL * _LANES + lane]:
                for number in range(SIZE // 8):
                    digests[rows[lane], number] = state[number * _LANES + lane]
                rows[lane] = -1
                left -= 1
