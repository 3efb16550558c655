"""How much of each text stands in it more than once: its lines, its paragraphs, the n-grams of its words.

Nothing is compared by a hash alone. Words and lines get numbers, equal ones the same; a gram of n words is the pair of
the grams of n - 1 words that it begins and ends with, so it has a number too, and a pair of numbers is a key without
collisions. A gram can only occur again where both of those do, so each n looks at fewer places than the one before.

Time is linear. A text with many words is worked through in partitions by the key's hash, so that tables stay in the
processor's cache, and at most `_HELD` keys are held at once. Hashes depend on a random number of the process (the
figures do not), so that no text can be made whose words all meet in one place of a table.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from curation.kernels.compiled import allocating, array, helper, kernel, out
from curation.kernels.lines import OPENS_PARAGRAPH, Lines
from curation.kernels.utf8 import add, characters, eight, hashed, mixed, same, seed

if TYPE_CHECKING:
    from curation.kernels.words import Words

#: The n whose most frequent gram is looked for, and those whose repeated grams are.
TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
_LAST_TOP, _LAST = TOP[-1], DUPLICATE[-1]

#: Keys of one partition: their table takes 400 kB, and most texts are a single one.
_PARTITION = 1 << 14
_PARTITIONS = 1 << 12
#: Keys that are held at once: 12 bytes each.
_HELD = 1 << 24
#: An odd factor: the highest bits of a key times it are the key's place in a table.
SALT = np.uint64(secrets.randbits(64) | 1)


def grams(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], words: Words) -> tuple[Any, Any]:
    """For each n from 2 to 10 (rows) and text (columns) the code points in n-grams that repeat, int64, in two ways.

    The first: for an n of `TOP` those in words that the most frequent n-gram covers, of several the one with most code
    points, then the earliest; for an n of `DUPLICATE` those in words that any n-gram covers which occurred before. A
    word that several cover counts once.

    The second is datatrove's: for an n of `TOP` the length of the most frequent n-gram, of several the earliest, with
    single spaces, times its occurrences, be it one; for an n of `DUPLICATE` the n-grams known from before on a walk
    that goes on by a word, and by n words after such a one.
    """
    covered = np.zeros((2, _LAST - 1, len(bounds) - 1), np.int64)
    _grams(data, bounds, words.bounds, words.start, words.end, SALT, *covered)
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
def table_size(items: int) -> int:
    """A power of two at which a table of so many items is half full at most."""
    size = 16
    while size < 2 * items:
        size *= 2
    return size


@allocating
def number(
    data: Any, begin: int, starts: Any, ends: Any, first: int, last: int, numbers: Any, times: Any, slots: Any,
    keys: Any, salt: Any,
) -> tuple[int, Any, Any]:  # fmt: skip
    """Number the pieces of a text from `first` to `last` by their bytes, in the order of first appearance.

    `numbers` gets a number for each, `times` how often each number occurs. The table (`slots` with the place of a
    number's first piece or -1, and `keys`) grows with what is different; it comes back with how many numbers there are.

    A piece of up to eight bytes is its own key, with its size; the highest byte is one that stands in no UTF-8, unless
    eight bytes fill it. A longer one is compared byte by byte where the hash is the same.
    """
    size = 16
    while size < len(slots) and size < 2 * (last - first):
        size *= 2
    slots[:size] = -1
    shift, last_slot = shift_of(size), np.uint64(size - 1)
    found = 0
    for piece in range(first, last):
        start, end = begin + starts[piece], begin + ends[piece]
        long = end - start > 8
        if long:
            key = hashed(data, start, end, salt) & np.uint64(2**56 - 1) | np.uint64(0xC1 << 56)
        else:
            key = eight(data, start, end)
            if end - start < 8:
                key |= np.uint64(0xF8 + end - start) << np.uint64(56)
        slot = key * salt >> shift
        while True:
            other = np.int64(slots[slot])
            if other < 0:
                slots[slot], keys[slot] = piece - first, key
                numbers[piece - first] = found
                times[found] = 1
                found += 1
                break
            if keys[slot] == key:
                there = begin + starts[first + other]
                if not long or (
                    ends[first + other] - starts[first + other] == end - start and same(data, there, start, end - start)
                ):
                    numbers[piece - first] = numbers[other]
                    times[numbers[other]] += 1
                    break
            slot = slot + np.uint64(1) & last_slot
        if 2 * found > size:
            old, old_keys, before = slots, keys, size
            size *= 4
            if size > len(slots):
                slots, keys = np.empty(size, np.int32), np.empty(size, np.uint64)
            else:
                old, old_keys = slots[:before].copy(), keys[:before].copy()
            slots[:size] = -1
            shift, last_slot = shift_of(size), np.uint64(size - 1)
            for place in range(before):
                if old[place] >= 0:
                    slot = old_keys[place] * salt >> shift
                    while slots[slot] >= 0:
                        slot = slot + np.uint64(1) & last_slot
                    slots[slot], keys[slot] = old[place], old_keys[place]
    return found, slots, keys


@allocating
def longer(gram: Any, place: Any, count: int, again: Any, scratch: Any, salt: Any) -> int:
    """Number the grams one word longer that occur more than once; how many such numbers there are.

    `gram` and `place` have the number and the first word of each of `count` grams that occur again, by place. `again`
    gets for each twice the number of the longer gram that begins there, and 1 more unless it is the first of its kind;
    -1 where it does not occur again. Most occur once, which two bits for each tell without looking anything up.
    """
    held, index, slots, keys, seen, first, fill, once, twice = scratch
    parts = 1
    while parts < _PARTITIONS and parts * _PARTITION < count:
        parts *= 2
    fill[: parts + 1] = 0
    if parts > 1:
        for i in range(count - 1):
            if place[i + 1] == place[i] + 1:
                fill[part_of(pair(gram[i], gram[i + 1]), parts) + 1] += 1
    numbers = 0
    again[:count] = -1
    low = 0
    while low < parts:  # as many partitions as may be held
        high, total = low + 1, fill[low + 1]
        while high < parts and total + fill[high + 1] <= _HELD:
            high += 1
            total += fill[high]
        if total > len(held):
            held, index = np.empty(total, np.uint64), np.empty(total, np.int32)
        fill[low] = 0
        for part in range(low, high):
            fill[part + 1] += fill[part]  # from here on: where the partition's next key goes
        for i in range(count - 1):
            if place[i + 1] == place[i] + 1:
                key = pair(gram[i], gram[i + 1])
                part = part_of(key, parts) if parts > 1 else 0
                if low <= part < high:
                    held[fill[part]], index[fill[part]] = key, i
                    fill[part] += 1
        begin = 0
        for part in range(low, high):
            end = fill[part]
            size = max(64, 4 * table_size(end - begin))
            if size > 64 * len(once):
                once, twice = np.empty(size // 64, np.uint64), np.empty(size // 64, np.uint64)
            once[: size // 64] = 0
            twice[: size // 64] = 0
            shift = shift_of(size)
            for i in range(begin, end):
                hashed_key = held[i] * salt >> shift
                bit = np.uint64(1) << (hashed_key & np.uint64(63))
                hashed_key >>= np.uint64(6)
                twice[hashed_key] |= once[hashed_key] & bit
                once[hashed_key] |= bit
            left = begin
            for i in range(begin, end):
                hashed_key = held[i] * salt >> shift
                held[left], index[left] = held[i], index[i]
                left += np.int64(twice[hashed_key >> np.uint64(6)] >> (hashed_key & np.uint64(63)) & np.uint64(1))
            size = table_size(left - begin)
            if size > len(slots):
                slots, keys = np.empty(size, np.int32), np.empty(size, np.uint64)
            if left - begin > len(seen):
                seen, first = np.empty(left - begin, np.int32), np.empty(left - begin, np.int32)
            slots[:size] = -1
            shift, last_slot = shift_of(size), np.uint64(size - 1)
            kinds = 0
            for i in range(begin, left):
                key = held[i]
                slot = key * salt >> shift
                while slots[slot] >= 0 and keys[slot] != key:
                    slot = slot + np.uint64(1) & last_slot
                kind = slots[slot]
                if kind < 0:
                    slots[slot], keys[slot] = kinds, key
                    first[kinds], seen[kinds] = index[i], -1
                    kinds += 1
                    continue
                if seen[kind] < 0:
                    seen[kind] = numbers
                    again[first[kind]] = 2 * numbers
                    numbers += 1
                again[index[i]] = 2 * seen[kind] + 1
            begin = end
        low = high
    return numbers


@helper
def shift_of(size: int) -> Any:
    """How far to shift a salted key so that it is a place among so many, a power of two."""
    shift = 64
    while size > 1:
        size >>= 1
        shift -= 1
    return np.uint64(shift)


@helper
def pair(a: Any, b: Any) -> Any:
    """Two numbers as one key."""
    return np.uint64(a) << np.uint64(32) | np.uint64(b)


@helper
def part_of(key: Any, parts: int) -> int:
    """Which of so many partitions, a power of two, a key belongs to."""
    return np.int64(mixed(key) >> np.uint64(40)) & (parts - 1)


@helper
def size_of(sizes: Any, first: int, n: int) -> int:
    """The code points of the gram whose first word this is."""
    size = 0
    for word in range(first, first + n):
        size += sizes[word]
    return size


@allocating
def walked(again: Any, place: Any, count: int, numbers: int, n: int, sizes: Any) -> int:
    """The code points of grams that are known on a walk which goes on by a word, and by n words after a known one."""
    known = np.zeros(numbers, np.bool_)
    total, free = 0, 0
    for i in range(count):
        if again[i] < 0 or place[i] < free:
            continue
        if known[again[i] >> 1]:
            total += size_of(sizes, np.int64(place[i]), n)
            free = place[i] + n
        known[again[i] >> 1] = True
    return total


@allocating
def most_frequent(again: Any, place: Any, count: int, numbers: int, n: int, sizes: Any) -> tuple[int, int]:
    """The most frequent gram, by our choice and by datatrove's.

    Of several ours is the one with most code points, then the earliest: its number. datatrove's is the earliest: its
    length with single spaces, times its occurrences.
    """
    times = np.zeros(numbers, np.int32)
    for i in range(count):
        if again[i] >= 0:
            times[again[i] >> 1] += 1
    most = times.max()
    best, best_size, earliest = -1, -1, -1
    for i in range(count):
        if again[i] >= 0 and not again[i] & 1 and times[again[i] >> 1] == most:
            size = size_of(sizes, np.int64(place[i]), n)
            if earliest < 0:
                earliest = size
            if size > best_size:
                best, best_size = again[i] >> 1, size
    return best, (earliest + n - 1) * np.int64(most)


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        types.uint64, out(types.int64, 2), out(types.int64, 2),
    )
)  # fmt: skip
def _grams(data: Any, bounds: Any, offsets: Any, starts: Any, ends: Any, salt: Any, covered: Any, jumped: Any) -> None:
    most = 0
    for row in range(len(bounds) - 1):
        most = max(most, offsets[row + 1] - offsets[row])
    # Kept from text to text. What is as long as the longest text is filled only as far as a text needs it.
    gram, again = np.empty(most, np.int32), np.empty(most, np.int32)
    place, sizes = np.empty(most, np.int32), np.empty(most, np.int32)
    slots, keys = np.empty(4 * _PARTITION, np.int32), np.empty(4 * _PARTITION, np.uint64)
    scratch = (
        np.empty(_PARTITION, np.uint64), np.empty(_PARTITION, np.int32), np.empty(4 * _PARTITION, np.int32),
        np.empty(4 * _PARTITION, np.uint64), np.empty(_PARTITION, np.int32), np.empty(_PARTITION, np.int32),
        np.empty(_PARTITIONS + 1, np.int64), np.empty(_PARTITION // 8, np.uint64), np.empty(_PARTITION // 8, np.uint64),
    )  # fmt: skip
    for row in range(len(bounds) - 1):
        begin, words = bounds[row], offsets[row + 1] - offsets[row]
        _, slots, keys = number(
            data, begin, starts, ends, offsets[row], offsets[row + 1], gram, again, slots, keys, salt
        )
        ascii_only = characters(data, begin, bounds[row + 1]) == bounds[row + 1] - begin
        count = np.int64(0)
        for word in range(words):
            at = offsets[row] + word
            sizes[word] = ends[at] - starts[at]
            if not ascii_only:
                sizes[word] = characters(data, begin + starts[at], begin + ends[at])
            if again[gram[word]] > 1:
                gram[count], place[count] = gram[word], word
                count += 1
        for n in range(2, _LAST + 1):
            numbers = longer(gram, place, count, again, scratch, salt)
            if numbers == 0:
                for longer_n in range(n, _LAST_TOP + 1):  # the most frequent one occurs once: the first
                    if words >= longer_n:
                        jumped[longer_n - 2, row] = size_of(sizes, np.int64(0), longer_n) + longer_n - 1
                break
            best = -1
            if n <= _LAST_TOP:
                best, jumped[n - 2, row] = most_frequent(again, place, count, numbers, n, sizes)
            else:
                jumped[n - 2, row] = walked(again, place, count, numbers, n, sizes)
            done, total, kept = 0, 0, 0
            for i in range(count):
                if again[i] < 0:
                    continue
                here = np.int64(place[i])
                if again[i] >> 1 == best if n <= _LAST_TOP else again[i] & 1:
                    for word in range(max(here, done), here + n):
                        total += sizes[word]
                    done = here + n
                gram[kept], place[kept] = again[i] >> 1, here
                kept += 1
            covered[n - 2, row] = total
            count = kept


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        array(types.int32), array(types.int32), types.uint64, out(types.int64, 2),
    )
)  # fmt: skip
def _repeats(
    data: Any, bounds: Any, offsets: Any, starts: Any, ends: Any, chars: Any, kinds: Any, salt: Any, figures: Any
) -> None:
    most = 0
    for row in range(len(bounds) - 1):
        most = max(most, offsets[row + 1] - offsets[row])
    numbers, times = np.empty(most, np.int32), np.empty(most, np.int32)
    opens = np.empty(most + 1, np.int32)
    slots, keys = np.empty(1024, np.int32), np.empty(1024, np.uint64)
    for row in range(len(bounds) - 1):
        begin, first, last = bounds[row], offsets[row], offsets[row + 1]
        distinct, slots, keys = number(data, begin, starts, ends, first, last, numbers, times, slots, keys, salt)
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
