"""Where the words of many texts stand, and the figures that follow from that. docs/text.md says what a word is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels import masks
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.unicode import ALNUM, CORE, LETTER, MARK, SPACELESS, WHITE, properties
from curation.kernels.utf8 import byte, decode, eight, property_of

#: Gopher's stop words, each a bit of the column `stop_words`.
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


_PACKED = np.array([int.from_bytes(word.encode(), "little") for word in STOP_WORDS], np.uint64)
#: A factor after which the three highest bits of `_PACKED` are different: found by trying.
_SPREAD = next(
    factor
    for factor in np.random.default_rng(0).integers(1 << 63, size=1 << 14, dtype=np.uint64) | np.uint64(1)
    if len(set((_PACKED * factor >> np.uint64(61)).tolist())) == len(STOP_WORDS)
)
#: The stop word whose bits those are, and its number.
_AT = np.argsort(_PACKED * _SPREAD >> np.uint64(61))
_WORD, _NUMBER = _PACKED[_AT], _AT.astype(np.int64)
_CASE = np.uint64(0x2020202020202020)
#: Figures of a text, in this order.
_CHARS, _ALPHA = range(2)


class Words(NamedTuple):
    """The words of a batch.

    Those of row i are `bounds[i]` to `bounds[i + 1]`; `start` and `end` are bytes from the beginning of its text.
    `chars` counts the code points in a row's words, `alpha` its words that hold a letter.
    """

    bounds: np.ndarray[Any, np.dtype[np.int64]]
    start: np.ndarray[Any, np.dtype[np.int32]]
    end: np.ndarray[Any, np.dtype[np.int32]]
    chars: np.ndarray[Any, np.dtype[np.int64]]
    alpha: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many words each row has."""
        return np.diff(self.bounds)


def words(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any]) -> Words:
    """The words of the texts that lie in `data` (uint8) between `bounds` (int64, one more than texts).

    No word is shorter than a byte, and between two there is a byte at least or one of them has three: that bounds how
    many there can be. Memory is taken as it is filled.
    """
    rows = len(bounds) - 1
    most = int((bounds[-1] - bounds[0] + rows) // 2 + 1)
    offsets, figures = np.empty(rows + 1, np.int64), np.zeros((2, rows), np.int64)
    start, end = np.empty(most, np.int32), np.empty(most, np.int32)
    _split(data, bounds, properties(), offsets, start, end, figures)
    found = int(offsets[-1])
    return Words(offsets, start[:found], end[:found], *figures)


def stop_words(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], words: Words) -> np.ndarray[Any, Any]:
    """Which stop words are among the words of each text (int64).

    Bit k says that `STOP_WORDS[k]` is there in any case, bit 8 + k that it is as it stands there, in lower case.
    """
    found = np.zeros(len(bounds) - 1, np.int64)
    _find_stop_words(data, bounds, words.bounds, words.start, words.end, found)
    return found


@helper
def stop_word(data: Any, start: int, end: int) -> int:
    """The bits of a stop word, 0 for any other word. With 0x20 set, only letters become lower-case letters."""
    letters = eight(data, start, min(end, start + 5))
    word = letters | (_CASE & ~(~np.uint64(0) << np.uint64(8 * min(end - start, 5))))
    place = word * _SPREAD >> np.uint64(61)
    return ((word == _WORD[place]) | (letters == _WORD[place]) << 8) << _NUMBER[place]


@helper
def letter_by_letter(
    data: Any, at: int, begin: int, stop: int, table: Any, starts: Any, ends: Any, count: int
) -> tuple[int, int, int, int]:
    """Split from the beginning of a token up to white space of ASCII that ends one, or to the end of the text.

    Comes back with where that is, how many words there are now, and what these add to the text's figures.
    """
    chars, alpha = 0, 0
    # Of the token that is being read: where its first character stands that a word may begin with (-1: none yet),
    # where the last one ends, how many characters there are from the first to it and to here, what was among them.
    first, last, long, here, kinds = np.int64(-1), np.int64(-1), 0, 0, 0
    alone = False  # it is a letter of a script written without spaces
    while True:
        size = 1
        if at == stop:
            bits = WHITE  # so that the last word ends
        elif byte(data, at) < 0x80:
            bits = np.int64(table[byte(data, at)])
        else:
            point, size = decode(data, at, stop)
            bits = np.int64(property_of(table, point))
        if bits & (WHITE | SPACELESS) or (alone and not bits & MARK):  # a token ends here
            if kinds & ALNUM:
                starts[count], ends[count] = first - begin, last - begin
                count += 1
                chars += long
                alpha += (kinds & LETTER) != 0
            first, kinds, here, alone = -1, 0, 0, (bits & SPACELESS) != 0
            if bits & WHITE and size == 1:
                return at, count, chars, alpha
        at += size
        if bits & CORE:
            if first < 0:
                first = at - size
            here += 1
            kinds |= bits
            if bits & ALNUM and not alone:  # on through a run of ASCII letters and numbers
                run = at
                while at < stop and byte(data, at) < 0x80 and table[byte(data, at)] & ALNUM:
                    kinds |= np.int64(table[byte(data, at)])
                    at += 1
                here += at - run
            last, long = at, here
        elif first >= 0:
            here += 1


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), out(types.int64), out(types.int32),
        out(types.int32), out(types.int64, 2),
    )
)  # fmt: skip
def _split(data: Any, bounds: Any, table: Any, offsets: Any, starts: Any, ends: Any, figures: Any) -> None:
    count, one = np.int64(0), np.uint64(1)
    for row in range(len(bounds) - 1):
        offsets[row] = count
        begin, stop = bounds[row], bounds[row + 1]
        chars, alpha = 0, 0
        at = begin
        while at < stop:
            # All tokens of ASCII that end within 64 bytes, by masks of white space, letters, letters and numbers.
            white = masks.white(data, at) | ~masks.below(stop - at)
            letters = masks.letters(data, at)
            inner = letters | masks.within(data, at, 0x30, 0x39)
            high = masks.high(data, at)
            tokens, behind = ~white & (white << one | one), white & ~(white << one | one)
            while behind:
                first, after = tokens & (~tokens + one), behind & (~behind + one)
                within = after - first
                if high & within:
                    break
                core = inner & within
                if core:
                    starts[count] = at + masks.first(core) - begin
                    ends[count] = at + masks.SIZE - masks.behind(core) - begin
                    chars += ends[count] - starts[count]
                    alpha += (letters & within) != 0
                    count += 1
                tokens, behind = tokens ^ first, behind ^ after
            token = masks.first(tokens)
            if token == 0:
                at, count, more, some = letter_by_letter(data, at, begin, stop, table, starts, ends, count)
                chars, alpha = chars + more, alpha + some
            else:
                at += token
        figures[_CHARS, row], figures[_ALPHA, row] = chars, alpha
    offsets[len(bounds) - 1] = count


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        out(types.int64),
    )
)  # fmt: skip
def _find_stop_words(data: Any, bounds: Any, offsets: Any, starts: Any, ends: Any, found: Any) -> None:
    for row in range(len(bounds) - 1):
        begin, seen = bounds[row], np.int64(0)
        for word in range(offsets[row], offsets[row + 1]):
            seen |= stop_word(data, begin + starts[word], begin + ends[word])
        found[row] = seen
