"""The n-grams that occur again in a long text, found without looking each n-gram of each length up.

Going from each length to the next (`curation.kernels.repetition`) costs a text of millions of words about three
look-ups a word, in tables that no cache holds. Here

- the most frequent n-gram is looked for among words that are as frequent as it must be at least (a first guess at that
  is high, and each one that nothing is found by is followed by a lower one), where a table of counts that fits the
  cache leaves next to none;
- the n-grams of the least length that repetition is asked for are looked up once, in partitions by their hash, and only
  those that something else in the partition meets;
- the places of each that occurs again are written one behind another, so that a longer n-gram is looked for among them
  by comparing the next words: nearly all are two.

Nothing is equal by its hash alone: words are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curation.kernels.compiled import helper, inlined
from curation.kernels.memory import AHEAD, fetch
from curation.kernels.numbering import shift_of, table_size

#: What is answered where the table is too small, and all can be asked again with a larger one.
MORE_SLOTS = -1
#: So many n-grams are told apart in a table at once, which fits the cache; where there are more, in partitions.
_DIFFERENT = np.int64(1 << 14)
#: Bits of a number, five of which are two integers. No text of `LONGEST` bytes has so many words that occur again: with
#: what stands between words, two of nearly each are ten bytes.
_BITS = np.uint64(25)
_BITS_OF_RATE = 5
LONGEST = 1 << 28
#: Keys of one partition, whose tables fit the processor's cache, and as many partitions at most: most texts are one.
PARTITION = 1 << 14
PARTITIONS = 1 << 13
#: Counts of hashes, 4 bytes each.
SKETCH = 1 << 16
#: How much lower the next guess at a frequency is, in powers of two.
_STEP = 3
#: Set where the places of another n-gram begin; the other bits are the place.
_FIRST, _PLACE = np.uint32(1 << 31), np.uint32((1 << 31) - 1)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
#: Where so few places are to be told apart, each is compared with each.
_A_FEW = 8


@helper
def rate(gram: Any, times: Any, words: int, numbers: int, scratch: Any, rates: Any) -> int:
    """Write for each word the binary logarithm of how often it occurs, rounded down; the highest.

    Words that occur again get the lowest numbers, so that five of those are two integers.
    """
    highest, again, once = 0, 0, numbers
    for number in range(numbers):
        power, rest = 0, times[number]
        while rest > 1:
            rest >>= 1
            power += 1
        once -= power == 0
        scratch[number] = (again if power else once) << _BITS_OF_RATE | power
        again += power != 0
        highest = max(highest, power)
    for word in range(words):
        number = np.int64(scratch[gram[word]])
        gram[word], rates[word] = number >> _BITS_OF_RATE, number & (1 << _BITS_OF_RATE) - 1
    return highest


@inlined
def hash_of(gram: Any, place: int, n: int, factors: Any) -> Any:
    """A hash of n words, whose highest bits are as good as random."""
    found = np.uint64(0)
    for word in range(n):
        found += np.uint64(gram[place + word]) * factors[word]
    return found


@helper
def places_of(rates: Any, words: int, n: int, least: int, place: Any) -> int:
    """Write where n words in a row occur `2**least` times or more each; how many such places there are."""
    found, run = 0, 0
    for word in range(words):
        run = run + 1 if rates[word] >= least else 0
        place[found] = word - n + 1
        found += run >= n
    return found


@helper
def thinned(gram: Any, n: int, least: int, factors: Any, sketch: Any, place: Any, count: int) -> int:
    """Keep the places whose n words may occur `2**least` times; how many they are."""
    sketch[:] = 0
    shift = shift_of(len(sketch))
    for i in range(count):
        sketch[hash_of(gram, place[i], n, factors) >> shift] += 1
    kept, bound = 0, np.uint32(1 << least)
    for i in range(count):
        here = place[i]
        place[kept] = here
        kept += sketch[hash_of(gram, here, n, factors) >> shift] >= bound
    return kept


@helper
def pack(keys: Any, begin: int, end: int, gram: Any, n: int, packed: Any) -> None:
    """Write the numbers of the words of n-grams, up to five, as two integers each."""
    for i in range(begin, end):
        fetch(gram, np.int64(keys[min(i + AHEAD, len(keys) - 1)] & _LOW))
        place, low, high = np.int64(keys[i] & _LOW), np.uint64(0), np.uint64(0)
        for word in range(n):
            high = high << _BITS | low >> np.uint64(64) - _BITS
            low = low << _BITS | np.uint64(gram[place + word])
        packed[2 * (i - begin)], packed[2 * (i - begin) + 1] = low, high


@helper
def gather(
    keys: Any, begin: int, end: int, gram: Any, n: int, factor: Any, table: Any, packed: Any, distinct: int,
    members: Any, filled: int, again: Any,
) -> int:  # fmt: skip
    """Write the places of what occurs more than once one behind another, behind `filled` others; how many there are.

    `keys` has from `begin` to `end`, by place, 32 bits of a key and below them the place; places are the same where
    that and n words are. There are `distinct` different ones at most. `again` gets for each of those places the first
    that is the same. The answer is `MORE_SLOTS` where the table is too small; then `keys` are no longer what they were.

    The table has for each slot the key and the first place, its words, and how many places there are.
    """
    size = min(table_size(min(end - begin, distinct)), len(table) // 4)
    room = size // 2
    table[: 4 * size] = 0
    shift, last_slot = shift_of(size), np.uint64(size - 1)
    for block in range(begin, end, len(packed) // 2):
        end_of_block = min(block + len(packed) // 2, end)
        pack(keys, block, end_of_block, gram, n, packed)  # apart, so that many are fetched from memory at once
        for i in range(block, end_of_block):
            key, low, high = keys[i] >> _HALF, packed[2 * (i - block)], packed[2 * (i - block) + 1]
            slot = np.int64(key * factor >> shift)
            while table[4 * slot + 3] != 0 and (
                table[4 * slot] >> _HALF != key or table[4 * slot + 1] != low or table[4 * slot + 2] != high
            ):
                slot = np.int64(np.uint64(slot + 1) & last_slot)
            if table[4 * slot + 3] == 0:
                if room == 0:
                    return MORE_SLOTS
                room -= 1
                table[4 * slot], table[4 * slot + 1], table[4 * slot + 2] = keys[i], low, high
            table[4 * slot + 3] += np.uint64(1)
            keys[i] = np.uint64(slot) << _HALF | keys[i] & _LOW
    for i in range(begin, end):
        slot, here = np.int64(keys[i] >> _HALF), keys[i] & _LOW
        known = table[4 * slot + 3]  # how many there are, and above that 1 more than where the next one goes
        number, at = known & _LOW, known >> _HALF
        if number < np.uint64(2):
            continue
        if at == 0:
            at = np.uint64(filled + 1)
            filled += np.int64(number)
            members[at - np.uint64(1)] = np.uint32(here) | _FIRST
        else:
            members[at - np.uint64(1)] = np.uint32(here)
        table[4 * slot + 3] = number | at + np.uint64(1) << _HALF
        again[here] = np.int32(table[4 * slot] & _LOW)
    return filled


@helper
def most_frequent(
    gram: Any, rates: Any, words: int, n: int, guess: int, factors: Any, sketch: Any, place: Any, keys: Any, seen: Any,
    fill: Any, table: Any, packed: Any, members: Any, again: Any, sums: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """The most frequent n-gram: how often it occurs, the code points it covers, and the length of the earliest one.

    Of several the first is the one with most code points, then the earliest. An n-gram that occurs once is not looked
    for: 1. The first number may be `MORE_SLOTS`: then ask again. A guess that is too low costs time alone.
    """
    least, none = max(guess, 1), np.int64(0)
    while True:
        count = places_of(rates, words, n, least, place)
        count = thinned(gram, n, least, factors, sketch, place, count)
        for i in range(count):
            keys[i] = hash_of(gram, place[i], n, factors) >> _HALF << _HALF | np.uint64(place[i])
        filled = gather(keys, none, count, gram, n, factors[n], table, packed, _DIFFERENT, members, none, again)
        if filled < 0:
            least = np.int64(1)
            filled = recurring(
                gram, rates, words, n, factors, place, keys, seen, fill, table, packed, members, again
            )  # fmt: skip
            if filled < 0:
                return filled, 0, 0
        most, size, best, earliest = 1, 0, 0, words
        at = none
        while at < filled:
            end = end_of(members, at, filled)
            first = np.int64(members[at] & _PLACE)
            mine = np.int64(sums[first + n] - sums[first])
            if end - at > most:
                most, size, best, earliest = end - at, mine, at, first
            elif end - at == most:
                earliest = min(earliest, first)
                there = np.int64(members[best] & _PLACE)
                if mine > size or (mine == size and first < there):
                    size, best = mine, at
            at = end
        if most >= 1 << least or least == 1:
            break
        least = max(least - _STEP, 1)
    if most == 1:
        return 1, 0, 0
    covered, done = 0, 0
    for at in range(best, best + most):
        here = np.int64(members[at] & _PLACE)
        covered += sums[here + n] - sums[max(here, done)]
        done = here + n
    return most, np.int64(covered), np.int64(sums[earliest + n] - sums[earliest])


@inlined
def end_of(members: Any, at: int, filled: int) -> int:
    """Where the places of the n-gram end that begin `at`."""
    end = at + 1
    while end < filled and not members[end] & _FIRST:
        end += 1
    return end


@helper
def recurring(
    gram: Any, rates: Any, words: int, n: int, factors: Any, place: Any, keys: Any, seen: Any, fill: Any, table: Any,
    packed: Any, members: Any, again: Any,
) -> int:  # fmt: skip
    """Write the places of n-grams that occur more than once, of each one behind another; how many there are.

    `again` gets for each word the first place of the n-gram that begins there, -1 where it does not occur again. The
    answer may be `MORE_SLOTS`: then ask again.
    """
    again[:words] = -1
    count = places_of(rates, words, n, np.int64(1), place)
    parts = 1
    while parts < PARTITIONS and parts * PARTITION < count:
        parts *= 2
    down = shift_of(parts)
    spent = np.uint64(64) - down
    fill[: parts + 1] = 0
    if parts > 1:
        for i in range(count):
            fill[(hash_of(gram, place[i], n, factors) >> down) + np.uint64(1)] += 1
        for part in range(parts):
            fill[part + 1] += fill[part]
    for i in range(count):
        key = hash_of(gram, place[i], n, factors)
        part = key >> down if parts > 1 else np.uint64(0)
        keys[fill[part]] = key << spent >> _HALF << _HALF | np.uint64(place[i])
        fill[part] += 1
    begin, filled = np.int64(0), np.int64(0)
    for part in range(parts):
        end = fill[part]
        left = met(keys, begin, end, seen)
        filled = gather(keys, begin, left, gram, n, factors[n], table, packed, left - begin, members, filled, again)
        if filled < 0:
            return filled
        begin = end
    return filled


@helper
def met(keys: Any, begin: int, end: int, seen: Any) -> int:
    """Keep the keys that another one may be equal to; where they end."""
    size = 2 * table_size(end - begin)
    if size > len(seen):
        return end
    seen[:size] = 0
    shift = shift_of(size)
    for i in range(begin, end):
        seen[keys[i] >> shift] = min(seen[keys[i] >> shift] + 1, 2)
    left = begin
    for i in range(begin, end):
        key = keys[i]
        keys[left] = key
        left += seen[key >> shift] >> 1
    return left


@helper
def longer(
    gram: Any, words: int, distinct: int, n: int, factors: Any, keys: Any, table: Any, packed: Any, members: Any,
    filled: int, again: Any,
) -> int:  # fmt: skip
    """Go on from the (n - 1)-grams that occur again to the n-grams that do; how many places those have.

    The table is large enough for as many words as may follow on one gram, `distinct` at most.
    """
    for i in range(filled):  # the next word of each; the one that stands at the text's end has one like no other
        fetch(gram, np.int64(members[min(i + AHEAD, filled - 1)] & _PLACE) + n - 1)
        here = np.int64(members[i] & _PLACE)
        word = np.uint64(gram[here + n - 1]) if here + n <= words else _LOW - np.uint64(1)
        keys[i] = word << _HALF | np.uint64(members[i])
    kept, at, none = np.int64(0), np.int64(0), np.int64(0)
    while at < filled:
        end = at + 1
        while end < filled and not keys[end] & np.uint64(_FIRST):
            end += 1
        is_alike = True
        for i in range(at + 1, end):
            is_alike &= keys[i] >> _HALF == keys[at] >> _HALF
        if is_alike:
            for i in range(at, end):
                members[kept] = np.uint32(keys[i] & _LOW)
                kept += 1
        else:
            for i in range(at, end):
                keys[i] &= ~np.uint64(_FIRST)
                again[keys[i] & _LOW] = -1
            if end - at > _A_FEW:
                kept = gather(keys, at, end, gram, none, factors[0], table, packed, distinct + 1, members, kept, again)
            else:
                kept = gather_few(keys, at, end, members, kept, again)
        at = end
    return kept


@helper
def gather_few(keys: Any, begin: int, end: int, members: Any, filled: int, again: Any) -> int:
    """As `gather`, for keys that need no comparing of words, each compared with each."""
    for i in range(begin, end):
        if keys[i] >> _HALF == _LOW:  # written already: no word has this number
            continue
        first, found = keys[i] & _LOW, filled
        for j in range(i + 1, end):
            if keys[j] >> _HALF == keys[i] >> _HALF:
                here = keys[j] & _LOW
                found += 1
                members[found] = np.uint32(here)
                again[here] = np.int32(first)
                keys[j] |= _LOW << _HALF
        if found > filled:
            members[filled] = np.uint32(first) | _FIRST
            again[first] = np.int32(first)
            filled = found + 1
    return filled


@helper
def still(again: Any, place: Any, count: int) -> int:
    """Keep the places of what occurs again; how many they are."""
    kept = 0
    for i in range(count):
        here = place[i]
        place[kept] = here
        kept += again[here] >= 0
    return kept


@helper
def known_before(again: Any, place: Any, count: int, n: int, sums: Any, is_known: Any) -> tuple[int, int]:
    """The code points in words that n-grams cover which occurred before, and those of a walk.

    The walk goes on by a word, and by n words after an n-gram that it has met before, whose code points count.
    """
    covered, jumped = np.int64(0), np.int64(0)
    done, free = np.int64(0), np.int64(0)
    for i in range(count):
        fetch(is_known, np.int64(again[place[min(i + AHEAD, count - 1)]]))
        here = np.int64(place[i])
        first, end = np.int64(again[here]), here + n
        if first != here:
            covered += sums[end] - sums[max(here, done)]
            done = end
        else:
            is_known[here] = 0
        if here >= free:
            if is_known[first]:
                jumped += sums[end] - sums[here]
                free = end
            is_known[first] = 1
    return covered, jumped


@helper
def measure(
    gram: Any, rates: Any, words: int, distinct: int, highest: int, lengths: Any, sums: Any, room: Any, covered: Any,
    jumped: Any, row: int,
) -> int:  # fmt: skip
    """Write the figures of a text, as `curation.kernels.repetition.grams` gives them; 0.

    `lengths` are the last n whose most frequent n-gram is looked for, and the last n of all. The answer may be
    `MORE_SLOTS`: then ask again.
    """
    factors, sketch, seen, fill, table, packed, place, keys, members, again = room
    last_top, last = lengths
    guess, most = highest - _STEP + 1, np.int64(0)
    for n in range(2, last_top + 1):
        most, mine, earliest = most_frequent(
            gram, rates, words, n, guess, factors, sketch, place, keys, seen, fill, table, packed, members, again, sums
        )
        if most < 0:
            return most
        if most == 1:  # that one is the first, and no longer one occurs again
            for longer_n in range(n, last_top + 1):
                if words >= longer_n:
                    jumped[longer_n - 2, row] = sums[longer_n] + longer_n - 1
            return 0
        covered[n - 2, row], jumped[n - 2, row] = mine, (earliest + n - 1) * most
        guess, rest = 1 - _STEP, most
        while rest > 1:
            rest >>= 1
            guess += 1
    if len(table) < 4 * table_size(min(most, distinct) + 1):  # as many may go on from the same words
        return MORE_SLOTS
    n = last_top + 1
    filled = recurring(gram, rates, words, n, factors, place, keys, seen, fill, table, packed, members, again)
    if filled < 0:
        return filled
    count = words - n + 1
    for i in range(count):
        place[i] = i
    is_known = rates
    while filled > 0:
        count = still(again, place, count)
        covered[n - 2, row], jumped[n - 2, row] = known_before(again, place, count, n, sums, is_known)
        n += 1
        if n > last:
            break
        filled = longer(gram, words, distinct, n, factors, keys, table, packed, members, filled, again)
    return 0
