"""Figures of scores against labels: arrays in, numbers out. What each means is said in docs/classifier.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Bools: TypeAlias = NDArray[np.bool_]
    Ints: TypeAlias = NDArray[np.int64]

#: Shares of the texts, those with the highest scores, among which the good ones are counted.
TOP = (0.05, 0.1, 0.2)
#: The width of a bin of scores.
STEP = 0.5
#: How often groups are drawn for an interval, and the part of the draws that it leaves out at each end.
DRAWS, TAIL = 200, 0.025


@dataclass(frozen=True)
class Ranking:
    """How well scores put good texts above bad ones. None is what texts of one kind cannot tell.

    `top` is the share of good ones among the 5, 10 and 20 % of the texts with the highest scores: it cannot be more
    than there are, and depends like `average_precision` on how many are good. `calibration_gap` is the mean distance of
    score and grade over the bins of scores, each counted as often as it has texts.
    """

    good: int
    bad: int
    roc_auc: float | None
    average_precision: float | None
    top: tuple[float, ...]
    calibration_gap: float


@dataclass(frozen=True)
class Bin:
    """The texts whose score lies from `low` up to below `high`, the last bin's also at it."""

    low: float
    high: float
    documents: int
    mean_score: float
    mean_grade: float
    good_ratio: float


def ranking(grades: Floats, scores: Floats, threshold: float) -> Ranking:
    """The figures of some texts, one at least; grades from the threshold on are good."""
    good = grades >= threshold
    both = bool(good.any() and not good.all())
    gap = sum(one.documents * abs(one.mean_score - one.mean_grade) for one in bins(grades, scores, threshold))
    return Ranking(
        good=int(good.sum()),
        bad=int((~good).sum()),
        roc_auc=roc_auc(good, scores) if both else None,
        average_precision=average_precision(good, scores) if both else None,
        top=tuple(precision_at(good, scores, share) for share in TOP),
        calibration_gap=gap / len(grades),
    )


def ranks(values: Floats) -> Floats:
    """The rank of each value from 1; equal values share the mean of their ranks.

    >>> ranks(np.array([10.0, 30.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[which], dtype=np.float64)


def roc_auc(good: Bools, scores: Floats) -> float:
    """The chance that a good text scores above a bad one; an equal score counts half.

    >>> roc_auc(np.array([True, True, False, False]), np.array([3.0, 1.0, 1.0, 0.0]))
    0.875
    """
    positives = int(good.sum())
    negatives = len(good) - positives
    above = float(ranks(scores)[good].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def average_precision(good: Bools, scores: Floats) -> float:
    """The mean over the good texts of the precision at their score; equal scores are taken together.

    >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    0.8333333333333333
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(good[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    gained = np.diff(np.concatenate([[0], hits[ends]]))
    return float((gained * hits[ends] / (ends + 1)).sum() / hits[-1])


def precision_at(good: Bools, scores: Floats, share: float) -> float:
    """The share of good ones among that share of the texts with the highest scores, one text at least.

    Of texts with the score at which the cut is made, as many count as good as there would be on average.

    >>> precision_at(np.array([True, False, False, False]), np.array([3.0, 1.0, 1.0, 1.0]), 0.5)
    0.5
    >>> precision_at(np.array([True, False]), np.array([1.0, 1.0]), 0.5)
    0.5
    """
    wanted = max(1, math.ceil(share * len(scores)))
    cut = float(np.partition(scores, len(scores) - wanted)[len(scores) - wanted])
    above, at = scores > cut, scores == cut
    room = wanted - int(above.sum())
    return (int(good[above].sum()) + room * float(good[at].mean())) / wanted


def spearman(grades: Floats, scores: Floats) -> float | None:
    """Spearman's rank correlation; None where every score or every grade is the same.

    >>> spearman(np.array([0.0, 1.0, 2.0]), np.array([5.0, 3.0, 1.0]))
    -1.0
    """
    first, second = ranks(grades), ranks(scores)
    if not np.ptp(first) or not np.ptp(second):
        return None
    return round(float(np.corrcoef(first, second)[0, 1]), 12)


def bins(grades: Floats, scores: Floats, threshold: float) -> list[Bin]:
    """The texts by their score, in steps of a half; empty bins are left out."""
    last = round(5 / STEP) - 1
    which = np.minimum((scores / STEP).astype(int), last)
    return [
        Bin(
            number * STEP, (number + 1) * STEP, int(inside.sum()), float(scores[inside].mean()),
            float(grades[inside].mean()), float((grades[inside] >= threshold).mean()),
        )
        for number in range(last + 1)
        if (inside := which == number).any()
    ]  # fmt: skip


def roc_curve(good: Bools, scores: Floats) -> list[tuple[float, float]]:
    """The share of bad and of good texts that score at least so much, for each score from the highest to the lowest.

    >>> roc_curve(np.array([True, False]), np.array([2.0, 1.0]))
    [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits, falls = np.cumsum(good[order])[ends], np.cumsum(~good[order])[ends]
    return [(0.0, 0.0), *zip((falls / falls[-1]).tolist(), (hits / hits[-1]).tolist(), strict=True)]


def intervals(good: Bools, scores: Sequence[Floats], groups: Ints) -> list[tuple[float, float] | None]:
    """Between what the area under the ROC curve lies for each of these scores; the last is for first less second.

    Of 200 draws of as many groups as there are, with replacement and always the same, the middle 95 %. Texts of one
    group resemble each other, so that drawing texts would promise too much. None where the draws have one kind alone.
    """
    order = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
    members = np.split(order, edges[1:-1])
    draw = np.random.default_rng(0)
    found: list[list[float]] = [[] for _ in range(len(scores) + (len(scores) > 1))]
    for _ in range(DRAWS):
        rows = np.concatenate([members[one] for one in draw.integers(0, len(members), len(members))])
        if good[rows].any() and not good[rows].all():
            areas = [roc_auc(good[rows], each[rows]) for each in scores]
            for place, area in enumerate([*areas, *([areas[0] - areas[1]] if len(areas) > 1 else [])]):
                found[place].append(area)
    return [
        (float(np.quantile(each, TAIL)), float(np.quantile(each, 1 - TAIL))) if len(each) >= DRAWS // 2 else None
        for each in found
    ]
