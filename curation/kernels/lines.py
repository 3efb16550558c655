"""Where the lines of many texts stand, how each begins and ends, and its sentences. docs/text.md has the units."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels import masks, unicode
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.unicode import ALNUM, WHITE, properties
from curation.kernels.utf8 import byte, character, character_before, eight, packed, phrase

# What is known of a line, each a bit of `Lines.kind`.
OPENS_PARAGRAPH = 1 << 0
ENDS_SENTENCE = 1 << 1  # closing quotes and brackets set aside
ENDS_QUOTED = 1 << 2  # with a quotation mark, as C4's paper allows
ENDS_ASCII = 1 << 3  # with . ? ! " or ', as C4's code allows
ENDS_ELLIPSIS = 1 << 4  # with "..." or "…"
ENDS_DOTS = 1 << 5  # with "..."
BULLET = 1 << 6  # begins with one

# What `phrases` finds in a line.
BRACKET = 1 << 7  # holds "[", which may begin a citation
JAVASCRIPT = 1 << 8  # holds the word
POLICY = 1 << 9  # speaks of one


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
    _split(data, bounds, properties(), offsets, *found, figures)
    return Lines(offsets, *(column[: offsets[-1]] for column in found), *figures)


def phrases(
    data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], lines: Lines
) -> np.ndarray[Any, np.dtype[np.int32]]:
    """What C4 looks for in each of the lines: `BRACKET`, `JAVASCRIPT` and `POLICY`."""
    found = np.empty(len(lines.start), np.int32)
    _find(data, bounds, lines.bounds, lines.start, lines.end, found)
    return found


_EDIT, _NEEDED, _REST = (int.from_bytes(part, "little") for part in (b"[edit]", b"[citatio", b"n needed"))
_JAVASCRIPT = packed("javascript")
_TERMS_OF_USE = packed("terms of use")
_PRIVACY_POLICY = packed("privacy policy")
_COOKIE_POLICY = packed("cookie policy")
_USES_COOKIES = packed("uses cookies")
_USE_OF_COOKIES = packed("use of cookies")
_USE_COOKIES = packed("use cookies")


@helper
def mentions_cookie(data: Any, start: int, at: int, end: int) -> bool:
    """Whether one of C4's phrases with "cookie" lies around its k, which is at `at`."""
    return (
        (at - 3 >= start and phrase(data, at - 3, end, _COOKIE_POLICY))
        or (at - 8 >= start and phrase(data, at - 8, end, _USES_COOKIES))
        or (at - 10 >= start and phrase(data, at - 10, end, _USE_OF_COOKIES))
        or (at - 7 >= start and phrase(data, at - 7, end, _USE_COOKIES))
    )


@helper
def mentions(data: Any, start: int, end: int) -> int:
    """`BRACKET`, `JAVASCRIPT` and `POLICY` of a line.

    What is looked for is rare in English: the j of "javascript"; "kie" in "cookie", "f u" in "terms of use", "y p" in
    "privacy policy". The sign for kelvin may be the k.
    """
    kind = 0
    for at in range(start, end, masks.SIZE):
        inside = masks.below(end - at)
        if masks.equal(data, at, 0x5B) & inside:
            kind |= BRACKET
        found = masks.letter(data, at, 0x6A)
        while found:
            place = at + masks.first(found)
            found &= found - np.uint64(1)
            if phrase(data, place, end, _JAVASCRIPT):
                kind |= JAVASCRIPT
        space = masks.equal(data, at + 1, 0x20)
        kie = masks.letters_of(data, at, 0x6B, 0x69, 0x65)
        if masks.high(data, at):
            kie |= masks.equal(data, at, 0xE2) & masks.equal(data, at + 1, 0x84) & masks.equal(data, at + 2, 0xAA)
        of_use = masks.letter(data, at, 0x66) & space & masks.letter(data, at + 2, 0x75)
        found = kie | of_use | (masks.letter(data, at, 0x79) & space & masks.letter(data, at + 2, 0x70))
        while found:
            place = at + masks.first(found)
            bit = found & (~found + np.uint64(1))
            found ^= bit
            if (
                mentions_cookie(data, start, place, end)
                if kie & bit
                else place - 7 >= start and phrase(data, place - 7, end, _TERMS_OF_USE)
                if of_use & bit
                else place - 6 >= start and phrase(data, place - 6, end, _PRIVACY_POLICY)
            ):
                kind |= POLICY
    return kind


@helper
def behind_terminals(data: Any, at: int, end: int, full_width: int, table: Any) -> tuple[int, bool]:
    """Behind a terminal and the others and the closing marks that follow it; whether a sentence ends there."""
    while at < end:  # the run of terminals
        _, size, bits = character(data, at, end, table)
        if not bits & unicode.TERMINAL:
            break
        full_width |= bits & unicode.FULL_WIDTH_TERMINAL
        at += size
    while at < end:
        _, size, bits = character(data, at, end, table)
        if not bits & unicode.CLOSING:
            break
        at += size
    while at < end:
        _, size, bits = character(data, at, end, table)
        if not bits & unicode.CLOSING_BEFORE_SPACE:
            return at, bits & WHITE != 0 or full_width != 0
        at += size
    return at, True


@helper
def read_line(data: Any, start: int, end: int, table: Any) -> tuple[int, int, int, int]:
    """What is between the white space around a line: its sentences and its characters.

    Its sentences are the pieces that end in it and hold a letter or a number, then whether the first of the pieces that
    end holds one (-1: no piece ends in the line), and whether what is left after the last does.
    """
    pieces, first, holds = 0, -1, 0
    chars = np.int64(0)
    known = start  # what is before was read
    at = start
    while at < end:
        inside = masks.below(end - at)
        words = masks.alnum(data, at) & inside
        high = masks.high(data, at) & inside
        noted = masks.equal(data, at, 0x2E) | masks.equal(data, at, 0x21) | masks.equal(data, at, 0x3F)
        noted = high | (noted & inside)
        chars += masks.count(inside & ~masks.within(data, at, 0x80, 0xBF))
        while noted:
            place = at + masks.first(noted)
            noted &= noted - np.uint64(1)
            if place < known:
                continue
            new = words & masks.below(place - at) & ~masks.below(max(0, known - at))
            holds |= new != 0
            _, size, bits = character(data, place, end, table)
            known = place + size
            if bits & unicode.TERMINAL:
                full_width = bits & unicode.FULL_WIDTH_TERMINAL
                known, is_end = behind_terminals(data, known, end, full_width, table)
                if is_end:
                    pieces += holds
                    if first < 0:
                        first = holds
                    holds = 0
            elif bits & ALNUM:
                holds = 1
        holds |= (words & ~masks.below(max(0, known - at))) != 0
        at += masks.SIZE
    return pieces, first, holds, chars


@helper
def line_ends(data: Any, start: int, end: int, table: Any) -> int:
    """The bits that say how a line begins and ends; it is not empty, and no white space is around it."""
    kind = 0
    _, size, bits = character(data, start, end, table)
    if bits & unicode.BULLET:
        kind |= BULLET
    elif bits & unicode.DASH and start + size < end:
        _, _, after = character(data, start + size, end, table)
        if after & WHITE:
            kind |= BULLET
    point, at, bits = character_before(data, start, end, table)
    if bits & unicode.QUOTATION:
        kind |= ENDS_QUOTED
    if point in (0x21, 0x22, 0x27, 0x2E, 0x3F):
        kind |= ENDS_ASCII
    if point == 0x2026:
        kind |= ENDS_ELLIPSIS
    if end - start >= 3 and byte(data, end - 1) == 0x2E and byte(data, end - 2) == 0x2E and byte(data, end - 3) == 0x2E:
        kind |= ENDS_DOTS | ENDS_ELLIPSIS
    while bits & unicode.CLOSING_BEFORE_SPACE and at > start:
        _, at, bits = character_before(data, start, at, table)
    if bits & unicode.TERMINAL:
        kind |= ENDS_SENTENCE
    return kind


@helper
def trimmed(data: Any, start: int, end: int, table: Any) -> tuple[int, int]:
    """Start and end without the white space around them."""
    while start < end:
        _, size, bits = character(data, start, end, table)
        if not bits & WHITE:
            break
        start += size
    while end > start:
        _, at, bits = character_before(data, start, end, table)
        if not bits & WHITE:
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
    while at < stop:
        found = masks.equal(data, at, 0x0A)
        if found:
            return min(at + masks.first(found), stop)
        at += masks.SIZE
    return stop


@helper
def next_break(data: Any, at: int, stop: int) -> int:
    """Where the next line feed or carriage return stands, `stop` if there is none."""
    while at < stop:
        found = masks.equal(data, at, 0x0A) | masks.equal(data, at, 0x0D)
        if found:
            return min(at + masks.first(found), stop)
        at += masks.SIZE
    return stop


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), out(types.int64), out(types.int32),
        out(types.int32), out(types.int32), out(types.int32), out(types.int32), out(types.int64, 2),
    )
)  # fmt: skip
def _split(
    data: Any, bounds: Any, table: Any, offsets: Any, starts: Any, ends: Any, chars: Any, kinds: Any,
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
            end = next_break(data, at, stop)
            start, last = trimmed(data, at, end, table)
            at = end
            if at < stop:
                newlines += 1
                at += 1 + (byte(data, at) == 0x0D and at + 1 < stop and byte(data, at + 1) == 0x0A)
            if start == last:
                blank = True
                continue
            mine, first, tail, size = read_line(data, start, last, table)
            kind = line_ends(data, start, last, table)
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
            chars[count], kinds[count], sentences[count] = size, kind, mine + tail
            count += 1
        figures[0, row], figures[1, row], figures[2, row] = paragraphs, pieces + holds, newlines
    offsets[len(bounds) - 1] = count


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.int64), array(types.int32), array(types.int32),
        out(types.int32),
    )
)  # fmt: skip
def _find(data: Any, bounds: Any, offsets: Any, starts: Any, ends: Any, found: Any) -> None:
    for row in range(len(bounds) - 1):
        for line in range(offsets[row], offsets[row + 1]):
            found[line] = mentions(data, bounds[row] + starts[line], bounds[row] + ends[line])
