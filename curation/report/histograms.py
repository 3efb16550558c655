"""Histograms: values counted on one fixed grid, and bars made of its cells.

The grid has three significant digits: 1.00, 1.01 … 9.99 times a power of ten from 1e-6 to 1e11, 0, and the same below
0. A value is in the cell that begins at or below it. So parts are counted without knowing what others hold, the counts
add up, and the bars can be chosen afterwards: their edges are 0, 1, 2 … 10, 12.5, 16, 20, 25, 32, 40, 50, 63, 80, 100 …
where the range is wide, and multiples of 1, 2 or 5 times a power of ten elsewhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_POWERS = range(-6, 12)
#: At most so many bars where they are equally wide.
_MOST_BARS = 60
#: The share of the values that may lie outside of what is drawn, on each side: 1 of 500.
_OUTSIDE = 500
#: Edges in a decade of a wide range (Renard's series R10).
_DECADE = (10.0, 12.5, 16.0, 20.0, 25.0, 32.0, 40.0, 50.0, 63.0, 80.0)


@cache
def grid(dtype: str = "float64") -> NDArray[Any]:
    """The edges of all cells, ascending; as 4-byte floats for columns of these, where 0.1 is another number."""
    above = [float(f"{digits}e{power - 2}") for power in _POWERS for digits in range(100, 1000)]
    return np.array([-edge for edge in reversed(above)] + [0.0, *above]).astype(dtype)


def cells(values: NDArray[Any]) -> Counter[int]:
    """How many of the values are in each cell; what is no number (NaN) is in none.

    >>> sorted((float(grid()[cell]), count) for cell, count in cells(np.array([0.1, 0.1004, 0, 1234])).items())
    [(0.0, 1), (0.1, 2), (1230.0, 1)]
    """
    edges = grid("float32" if values.dtype == np.float32 else "float64")
    values = values[~np.isnan(values)] if values.dtype.kind == "f" else values.astype(np.float64)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 1)
    found, counts = np.unique(places, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


@dataclass(frozen=True, slots=True)
class Axis:
    """The edges of the bars, which are drawn equally wide; the first and the last bar hold what lies beyond, too."""

    edges: tuple[float, ...]
    is_wide: bool

    @property
    def bars(self) -> int:
        """How many bars there are."""
        return len(self.edges) - 1

    def bar(self, value: float) -> int:
        """The bar that a value is in."""
        return min(max(bisect_right(self.edges, value) - 1, 0), self.bars - 1)

    def place(self, value: float) -> float:
        """Where a value lies along the axis, in bars."""
        bar = self.bar(value)
        low, high = self.edges[bar], self.edges[bar + 1]
        return bar + min(max((value - low) / (high - low), 0.0), 1.0)


def axis(counts: Mapping[int, int], marks: Sequence[float], *, whole: bool) -> Axis:
    """The axis for what was counted, with the marks on it; `whole` numbers get no bar between two of them.

    >>> axis(cells(np.array([0.0, 0.31, 0.5])), [0.2], whole=False).edges[:3]
    (0.0, 0.01, 0.02)
    >>> axis(cells(np.array([3, 40, 90_000])), [50], whole=True).edges[8:14]
    (8.0, 9.0, 10.0, 12.5, 16.0, 20.0)
    """
    edges = grid()
    marks = [mark for mark in marks if abs(mark) <= edges[-1]]  # one that is further off lies beyond
    low, middle, high = (float(edges[cell]) for cell in _quantiles(counts))
    low, high = min([low, *marks]), max([high, *marks])
    smallest = min([mark for mark in marks if mark > 0], default=high)
    if low >= 0 and high >= 50 and (high > 10 * max(middle, 1) or high > 20 * smallest):
        return Axis(_wide(high), is_wide=True)
    if low > 0 and low < high / 2:
        low = 0.0
    return Axis(_even(low, high, whole=whole), is_wide=False)


def _quantiles(counts: Mapping[int, int]) -> tuple[int, int, int]:
    """The cells below which nearly nothing, half and nearly everything lies."""
    total = sum(counts.values())
    found = []
    for wanted in (total // _OUTSIDE, total // 2, total - 1 - total // _OUTSIDE):
        seen = 0
        for cell in sorted(counts):
            seen += counts[cell]
            if seen > wanted:
                found.append(cell)
                break
    return (found[0], found[1], found[2])


def _wide(high: float) -> tuple[float, ...]:
    edges = [float(edge) for edge in range(10)]
    power = 1
    while edges[-1] <= high:
        edges += [edge * power for edge in _DECADE]
        power *= 10
    last = next(place for place, edge in enumerate(edges) if edge > high)
    return tuple(edges[: last + 1])


def _even(low: float, high: float, *, whole: bool) -> tuple[float, ...]:
    widths = (float(f"{digit}e{power}") for power in range(-6, 13) for digit in (1, 2, 5))
    width = next(
        width
        for width in widths
        if (high - low) / width < _MOST_BARS and (width >= 1 or not whole) and width * 1e4 > abs(low)
    )
    first, last = math.floor(_round(low / width)), math.ceil(_round(high / width))
    last += whole or first == last  # a whole number has its bar to the right of it
    return tuple(_times(number, width) for number in range(first, last + 1))


def _round(number: float) -> float:
    """Without what dividing by a tenth leaves."""
    return round(number, 6)


def _times(number: int, width: float) -> float:
    """The product as it is written: 3 times 0.1 is 0.3."""
    return float(f"{number * width:.9g}")


def in_bars(counts: Mapping[int, int], drawn: Axis) -> list[int]:
    """The counts of the cells, by bar."""
    if not counts:
        return [0] * drawn.bars
    begins = grid()[list(counts)]
    bars = np.clip(np.searchsorted(drawn.edges, begins, side="right") - 1, 0, drawn.bars - 1)
    found = np.zeros(drawn.bars, dtype=np.int64)
    np.add.at(found, bars, list(counts.values()))
    return [int(count) for count in found]


def beyond(counts: Mapping[int, int], drawn: Axis) -> int:
    """How many values lie above the last edge."""
    first = int(np.searchsorted(grid(), drawn.edges[-1], side="right"))
    return sum(count for cell, count in counts.items() if cell >= first)


def ticks(drawn: Axis) -> list[float]:
    """The edges that are labelled: the powers of ten, or about five."""
    if drawn.is_wide:
        return [edge for edge in drawn.edges if edge in (0, 1) or _is_power(edge)]
    step = next(step for step in (1, 2, 5, 10, 20, 50) if drawn.bars / step <= 6)
    zero = next((place for place, edge in enumerate(drawn.edges) if edge == 0), 0)
    return list(drawn.edges[zero % step :: step])


def _is_power(edge: float) -> bool:
    while edge > 10:
        edge /= 10
    return edge == 10
