"""What many texts are written with: how many characters of each kind they hold."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels import unicode
from curation.kernels.compiled import array, kernel, out
from curation.kernels.unicode import properties
from curation.kernels.utf8 import byte, decode, packed, phrase, property_of

Counts = np.ndarray[Any, np.dtype[np.int64]]

(_WHITE, _LETTER, _UPPER, _DIGIT, _PUNCTUATION, _SYMBOL, _HASHES, _CURLY, _ALL, _ELLIPSES, _URLS, _LOREM, _BREAKS) = (
    range(13)
)
#: The property that makes a character one of the first six kinds.
_BITS = (unicode.WHITE, unicode.LETTER, unicode.UPPER, unicode.DIGIT, unicode.PUNCTUATION, unicode.SYMBOL)
#: Bytes that are counted in one number, of which each of the first eight kinds has eight bits.
_BLOCK = 255
_LOREM_IPSUM, _HTTP = packed("lorem ipsum"), packed("http")


class Characters(NamedTuple):
    """For each text of a batch how many characters it holds of each kind, and of some that are counted by themselves.

    `url` counts "http://" and "https://" and `lorem` "lorem ipsum", in any case; `ellipsis` counts "..." and "…",
    `curly` "{"; `odd_break` what `str.splitlines` or `str.isspace` take for a break or white space and this project
    does not: U+000B, U+000C, U+001C to U+001F, U+0085, U+2028 and U+2029.
    """

    white: Counts
    letter: Counts
    upper: Counts
    digit: Counts
    punctuation: Counts
    symbol: Counts
    hash: Counts
    curly: Counts
    all: Counts
    ellipsis: Counts
    url: Counts
    lorem: Counts
    odd_break: Counts


def characters(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any]) -> Characters:
    """The characters of the texts that lie in `data` (uint8) between `bounds` (int64, one more than texts)."""
    figures = np.zeros((13, len(bounds) - 1), np.int64)
    _count(data, bounds, properties(), *_ascii(), figures)
    return Characters(*figures)


@cache
def _ascii() -> tuple[np.ndarray[Any, np.dtype[np.uint64]], np.ndarray[Any, np.dtype[np.bool_]]]:
    """For each byte what it adds to the block's number, and whether it is looked at closely."""
    adds = np.zeros(256, np.uint64)
    bits = properties()[:128]
    for kind, bit in enumerate(_BITS):
        adds[:128] += (bits & bit != 0).astype(np.uint64) << np.uint64(8 * kind)
    for letter, kind in (("#", _HASHES), ("{", _CURLY)):
        adds[ord(letter)] += np.uint64(1 << 8 * kind)
    noted = np.arange(256) >= 0x80
    noted[list(b".:pP\v\f\x1c\x1d\x1e\x1f")] = True
    return adds, noted


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), array(types.uint64), array(types.bool_),
        out(types.int64, 2),
    )
)  # fmt: skip
def _count(data: Any, bounds: Any, table: Any, adds: Any, noted: Any, figures: Any) -> None:
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        ellipses, urls, lorem, breaks, extra = 0, 0, 0, 0, 0
        dots = begin  # where the next "..." may begin
        at = begin
        while at < stop:
            counted = np.uint64(0)
            block = min(at + _BLOCK, stop)
            while at < block:
                letter = byte(data, at)
                counted += adds[letter]
                at += 1
                if not noted[letter]:
                    continue
                if letter >= 0x80:
                    point, size = decode(data, at - 1, stop)
                    at += size - 1
                    extra += size - 1
                    bits = property_of(table, point)
                    ellipses += point == 0x2026
                    breaks += point in (0x85, 0x2028, 0x2029)
                    for kind in range(6):
                        figures[kind, row] += (bits & _BITS[kind]) != 0
                elif letter == 0x2E:
                    if at > dots and at + 2 <= stop and byte(data, at) == 0x2E and byte(data, at + 1) == 0x2E:
                        ellipses += 1
                        dots = at + 2
                elif letter == 0x3A:
                    if at + 2 <= stop and byte(data, at) == 0x2F and byte(data, at + 1) == 0x2F:
                        end = at - 1
                        if end > begin and byte(data, end - 1) | 0x20 == 0x73:  # https
                            end -= 1
                        urls += end - 4 >= begin and phrase(data, end - 4, stop, _HTTP)
                elif letter < 0x20:
                    breaks += 1
                elif at - 8 >= begin and phrase(data, at - 8, stop, _LOREM_IPSUM):
                    lorem += 1
            for kind in range(8):
                figures[kind, row] += np.int64(counted >> np.uint64(8 * kind) & np.uint64(255))
        figures[_ALL, row] = stop - begin - extra
        figures[_ELLIPSES, row], figures[_URLS, row] = ellipses, urls
        figures[_LOREM, row], figures[_BREAKS, row] = lorem, breaks
