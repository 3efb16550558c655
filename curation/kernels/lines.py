"""Where the lines of many texts stand, how each begins and ends, and its sentences. docs/text.md has the units."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels import unicode
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.unicode import ALNUM, WHITE, properties
from curation.kernels.utf8 import HIGHS, ONES, before, byte, characters, decode, eight, packed, phrase, property_of

# What is known of a line, each a bit of `Lines.kind`.
OPENS_PARAGRAPH = 1 << 0
ENDS_SENTENCE = 1 << 1  # closing quotes and brackets set aside
ENDS_QUOTED = 1 << 2  # with a quotation mark, as C4's paper allows
ENDS_ASCII = 1 << 3  # with . ? ! " or ', as C4's code allows
ENDS_ELLIPSIS = 1 << 4  # with "..." or "…"
ENDS_DOTS = 1 << 5  # with "..."
BULLET = 1 << 6  # begins with one
BRACKET = 1 << 7  # holds "[", which may begin a citation
JAVASCRIPT = 1 << 8  # holds the word
POLICY = 1 << 9  # speaks of one

#: The letter of each of C4's phrases that is rarest in English: where one stands, the phrases are looked for around it.
_V, _K, _F = ord("v"), ord("k"), ord("f")
_BRACKET = ord("[")
#: What a byte is: a letter or a number of ASCII; something to look at closely.
_HOLDS, _NOTED = 1, 2
_KELVIN = 0x212A  # the sign for kelvin, whose lower case is k


class Lines(NamedTuple):
    """The lines of a batch that are not blank.

    Those of row i are `bounds[i]` to `bounds[i + 1]`; `start` and `end` are bytes from the beginning of its text,
    without the white space around the line. `chars` are its code points, `kind` the bits above, `sentences` those of
    the line alone. Of each row there are the `paragraph_count`, the `sentence_count` of its paragraphs, and
    `newline_count`, the line breaks.
    """

    bounds: np.ndarray[Any, np.dtype[np.int64]]
    start: np.ndarray[Any, np.dtype[np.int32]]
    end: np.ndarray[Any, np.dtype[np.int32]]
    chars: np.ndarray[Any, np.dtype[np.int32]]
    kind: np.ndarray[Any, np.dtype[np.int32]]
    sentences: np.ndarray[Any, np.dtype[np.int32]]
    paragraph_count: np.ndarray[Any, np.dtype[np.int64]]
    sentence_count: np.ndarray[Any, np.dtype[np.int64]]
    newline_count: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many lines each row has."""
        return np.diff(self.bounds)

    def of_kind(self, kind: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many lines of each row are of this kind."""
        return self.among(self.kind & kind != 0)

    def among(self, which: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many lines of each row are among these."""
        total = np.concatenate([[0], np.cumsum(which, dtype=np.int64)])
        return np.asarray(total[self.bounds[1:]] - total[self.bounds[:-1]])


def lines(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any]) -> Lines:
    """The lines of the texts that lie in `data` (uint8) between `bounds` (int64, one more than texts)."""
    rows = len(bounds) - 1
    most = int((bounds[-1] - bounds[0] + rows) // 2 + 1)
    offsets, figures = np.empty(rows + 1, np.int64), np.zeros((3, rows), np.int64)
    found = np.empty((5, most), np.int32)  # memory is taken as it is filled
    _split(data, bounds, properties(), line_notes(), offsets, *found, figures)
    return Lines(offsets, *(column[: offsets[-1]] for column in found), *figures)


@cache
def line_notes() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """For each byte `_HOLDS` and `_NOTED`."""
    notes = np.full(256, _NOTED, np.uint8)
    ascii_bits = properties()[:128]
    notes[:128] = np.where(ascii_bits & ALNUM, _HOLDS, 0) | np.where(ascii_bits & unicode.TERMINAL, _NOTED, 0)
    notes[list(b"[VvKkFf")] |= _NOTED
    return notes


_EDIT, _NEEDED, _REST = (int.from_bytes(part, "little") for part in (b"[edit]", b"[citatio", b"n needed"))
_JAVASCRIPT = packed("javascript")
_TERMS_OF_USE = packed("terms of use")
_PRIVACY_POLICY = packed("privacy policy")
_COOKIE_POLICY = packed("cookie policy")
_USES_COOKIES = packed("uses cookies")
_USE_OF_COOKIES = packed("use of cookies")
_USE_COOKIES = packed("use cookies")


@helper
def mentions(data: Any, start: int, at: int, end: int, letter: int) -> int:
    """`JAVASCRIPT` or `POLICY` if one of C4's phrases lies around the letter at `at` of a line, else 0."""
    if letter == _V:
        if at - 2 >= start and phrase(data, at - 2, end, _JAVASCRIPT):
            return JAVASCRIPT
        found = at - 3 >= start and phrase(data, at - 3, end, _PRIVACY_POLICY)
    elif letter == _F:
        found = at - 7 >= start and phrase(data, at - 7, end, _TERMS_OF_USE)
    else:
        found = (
            (at - 3 >= start and phrase(data, at - 3, end, _COOKIE_POLICY))
            or (at - 8 >= start and phrase(data, at - 8, end, _USES_COOKIES))
            or (at - 10 >= start and phrase(data, at - 10, end, _USE_OF_COOKIES))
            or (at - 7 >= start and phrase(data, at - 7, end, _USE_COOKIES))
        )
    return POLICY if found else 0


@helper
def read_line(data: Any, start: int, end: int, table: Any, notes: Any) -> tuple[int, int, int, int]:
    """What is between the white space around a line: its bits, and its sentences.

    The bits are those that can be seen from inside: `BRACKET`, `JAVASCRIPT` and `POLICY`. Its sentences are the pieces
    that end in it and hold a letter or a number, then whether the first of the pieces that end holds one (-1: no piece
    ends in the line), and whether what is left after the last does.
    """
    kind, pieces = 0, 0
    first = -1
    holds = 0  # whether the piece that is being read has a letter or a number
    at = start
    while at < end:
        quick = notes[byte(data, at)]
        holds |= quick & _HOLDS
        if not quick & _NOTED:
            at += 1
            continue
        letter = np.int64(byte(data, at))
        if letter < 0x80:
            bits = np.int64(table[letter])
            size = 1
            if letter == _BRACKET:
                kind |= BRACKET
            elif quick & _HOLDS:
                kind |= mentions(data, start, at, end, letter | 0x20)
        else:
            letter, size = decode(data, at, end)
            bits = np.int64(property_of(table, letter))
            if bits & ALNUM:
                holds = 1
                if letter == _KELVIN:
                    kind |= mentions(data, start, at, end, np.int64(_K))
        at += size
        if not bits & unicode.TERMINAL:
            continue
        full_width = bits & unicode.FULL_WIDTH_TERMINAL
        while at < end:  # the run of terminals
            point, size = decode(data, at, end)
            bits = np.int64(property_of(table, point))
            if not bits & unicode.TERMINAL:
                break
            full_width |= bits & unicode.FULL_WIDTH_TERMINAL
            at += size
        while at < end and bits & unicode.CLOSING:
            at += size
            if at < end:
                point, size = decode(data, at, end)
                bits = np.int64(property_of(table, point))
        while at < end and bits & unicode.CLOSING_BEFORE_SPACE:
            at += size
            if at < end:
                point, size = decode(data, at, end)
                bits = np.int64(property_of(table, point))
        if at >= end or bits & WHITE or full_width:
            pieces += holds
            if first < 0:
                first = holds
            holds = 0
    return kind, pieces, first, holds


@helper
def line_ends(data: Any, start: int, end: int, table: Any) -> int:
    """The bits that say how a line begins and ends; it is not empty, and no white space is around it."""
    kind = 0
    point, size = decode(data, start, end)
    bits = np.int64(property_of(table, point))
    if bits & unicode.BULLET:
        kind |= BULLET
    elif bits & unicode.DASH and start + size < end:
        after, _ = decode(data, start + size, end)
        if np.int64(property_of(table, after)) & WHITE:
            kind |= BULLET
    at = before(data, start, end)
    point, _ = decode(data, at, end)
    bits = np.int64(property_of(table, point))
    if bits & unicode.QUOTATION:
        kind |= ENDS_QUOTED
    if point in (0x21, 0x22, 0x27, 0x2E, 0x3F):
        kind |= ENDS_ASCII
    if point == 0x2026:
        kind |= ENDS_ELLIPSIS
    if end - start >= 3 and byte(data, end - 1) == 0x2E and byte(data, end - 2) == 0x2E and byte(data, end - 3) == 0x2E:
        kind |= ENDS_DOTS | ENDS_ELLIPSIS
    while bits & unicode.CLOSING_BEFORE_SPACE and at > start:
        stop = at
        at = before(data, start, stop)
        point, _ = decode(data, at, stop)
        bits = np.int64(property_of(table, point))
    if bits & unicode.TERMINAL:
        kind |= ENDS_SENTENCE
    return kind


@helper
def trimmed(data: Any, start: int, end: int, table: Any) -> tuple[int, int]:
    """Start and end without the white space around them."""
    while start < end:
        point, size = decode(data, start, end)
        if not np.int64(property_of(table, point)) & WHITE:
            break
        start += size
    while end > start:
        at = before(data, start, end)
        point, _ = decode(data, at, end)
        if not np.int64(property_of(table, point)) & WHITE:
            break
        end = at
    return start, end


@helper
def without_citations(data: Any, start: int, end: int, copy: Any) -> int:
    """The bytes of a line without "[12]", "[edit]" and "[citation needed]" in `copy`; how many they are."""
    edit, needed, rest = np.uint64(_EDIT), np.uint64(_NEEDED), np.uint64(_REST)
    size = 0
    at = start
    while at < end:
        letter = byte(data, at)
        if letter == 0x5B:
            stop = at + 1
            while stop < end and 0x30 <= byte(data, stop) <= 0x39:
                stop += 1
            if stop < end and byte(data, stop) == 0x5D:
                at = stop + 1
                continue
            if eight(data, at, min(end, at + 6)) == edit:
                at += 6
                continue
            if (
                at + 16 < end
                and byte(data, at + 16) == 0x5D
                and (eight(data, at, end) == needed and eight(data, at + 8, end) == rest)
            ):
                at += 17
                continue
        copy[size] = letter
        size += 1
        at += 1
    return size


@helper
def whole(data: Any, start: int, end: int, begin: int, stop: int) -> tuple[int, int]:
    """Start and end of a line of the text from `begin` to `stop` with the white space around it and its line break."""
    while start > begin and byte(data, start - 1) != 0x0A and byte(data, start - 1) != 0x0D:
        start -= 1
    while end < stop and byte(data, end) != 0x0A and byte(data, end) != 0x0D:
        end += 1
    if end < stop:
        end += 1 + (byte(data, end) == 0x0D and end + 1 < stop and byte(data, end + 1) == 0x0A)
    return start, end


@helper
def next_feed(data: Any, at: int, stop: int) -> int:
    """Where the next line feed stands, `stop` if there is none."""
    while at + 8 <= stop and not _has_break(eight(data, at, stop)):
        at += 8
    while at < stop and byte(data, at) != 0x0A:
        at += 1
    return at


@helper
def _has_break(letters: Any) -> bool:
    """Whether one of eight bytes is a line feed or a carriage return: subtracting 1 from a zero byte borrows."""
    feed, back = letters ^ (ONES * np.uint64(0x0A)), letters ^ (ONES * np.uint64(0x0D))
    return (((feed - ONES) & ~feed) | ((back - ONES) & ~back)) & HIGHS != 0


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), array(types.uint8), out(types.int64),
        out(types.int32), out(types.int32), out(types.int32), out(types.int32), out(types.int32), out(types.int64, 2),
    )
)  # fmt: skip
def _split(
    data: Any, bounds: Any, table: Any, notes: Any, offsets: Any, starts: Any, ends: Any, chars: Any, kinds: Any,
    sentences: Any, figures: Any,
) -> None:  # fmt: skip
    count = 0
    for row in range(len(bounds) - 1):
        offsets[row] = count
        begin, stop = bounds[row], bounds[row + 1]
        paragraphs, pieces, newlines = 0, 0, 0
        blank, holds = True, 0  # the line before is blank; the sentence that is being read holds a word
        at = begin
        while at < stop:
            end = at
            while end + 8 <= stop and not _has_break(eight(data, end, stop)):
                end += 8
            while end < stop and byte(data, end) != 0x0A and byte(data, end) != 0x0D:
                end += 1
            start, last = trimmed(data, at, end, table)
            at = end
            if at < stop:
                newlines += 1
                at += 1 + (byte(data, at) == 0x0D and at + 1 < stop and byte(data, at + 1) == 0x0A)
            if start == last:
                blank = True
                continue
            kind, mine, first, tail = read_line(data, start, last, table, notes)
            kind |= line_ends(data, start, last, table)
            if blank:
                kind |= OPENS_PARAGRAPH
                paragraphs += 1
                pieces += holds
                holds = 0
            blank = False
            pieces += mine
            if first < 0:
                holds |= tail
            else:
                pieces += holds and first == 0  # it began in a line before
                holds = tail
            starts[count], ends[count] = start - begin, last - begin
            chars[count], kinds[count], sentences[count] = characters(data, start, last), kind, mine + tail
            count += 1
        figures[0, row], figures[1, row], figures[2, row] = paragraphs, pieces + holds, newlines
    offsets[len(bounds) - 1] = count
