"""What datatrove's filters look at in lines and paragraphs, where that is not what the other kernels count.

Its Gopher and C4 filters take lines from `str.splitlines`, its repetition and FineWeb filters from line feeds alone,
and white space is what `str.isspace` says. docs/peers.md has the differences in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import types

from curation.kernels import lines as units
from curation.kernels import masks
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.lines import line_ends, mentions, read_line, trimmed, without_citations
from curation.kernels.numbering import SALT, number, table_size
from curation.kernels.unicode import TERMINAL, WHITE, properties
from curation.kernels.utf8 import before, byte, characters, decode, packed, phrase, property_of

if TYPE_CHECKING:
    from curation.kernels.characters import Characters
    from curation.kernels.lines import Lines

Counts = np.ndarray[Any, np.dtype[np.int64]]

_LONG = 1_000  # characters of a token that C4QualityFilter takes for too many
_TOKENS = 3
_SHORT = 30
_LOREM_IPSUM = packed("lorem ipsum")
(_LINES, _BULLETS, _ELLIPSES, _SENTENCES, _LOREM, _CURLY) = range(6)
(_ITEMS, _REPEATED, _REPEATED_CHARS, _PARAGRAPHS, _REPEATED_PARAGRAPHS, _PARAGRAPH_CHARS) = range(6)
(_FILLED, _TERMINAL, _SHORT_LINES, _FILLED_REPEATED_CHARS, _FEEDS) = range(6, 11)


class Pages(NamedTuple):
    """What GopherQualityFilter and C4QualityFilter see of the lines of each text.

    `line` counts them, blank ones too; `bullet` those that begin with "•" or "-", `ellipsis` those that end with "..."
    or "…". The lines that C4 removes are spans: those of row i are `bounds[i]` to `bounds[i + 1]`. `sentence` counts
    those in the lines that stay, one at least in each; `lorem` and `curly` are 1 if a line holds "lorem ipsum" or "{"
    that no rule before has removed.
    """

    bounds: Counts
    start: np.ndarray[Any, np.dtype[np.int32]]
    end: np.ndarray[Any, np.dtype[np.int32]]
    line: Counts
    bullet: Counts
    ellipsis: Counts
    sentence: Counts
    lorem: Counts
    curly: Counts


class Repeats(NamedTuple):
    """What GopherRepetitionFilter and FineWebQualityFilter see of the lines and paragraphs of each text.

    `line` and `paragraph` count them, `repeated_…` those that occurred before, `…_chars` the code points in those.
    `filled` counts the lines that are not white space alone, among them `terminal` those whose last character ends a
    sentence, `short` those of at most 30 code points, `filled_repeated_chars` the code points in those that occurred
    before. `feed` counts line feeds.
    """

    line: Counts
    repeated_line: Counts
    repeated_line_chars: Counts
    paragraph: Counts
    repeated_paragraph: Counts
    repeated_paragraph_chars: Counts
    filled: Counts
    terminal: Counts
    short: Counts
    filled_repeated_chars: Counts
    feed: Counts


def pages(
    data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], lines: Lines, phrases: np.ndarray[Any, Any],
    seen: Characters,
) -> Pages:  # fmt: skip
    """The lines of `str.splitlines`. `lines` has them already, but for a text with an `odd_break`."""
    rows = len(bounds) - 1
    most = int((len(lines.start) + seen.odd_break.sum() + 1) if rows else 1)
    offsets, figures = np.zeros(rows + 1, np.int64), np.zeros((6, rows), np.int64)
    starts, ends = np.empty(most, np.int32), np.empty(most, np.int32)
    kinds = lines.kind | phrases
    found = (lines.bounds, lines.start, lines.end, lines.chars, kinds, lines.sentences, lines.newline_count)
    asked = (seen.odd_break, seen.lorem, seen.curly)
    longest = int(np.diff(bounds)[seen.odd_break > 0].max(initial=int((lines.end - lines.start).max(initial=0))))
    copy = np.empty(max(masks.SIZE, longest), np.uint8)
    _pages(data, bounds, properties(), *found, *asked, copy, copy, offsets, starts, ends, figures)
    return Pages(offsets, starts[: offsets[-1]], ends[: offsets[-1]], *figures)


def repeats(data: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], newlines: Counts) -> Repeats:
    """The lines between line feeds; a text has at most `newlines` of them."""
    figures = np.zeros((11, len(bounds) - 1), np.int64)
    starts, ends = np.empty((2, int(newlines.max(initial=0)) + 2), np.int32)
    _repeats(data, bounds, properties(), SALT, starts, starts, ends, ends, figures)
    return Repeats(*figures)


@helper
def is_space(point: int, table: Any) -> bool:
    """Whether `str.isspace` says so."""
    return np.int64(property_of(table, point)) & WHITE != 0 or 0x1C <= point <= 0x1F


@helper
def stripped(data: Any, start: int, end: int, table: Any) -> tuple[int, int]:
    """Start and end without the white space of `str.strip`."""
    while start < end:
        point, size = decode(data, start, end)
        if not is_space(point, table):
            break
        start += size
    while end > start:
        at = before(data, start, end)
        point, _ = decode(data, at, end)
        if not is_space(point, table):
            break
        end = at
    return start, end


@helper
def few_or_long(data: Any, start: int, end: int, size: int, table: Any) -> bool:
    """Whether a line has fewer tokens between white space than C4 wants, or one that is too long."""
    tokens, here = 0, 0
    at = start
    while at < end and (tokens < _TOKENS or size > _LONG):
        point, width = decode(data, at, end)
        at += width
        if is_space(point, table):
            here = 0
            continue
        tokens += here == 0
        here += 1
        if here > _LONG:
            return True
    return tokens < _TOKENS


@helper
def holds_lorem(data: Any, start: int, end: int) -> bool:
    """Whether "lorem ipsum" stands in a line, in any case."""
    for at in range(start, end):
        if phrase(data, at, end, _LOREM_IPSUM):
            return True
    return False


@helper
def judged(
    data: Any, start: int, end: int, kind: int, size: int, sentences: int, asked: Any, table: Any,
    copy: Any, copied: Any,
) -> tuple[int, bool, bool]:  # fmt: skip
    """The sentences of a line if C4QualityFilter keeps it, else -1; whether it saw "lorem ipsum" and "{" on its way.

    Whether there is any of the two in the text is known: `asked`.
    """
    lorem, curly = asked
    if few_or_long(data, start, end, size, table):
        return -1, False, False
    filled = without_citations(data, start, end, copy) if kind & units.BRACKET else end - start
    if filled < end - start:  # it is not stripped again: with "so. [12]" it ends with a space
        data, start, end = copied, np.int64(0), filled
        first, last = trimmed(copied, start, filled, table)
        kind, sentences = np.int64(0), np.int64(0)
        if first < last:
            pieces, _, tail, _ = read_line(copied, first, last, table)
            sentences = pieces + tail
            kind = np.int64(mentions(copied, first, last))
            if last == end:
                kind |= line_ends(copied, first, last, table)
    if not kind & units.ENDS_ASCII or kind & units.ENDS_DOTS:
        return -1, False, False
    has_lorem = lorem and holds_lorem(data, start, end)
    if kind & units.JAVASCRIPT:
        return -1, has_lorem, False
    has_curly = False
    if curly:
        for at in range(start, end):
            has_curly |= byte(data, at) == 0x7B
    if kind & units.POLICY:
        return -1, has_lorem, has_curly
    return max(1, sentences), has_lorem, has_curly


@helper
def line_break(data: Any, at: int, end: int) -> int:
    """How many bytes the line break of `str.splitlines` at this place has; 0 if none is there."""
    letter = byte(data, at)
    if letter == 0x0D:
        return 1 + (at + 1 < end and byte(data, at + 1) == 0x0A)
    if 0x0A <= letter <= 0x0C or 0x1C <= letter <= 0x1E:
        return 1
    if letter >= 0x80:
        point, size = decode(data, at, end)
        if point in (0x85, 0x2028, 0x2029):
            return size
    return 0


@helper
def is_bullet(data: Any, start: int, end: int) -> bool:
    """Whether a line begins with "•" or "-"."""
    letter = byte(data, start)
    return letter == 0x2D or (letter == 0xE2 and decode(data, start, end)[0] == 0x2022)


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), array(types.int64),
        array(types.int32), array(types.int32), array(types.int32), array(types.int32), array(types.int32),
        array(types.int64), array(types.int64), array(types.int64), array(types.int64), out(types.uint8),
        array(types.uint8),
        out(types.int64), out(types.int32), out(types.int32), out(types.int64, 2),
    )
)  # fmt: skip
def _pages(
    data: Any, bounds: Any, table: Any, offsets: Any, starts: Any, ends: Any, chars: Any, kinds: Any,
    sentences: Any, newlines: Any, odd: Any, lorem: Any, curly: Any, copy: Any, copied: Any, spans: Any,
    span_starts: Any, span_ends: Any, figures: Any,
) -> None:  # fmt: skip
    count = 0
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        figures[_LINES, row] = newlines[row]
        if begin < stop and byte(data, stop - 1) != 0x0A and byte(data, stop - 1) != 0x0D:
            figures[_LINES, row] += 1  # the last one has no line break
        if odd[row]:
            figures[_LINES, row] = 0
        line, at = offsets[row], begin
        while at < stop if odd[row] else line < offsets[row + 1]:
            if odd[row]:  # lines are where they are not elsewhere: read this one
                figures[_LINES, row] += 1
                first, last = at, at
                while last < stop and line_break(data, last, stop) == 0:
                    last += 1
                at = last + line_break(data, last, stop) if last < stop else last
                start, end = stripped(data, first, last, table)
                last = at
                if start == end:
                    continue
                pieces, _, tail, _ = read_line(data, start, end, table)
                kind = mentions(data, start, end) | line_ends(data, start, end, table)
                size, count_sentences = characters(data, start, end), pieces + tail
            else:
                start, end = begin + starts[line], begin + ends[line]
                kind, size, count_sentences = np.int64(kinds[line]), np.int64(chars[line]), np.int64(sentences[line])
                first, last = -1, -1
                line += 1
            figures[_BULLETS, row] += is_bullet(data, start, end)
            figures[_ELLIPSES, row] += (kind & units.ENDS_ELLIPSIS) != 0
            asked = (lorem[row] > 0, curly[row] > 0)
            kept, has_lorem, has_curly = judged(
                data, start, end, kind, size, count_sentences, asked, table, copy, copied
            )
            figures[_LOREM, row] |= has_lorem
            figures[_CURLY, row] |= has_curly
            if kept >= 0:
                figures[_SENTENCES, row] += kept
                continue
            if first < 0:
                first, last = units.whole(data, start, end, begin, stop)
            span_starts[count], span_ends[count] = first - begin, last - begin
            count += 1
        spans[row + 1] = count


@helper
def repeated(numbers: Any, count: int, again: Any) -> None:
    """Mark in `again` the pieces that occurred before."""
    highest = -1
    for piece in range(count):
        again[piece] = numbers[piece] <= highest
        highest = max(highest, np.int64(numbers[piece]))


@kernel(
    types.void(
        array(types.uint8), array(types.int64), array(types.uint32), types.uint64, out(types.int32),
        array(types.int32), out(types.int32), array(types.int32), out(types.int64, 2),
    )
)  # fmt: skip
def _repeats(
    data: Any, bounds: Any, table: Any, salt: Any, starts: Any, started: Any, ends: Any, ended: Any, figures: Any
) -> None:
    most = len(starts)
    numbers, times, again = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.bool_)
    pieces, slots = np.empty(most, np.int32), np.empty(2 * table_size(most), np.uint64)
    zero = np.int64(0)
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        if begin == stop:
            continue
        count, at, feeds = np.int64(0), begin, 0
        while at <= stop:
            end = units.next_feed(data, at, stop)
            starts[count], ends[count] = at - begin, end - begin
            count += 1
            at = end
            while at < stop and byte(data, at) == 0x0A:
                at += 1
                feeds += 1
            if at == end:
                break  # the text ends without a line feed
        figures[_FEEDS, row] = feeds
        figures[_ITEMS, row] = count
        size = table_size(count)
        distinct = number(
            data, begin, started, ended, zero, count, zero, zero, numbers, times, pieces, slots, size, salt
        )[0]
        figures[_REPEATED, row] = count - distinct
        repeated(numbers, count, again)
        for line in range(count):
            start, end = begin + starts[line], begin + ends[line]
            size = characters(data, start, end)
            figures[_REPEATED_CHARS, row] += size * again[line]
            first, _ = stripped(data, start, end, table)
            if first == end:
                continue
            figures[_FILLED, row] += 1
            figures[_FILLED_REPEATED_CHARS, row] += size * again[line]
            figures[_SHORT_LINES, row] += size <= _SHORT
            point, _ = decode(data, before(data, start, end), end)
            ends_here = np.int64(property_of(table, point)) & TERMINAL != 0
            figures[_TERMINAL, row] += ends_here and point not in (0x2024, 0x2026)
        begin, stop = stripped(data, begin, stop, table)
        count, at = np.int64(0), begin
        while True:
            end = units.next_feed(data, at, stop)
            while end + 1 < stop and byte(data, end + 1) != 0x0A:
                end = units.next_feed(data, end + 1, stop)
            end = min(end, stop)
            starts[count], ends[count] = at - begin, end - begin
            count += 1
            at = end
            while at < stop and byte(data, at) == 0x0A:
                at += 1
            if at == stop:
                break
        figures[_PARAGRAPHS, row] = count
        size = table_size(count)
        distinct = number(
            data, begin, started, ended, zero, count, zero, zero, numbers, times, pieces, slots, size, salt
        )[0]
        figures[_REPEATED_PARAGRAPHS, row] = count - distinct
        repeated(numbers, count, again)
        for paragraph in range(count):
            if again[paragraph]:
                figures[_PARAGRAPH_CHARS, row] += characters(data, begin + starts[paragraph], begin + ends[paragraph])
