"""Shingles of many texts, and their MinHash signatures by datasketch's scheme `affine32`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.utf8 import GOLDEN, add, last, seed


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


def permutations(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The factors (odd) and summands of permutations, as datasketch draws them for `affine32`: uint32 (2, count)."""
    draw = np.random.RandomState(seed)  # datasketch's generator
    factors = draw.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return np.array([factors, draw.randint(0, 1 << 32, count, dtype=np.uint32)])


def signatures(
    hashes: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], ngram: int, bands: int, rows: int, seed: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], np.ndarray[Any, np.dtype[np.uint64]]]:
    """The signature of each text, uint32 (texts, bands x rows), and a hash of each band's rows, uint64 (texts, bands).

    A signature is the minimum of each permutation over the lower 32 bits of the text's shingles. Of a text without
    words it is all ones, and its bands are 0, which no other band is.
    """
    count = bands * rows
    values = np.full((len(bounds) - 1, count), 0xFFFFFFFF, np.uint32)
    folded = np.zeros((len(bounds) - 1, bands), np.uint64)
    _sign(hashes, bounds, ngram, *permutations(count, seed), rows, values, folded)
    return values, folded


@helper
def finished(total: Any) -> Any:
    """The hash of a shingle whose words were added up in order."""
    return total ^ (total >> np.uint64(32))


@helper
def premixed(value: Any) -> Any:
    """The lower 32 bits, whose every bit then depends on every other: the finaliser of MurmurHash3 for 32 bits."""
    wide = value & np.uint64(0xFFFFFFFF)
    wide = ((wide ^ (wide >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    wide = ((wide ^ (wide >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    return np.uint32(wide ^ (wide >> np.uint64(16)))


@helper
def leading(ngram: int) -> Any:
    """What the first word of a shingle was multiplied by when the last one was added."""
    power = np.uint64(1)
    for _ in range(ngram - 1):
        power *= GOLDEN
    return power


@kernel(types.void(array(types.uint64), array(types.int64), types.int64, array(types.int64), out(types.uint64)))
def _shingle(hashes: Any, bounds: Any, ngram: int, offsets: Any, found: Any) -> None:
    power = leading(ngram)
    for row in range(len(bounds) - 1):
        filled, total = offsets[row], np.uint64(0)
        first, stop = bounds[row], bounds[row + 1]
        for word in range(first, stop):
            if word - first >= ngram:
                total -= power * hashes[word - ngram]
            total = total * GOLDEN + hashes[word]
            if word - first >= ngram - 1 or word == stop - 1:
                found[filled] = finished(total)
                filled += 1


@helper
def lowered(mine: Any, factors: Any, summands: Any, one: Any, two: Any, three: Any, four: Any) -> None:
    """Take four shingles into a signature: as many as keep the processor busy with what it has loaded."""
    for place in range(len(factors)):
        factor, summand = factors[place], summands[place]
        first = min(np.uint32(factor * one + summand), np.uint32(factor * two + summand))
        second = min(np.uint32(factor * three + summand), np.uint32(factor * four + summand))
        mine[place] = min(mine[place], first, second)


@kernel(
    types.void(
        array(types.uint64), array(types.int64), types.int64, array(types.uint32), array(types.uint32), types.int64,
        out(types.uint32, 2), out(types.uint64, 2),
    )
)  # fmt: skip
def _sign(
    hashes: Any, bounds: Any, ngram: int, factors: Any, summands: Any, rows: int, values: Any, folded: Any
) -> None:
    power = leading(ngram)
    for row in range(len(bounds) - 1):
        first, stop = bounds[row], bounds[row + 1]
        mine = values[row]
        total = np.uint64(0)
        one, two, three, four = np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0)
        waiting = 0  # shingles that are not taken in yet: the last ones of four
        for word in range(first, stop):
            if word - first >= ngram:
                total -= power * hashes[word - ngram]
            total = total * GOLDEN + hashes[word]
            if word - first < ngram - 1 and word < stop - 1:
                continue
            one, two, three, four = two, three, four, premixed(finished(total))
            waiting += 1
            if waiting == 4:
                lowered(mine, factors, summands, one, two, three, four)
                waiting = 0
        if waiting > 0:  # taking one in twice changes nothing
            lowered(mine, factors, summands, four, four, three if waiting > 1 else four, two if waiting > 2 else four)
        if first == stop:
            continue
        for band in range(folded.shape[1]):
            value = seed(rows)
            for place in range(band * rows, (band + 1) * rows):
                value = add(value, np.uint64(mine[place]))
            folded[row, band] = last(value)
