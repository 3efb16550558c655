"""Lines that many documents have: a hash of each line, in how many documents of how many hosts it is, which are shared.

A line is hashed by its folded words, so that case, punctuation and white space do not tell two apart. The hash is the
same in every process. It is no cryptographic one, and need not be: whoever could make another line with the hash of a
given one, and so have it taken for shared, can as well publish that line itself. Tables of hashes depend on a random
number of the process, so that no texts can be made whose lines all meet in one place of a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels import lines as units
from curation.kernels.compiled import array, kernel, out
from curation.kernels.numbering import shift_of
from curation.kernels.utf8 import add, last, seed

if TYPE_CHECKING:
    from curation.kernels.lines import Lines
    from curation.kernels.words import Words

#: Lines of fewer words are told from no other: they are never shared.
WORDS = 3


class Hashed(NamedTuple):
    """The lines of `WORDS` words or more of a batch.

    Those of row i are `bounds[i]` to `bounds[i + 1]`; `start` and `end` are bytes from the beginning of its text, with
    the white space around the line and its line break; `chars` are the code points of the line without them. `total`
    counts the code points of all the lines of a row.
    """

    bounds: np.ndarray[Any, np.dtype[np.int64]]
    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    start: np.ndarray[Any, np.dtype[np.int32]]
    end: np.ndarray[Any, np.dtype[np.int32]]
    chars: np.ndarray[Any, np.dtype[np.int32]]
    total: np.ndarray[Any, np.dtype[np.int64]]


def hashed_lines(
    data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], lines: Lines, words: Words, hashes: np.ndarray[Any, Any]
) -> Hashed:
    """The lines of these texts, `hashes` (uint64) being those of their words as `folding.word_hashes` gives them."""
    rows, most = len(bounds) - 1, min(len(lines.start), len(words.start) // WORDS)
    offsets, total = np.zeros(rows + 1, np.int64), np.zeros(rows, np.int64)
    found, places = np.empty(most, np.uint64), np.empty((3, most), np.int32)
    of_lines = (lines.bounds, lines.start, lines.end, lines.chars)
    _hash(data, bounds, *of_lines, words.bounds, words.start, hashes, offsets, found, *places, total)
    return Hashed(offsets, found[: offsets[-1]], *(column[: offsets[-1]] for column in places), total)


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        array(types.int32), array(types.int64), array(types.int32), array(types.uint64),
        out(types.int64), out(types.uint64), out(types.int32), out(types.int32), out(types.int32), out(types.int64),
    )
)  # fmt: skip
def _hash(
    data: Any, bounds: Any, line_bounds: Any, line_starts: Any, line_ends: Any, line_chars: Any, word_bounds: Any,
    word_starts: Any, word_hashes: Any, offsets: Any, found: Any, starts: Any, ends: Any, chars: Any, total: Any,
) -> None:  # fmt: skip
    count = 0
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        word, beyond = word_bounds[row], word_bounds[row + 1]
        for line in range(line_bounds[row], line_bounds[row + 1]):
            total[row] += line_chars[line]
            first = word
            while word < beyond and word_starts[word] < line_ends[line]:
                word += 1
            if word - first < WORDS:
                continue
            value = seed(word - first)
            for place in range(first, word):
                value = add(value, word_hashes[place])
            start, end = units.whole(data, begin + line_starts[line], begin + line_ends[line], begin, stop)
            found[count], chars[count] = last(value), line_chars[line]
            starts[count], ends[count] = start - begin, end - begin
            count += 1
        offsets[row + 1] = count


class Filter(NamedTuple):
    """Which hashes may be among some: `bits` (uint64) has one for the highest bits of a hash times the odd `salt`."""

    bits: np.ndarray[Any, np.dtype[np.uint64]]
    salt: np.uint64


def size_of_filter(items: int, most: int) -> int:
    """The places of a table with one for each item: a power of two, at least 64, and at most `most`."""
    size = 64
    while size < items and size < most:
        size *= 2
    return size


def count(hashes: np.ndarray[Any, Any], salt: np.uint64, counters: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    """Count hashes in the places of `counters`, a power of two of them, each of which holds 255 at most."""
    _count(hashes, salt, counters)


def filter_of(counters: np.ndarray[Any, np.dtype[np.uint8]], more_than: int, salt: np.uint64) -> Filter:
    """A filter for what was counted more often than this, or 254 times."""
    return Filter(np.packbits(counters > min(more_than, 254), bitorder="little").view(np.uint64), salt)


def passes(hashes: np.ndarray[Any, Any], known: Filter) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For each hash (uint64) whether the filter lets it pass.

    >>> salt, counters = np.uint64(0x9E3779B97F4A7C15), np.zeros(64, np.uint8)
    >>> count(np.array([1, 1, 9], np.uint64), salt, counters)
    >>> passes(np.array([9, 1, 2], np.uint64), filter_of(counters, 1, salt)).tolist()
    [False, True, False]
    """
    found = np.empty(len(hashes), np.bool_)
    _pass(hashes, known.bits, known.salt, found)
    return found


class Tally(NamedTuple):
    """Lines (`place`) and hosts they are on, and documents: those of a line add up to the documents that it is in."""

    place: np.ndarray[Any, np.dtype[np.uint64]]
    host: np.ndarray[Any, np.dtype[np.int64]]
    documents: np.ndarray[Any, np.dtype[np.int64]]


def tally(rows: Tally, most: int) -> Tally:
    """The same with the rows of one line and host added up, lines ascending, and at most so many hosts of each.

    Beyond those only the documents count, so that what is in every document of a million hosts takes no more room.

    >>> rows = Tally(np.array([7, 7, 9, 7], np.uint64), np.array([1, 2, 1, 1]), np.array([1, 1, 1, 3]))
    >>> [column.tolist() for column in tally(rows, 2)]
    [[7, 7, 9], [1, 2, 1], [4, 1, 1]]
    >>> [column.tolist() for column in tally(rows, 1)]
    [[7, 9], [1, 1], [5, 1]]
    """
    order = np.argsort(rows.place, kind="stable")
    found = Tally(*(column[order] for column in rows))
    left = _tally(*found, most)
    return Tally(*(column[:left] for column in found))


def shared(rows: Tally, documents: int, hosts: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The lines of a tally, kept with as many hosts, that are in more than `documents` and on at least `hosts`."""
    if not len(rows.place):
        return rows.place
    starts = np.flatnonzero(np.diff(rows.place, prepend=~rows.place[:1]))
    total = np.add.reduceat(rows.documents, starts)
    return rows.place[starts][(total > documents) & (np.diff(starts, append=len(rows.place)) >= hosts)]


@kernel(types.void(array(types.uint64), types.uint64, out(types.uint8)))
def _count(hashes: Any, salt: Any, counters: Any) -> None:
    shift = shift_of(len(counters))
    for line in range(len(hashes)):
        place = hashes[line] * salt >> shift
        counters[place] += counters[place] < 255


@kernel(types.void(array(types.uint64), array(types.uint64), types.uint64, out(types.bool_)))
def _pass(hashes: Any, bits: Any, salt: Any, found: Any) -> None:
    shift = shift_of(64 * len(bits))
    for line in range(len(hashes)):
        place = hashes[line] * salt >> shift
        found[line] = bits[place >> np.uint64(6)] >> (place & np.uint64(63)) & np.uint64(1) != 0


@kernel(types.int64(out(types.uint64), out(types.int64), out(types.int64), types.int64))
def _tally(places: Any, hosts: Any, documents: Any, most: int) -> int:
    first = filled = np.int64(0)  # the first row of the line, and behind its last
    for row in range(len(places)):
        if row == 0 or places[row] != places[first]:
            first = filled
        known = first
        if filled - first < most:
            while known < filled and hosts[known] != hosts[row]:
                known += 1
        if known < filled:
            documents[known] += documents[row]
        else:
            places[filled], hosts[filled], documents[filled] = places[row], hosts[row], documents[row]
            filled += 1
    return filled
