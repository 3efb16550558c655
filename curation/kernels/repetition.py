"""How much of each text stands in it more than once: its lines, its paragraphs, the n-grams of its words.

Nothing is compared by a hash alone. Words and lines get numbers, equal ones the same; a gram of n words is the pair of
the grams of n - 1 words that it begins and ends with, so it has a number too, and a pair of numbers is a key without
collisions. A gram can only occur again where both of those do, so each n looks at fewer places than the one before.

Time is linear. A text of many words goes another way to the same figures (`curation.kernels.recurrence`), since the
tables of this one would no longer fit the processor's cache. Hashes depend on random numbers of the process (the
figures do not), so that no text can be made whose words all meet in one place of a table.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from curation.kernels import recurrence
from curation.kernels.compiled import array, helper, inlined, kernel, out
from curation.kernels.lines import OPENS_PARAGRAPH, Lines
from curation.kernels.numbering import SALT, number, shift_of, table_size
from curation.kernels.utf8 import HIGHS, add, characters, eight, seed

if TYPE_CHECKING:
    from curation.kernels.words import Words

#: The n whose most frequent gram is looked for, and those whose repeated grams are.
TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
_LAST_TOP, _LAST = TOP[-1], DUPLICATE[-1]

_ONCE = np.uint64(1 << 63)
#: From so many words on a text is long (`curation.kernels.recurrence`).
LONG = 1 << 15
#: Odd factors, one for each word of a gram and one more.
FACTORS = np.array([secrets.randbits(64) | 1 for _ in range(_LAST + 1)], np.uint64)
#: So many words may all be different; where there are more different ones, the table grows.
_FEW = 1 << 12


def grams(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], words: Words) -> tuple[Any, Any]:
    """For each n from 2 to 10 (rows) and text (columns) the code points in n-grams that repeat, int64, in two ways.

    The first: for an n of `TOP` those in words that the most frequent n-gram covers, of several the one with most code
    points, then the earliest; for an n of `DUPLICATE` those in words that any n-gram covers which occurred before. A
    word that several cover counts once.

    The second is datatrove's: for an n of `TOP` the length of the most frequent n-gram, of several the earliest, with
    single spaces, times its occurrences, be it one; for an n of `DUPLICATE` the n-grams known from before on a walk
    that goes on by a word, and by n words after such a one.

    ValueError where a text has more than `recurrence.LONGEST` bytes.
    """
    if (longest := int(np.diff(bounds).max(initial=0))) > recurrence.LONGEST:
        raise ValueError(f"a text has {longest:,} bytes, more than {recurrence.LONGEST:,}")
    covered = np.zeros((2, _LAST - 1, len(bounds) - 1), np.int64)
    most = int(words.counts.max(initial=1))
    # Kept from text to text, and filled only as far as a text needs it. NumPy asks for large pages, kernels do not.
    held, scratch = np.empty(2 * most, np.uint64), np.empty((4, most + 1), np.int32)
    table = np.empty(max(2 << (2 * most - 1).bit_length(), 8 * recurrence.PARTITION), np.uint64)
    spare = held[most:].view(np.uint32)  # of what a long text needs two thirds as much
    members, rates = spare[:most], spare[most:].view(np.uint8)[:most]
    _grams(
        data,
        bounds,
        words.bounds,
        words.start,
        words.end,
        SALT,
        FACTORS,
        LONG,
        held,
        members,
        rates,
        table,
        *scratch,
        *covered,
    )
    return tuple(covered)


def repeats(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], lines: Lines) -> np.ndarray[Any, Any]:
    """For each text (columns) int64: lines and paragraphs that occurred before, and how many code points they have.

    The rows are lines, their code points, the code points of all lines, and the same three of paragraphs, whose lines
    are joined by one line break.
    """
    figures = np.zeros((6, len(bounds) - 1), np.int64)
    _repeats(data, bounds, lines.bounds, lines.start, lines.end, lines.chars, lines.kind, SALT, figures)
    return figures


@helper
def longer(
    gram: Any, place: Any, count: int, again: Any, is_new: bool, keys: Any, seen: Any, table: Any, salt: Any
) -> int:
    """Number the grams one word longer that occur more than once; how many such numbers there are.

    `gram` and `place` have twice the number and the first word of each of `count` grams that occur again, by place.
    `again` gets for each twice the number of the longer gram that begins there, and 1 more unless it is the first of
    its kind; -1 where it does not occur again. `table` has a place for twice `table_size(count)`.

    Where most grams may occur but once (`is_new`), a count for each place tells so without looking anything up.
    """
    one, two = np.uint64(1), np.uint64(2)
    again[:count] = -1
    total = np.int64(0)
    for i in range(count - 1):
        keys[two * np.uint64(total)] = pair(gram[i], gram[i + 1])
        keys[two * np.uint64(total) + one] = np.uint64(i)
        total += place[i + 1] == place[i] + 1
    size = 2 * table_size(total)
    if is_new and size <= len(seen):
        seen[:size] = 0
        shift = shift_of(size)
        for i in range(total):
            at = keys[two * np.uint64(i)] * salt >> shift
            seen[at] = min(seen[at] + 1, 2)
        left = np.int64(0)
        for i in range(total):
            key, index = keys[two * np.uint64(i)], keys[two * np.uint64(i) + one]
            keys[two * np.uint64(left)], keys[two * np.uint64(left) + one] = key, index
            left += seen[key * salt >> shift] >> 1
        total = left
    size = table_size(total)
    table[: 2 * size] = 0
    shift, last_slot = shift_of(size), np.uint64(size - 1)
    numbers = np.int64(0)
    for i in range(total):
        key, index = keys[two * np.uint64(i)], keys[two * np.uint64(i) + one]
        slot = key * salt >> shift
        known = table[two * slot + one]
        while known != 0 and table[two * slot] != key:
            slot = slot + one & last_slot
            known = table[two * slot + one]
        # A key that was seen once has its index there, and the highest bit; one that was seen again its number, plus 1.
        if known == 0:
            table[two * slot], table[two * slot + one] = key, index | _ONCE
            continue
        if known & _ONCE:
            again[known ^ _ONCE] = 2 * numbers
            numbers += 1
            known = np.uint64(numbers)
            table[two * slot + one] = known
        again[index] = two * known - one
    return numbers


@inlined
def pair(a: Any, b: Any) -> Any:
    """Two numbers, given twice, as one key."""
    return np.uint64(a >> 1) << np.uint64(32) | np.uint64(b >> 1)


@helper
def walked(gram: Any, place: Any, count: int, numbers: int, n: int, sums: Any, known: Any) -> int:
    """The code points of grams that are known on a walk which goes on by a word, and by n words after a known one."""
    known[:numbers] = 0
    total, free = 0, 0
    for i in range(count):
        if place[i] < free:
            continue
        if known[gram[i] >> 1]:
            total += sums[place[i] + n] - sums[place[i]]
            free = place[i] + n
        known[gram[i] >> 1] = 1
    return total


@helper
def most_frequent(gram: Any, place: Any, count: int, numbers: int, n: int, sums: Any, times: Any) -> tuple[int, int]:
    """The most frequent gram, by our choice and by datatrove's.

    Of several ours is the one with most code points, then the earliest: its number. datatrove's is the earliest: its
    length with single spaces, times its occurrences.
    """
    times[:numbers] = 0
    most = 0
    for i in range(count):
        times[gram[i] >> 1] += 1
        most = max(most, times[gram[i] >> 1])
    best, best_size, earliest = -1, -1, -1
    for i in range(count):
        if not gram[i] & 1 and times[gram[i] >> 1] == most:
            size = sums[place[i] + n] - sums[place[i]]
            if earliest < 0:
                earliest = size
            if size > best_size:
                best, best_size = gram[i] >> 1, size
    return best, (earliest + n - 1) * np.int64(most)


@helper
def measure_words(data: Any, begin: int, end: int, starts: Any, ends: Any, first: int, last: int, sums: Any) -> None:
    """Sum the code points of words: `sums` gets those before each word of a text, and those of all."""
    plain = characters(data, begin, end) == end - begin
    total = 0
    for word in range(first, last):
        sums[word - first] = total
        length = ends[word] - starts[word]
        if not plain and (length > 8 or eight(data, begin + starts[word], begin + ends[word]) & HIGHS):
            length = characters(data, begin + starts[word], begin + ends[word])
        total += length
    sums[last - first] = total


@helper
def only_repeated(gram: Any, place: Any, count: int, times: Any) -> int:
    """Keep the words that occur more than once, and write down their places; how many they are."""
    kept = 0
    for word in range(count):
        here = gram[word]
        gram[kept], place[kept] = 2 * here, word
        kept += times[here] > 1
    return kept


@helper
def kept_of(gram: Any, place: Any, count: int, again: Any) -> int:
    """Go on to the longer grams: those that occur again, and how many they are."""
    kept = 0
    for i in range(count):
        gram[kept], place[kept] = again[i], place[i]
        kept += again[i] >= 0
    return kept


@helper
def covered_by(gram: Any, place: Any, count: int, n: int, sums: Any, best: int) -> int:
    """The code points in words that a gram covers: that of number `best`, or (-1) any but the first of its kind."""
    total, done = 0, 0
    for i in range(count):
        here, end = np.int64(place[i]), np.int64(place[i]) + n
        counts = gram[i] & 1 != 0 if best < 0 else gram[i] >> 1 == best
        total += sums[end] - sums[max(here, done)] if counts else 0
        done = end if counts else done
    return total


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        types.uint64, array(types.uint64), types.int64, out(types.uint64), out(types.uint32), out(types.uint8),
        out(types.uint64), out(types.int32), out(types.int32), out(types.int32), out(types.int32), out(types.int64, 2),
        out(types.int64, 2),
    )
)  # fmt: skip
def _grams(
    data: Any, bounds: Any, offsets: Any, starts: Any, ends: Any, salt: Any, factors: Any, long: int, held: Any,
    members: Any, rates: Any, table: Any, gram: Any, again: Any, place: Any, sums: Any, covered: Any, jumped: Any,
) -> None:  # fmt: skip
    is_any_long = len(gram) > long
    sketch, packed = np.empty(recurrence.SKETCH if is_any_long else 1, np.uint32), np.empty(np.int64(512), np.uint64)
    fill = np.empty(recurrence.PARTITIONS + 1 if is_any_long else 1, np.int64)
    seen = np.empty(16 * recurrence.PARTITION, np.uint8)
    for row in range(len(bounds) - 1):
        begin, words = bounds[row], offsets[row + 1] - offsets[row]
        measure_words(data, begin, bounds[row + 1], starts, ends, offsets[row], offsets[row + 1], sums)
        size, distinct, numbered = table_size(min(words, _FEW)), np.int64(0), np.int64(-1)
        while numbered < words:
            done_before = max(numbered, np.int64(0))
            distinct, numbered = number(
                data, begin, starts, ends, offsets[row], offsets[row + 1], distinct, done_before, gram, again, place,
                table, size, salt,
            )  # fmt: skip
            size = min(4 * size, table_size(words))
        if words >= long:
            highest = recurrence.rate(gram, again, words, distinct, place, rates)
            done = recurrence.MORE_SLOTS
            while done == recurrence.MORE_SLOTS:
                room = factors, sketch, seen, fill, table, packed, place, held, members, again
                done = recurrence.measure(
                    gram, rates, words, distinct, highest, (_LAST_TOP, _LAST), sums, room, covered, jumped, row
                )
                if done == recurrence.MORE_SLOTS:
                    table = np.empty(4 * len(table), np.uint64)
            continue
        count = only_repeated(gram, place, words, again)
        is_new = np.bool_(True)  # most grams of the next length occur once
        for n in range(2, _LAST + 1):
            numbers = longer(gram, place, count, again, is_new, held, seen, table, salt)
            if numbers == 0:
                for longer_n in range(n, _LAST_TOP + 1):  # the most frequent one occurs once: the first
                    if words >= longer_n:
                        jumped[longer_n - 2, row] = sums[longer_n] + longer_n - 1
                break
            before, count = count, kept_of(gram, place, count, again)
            is_new = 4 * count < 3 * before
            best = np.int64(-1)
            if n <= _LAST_TOP:
                best, jumped[n - 2, row] = most_frequent(gram, place, count, numbers, n, sums, again)
            else:
                jumped[n - 2, row] = walked(gram, place, count, numbers, n, sums, again)
            covered[n - 2, row] = covered_by(gram, place, count, n, sums, best)


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        array(types.int32), array(types.int32), types.uint64, out(types.int64, 2),
    )
)  # fmt: skip
def _repeats(
    data: Any, bounds: Any, offsets: Any, starts: Any, ends: Any, chars: Any, kinds: Any, salt: Any, figures: Any
) -> None:
    few, most = np.int64(1024), 0
    for row in range(len(bounds) - 1):
        most = max(most, offsets[row + 1] - offsets[row])
    numbers, times, pieces = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32)
    opens = np.empty(most + 1, np.int32)
    slots, keys, table = np.empty(few, np.int32), np.empty(few, np.uint64), np.empty(4 * few, np.uint64)
    zero = np.int64(0)
    for row in range(len(bounds) - 1):
        begin, first, last = bounds[row], offsets[row], offsets[row + 1]
        size = table_size(last - first)
        if len(table) < 2 * size:
            table = np.empty(2 * size, np.uint64)
        distinct = number(
            data, begin, starts, ends, first, last, zero, zero, numbers, times, pieces, table, size, salt
        )[0]
        figures[0, row] = last - first - distinct
        highest = -1
        paragraphs = 0
        for line in range(last - first):
            size = np.int64(chars[first + line])
            figures[2, row] += size
            if numbers[line] <= highest:
                figures[1, row] += size
            else:
                highest = np.int64(numbers[line])
            if kinds[first + line] & OPENS_PARAGRAPH:
                opens[paragraphs] = line
                paragraphs += 1
        opens[paragraphs] = last - first
        figures[5, row] = figures[2, row] + (last - first) - paragraphs
        if distinct == last - first:
            continue  # a paragraph repeats only where its lines do
        size = table_size(paragraphs)
        if size > len(slots):
            slots, keys = np.empty(size, np.int32), np.empty(size, np.uint64)
        slots[:size] = -1
        for paragraph in range(paragraphs):
            start, end = opens[paragraph], opens[paragraph + 1]
            key = seed(end - start) ^ salt
            length = np.int64(end - start - 1)
            for line in range(start, end):
                key = add(key, np.uint64(numbers[line]))
                length += chars[first + line]
            slot = np.int64(key & np.uint64(size - 1))
            while slots[slot] >= 0:
                other = np.int64(slots[slot])
                there = opens[other]
                if keys[slot] == key and opens[other + 1] - there == end - start:
                    line = 0
                    while line < end - start and numbers[there + line] == numbers[start + line]:
                        line += 1
                    if line == end - start:
                        figures[3, row] += 1
                        figures[4, row] += length
                        break
                slot = (slot + 1) & (size - 1)
            if slots[slot] < 0:
                slots[slot], keys[slot] = paragraph, key
