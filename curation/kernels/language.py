"""Which language a text is in: an automaton over its bytes that finds features, and naive Bayes over their counts.

The automaton and the weights are py3langid's, in one array each. Its probabilities are worked out in double precision
and in the order of the text, so that they are the same on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from curation.kernels.arithmetic import exponential
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.normal import LEAD, LETTER, LOWER, NEIGHBOURS, TAIL, UPPER, trimmed
from curation.kernels.unicode import SIZE
from curation.kernels.utf8 import decode

_WINDOWS = 6  # the bounds of three
_LAST = SIZE - 1  # no character, like all beyond it that are looked up in its place

#: Weights are whole numbers of this: those of py3langid are of half precision, and none is nearer to 0 than 2.
STEP = 1 / 512

# What an answer can be instead of a language.
NO_LETTER, CHANGES = -1, -2

_LINE_FEED = 10

#: How many texts go through the automaton side by side, and what is kept of each.
LANES, _TEXT, _SIZE, _STATE, _FOUND = 8, 0, 1, 2, 3


@helper
def _back(data: Any, at: int) -> int:
    while data[at] & 0xC0 == 0x80:
        at -= 1
    return at


@helper
def _on(data: Any, at: int) -> int:
    while data[at] & 0xC0 == 0x80:
        at += 1
    return at


@kernel(types.void(array(types.uint8), array(types.int64), array(types.uint64), types.int64, out(types.int64, 2)))
def windows(data: Any, bounds: Any, table: Any, window: int, found: Any) -> None:
    """What is read of each text: the bounds of its three windows of `window` bytes, int64[rows, 6].

    White space around a text does not count. Of a text of up to three windows the first one holds all, and the others
    are empty. The second begins at half of what lies outside one window. A character that a window would cut is
    outside.
    """
    for row in range(len(found)):
        start, end = trimmed(data, bounds[row], bounds[row + 1], table)
        for place in range(_WINDOWS):
            found[row, place] = end
        found[row, 0] = start
        if end - start > 3 * window:
            middle = start + (end - start - window) // 2
            found[row, 1] = _back(data, start + window)
            found[row, 2] = _on(data, middle)
            found[row, 3] = _back(data, middle + window)
            found[row, 4] = _on(data, end - window)


@helper
def _look(data: Any, read: Any, row: int, table: Any) -> int:
    """0 for what the automaton may read as it is, else `NO_LETTER` or `CHANGES`."""
    seen: Any = np.int64(0)
    changes = False
    for place in range(0, _WINDOWS, 2):
        tail: Any = np.int64(0)
        at, end = read[row, place], read[row, place + 1]
        while at < end:
            if data[at] < 0x80:
                seen |= np.int64(table[data[at]])
                at += 1
                tail = 0
                continue
            point, size = decode(data, at, end)
            entry = np.int64(table[min(point, _LAST)])
            seen |= entry
            lead = entry >> LEAD & 0xFF
            changes |= lead != 0 and lead < tail
            tail = entry >> TAIL & 0xFF
            at += size
    if not seen & LETTER:
        return NO_LETTER
    return CHANGES if changes or seen & NEIGHBOURS or (seen & UPPER and not seen & LOWER) else 0


@helper
def _best(
    found: Any, lane: int, size: int, length: int, counts: Any, features: Any, sums: Any, scores: Any,
    weights: Any, priors: Any, aliases: Any, logarithms: Any,
) -> Any:  # fmt: skip
    """The likeliest language and its probability, of the first `size` features of a sample of `length` bytes."""
    distinct = 0
    for place in range(size):
        feature = found[lane, place]
        if counts[feature] == 0:
            features[distinct] = feature
            distinct += 1
        counts[feature] += 1
    for column in range(len(scores)):
        scores[column] = 0.0
    count, left = 0, distinct
    while left:  # features that occur as often as each other, together: their weights add up exactly
        before_it, count = count, np.int64(1) << 40
        for place in range(distinct):
            times = np.int64(counts[features[place]])
            if before_it < times < count:
                count = times
        for column in range(len(sums)):
            sums[column] = 0
        for place in range(distinct):
            feature = features[place]
            if counts[feature] == count:
                left -= 1
                for column in range(len(sums)):
                    sums[column] += weights[feature, column]
        logarithm = logarithms[count] if count < len(logarithms) else math.log1p(count)
        for column in range(len(scores)):
            scores[column] += logarithm * sums[column]
    for place in range(distinct):
        counts[features[place]] = 0
    scale = 1.0 / math.sqrt(max(length, 1))
    highest = -np.inf
    for column in range(len(scores)):
        score = scores[column] * STEP + np.float64(priors[column]) if distinct else 0.0
        scores[column] = score * scale
        highest = max(highest, scores[column])
    total = 0.0
    for column in range(len(scores)):
        scores[column] = exponential(scores[column] - highest)
        total += scores[column]
    for pair in range(len(aliases)):
        scores[aliases[pair, 0]] += scores[aliases[pair, 1]]
        scores[aliases[pair, 1]] = 0.0
    best = 0
    for column in range(len(scores)):
        if scores[column] > scores[best]:
            best = column
    return best, scores[best] / total


@kernel(
    types.void(
        array(types.uint8), array(types.int64, 2), types.boolean, array(types.uint64),
        array(types.int32), array(types.int32, 2), array(types.int16, 2), array(types.float32),
        array(types.int64, 2), array(types.float64),
        out(types.uint8, 2), out(types.int32, 2), out(types.int32, 2), out(types.int32), out(types.int32),
        out(types.int32), out(types.float64), out(types.int32), out(types.float64),
    )
)  # fmt: skip
def classify(
    data: Any, read: Any, prepared: bool, table: Any,
    moves: Any, states: Any, weights: Any, priors: Any, aliases: Any, logarithms: Any,
    samples: Any, found: Any, lanes: Any, counts: Any, features: Any, sums: Any, scores: Any,
    languages: Any, probabilities: Any,
) -> None:  # fmt: skip
    """The number of each text's language, and its probability.

    Instead of a language, `NO_LETTER` for a text without letters, and `CHANGES` for one that must be brought into NFC,
    or from capitals into small letters, and then given again, `prepared`. What is filled besides is for use in here:
    `counts`, one a feature, must be and will be 0.
    """
    filled = 0
    for row in range(len(read) + 1):
        if row < len(read):
            languages[row] = 0 if prepared else _look(data, read, row, table)
            probabilities[row] = 0.0
            if languages[row] == 0:
                lanes[filled, _TEXT] = row
                size = 0
                for place in range(0, _WINDOWS, 2):
                    if size and read[row, place] < read[row, place + 1]:
                        samples[filled, size] = _LINE_FEED
                        size += 1
                    for at in range(read[row, place], read[row, place + 1]):
                        samples[filled, size] = data[at]
                        size += 1
                lanes[filled, _SIZE] = size
                filled += 1
        if filled < LANES and row < len(read):
            continue
        longest = 0
        for lane in range(filled):
            longest = max(longest, lanes[lane, _SIZE])
            lanes[lane, _STATE] = lanes[lane, _FOUND] = 0
        for at in range(longest):
            for lane in range(filled):  # side by side, since each step waits for memory
                if at < lanes[lane, _SIZE]:
                    state = moves[states[lanes[lane, _STATE], 0] | samples[lane, at]]
                    lanes[lane, _STATE] = state
                    found[lane, lanes[lane, _FOUND]] = states[state, 1]
                    lanes[lane, _FOUND] += states[state, 1] >= 0
        for lane in range(filled):
            text = lanes[lane, _TEXT]
            languages[text], probabilities[text] = _best(
                found, lane, lanes[lane, _FOUND], lanes[lane, _SIZE], counts, features, sums, scores,
                weights, priors, aliases, logarithms,
            )  # fmt: skip
        filled = 0
