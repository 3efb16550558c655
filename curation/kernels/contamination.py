"""Finding known passages in texts: both are streams of folded words, in which seeds are looked up and extended.

What counts as found is not said here: the caller gives each passage the evidence that it needs.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.unicode import ALNUM, MARK, SIZE, SPACELESS, properties
from curation.kernels.utf8 import decode, mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Words in a seed.
SEED = 5
#: Words that a match reaches at most to either side of its seed.
REACH = 2048
#: Words that a match may jump over, on either side, where the next two agree.
JUMP = 8
#: Words on either side that may make up the same letters, written together or apart.
JOINED = 4
#: The columns of a match: its row, its passage, its first word and the one after its last, and their bytes in the row.
ROW, PASSAGE, FIRST, LAST, START, END = range(6)

_BLOCK = 4096
_KEPT = _BLOCK + 2 * REACH
_LETTER = np.uint64(0x9E3779B97F4A7C15)  # what the hash of a word is multiplied by before the next letter
_WORD = np.uint64(0xC2B2AE3D27D4EB4F)  # what the hash of a seed is multiplied by before the next word
_OLDEST = np.uint64(pow(int(_WORD), SEED, 2**64))
_ALONE = np.uint32(1 << 31)  # in `stream`: a word of its own
_PASSED = np.uint32(1)  # in `stream`: passed over inside words
_AMPERSAND, _HASH, _SEMICOLON, _X = (ord(letter) for letter in "&#;x")


@cache
def stream() -> NDArray[np.uint32]:
    """What each code point is in a stream of words: 0 ends a word, 1 is passed over, others stand for their letter.

    Letters and numbers stand for themselves in lower case and without accents (the base of their canonical
    decomposition), so that composed and decomposed text agree; the highest bit says that it is a word of its own.

    >>> table = stream()
    >>> chr(table[ord("É")]), int(table[0x301]), int(table[ord("_")])
    ('e', 1, 0)
    """
    kinds = properties()
    table = np.zeros(SIZE, np.uint32)
    letters = np.flatnonzero(kinds & ALNUM)
    bases = map(_base, map(chr, letters.tolist()))
    table[letters] = np.fromiter((ord(letter.lower()[0]) for letter in bases), np.uint32, len(letters))
    table[letters] |= np.where(kinds[letters] & SPACELESS, _ALONE, np.uint32(0))
    table[(kinds & MARK) != 0] = _PASSED
    table.flags.writeable = False
    return table


def _base(letter: str) -> str:
    """A letter without the marks of its canonical decomposition; the letter itself where that is more than marks."""
    parts = unicodedata.normalize("NFD", letter)
    return parts[0] if all(unicodedata.category(mark)[0] == "M" for mark in parts[1:]) else letter


@helper
def _name(data: Any, at: int, end: int) -> int:
    """The bytes of `lt;`, `#39;` or `#x27;`, 0 for what is no such name."""
    place = at
    if place < end and data[place] == _HASH:
        place += 1
        if place < end and data[place] | 32 == _X:
            place += 1
    first = place
    while place < end and place - first < 31:
        byte = data[place]
        if not (48 <= byte <= 57 or 97 <= byte | 32 <= 122):
            break
        place += 1
    return place + 1 - at if first < place < end and data[place] == _SEMICOLON else 0


@helper
def _reference(data: Any, at: int, end: int) -> int:
    """The bytes of the HTML reference that begins at this `&`, escaped once or more often; 1 for a mere `&`."""
    place = at + 1
    while True:
        size = _name(data, place, end)
        place += size
        again = size == 4 and data[place - 4] == 97 and data[place - 3] == 109 and data[place - 2] == 112  # amp;
        if not again:
            return place - at


@helper
def _next(data: Any, at: int, end: int, table: Any) -> Any:
    """The next word: where it begins (-1 for none), where it ends, its hash, its letters."""
    kind: Any = np.uint32(0)
    width = 1
    while at < end:
        point = np.int64(data[at])
        if point >= 0x80:
            point, width = decode(data, at, end)
        else:
            width = 1
        kind = table[point] if point < SIZE else _PASSED  # beyond are selectors and what is not assigned
        if kind > _PASSED:
            break
        at += _reference(data, at, end) if point == _AMPERSAND else width
    if at >= end:
        return np.int64(-1), at, np.uint64(0), np.int64(0)
    start, size = at, np.int64(1)
    value: Any = np.uint64(kind)
    alone = kind & _ALONE != 0
    at += width
    while at < end:
        if data[at] < 0x80:  # no mark, and no word of one letter
            kind = table[data[at]]
            if kind == 0 or alone:
                break
            width = 1
        else:
            point, width = decode(data, at, end)
            kind = table[point] if point < SIZE else _PASSED
            if kind == _PASSED:
                at += width
                continue
            if kind == 0 or alone or kind & _ALONE:
                break
        value = value * _LETTER + np.uint64(kind)
        size += 1
        at += width
    return start, at, value, size


@helper
def _power(exponent: int) -> Any:
    """`_LETTER` to this power, modulo 2^64."""
    result: Any = np.uint64(1)
    base: Any = _LETTER
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@helper
def _together(value: Any, size: int, other: Any, other_size: int, step: int) -> Any:
    """The hash of two words written together; the other stands behind (`step` 1) or before (-1)."""
    if step > 0:
        return value * _power(other_size) + other
    return other * _power(size) + value


@helper
def _joined(
    words: Any, sizes: Any, i: int, stop: int, known: Any, known_sizes: Any, j: int, last: int, step: int
) -> Any:
    """How many words from i and from j on have the same letters, written together or apart; (0, 0) if none have."""
    value, size, other, other_size = words[i], np.int64(sizes[i]), known[j], np.int64(known_sizes[j])
    a = b = 1
    while size != other_size:
        if size < other_size:
            if a == JOINED or i + a * step == stop:
                return 0, 0
            place = i + a * step
            value = _together(value, size, words[place], sizes[place], step)
            size += sizes[place]
            a += 1
        else:
            if b == JOINED or j + b * step == last:
                return 0, 0
            place = j + b * step
            other = _together(other, other_size, known[place], known_sizes[place], step)
            other_size += known_sizes[place]
            b += 1
    return (a, b) if value == other else (0, 0)


@helper
def _jump(words: Any, i: int, stop: int, known: Any, j: int, last: int, step: int) -> Any:
    """How many words to pass over on either side until two agree, or one at the passage's end; (0, 0) if too many."""
    ahead, left = (stop - i) * step, (last - j) * step
    for total in range(1, 2 * JUMP + 1):
        for b in range(max(0, total - JUMP), min(total, JUMP) + 1):
            a = total - b
            if a < ahead and b < left and words[i + a * step] == known[j + b * step]:
                if b + 1 == left:
                    return a, b
                if a + 1 < ahead and words[i + (a + 1) * step] == known[j + (b + 1) * step]:
                    return a, b
    return 0, 0


@helper
def _extended(
    words: Any, sizes: Any, i: int, stop: int, known: Any, known_sizes: Any, evidence: Any, j: int, last: int, step: int
) -> Any:
    """Follow a text from i and a passage from j, as long as they agree.

    Where the text was left, behind its last word that was found; how many words of the passage were found; how many of
    those are evidence.
    """
    reached, found, told = i, np.int64(0), np.int64(0)
    while i != stop and j != last:
        a, b = 1, 1
        if words[i] != known[j]:
            a, b = _joined(words, sizes, i, stop, known, known_sizes, j, last, step)
            if a == 0:
                a, b = _jump(words, i, stop, known, j, last, step)
                if a == 0 and b == 0:
                    break
                i += a * step
                j += b * step
                a, b = 1, 1
        found += b
        for _ in range(b):
            told += evidence[j]
            j += step
        i += a * step
        reached = i
    return reached, found, told


@helper
def _trailing(data: Any, at: int, end: int, table: Any) -> int:
    """Where the punctuation ends that follows directly."""
    while at < end:
        point, width = decode(data, at, end)
        if point <= 32 or point == _AMPERSAND or point >= SIZE or table[point] != 0 or point in (0x85, 0xA0, 0x3000):
            break
        at += width
    return at


_TEXT, _U64, _I32, _I64 = array(types.uint8), array(types.uint64), array(types.int32), array(types.int64)


@kernel(
    types.int64(
        _TEXT, _I64, array(types.uint32), out(types.uint64), out(types.int32), out(types.uint64), out(types.int64)
    )
)
def words_of(data: Any, bounds: Any, table: Any, words: Any, sizes: Any, seeds: Any, ends: Any) -> Any:
    """Fill in the words of texts: hash, letters, and the hash of the seed that begins there (0 where none does).

    `ends` gets how many words there are to the end of each text; returned is the same for all. There are no more words
    than bytes.
    """
    number = 0
    for row in range(len(bounds) - 1):
        at, end, first = bounds[row], bounds[row + 1], number
        while True:
            start, at, value, size = _next(data, at, end, table)
            if start < 0:
                break
            words[number], sizes[number], seeds[number] = value, size, 0
            number += 1
            if number - first >= SEED:
                seed: Any = np.uint64(0)
                for place in range(number - SEED, number):
                    seed = seed * _WORD + words[place]
                seeds[number - SEED] = mixed(seed)
        ends[row] = number
    return number


@kernel(
    types.int64(
        _TEXT, _I64, array(types.uint32),
        _U64, _I32, _U64, _I32,
        _U64, _I32, array(types.uint8), _I32, _I64, array(types.int32, 2),
        out(types.int64, 2), out(types.int64),
    )
)  # fmt: skip
def search(
    data: Any, bounds: Any, table: Any,
    bits: Any, first: Any, seeds: Any, places: Any,
    known: Any, known_sizes: Any, evidence: Any, passage_of: Any, passages: Any, need: Any,
    matches: Any, counts: Any,
) -> Any:  # fmt: skip
    """Find passages in texts; how many matches there are, of which as many as `matches` has room for are filled in.

    `seeds` is sorted, and `places` are the words where they begin. The numbers of bits in `bits` and of entries in
    `first` less one are powers of two: the low bits of a seed choose its bit, the high ones choose where it is looked
    for. `need` has for each passage how many of its words must be found, how many of them evidence, and in how many
    words of the text at most. `counts` gets each text's words.
    """
    mask = np.uint64(len(bits) * 64 - 1)
    shift = np.uint64(65)
    buckets = len(first)
    while buckets:
        shift -= np.uint64(1)
        buckets >>= 1
    words, sizes = np.empty(_KEPT, np.uint64), np.empty(_KEPT, np.int32)
    starts, stops = np.empty(_KEPT, np.int32), np.empty(_KEPT, np.int32)
    waiting, entries = np.empty(2 * _KEPT, np.int64), np.empty(2 * _KEPT, np.int64)
    keys = np.empty(2 * _KEPT, np.uint64)
    tried_row, tried_at, tried_until = (
        np.full(len(need), -1),
        np.zeros(len(need), np.int64),
        np.zeros(len(need), np.int64),
    )
    number = np.int64(0)
    for row in range(len(bounds) - 1):
        text = at = bounds[row]
        end = bounds[row + 1]
        base = filled = looked = hits = np.int64(0)
        over = False
        seed: Any = np.uint64(0)
        while not over:
            while filled < _KEPT:
                start, at, value, size = _next(data, at, end, table)
                if start < 0:
                    over = True
                    break
                words[filled], sizes[filled], starts[filled], stops[filled] = value, size, start - text, at - text
                filled += 1
            sure = hits
            for place in range(looked, filled):  # without a branch, so that the reads do not wait for each other
                seed = seed * _WORD + words[place]
                if place >= SEED:
                    seed -= words[place - SEED] * _OLDEST
                key = mixed(seed)
                low = key & mask
                waiting[hits], keys[hits] = base + place - SEED + 1, key
                hits += np.int64(bits[low >> np.uint64(6)] >> (low & np.uint64(63)) & np.uint64(1))
            looked = filled
            for hit in range(sure, hits):
                key = keys[hit]
                bucket = np.int64(key >> shift)
                for entry in range(first[bucket], first[bucket + 1]):
                    if seeds[entry] == key and waiting[hit] >= 0:
                        waiting[sure], entries[sure] = waiting[hit], entry
                        sure += 1
                        break
            hits = sure
            # Of a long text some blocks are held at a time: a seed is followed once all that it may reach is there, and
            # as much before it is kept. So blocks change no answer.
            ready = 0
            while ready < hits and (over or waiting[ready] <= base + filled - REACH):
                here, entry = waiting[ready], entries[ready]
                ready += 1
                i = here - base
                key = seeds[entry]
                while entry < len(seeds) and seeds[entry] == key:
                    j = np.int64(places[entry])
                    entry += 1
                    passage = passage_of[j]
                    again = tried_row[passage] == row
                    if again and tried_at[passage] != here and here < tried_until[passage]:
                        continue
                    found, told = np.int64(SEED), np.int64(0)
                    for place in range(j, j + SEED):
                        told += evidence[place]
                    left = right = i
                    for step in (1, -1):
                        ahead = step > 0
                        stop = min(filled, i + REACH) if ahead else max(-1, i - REACH)
                        last = passages[passage + 1] if ahead else passages[passage] - 1
                        reached, words_more, evidence_more = _extended(
                            words, sizes, i + SEED if ahead else i - 1, stop,
                            known, known_sizes, evidence, j + SEED if ahead else j - 1, last, step,
                        )  # fmt: skip
                        found += words_more
                        told += evidence_more
                        if ahead:
                            right = reached
                        else:
                            left = reached
                    until = base + right
                    if again and tried_at[passage] == here:
                        until = max(until, tried_until[passage])
                    tried_row[passage], tried_at[passage], tried_until[passage] = row, here, until
                    if found < need[passage, 0] or told < need[passage, 1] or right - left - 1 > need[passage, 2]:
                        continue
                    if number < len(matches):
                        matches[number, ROW], matches[number, PASSAGE] = row, passage
                        matches[number, FIRST], matches[number, LAST] = base + left + 1, base + right
                        matches[number, START] = starts[left + 1]
                        matches[number, END] = _trailing(data, text + stops[right - 1], end, table) - text
                    number += 1
            for place in range(ready, hits):
                waiting[place - ready], entries[place - ready] = waiting[place], entries[place]
            hits -= ready
            if not over:
                for place in range(_BLOCK, _KEPT):
                    words[place - _BLOCK], sizes[place - _BLOCK] = words[place], sizes[place]
                    starts[place - _BLOCK], stops[place - _BLOCK] = starts[place], stops[place]
                base += _BLOCK
                filled -= _BLOCK
                looked -= _BLOCK
        counts[row] = base + filled
    return number
