"""Decision trees over a table of numbers, and the choice of rows that the sum of them makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels.compiled import array, kernel, out

#: Steps of a score from -8 to 8 that are told apart when a choice is made.
STEPS = 512
_SCALE = STEPS / 16


@kernel(
    types.void(
        array(types.float32, 2), array(types.int32), array(types.int32), array(types.float64), array(types.int32, 2),
        array(types.float64), out(types.float64),
    )
)  # fmt: skip
def add_up(table: Any, roots: Any, columns: Any, bounds: Any, branches: Any, leaves: Any, scores: Any) -> None:
    """Set `scores` [rows] to the sum of what all trees say of each row.

    A node asks whether a column is at most a bound, and goes on to one of its two `branches`: a node, or ~ a leaf.
    """
    scores[:] = 0
    for tree in range(len(roots)):
        for row in range(len(table)):
            node = np.int64(roots[tree])
            while node >= 0:
                node = np.int64(branches[node, np.int64(np.float64(table[row, columns[node]]) > bounds[node])])
            scores[row] += leaves[~node]


@kernel(types.void(array(types.float64), array(types.float32), array(types.float64), types.float64, out(types.uint8)))
def choose(scores: Any, sizes: Any, probabilities: Any, least: float, chosen: Any) -> None:
    """Set `chosen` to 1 for the rows that together have the highest F1 to be expected, by size; else 0.

    `probabilities` [STEPS] are what scores mean. No row below the probability `least` is chosen.
    """
    mass = np.zeros(STEPS, np.int64)
    expected = 0.0
    for row in range(len(scores)):
        step = np.int64(min(max((scores[row] + 8.0) * _SCALE, 0.0), STEPS - 1.0))
        mass[step] += np.int64(sizes[row])
        expected += probabilities[step] * sizes[row]
    found, taken, best, bound = 0.0, np.int64(0), -1.0, STEPS
    for step in range(STEPS - 1, -1, -1):
        if probabilities[step] < least:
            break
        if mass[step]:
            found += probabilities[step] * mass[step]
            taken += mass[step]
            figure = 2.0 * found / (expected + taken)
            if figure > best:
                best, bound = figure, step
    for row in range(len(scores)):
        step = np.int64(min(max((scores[row] + 8.0) * _SCALE, 0.0), STEPS - 1.0))
        chosen[row] = step >= bound
