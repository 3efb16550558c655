"""Texts and words as deduplication compares them: in Unicode form NFC, case-folded, white space collapsed.

What a character becomes mostly depends on it alone, and is looked up. Where it may join its neighbours (a letter and a
combining mark that have a sign of their own, syllables of Hangul in pieces) Python is asked for that word.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from curation.kernels import masks
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.unicode import WHITE, WHITE_SPACE, folding, properties
from curation.kernels.utf8 import HIGHS, add, byte, decode, eight, hashed, last, lower, property_of, seed
from curation.kernels.utf8 import before as character_start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.kernels.words import Words


def folded(text: str) -> str:
    r"""NFC and case-folded.

    >>> folded("Straße"), folded("E\u0301")
    ('strasse', 'é')
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def normalised(text: str) -> str:
    r"""What exact duplicates have in common: NFC, case-folded, each run of white space one space, none around.

    >>> normalised("The  Straße\n")
    'the strasse'
    """
    text = folded(text)
    if any(mark in text for mark in _SEPARATORS):
        return _SPACES.sub(" ", text).strip(" ")
    return " ".join(text.split())  # several times as fast


#: Bytes of text that are normalised in one go.
_TOGETHER = 1 << 19
_SPACES = re.compile(f"[{WHITE_SPACE}]+")
#: What `str.split` takes for white space too, and Unicode does not.
_SEPARATORS = "\x1c\x1d\x1e\x1f"


def word_hashes(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], words: Words) -> np.ndarray[Any, Any]:
    """A 64-bit hash of each folded word (uint64): that of its UTF-8, which `hash_of` gives for one."""
    hashes, hard = np.empty(len(words.start), np.uint64), np.empty(len(words.start), np.int32)
    copy = np.empty(2 * int(np.diff(bounds).max(initial=0)) + 8, np.uint8)  # a word may be all of the longest text
    count = _hash_words(data, bounds, words.bounds, words.start, words.end, *folding(), copy, copy, hashes, hard)
    rows = np.searchsorted(words.bounds, hard[:count], side="right") - 1
    known: dict[bytes, int] = {}
    for word, row in zip(hard[:count].tolist(), rows.tolist(), strict=True):
        begin = bounds[row]
        raw = data[begin + words.start[word] : begin + words.end[word]].tobytes()
        if raw not in known:
            known[raw] = hash_of(folded(raw.decode()).encode())
        hashes[word] = known[raw]
    return hashes


def hash_of(raw: bytes) -> int:
    """The hash that `word_hashes` has for a word whose folded UTF-8 this is.

    >>> hash_of(b"strasse") == hash_of(b"strasse"), hash_of(b"strasse") == hash_of(b"strassen")
    (True, False)
    """
    return int(_hash(np.frombuffer(raw, np.uint8)))


def normalised_texts(
    data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any]
) -> Iterator[tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]]:
    """The UTF-8 of the texts as `normalised` has them, as many at a time as fit the processor's cache, one at least.

    Those that come together lie one behind the other: text i from `bounds[i]` to `bounds[i + 1]`.
    """
    rows = len(bounds) - 1
    first = 0
    while first < rows:
        last = max(first + 1, int(np.searchsorted(bounds, bounds[first] + _TOGETHER, side="right")) - 1)
        size = int(bounds[last] - bounds[first])
        target, ends = np.empty(2 * size + masks.SIZE, np.uint8), np.zeros(last - first + 1, np.int64)
        asked = np.empty((2, size // 2 + 1), np.int64)  # memory is taken as it is filled
        count = _normalise(data, bounds[first : last + 1], properties(), *folding(), target, ends, *asked)
        yield _with_folded(target, ends, asked[:, :count]) if count else (target[: ends[-1]], ends)
        first = last


def _with_folded(
    target: np.ndarray[Any, np.dtype[np.uint8]], bounds: np.ndarray[Any, np.dtype[np.int64]],
    words: np.ndarray[Any, np.dtype[np.int64]],
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]:  # fmt: skip
    """Texts in which these words, or several with spaces between, stood as they were: their starts, and their ends."""
    memory, start = memoryview(target), 0
    parts: list[bytes | memoryview] = []
    sizes = []
    for first, past in words.T.tolist():
        word = folded(str(memory[first:past], "utf-8")).encode()
        parts += memory[start:first], word
        sizes.append(len(word))
        start = past
    joined = b"".join([*parts, memory[start : bounds[-1]]])
    starts, ends = words
    moved = np.concatenate([[0], np.cumsum(np.array(sizes) - (ends - starts))])
    return np.frombuffer(joined, np.uint8), bounds + moved[np.searchsorted(ends, bounds, side="right")]


def _folded_ascii() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What each character of ASCII becomes: a small letter, and any white space a space."""
    return np.array([0x20 if chr(point) in WHITE_SPACE else ord(chr(point).lower()) for point in range(0x80)], np.uint8)


_write_folded = masks.mapping(_folded_ascii())


@helper
def fold_one(point: int, raw: Any, at: int, size: int, fold: Any, pool: Any, target: Any, filled: int) -> int:
    """Write what a character becomes; where the next goes."""
    entry = np.int64(fold[point]) if point < len(fold) else 0
    if entry == 0:
        for place in range(size):
            target[filled + place] = byte(raw, at + place)
        return filled + size
    for place in range(entry & 7):
        target[filled + place] = pool[(entry >> 3) + place]
    return filled + (entry & 7)


@helper
def is_fixed(point: int, fixed: Any) -> bool:
    """Whether a character stays as it is, whatever stands before it."""
    return point >= len(fixed) or fixed[point]


@helper
def is_hard(point: int, before: int, order: Any, hard: Any) -> bool:
    """Whether Python must be asked because of this character, which follows one of the combining class `before`."""
    if point >= len(hard):
        return False
    return hard[point] or (order[point] != 0 and before > order[point])


@helper
def between_spaces(data: Any, at: int, start: int, end: int, table: Any) -> Any:
    """Where the characters around `at` begin and end that have no white space between them."""
    first, behind = at, at
    while first > start:
        place = character_start(data, start, first)
        if np.int64(property_of(table, decode(data, place, first)[0])) & WHITE:
            break
        first = place
    while behind < end:
        point, size = decode(data, behind, end)
        if np.int64(property_of(table, point)) & WHITE:
            break
        behind += size
    return first, behind


@kernel(types.uint64(array(types.uint8)))
def _hash(raw: Any) -> Any:
    return hashed(raw, np.int64(0), len(raw), np.uint64(0))


@kernel(
    types.int64(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        array(types.int32), array(types.uint8), array(types.uint8), array(types.bool_), array(types.bool_),
        out(types.uint8), array(types.uint8), out(types.uint64), out(types.int32),
    )
)  # fmt: skip
def _hash_words(
    data: Any, bounds: Any, offsets: Any, starts: Any, ends: Any, fold: Any, pool: Any, order: Any, hard: Any,
    fixed: Any, copy: Any, copied: Any, hashes: Any, asked: Any,
) -> int:  # fmt: skip
    count = 0
    for row in range(len(bounds) - 1):
        begin = bounds[row]
        for word in range(offsets[row], offsets[row + 1]):
            start, end = begin + starts[word], begin + ends[word]
            value = seed(end - start)
            letters = eight(data, start, end)
            if end - start <= 8 and letters & HIGHS == 0:
                hashes[word] = last(add(value, lower(letters)))
                continue
            at = start
            while at < end:  # as long as it is ASCII
                letters = eight(data, at, end)
                if letters & HIGHS:
                    break
                value = add(value, lower(letters))
                at += 8
            if at >= end:
                hashes[word] = last(value)
                continue
            at = start
            while at < end:  # as long as nothing changes but capitals of ASCII
                if byte(data, at) < 0x80:
                    at += 1
                    continue
                point, size = decode(data, at, end)
                if not is_fixed(point, fixed):
                    break
                at += size
            if at >= end:
                value = seed(end - start)
                for at in range(start, end, 8):
                    value = add(value, lower(eight(data, at, end)))
                hashes[word] = last(value)
                continue
            filled, before = np.int64(0), np.int64(0)
            at = start
            while at < end:
                letter = byte(data, at)
                if letter < 0x80:
                    copy[filled] = letter | np.uint8((np.uint8(letter - 0x41) < 26) << 5)
                    filled, before = filled + 1, np.int64(0)
                    at += 1
                    continue
                point, size = decode(data, at, end)
                if is_hard(point, before, order, hard):
                    break
                before = np.int64(order[point]) if point < len(order) else 0
                filled = fold_one(point, data, at, size, fold, pool, copy, filled)
                at += size
            if at < end:
                asked[count] = word
                count += 1
            else:
                hashes[word] = hashed(copied, np.int64(0), filled, np.uint64(0))
    return count


@kernel(
    types.int64(
        array(types.uint8), array(types.int64), array(types.uint32), array(types.int32), array(types.uint8),
        array(types.uint8), array(types.bool_), array(types.bool_), out(types.uint8), out(types.int64),
        out(types.int64), out(types.int64),
    )
)  # fmt: skip
def _normalise(
    data: Any, bounds: Any, table: Any, fold: Any, pool: Any, order: Any, hard: Any, fixed: Any, target: Any,
    ends: Any, asked_starts: Any, asked_ends: Any,
) -> int:  # fmt: skip
    filled, count = np.int64(0), 0
    for row in range(len(bounds) - 1):
        start, stop = filled, bounds[row + 1]
        before, is_open = np.int64(0), True  # a space stands last, or nothing
        at = bounds[row]
        while at < stop:
            plain = min(masks.first(masks.high(data, at)), stop - at)
            if plain > 0 and at + 2 * masks.SIZE <= len(data):
                white = masks.white(data, at) & masks.below(plain)
                kept = masks.below(plain) & ~(white & (white << np.uint64(1) | np.uint64(is_open)))
                while kept:  # up to white space that goes away
                    first = masks.first(kept)
                    after = masks.first(~kept & ~masks.below(first))
                    _write_folded(data, at + first, target, filled)
                    filled += after - first
                    kept &= ~masks.below(after)
                is_open = (white >> np.uint64(plain - 1)) & np.uint64(1) != 0
                before = np.int64(0)
                at += plain
                continue
            point, size = decode(data, at, stop)
            if np.int64(property_of(table, point)) & WHITE:
                if not is_open:
                    target[filled] = 0x20
                    filled += 1
                is_open, before = True, np.int64(0)
                at += size
                continue
            is_open = False
            if is_fixed(point, fixed):
                before = np.int64(0)
                for place in range(size):
                    target[filled + place] = byte(data, at + place)
                filled += size
                at += size
                continue
            if is_hard(point, before, order, hard):  # what lies between white space is written as it stands
                while filled > start and target[filled - 1] != 0x20:
                    filled -= 1
                first, at = between_spaces(data, at, bounds[row], stop, table)
                if count == 0 or asked_starts[count - 1] < start or asked_ends[count - 1] + 1 < filled:
                    asked_starts[count] = filled
                    count += 1  # else it follows another one: Python is asked for both at once
                for place in range(first, at):
                    target[filled] = byte(data, place)
                    filled += 1
                asked_ends[count - 1] = filled
                before = np.int64(0)
                continue
            before = np.int64(order[point]) if point < len(order) else 0
            filled = fold_one(point, data, at, size, fold, pool, target, filled)
            at += size
        filled -= is_open and filled > start
        ends[row + 1] = filled
    return count
