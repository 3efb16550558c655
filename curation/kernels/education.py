"""From the bytes of texts to the words that a fastText model knows, and from those to its grades.

What a word is, classifiers/text.py says in Python; here the same is done on a copy of the excerpt in which each
character stands as `normal.folded` writes it. A word of up to eight bytes is found by them, a longer one by their hash,
and then its bytes are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels import masks
from curation.kernels.arithmetic import exponential
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.normal import (
    APOSTROPHE,
    AT,
    CHANGED,
    COLON,
    DOT,
    GAP,
    LEAD,
    LENGTH,
    NEIGHBOURS,
    NUMBER,
    OTHER,
    SINGLE,
    START,
    TAIL,
    WORD,
    ascii_folded,
    trimmed,
)
from curation.kernels.unicode import SIZE
from curation.kernels.utf8 import GOLDEN, before, characters, decode, load

_write_folded = masks.mapping(ascii_folded())
_WINDOWS = 6  # the bounds of three
_LAST = SIZE - 1  # no character, like all beyond it that are looked up in its place

_BLOCK = 256
_A = ord("a")
_W = ord("w")
_SLASH = ord("/")
_HIGH = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)


@helper
def _forward(data: Any, at: int, end: int, count: int) -> int:
    """Where the character begins that is `count` characters after the one at `at`."""
    while at + _BLOCK <= end:
        here = characters(data, at, at + _BLOCK)
        if here > count:
            break
        count -= here
        at += _BLOCK
    while at < end:
        if data[at] & 0xC0 != 0x80:
            if count == 0:
                break
            count -= 1
        at += 1
    return at


@kernel(types.void(array(types.uint8), array(types.int64), array(types.uint64), types.int64, out(types.int64, 2)))
def windows(data: Any, bounds: Any, table: Any, window: int, found: Any) -> None:
    """What is read of each text: the bounds of its three windows of `window` characters, int64[rows, 6].

    White space around a text does not count. Of a text of up to three windows the first one holds all, and the others
    are empty.
    """
    for row in range(len(found)):
        start, end = trimmed(data, bounds[row], bounds[row + 1], table)
        for place in range(_WINDOWS):
            found[row, place] = end
        found[row, 0] = start
        if end - start > 3 * window:
            count = characters(data, start, end)
            if count == end - start:  # a byte each
                found[row, 1], found[row, 2] = start + window, start + (count - window) // 2
                found[row, 3], found[row, 4] = found[row, 2] + window, end - window
            elif count > 3 * window:
                middle = _forward(data, start, end, (count - window) // 2)
                last = end
                for _ in range(window):
                    last = before(data, start, last)
                found[row, 1] = _forward(data, start, end, window)
                found[row, 2] = middle
                found[row, 3] = _forward(data, middle, end, window)
                found[row, 4] = last


@helper
def _fold(data: Any, start: int, end: int, table: Any, expansions: Any, narrow: Any, folded: Any, size: int) -> int:
    """Write a window behind the first `size` bytes of `folded`; how many there are then, or -1 if it cannot be.

    It cannot where a character changes with its neighbours.
    """
    at = start
    tail: Any = np.int64(0)
    while at < end:
        if at + masks.SIZE <= len(data):
            _write_folded(data, at, folded, size)
            plain = min(masks.first(masks.high(data, at)), end - at)
            size += plain
            at += plain
            if plain > 0:
                tail = 0
                continue
        if data[at] < 0x80:
            folded[size] = narrow[data[at]]
            size += 1
            at += 1
            tail = 0
            continue
        point, width = decode(data, at, end)
        entry = np.int64(table[min(point, _LAST)])
        lead = entry >> LEAD & 0xFF
        if entry & NEIGHBOURS or (lead != 0 and lead < tail):
            return -1
        tail = entry >> TAIL & 0xFF
        if entry & CHANGED:
            source = entry >> START
            length = entry >> LENGTH & 0xFF
            for place in range(length):
                folded[size + place] = expansions[source + place]
            size += length
        elif entry & (WORD | SINGLE):
            for place in range(width):
                folded[size + place] = data[at + place]
            size += width
        else:
            folded[size] = OTHER
            size += 1
        at += width
    return size


@helper
def _is_word(folded: Any, at: int, table: Any) -> bool:
    r"""Whether the character that ends before `at` is a \w."""
    if at == 0:
        return False
    last = folded[at - 1]
    if last < 0x80:
        return last >= NUMBER
    point, _ = decode(folded, before(folded, 0, at), at)
    return np.int64(table[min(point, _LAST)]) & WORD != 0


@helper
def _blank_addresses(folded: Any, size: int, table: Any) -> None:
    r"""Write white space over what is `\w+://\S+`, `\bwww\.\S+` or `\S+@\S+`.

    Each of them goes on to the end of the run without white space that it stands in, and the last one begins where the
    run begins; so what is blanked begins at the first of them, or at the run's begin if it holds an @ that is neither
    its first character nor its last. No run is looked at more than three times.
    """
    at, block, marks = 0, -masks.SIZE, np.uint64(0)
    while at < size:
        if at >= block + masks.SIZE:
            block = at
            marks = masks.within(folded, at, DOT, AT)
        left = marks & ~masks.below(at - block)
        at = block + masks.first(left)
        if left == 0 or at >= size:
            continue
        mark = folded[at]
        first = -1
        if mark == COLON:
            if at + 3 < size and folded[at + 1] == _SLASH and folded[at + 2] == _SLASH and folded[at + 3] != GAP:
                first = at
                while _is_word(folded, first, table):
                    first = before(folded, 0, first)
                if first == at:
                    first = -1
        elif mark == DOT and 3 <= at < size - 1 and folded[at - 1] == folded[at - 2] == folded[at - 3] == _W:
            first = at - 3 if folded[at + 1] != GAP and not _is_word(folded, at - 3, table) else -1
        if mark != AT and first < 0:
            at += 1
            continue
        start, end = at, at
        while start > 0 and folded[start - 1] != GAP:
            start -= 1
        while end < size and folded[end] != GAP:
            end += 1
        for place in range(start + 1, end - 1):
            if folded[place] == AT:
                first = start
                break
        if first >= 0:
            for place in range(first, end):
                folded[place] = GAP
            at = end
        else:
            at += 1


@helper
def _letter(folded: Any, at: int, size: int, table: Any) -> int:
    """How many bytes the letter at `at` has; 0 for what is none, or Han or Kana."""
    if at >= size or folded[at] < _A:
        return 0
    if folded[at] < 0x80:
        return 1
    point, width = decode(folded, at, size)
    return 0 if np.int64(table[min(point, _LAST)]) & SINGLE else width


@helper
def _key(data: Any, start: int, end: int) -> Any:
    """The bytes of a word if they are eight at most, else a hash of them; letters are not 0."""
    value: Any = np.uint64(0)
    while end - start > 8:
        value = (value ^ load(data, start)) * GOLDEN
        value ^= value >> np.uint64(29)
        start += 8
    return value ^ (load(data, start) & ~np.uint64(0) >> np.uint64(64 - 8 * (end - start)))


@helper
def same_bytes(folded: Any, start: int, words: Any, there: int, last: int) -> bool:
    """Whether a word is the one of the vocabulary from `there` to `last`, which has as many bytes."""
    while there < last:
        if folded[start] != words[there]:
            return False
        start += 1
        there += 1
    return True


@kernel(
    types.void(array(types.uint8), array(types.int64), out(types.uint64, 2), out(types.int32))
)  # fmt: skip
def vocabulary(words: Any, bounds: Any, slots: Any, theirs: Any) -> None:
    """Fill a hash table with the words that lie in `words` between their bounds, eight bytes behind them.

    The table, of a power of two of slots that are 0, gets in each slot the key, or 0; and twice the number of its word,
    and 1 more if the word has more than eight bytes, so that its key is not all of it. `theirs` is fastText's own hash
    of each word.
    """
    last_slot = np.uint64(len(slots) - 1)
    for number in range(len(bounds) - 1):
        start, end = bounds[number], bounds[number + 1]
        key = _key(words, start, end)
        slot = (key * GOLDEN) >> np.uint64(32) & last_slot
        while slots[slot, 0] != np.uint64(0):
            slot = slot + np.uint64(1) & last_slot
        slots[slot, 0] = key
        slots[slot, 1] = np.uint64(2 * number + (end - start > 8))
        fnv = np.uint32(2166136261)  # FNV-1a, but of signed bytes
        for place in range(start, end):
            fnv = np.uint32((fnv ^ np.uint32(np.int8(words[place]))) * np.uint32(16777619))
        theirs[number] = np.int32(fnv)


@kernel(
    types.void(
        array(types.uint8), array(types.int64, 2),
        array(types.uint64), array(types.uint8), array(types.uint8),
        array(types.uint8), array(types.int64), array(types.uint64, 2),
        out(types.uint8), out(types.int32), out(types.int64), out(types.boolean),
    )
)  # fmt: skip
def known(
    data: Any, read: Any, table: Any, expansions: Any, narrow: Any,
    words: Any, bounds: Any, slots: Any, folded: Any, found: Any, ends: Any, unread: Any,
) -> None:  # fmt: skip
    """The numbers of the words of each text that a vocabulary holds, where those of each end, and which were not read.

    Not read is a text whose windows (`read`, as `windows` gives them) must be normalised first. `folded` is for a copy
    of one text: of `MOST` bytes for each that is read, and 80 more. `found` is for two numbers for each byte that is
    read of all texts: U+3316, three bytes, becomes six words of a Kana each.
    """
    count = 0
    last_slot = np.uint64(len(slots) - 1)
    for row in range(len(read)):
        size = 0
        for place in range(0, _WINDOWS, 2):
            if read[row, place] < read[row, place + 1]:
                folded[size] = GAP
                size = _fold(data, read[row, place], read[row, place + 1], table, expansions, narrow, folded, size + 1)
                if size < 0:
                    break
        if size < 0:
            unread[row] = True
            ends[row] = count
            continue
        _blank_addresses(folded, size, table)
        for place in range(size, size + 8):  # so that eight bytes can be looked at anywhere
            folded[place] = GAP
        at, block, letters, high = 0, -masks.SIZE, np.uint64(0), np.uint64(0)
        while at < size:
            if at >= block + masks.SIZE:
                block = at
                letters, high = masks.within(folded, at, _A, 0xFF), masks.high(folded, at)
            left = letters & ~masks.below(at - block)
            at = block + masks.first(left)
            if left == 0 or at >= size:
                continue
            start = at
            rest = ~letters & ~masks.below(at - block)
            if rest == 0 and at > block:
                block = at - masks.SIZE  # it goes on behind these 64 bytes
                continue
            at = end = block + masks.first(rest)
            if rest == 0 or folded[at] == APOSTROPHE or high & masks.below(at - block) & ~masks.below(start - block):
                at = start
                width = _letter(folded, at, size, table)
                while width > 0:
                    at += width
                    width = _letter(folded, at, size, table)
                joins = at > start
                if not joins:  # Han or Kana
                    _, width = decode(folded, at, size)
                    at += width
                end = at
                while joins and at < size and folded[at] == APOSTROPHE:
                    width = _letter(folded, at + 1, size, table)
                    if width == 0:
                        break
                    at += 1
                    while width > 0:
                        for _ in range(width):
                            folded[end] = folded[at]
                            end += 1
                            at += 1
                        width = _letter(folded, at, size, table)
            key = _key(folded, start, end)
            slot = (key * GOLDEN) >> np.uint64(32) & last_slot
            while slots[slot, 0] != np.uint64(0):
                entry = slots[slot, 1]
                if slots[slot, 0] == key and entry & np.uint64(1) == np.uint64(end - start > 8):
                    number = np.int64(entry >> np.uint64(1))
                    there, last = bounds[number], bounds[number + 1]
                    if end - start <= 8 or (
                        last - there == end - start and same_bytes(folded, start, words, there, last)
                    ):
                        found[count] = number
                        count += 1
                        break
                slot = slot + np.uint64(1) & last_slot
        ends[row] = count


@kernel(
    types.void(
        array(types.int32), array(types.int64), array(types.float32, 2), array(types.float32, 2), array(types.float64),
        array(types.int32), types.int64, types.int64, out(types.float32), out(types.float64), out(types.float64),
    )
)  # fmt: skip
def grades(
    found: Any, ends: Any, rows: Any, output: Any, worth: Any, hashes: Any, last: int, ngrams: int,
    mean: Any, shares: Any, expected: Any,
) -> None:  # fmt: skip
    """The expected grade of each text from the numbers of its words; 0 for a text without one.

    `rows` and `output` are fastText's matrices, `worth` is each label's grade, `hashes` fastText's own hash of each
    word, `last` the number of its mark for the end of a line, or -1; behind the rows of words come those of hashed
    n-grams. `mean` is for a row, `shares` for a number a label. All is added up in fastText's order: words, mark,
    n-grams; in single precision, as there, up to the mean of the rows.
    """
    words = len(hashes)
    buckets = np.uint64(max(len(rows) - words, 1))
    start = 0
    for text in range(len(ends)):
        end = ends[text]
        count = end - start
        if count == 0:
            expected[text] = 0.0
            continue
        for column in range(len(mean)):
            mean[column] = 0
        for place in range(start, end):
            row = found[place]
            for column in range(len(mean)):
                mean[column] += rows[row, column]
        added = count
        if last >= 0:
            for column in range(len(mean)):
                mean[column] += rows[last, column]
            added += 1
        if ngrams > 1:
            marked = count + (last >= 0)
            for first in range(marked):
                number = found[start + first] if first < count else last
                value = np.uint64(np.int64(hashes[number]))
                for place in range(first + 1, min(marked, first + ngrams)):
                    number = found[start + place] if place < count else last
                    value = value * np.uint64(116049371) + np.uint64(np.int64(hashes[number]))
                    row = words + np.int64(value % buckets)
                    for column in range(len(mean)):
                        mean[column] += rows[row, column]
                    added += 1
        part = np.float32(1.0 / added)
        for label in range(len(worth)):
            total = 0.0
            for column in range(len(mean)):
                total += np.float64(mean[column] * part) * np.float64(output[label, column])
            shares[label] = total
        highest = shares[0]
        for label in range(len(worth)):
            highest = max(highest, shares[label])
        total = 0.0
        for label in range(len(worth)):
            shares[label] = exponential(shares[label] - highest)
            total += shares[label]
        weighed, weights = 0.0, 0.0
        for label in range(len(worth)):
            share = shares[label] / total + 1e-5  # fastText adds it before it takes the logarithm
            weighed += worth[label] * share
            weights += share
        expected[text] = weighed / weights
        start = end
