"""Which words of one text stand in another, in the same order: the alignment that runs of equal words decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels.compiled import array, kernel, out

#: What a run of equal words must outweigh, where an equal word is 4: a word that stands alone counts little.
_OPEN = 3
_MATCH = 4


@kernel(types.void(array(types.int32), array(types.int32), out(types.uint8)))
def align(words: Any, others: Any, found: Any) -> None:
    """Set `found` to 1 for each of `words` that is aligned with one of `others`, else 0.

    Takes as many bytes and steps as the product of both numbers.
    """
    rows, columns = len(words), len(others)
    found[:] = 0
    if rows == 0 or columns == 0:
        return
    # The best score of what ends in a match here, and of what ends in none; and where each came from.
    matched, other = np.full(columns + 1, -(1 << 30), np.int64), np.zeros(columns + 1, np.int64)
    back = np.zeros((rows + 1, columns + 1), np.uint8)
    for row in range(1, rows + 1):
        left_matched, left_other = np.int64(-(1 << 30)), np.int64(0)
        corner_matched, corner_other = matched[0], other[0]
        for column in range(1, columns + 1):
            up_matched, up_other = matched[column], other[column]
            bits = 0
            here = np.int64(-(1 << 30))
            if words[row - 1] == others[column - 1]:
                opened = corner_other - _OPEN
                if corner_matched >= opened:
                    here, bits = corner_matched + _MATCH, 1
                else:
                    here = opened + _MATCH
            best, way = left_other, 0
            if left_matched > best:
                best, way = left_matched, 1
            if up_other > best:
                best, way = up_other, 2
            if up_matched > best:
                best, way = up_matched, 3
            back[row, column] = bits | way << 1
            corner_matched, corner_other = up_matched, up_other
            matched[column], other[column] = here, best
            left_matched, left_other = here, best
    row, column = rows, columns
    in_match = matched[columns] > other[columns]
    while row > 0 and column > 0:
        bits = np.int64(back[row, column])
        if in_match:
            found[row - 1] = 1
            in_match = bits & 1 == 1
            row, column = row - 1, column - 1
        else:
            way = bits >> 1
            in_match = way & 1 == 1
            if way >= 2:
                row -= 1
            else:
                column -= 1
