"""The lines that C4 removes, by the paper's rules and by the code's, and the sentences in those that stay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels import lines as units
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.lines import Lines, line_ends, line_notes, read_line, trimmed
from curation.kernels.unicode import ALNUM, MARK, SPACELESS, WHITE, properties
from curation.kernels.utf8 import byte, characters, decode, property_of

_LONG = 1_000  # characters of a token that datatrove takes for too many
_PAPER_WORDS, _DATATROVE_WORDS = 5, 3
_CITATIONS = (tuple(b"edit]"), tuple(b"citation needed]"))


def removed(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], lines: Lines) -> tuple[Any, Any]:
    """What the paper's rules remove, and what datatrove's do: each the span bounds, starts, ends and sentence counts.

    The spans of row i are `bounds[i]` to `bounds[i + 1]`; starts and ends (int32) are bytes from the beginning of its
    text and hold the line with the white space around it and its line break. Sentences (int64) are those of the lines
    that stay, line by line.
    """
    rows, most = len(bounds) - 1, len(lines.start)
    longest = int((lines.end - lines.start).max()) if most else 0
    answers = [
        (np.zeros(rows + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.int32), np.zeros(rows, np.int64))
        for _ in range(2)
    ]
    arguments = (lines.bounds, lines.start, lines.end, lines.chars, lines.kind, lines.sentences)
    _remove(data, bounds, properties(), line_notes(), *arguments, np.empty(longest, np.uint8), *answers[0], *answers[1])
    paper, datatrove = (
        (offsets, starts[: offsets[-1]], ends[: offsets[-1]], sentences) for offsets, starts, ends, sentences in answers
    )
    return paper, datatrove


@helper
def without_citations(data: Any, start: int, end: int, copy: Any) -> int:
    """The bytes of a line without "[12]", "[edit]" and "[citation needed]" in `copy`; how many they are."""
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
            if exactly(data, at + 1, end, _CITATIONS[0]):
                at += 1 + len(_CITATIONS[0])
                continue
            if exactly(data, at + 1, end, _CITATIONS[1]):
                at += 1 + len(_CITATIONS[1])
                continue
        copy[size] = letter
        size += 1
        at += 1
    return size


@helper
def exactly(data: Any, start: int, end: int, letters: Any) -> bool:
    """Whether these bytes stand at `start`."""
    if start + len(letters) > end:
        return False
    for place in range(len(letters)):
        if byte(data, start + place) != letters[place]:
            return False
    return True


@helper
def words_up_to(data: Any, start: int, end: int, table: Any, most: int) -> int:
    """How many words there are in a line, counted up to `most`."""
    count = 0
    holds, alone = False, False  # of the token that is being read: a letter or number; one letter of a spaceless script
    at = start
    while at < end and count < most:
        point, size = decode(data, at, end)
        bits = np.int64(property_of(table, point))
        at += size
        if bits & (WHITE | SPACELESS) or (alone and not bits & MARK):
            count += holds
            holds, alone = False, (bits & SPACELESS) != 0
        if bits & ALNUM:
            holds = True
    return min(count + holds, most)


@helper
def longest_token(data: Any, start: int, end: int, table: Any) -> int:
    """How many characters the longest token of a line has."""
    most, here = 0, 0
    alone = False
    at = start
    while at < end:
        point, size = decode(data, at, end)
        bits = np.int64(property_of(table, point))
        at += size
        if bits & (WHITE | SPACELESS) or (alone and not bits & MARK):
            here, alone = 0, (bits & SPACELESS) != 0
        here += not bits & WHITE
        most = max(most, here)
    return most


@helper
def judged(data: Any, start: int, end: int, kind: int, size: int, table: Any) -> tuple[bool, bool]:
    """Whether a line stays by the paper's rules, and whether by the code's."""
    paper = kind & (units.ENDS_SENTENCE | units.ENDS_QUOTED) != 0
    code = kind & units.ENDS_ASCII != 0 and kind & units.ENDS_DOTS == 0
    if kind & units.MENTION or not (paper or code):
        return False, False
    if code and size > _LONG and longest_token(data, start, end, table) > _LONG:
        code = False
        if not paper:
            return False, False
    words = words_up_to(data, start, end, table, _PAPER_WORDS)
    return paper and words >= _PAPER_WORDS, code and words >= _DATATROVE_WORDS


@helper
def judged_copy(copy: Any, start: int, end: int, table: Any, notes: Any) -> tuple[bool, bool, int]:
    """The same of a line that is read anew because its citations are gone, and its sentences."""
    if start == end:
        return False, False, 0
    inside, pieces, _, tail = read_line(copy, start, end, table, notes)
    kind = inside | line_ends(copy, start, end, table)
    paper, code = judged(copy, start, end, kind, characters(copy, start, end), table)
    return paper, code, pieces + tail


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), array(types.uint8), array(types.int64),
        array(types.int32), array(types.int32), array(types.int32), array(types.int32), array(types.int32),
        out(types.uint8), out(types.int64), out(types.int32), out(types.int32), out(types.int64), out(types.int64),
        out(types.int32), out(types.int32), out(types.int64),
    )
)  # fmt: skip
def _remove(
    data: Any, bounds: Any, table: Any, notes: Any, offsets: Any, starts: Any, ends: Any, chars: Any, kinds: Any,
    sentences: Any, copy: Any, paper_bounds: Any, paper_starts: Any, paper_ends: Any, paper_sentences: Any,
    code_bounds: Any, code_starts: Any, code_ends: Any, code_sentences: Any,
) -> None:  # fmt: skip
    paper, code = 0, 0
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        for line in range(offsets[row], offsets[row + 1]):
            start, end = begin + starts[line], begin + ends[line]
            kind, count, size = np.int64(kinds[line]), np.int64(sentences[line]), np.int64(chars[line])
            if kind & units.BRACKET:
                filled = without_citations(data, start, end, copy)
                if filled < end - start:
                    first, last = trimmed(copy, 0, filled, table)
                    keeps_paper, keeps_code, count = judged_copy(copy, first, last, table, notes)
                else:
                    keeps_paper, keeps_code = judged(data, start, end, kind, size, table)
            else:
                keeps_paper, keeps_code = judged(data, start, end, kind, size, table)
            if keeps_paper and keeps_code:
                paper_sentences[row] += count
                code_sentences[row] += count
                continue
            while start > begin and byte(data, start - 1) != 0x0A and byte(data, start - 1) != 0x0D:
                start -= 1
            while end < stop and byte(data, end) != 0x0A and byte(data, end) != 0x0D:
                end += 1
            if end < stop:
                end += 1 + (byte(data, end) == 0x0D and end + 1 < stop and byte(data, end + 1) == 0x0A)
            if keeps_paper:
                paper_sentences[row] += count
            else:
                paper_starts[paper], paper_ends[paper] = start - begin, end - begin
                paper += 1
            if keeps_code:
                code_sentences[row] += count
            else:
                code_starts[code], code_ends[code] = start - begin, end - begin
                code += 1
        paper_bounds[row + 1], code_bounds[row + 1] = paper, code
