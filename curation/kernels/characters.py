"""What many texts are written with: how many characters of each kind they hold."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels import masks, unicode, utf8
from curation.kernels.compiled import array, kernel, out
from curation.kernels.unicode import properties
from curation.kernels.utf8 import byte, decode, packed, phrase, property_of

Counts = np.ndarray[Any, np.dtype[np.int64]]

(_WHITE, _LETTER, _UPPER, _DIGIT, _PUNCTUATION, _SYMBOL, _HASHES, _CURLY, _ALL, _ELLIPSES, _URLS, _LOREM, _BREAKS) = (
    range(13)
)
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
    _count(data, bounds, properties(), figures)
    return Characters(*figures)


def code_points(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any]) -> Counts:
    """How many characters each text holds: `Characters.all` alone."""
    found = np.empty(len(bounds) - 1, np.int64)
    _count_all(data, bounds, found)
    return found


@kernel(types.void(array(types.uint8), array(types.int64), array(types.uint32), out(types.int64, 2)))
def _count(data: Any, bounds: Any, table: Any, figures: Any) -> None:
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        white, letter, upper, digit, punctuation, symbol, hashes, curly = 0, 0, 0, 0, 0, 0, 0, 0
        ellipses, urls, lorem, breaks, extra = 0, 0, 0, 0, 0
        dots = begin  # where the next "..." may begin
        known = begin  # up to here characters beyond ASCII are counted
        at = begin
        while at < stop:
            inside = masks.below(stop - at)
            letters, capitals = masks.letters(data, at) & inside, masks.within(data, at, 0x41, 0x5A) & inside
            digits = masks.within(data, at, 0x30, 0x39) & inside
            signs = masks.within(data, at, 0x3C, 0x3E) | masks.equal(data, at, 0x24) | masks.equal(data, at, 0x2B)
            signs |= masks.equal(data, at, 0x5E) | masks.equal(data, at, 0x60)
            signs |= masks.equal(data, at, 0x7C) | masks.equal(data, at, 0x7E)
            signs &= inside  # <=> $ + ^ ` | ~
            drawn = masks.within(data, at, 0x21, 0x7E) & inside
            white += masks.count(masks.white(data, at) & inside)
            letter += masks.count(letters)
            upper += masks.count(capitals)
            digit += masks.count(digits)
            symbol += masks.count(signs)
            punctuation += masks.count(drawn & ~(letters | digits | signs))
            hashes += masks.count(masks.equal(data, at, 0x23) & inside)
            curly += masks.count(masks.equal(data, at, 0x7B) & inside)
            odd = masks.within(data, at, 0x0B, 0x0C) | masks.within(data, at, 0x1C, 0x1F)
            breaks += masks.count(odd & inside)
            found = masks.equal(data, at, 0x2E) & masks.equal(data, at + 1, 0x2E) & masks.equal(data, at + 2, 0x2E)
            found &= inside
            while found:
                place = at + masks.first(found)
                found &= found - np.uint64(1)
                if place >= dots and place + 3 <= stop:
                    ellipses += 1
                    dots = place + 3
            found = masks.equal(data, at, 0x3A) & masks.equal(data, at + 1, 0x2F) & masks.equal(data, at + 2, 0x2F)
            found &= inside
            while found:
                end = at + masks.first(found)
                found &= found - np.uint64(1)
                if end + 3 <= stop:
                    if end > begin and byte(data, end - 1) | 0x20 == 0x73:  # https
                        end -= 1
                    urls += end - 4 >= begin and phrase(data, end - 4, stop, _HTTP)
            found = masks.letters_of(data, at, 0x69, 0x70, 0x73) & inside
            while found:
                place = at + masks.first(found)
                found &= found - np.uint64(1)
                lorem += place - 6 >= begin and phrase(data, place - 6, stop, _LOREM_IPSUM)
            found = masks.high(data, at) & inside
            while found:
                place = at + masks.first(found)
                found &= found - np.uint64(1)
                if place < known:
                    continue
                point, size = decode(data, place, stop)
                known = place + size
                extra += size - 1
                bits = property_of(table, point)
                ellipses += point == 0x2026
                breaks += point in (0x85, 0x2028, 0x2029)
                white += (bits & unicode.WHITE) != 0
                letter += (bits & unicode.LETTER) != 0
                upper += (bits & unicode.UPPER) != 0
                digit += (bits & unicode.DIGIT) != 0
                punctuation += (bits & unicode.PUNCTUATION) != 0
                symbol += (bits & unicode.SYMBOL) != 0
            at += masks.SIZE
        figures[_WHITE, row], figures[_LETTER, row], figures[_UPPER, row] = white, letter, upper
        figures[_DIGIT, row], figures[_PUNCTUATION, row], figures[_SYMBOL, row] = digit, punctuation, symbol
        figures[_HASHES, row], figures[_CURLY, row], figures[_ALL, row] = hashes, curly, stop - begin - extra
        figures[_ELLIPSES, row], figures[_URLS, row] = ellipses, urls
        figures[_LOREM, row], figures[_BREAKS, row] = lorem, breaks


@kernel(types.void(array(types.uint8), array(types.int64), out(types.int64)))
def _count_all(data: Any, bounds: Any, found: Any) -> None:
    for row in range(len(bounds) - 1):
        found[row] = utf8.characters(data, bounds[row], bounds[row + 1])
