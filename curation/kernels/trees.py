"""Decision trees over a table of numbers, and the choice of rows that the sum of them makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels import masks as masking
from curation.kernels.compiled import array, kernel, out

#: Steps of a score from -8 to 8 that are told apart when a choice is made.
STEPS = 512
_SCALE = STEPS / 16
#: Leaves that a tree may have: a bit for each.
MOST_LEAVES = 64
_LARGE = 15
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel(
    types.void(
        array(types.float32, 2), array(types.int32), array(types.float64), array(types.int32), array(types.uint64),
        array(types.int32), array(types.float64), out(types.float64),
    )
)  # fmt: skip
def add_up(
    table: Any, starts: Any, bounds: Any, owners: Any, masks: Any, firsts: Any, leaves: Any, scores: Any
) -> None:
    """Set `scores` [rows] to the sum of what all trees say of each row.

    The questions of all trees, whether a column is above a bound, lie side by side: those of a column from its start to
    the next, bounds ascending. One that is answered with yes leaves of the leaves of the tree that owns it those in its
    mask; the first that is left at the end is the row's (QuickScorer, Lucchese et al. 2015). So no step waits for the
    one before, which takes a quarter of the time of walking down the trees.
    """
    trees = len(firsts)
    left = np.empty(trees, np.uint64)
    for row in range(len(table)):
        for tree in range(trees):
            left[tree] = _ALL
        for column in range(len(starts) - 1):
            value = np.float64(table[row, column])
            for place in range(starts[column], starts[column + 1]):
                if value <= bounds[place]:
                    break
                left[np.uint64(owners[place])] &= masks[place]
        score = 0.0
        for tree in range(trees):
            score += leaves[firsts[tree] + masking.first(left[tree])]
        scores[row] = score


@kernel(
    types.void(
        array(types.float64), array(types.float32), array(types.float64), types.float64, types.float64, types.float64,
        out(types.uint8),
    )
)  # fmt: skip
def choose(
    scores: Any, sizes: Any, probabilities: Any, share: float, least: float, doubt: float, chosen: Any
) -> None:  # fmt: skip
    """Set `chosen` to 1 for the rows whose probability is high enough for the F1 to be expected, by size; else 0.

    `probabilities` [STEPS], which ascend, are what scores mean. With F the highest F1 to be expected, a row is chosen
    from the probability `share` * F^1.5 on, but not below `least`. If rows were independent, F / 2 would be best
    (Lipton et al. 2014); a model that is wrong about one row is wrong about its neighbours. For a row of the size
    `doubt` * L^4 the bound is halfway from there to 1, for smaller ones nearer to 1. L is the share of what is expected
    to be chosen that is in large rows: where small ones are the matter itself, as in a listing, they are not doubted.
    """
    mass = np.zeros(STEPS, np.int64)
    expected, in_large = 0.0, 0.0
    for row in range(len(scores)):
        step = np.int64(min(max((scores[row] + 8.0) * _SCALE, 0.0), STEPS - 1.0))
        mass[step] += np.int64(sizes[row])
        expected += probabilities[step] * sizes[row]
        in_large += probabilities[step] * sizes[row] if sizes[row] >= _LARGE else 0.0
    found, taken, best = 0.0, np.int64(0), 0.0
    for step in range(STEPS - 1, -1, -1):
        if mass[step]:
            found += probabilities[step] * mass[step]
            taken += mass[step]
            best = max(best, 2.0 * found / (expected + taken))
    bound = max(share * best * np.sqrt(best), least)
    large = in_large / expected if expected > 0 else 0.0
    half = doubt * (large * large) * (large * large)
    for row in range(len(scores)):
        step = np.int64(min(max((scores[row] + 8.0) * _SCALE, 0.0), STEPS - 1.0))
        doubted = half / (half + max(np.float64(sizes[row]), 1.0))
        chosen[row] = probabilities[step] >= bound + (1.0 - bound) * doubted
