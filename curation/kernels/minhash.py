"""Shingles of many texts, and their MinHash signatures by datasketch's scheme `affine32`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.utf8 import GOLDEN, add, last, seed

#: Values of a signature that are computed side by side, and shingles that wait until they are taken in together.
LANES, _AT_ONCE = 16, 256


def shingles(hashes: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], ngram: int) -> tuple[Any, Any]:
    """64-bit hashes of the word n-grams of each text, in order: bounds (int64), and the hashes (uint64).

    The words of text i have the hashes `bounds[i]` to `bounds[i + 1]`; a text of fewer than `ngram` words is one
    shingle of them all, one without words has none.
    """
    words = np.diff(bounds)
    count = np.where(words > 0, np.maximum(words - ngram + 1, 1), 0)
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    found = np.empty(offsets[-1], np.uint64)
    _shingle(hashes, bounds, ngram, offsets, found)
    return offsets, found


@cache
def permutations(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The factors (odd) and summands of permutations, as datasketch draws them for `affine32`: uint32 (2, count)."""
    draw = np.random.RandomState(seed)  # datasketch's generator
    factors = draw.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    found = np.array([factors, draw.randint(0, 1 << 32, count, dtype=np.uint32)])
    found.flags.writeable = False  # all who ask are given this one
    return found


def signatures(
    hashes: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], ngram: int, bands: int, rows: int, seed: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], np.ndarray[Any, np.dtype[np.uint64]]]:
    """The signature of each text, uint32 (texts, bands x rows), and a hash of each band's rows, uint64 (texts, bands).

    A signature is the minimum of each permutation over the lower 32 bits of the text's shingles. Of a text without
    words it is all ones, and its bands are 0, which no other band is.
    """
    count = bands * rows
    values = np.empty((len(bounds) - 1, count), np.uint32)
    folded = np.zeros((len(bounds) - 1, bands), np.uint64)
    factors, summands, lowest = np.zeros((3, -(-count // LANES) * LANES), np.uint32)
    factors[:count], summands[:count] = permutations(count, seed)
    _sign(hashes, bounds, ngram, factors, summands, rows, np.empty(_AT_ONCE, np.uint32), lowest, values, folded)
    return values, folded


@helper
def finished(total: Any) -> Any:
    """The hash of a shingle whose words were added up in order."""
    return total ^ (total >> np.uint64(32))


@helper
def premixed(value: Any) -> Any:
    """A value of 32 bits, whose every bit then depends on every other: the finaliser of MurmurHash3 for 32 bits."""
    wide = np.uint64(value)
    wide = ((wide ^ (wide >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    wide = ((wide ^ (wide >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    return np.uint32(wide ^ (wide >> np.uint64(16)))


@helper
def leading(ngram: int) -> Any:
    """What the first word of a shingle is multiplied by when the word after the last one is added."""
    power = np.uint64(1)
    for _ in range(ngram):
        power *= GOLDEN
    return power


@kernel(types.void(array(types.uint64), array(types.int64), types.int64, array(types.int64), out(types.uint64)))
def _shingle(hashes: Any, bounds: Any, ngram: int, offsets: Any, found: Any) -> None:
    power = leading(ngram)
    for row in range(len(bounds) - 1):
        filled, total = offsets[row], np.uint64(0)
        first, stop = bounds[row], bounds[row + 1]
        for word in range(first, stop):
            more = hashes[word]
            if word - first >= ngram:
                more -= power * hashes[word - ngram]
            total = total * GOLDEN + more
            if word - first >= ngram - 1 or word == stop - 1:
                found[filled] = finished(total)
                filled += 1


@intrinsic  # type: ignore[untyped-decorator]
def lowered(
    typing: Any, lowest: Any, place: Any, factors: Any, summands: Any, shingles: Any, count: Any,  # noqa: ARG001
) -> Any:  # fmt: skip
    """Take shingles, a multiple of four, into the `LANES` values of a signature from `place` on.

    The values, factors and summands stay in vectors meanwhile: left to itself, the compiler loads them for each shingle
    anew, and takes those that do not fill a vector one at a time.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one, lanes = ir.IntType(32), ir.VectorType(ir.IntType(32), LANES)
        nothing, zeros = ir.Constant(lanes, ir.Undefined), ir.Constant(lanes, None)

        def pointer(number: int, at: Any) -> Any:
            array = context.make_array(signature.args[number])(context, builder, args[number])
            return builder.gep(array.data, [at])

        def vector(number: int) -> Any:
            return builder.bitcast(pointer(number, args[1]), lanes.as_pointer())

        def least(a: Any, b: Any) -> Any:
            return builder.select(builder.icmp_unsigned("<", a, b), a, b)

        factor, summand = builder.load(vector(2), align=4), builder.load(vector(3), align=4)

        def permuted(at: Any, more: int) -> Any:
            value = builder.load(pointer(4, builder.add(at, at.type(more))), align=4)
            spread = builder.shuffle_vector(builder.insert_element(nothing, value, one(0)), nothing, zeros)
            return builder.add(builder.mul(spread, factor), summand)

        so_far = cgutils.alloca_once_value(builder, builder.load(vector(0), align=4))
        with cgutils.for_range_slice(builder, args[5].type(0), args[5], args[5].type(4), inc=True) as (at, _):
            first, second = (least(permuted(at, more), permuted(at, more + 1)) for more in (0, 2))
            builder.store(least(builder.load(so_far), least(first, second)), so_far)
        builder.store(builder.load(so_far), vector(0), align=4)
        return context.get_dummy_value()

    return types.void(lowest, types.int64, factors, summands, shingles, types.int64), generate


@kernel(
    types.void(
        array(types.uint64), array(types.int64), types.int64, array(types.uint32), array(types.uint32), types.int64,
        out(types.uint32), out(types.uint32), out(types.uint32, 2), out(types.uint64, 2),
    )
)  # fmt: skip
def _sign(
    hashes: Any, bounds: Any, ngram: int, factors: Any, summands: Any, rows: int, waiting: Any, lowest: Any,
    values: Any, folded: Any,
) -> None:  # fmt: skip
    power = leading(ngram)
    for row in range(len(bounds) - 1):
        first, stop = bounds[row], bounds[row + 1]
        lowest[:] = np.uint32(0xFFFFFFFF)
        total, count = np.uint64(0), 0
        for word in range(first, stop):
            more = hashes[word]
            if word - first >= ngram:
                more -= power * hashes[word - ngram]
            total = total * GOLDEN + more
            if word - first >= ngram - 1 or word == stop - 1:
                waiting[count] = np.uint32(finished(total))
                count += 1
            if count == len(waiting) or word == stop - 1:
                while count % 4:  # taking one in twice changes nothing
                    waiting[count] = waiting[count - 1]
                    count += 1
                for at in range(count):
                    waiting[at] = premixed(waiting[at])
                for place in range(0, len(lowest), LANES):
                    lowered(lowest, place, factors, summands, waiting, count)
                count = 0
        for place in range(values.shape[1]):
            values[row, place] = lowest[place]
        mine = values[row]
        if first == stop:
            continue
        for band in range(folded.shape[1]):
            value = seed(rows)
            for place in range(band * rows, (band + 1) * rows):
                value = add(value, np.uint64(mine[place]))
            folded[row, band] = last(value)
