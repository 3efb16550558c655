"""Where text may have been decoded with the wrong encoding. The verdict is `signals.mojibake`'s."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels import masks
from curation.kernels.compiled import array, kernel, out
from curation.kernels.utf8 import decode

_SIZE = 0x2123  # behind the trade mark sign, the last character of Windows-1252


def _bytes() -> Any:
    """The byte that a code point is in Windows-1252, or in Latin-1 where that has none; 0 for all others."""
    table = np.zeros(_SIZE, np.uint8)
    table[0x80:0x100] = np.arange(0x80, 0x100)
    for value in range(0x80, 0xA0):
        character = bytes([value]).decode("windows-1252", "ignore")
        if character:
            table[ord(character)] = value
    return table


_BYTES = _bytes()
#: A run is cut behind the first character that ends one beyond so many bytes.
_LONG = 1024


_SIGNATURE = types.int64(
    array(types.uint8), array(types.int64), out(types.int64), out(types.int64), out(types.int64), out(types.int32)
)


@kernel(_SIGNATURE)
def candidates(data: Any, bounds: Any, state: Any, starts: Any, ends: Any, replaced: Any) -> int:
    """Write runs until all rows are done or `starts` is full; how many there are.

    A run is of characters that are bytes from 0x80 in Windows-1252 or Latin-1, some of which, as bytes, are a character
    of UTF-8, or are control characters. `replaced` counts U+FFFD by row. `state` holds the row and the byte to go on
    from, (0, 0) at first; its row is the number of rows when all is done.
    """
    count = 0
    row, at = state[0], state[1]
    while row < len(bounds) - 1:
        end = bounds[row + 1]
        at = max(at, bounds[row])
        while at < end:
            high = masks.high(data, at)
            at += masks.first(high)
            if high == 0 or at >= end:
                continue
            if count == len(starts):
                state[0], state[1] = row, at
                return count
            start, wanted, is_found = at, 0, False
            while at < end and data[at] >= 0x80:
                point, size = decode(data, at, end)
                byte = _BYTES[point] if point < _SIZE else np.uint8(0)
                if byte == 0 or (at - start >= _LONG and wanted == 0):
                    break
                at += size
                is_found |= point < 0xA0
                if wanted > 0 and byte < 0xC0:
                    wanted -= 1
                    is_found |= wanted == 0
                else:
                    wanted = 0 if byte < 0xC2 or byte > 0xF4 else 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
            if is_found:
                starts[count], ends[count] = start, at
                count += 1
            if at == start:  # a character that is none of these
                replaced[row] += point == 0xFFFD
                at += size
        at = end  # sixty-four bytes at a time may have gone beyond it
        row += 1
    state[0], state[1] = row, at
    return count
