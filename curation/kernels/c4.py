"""The lines that C4 removes by the paper's rules, and the sentences in those that stay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels import lines as units
from curation.kernels import masks
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.lines import Lines, line_ends, mentions, read_line, trimmed, without_citations
from curation.kernels.unicode import ALNUM, MARK, SPACELESS, WHITE, properties
from curation.kernels.utf8 import decode, property_of

_WORDS = 5


def removed(
    data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], lines: Lines, phrases: np.ndarray[Any, Any]
) -> tuple[Any, Any, Any, Any]:
    """What the rules remove: the bounds of each text's spans, their starts and ends; and sentences in what stays.

    The spans of row i are `bounds[i]` to `bounds[i + 1]`; starts and ends (int32) are bytes from the beginning of its
    text and hold the line with the white space around it and its line break. Sentences (int64) are those of the lines
    that stay, line by line.
    """
    rows, most = len(bounds) - 1, len(lines.start)
    copy = np.empty(int((lines.end - lines.start).max(initial=masks.SIZE)), np.uint8)
    offsets, sentences = np.zeros(rows + 1, np.int64), np.zeros(rows, np.int64)
    starts, ends = np.empty(most, np.int32), np.empty(most, np.int32)
    found = (lines.bounds, lines.start, lines.end, lines.kind | phrases, lines.sentences)
    _remove(data, bounds, properties(), *found, copy, copy, offsets, starts, ends, sentences)
    return offsets, starts[: offsets[-1]], ends[: offsets[-1]], sentences


@helper
def words_up_to(data: Any, start: int, end: int, table: Any) -> int:
    """How many words there are in a line, counted up to `_WORDS`."""
    count = 0
    holds, alone = False, False  # of the token that is being read: a letter or number; one letter of a spaceless script
    at = start
    while at < end and count < _WORDS:
        point, size = decode(data, at, end)
        bits = np.int64(property_of(table, point))
        at += size
        if bits & (WHITE | SPACELESS) or (alone and not bits & MARK):
            count += holds
            holds, alone = False, (bits & SPACELESS) != 0
        if bits & ALNUM:
            holds = True
    return min(count + holds, _WORDS)


@helper
def stays(data: Any, start: int, end: int, kind: int, table: Any) -> bool:
    """Whether a line stays."""
    if kind & (units.JAVASCRIPT | units.POLICY) or not kind & (units.ENDS_SENTENCE | units.ENDS_QUOTED):
        return False
    return words_up_to(data, start, end, table) == _WORDS


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), array(types.int64),
        array(types.int32), array(types.int32), array(types.int32), array(types.int32), out(types.uint8),
        array(types.uint8),
        out(types.int64), out(types.int32), out(types.int32), out(types.int64),
    )
)  # fmt: skip
def _remove(
    data: Any, bounds: Any, table: Any, offsets: Any, starts: Any, ends: Any, kinds: Any, sentences: Any,
    copy: Any, copied: Any, spans: Any, span_starts: Any, span_ends: Any, left: Any,
) -> None:  # fmt: skip
    count = 0
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        for line in range(offsets[row], offsets[row + 1]):
            start, end = begin + starts[line], begin + ends[line]
            kind = np.int64(kinds[line])
            filled = without_citations(data, start, end, copy) if kind & units.BRACKET else end - start
            if filled == end - start:
                keep, pieces = stays(data, start, end, kind, table), np.int64(sentences[line])
            else:  # without its citations it is another line
                first, last = trimmed(copied, np.int64(0), filled, table)
                keep, pieces = False, 0
                if first < last:
                    pieces, _, tail, _ = read_line(copied, first, last, table)
                    pieces += tail
                    kind = mentions(copied, first, last) | line_ends(copied, first, last, table)
                    keep = stays(copied, first, last, kind, table)
            if keep:
                left[row] += pieces
                continue
            first, last = units.whole(data, start, end, begin, stop)
            span_starts[count], span_ends[count] = first - begin, last - begin
            count += 1
        spans[row + 1] = count
