"""How well a model's scores agree with labels that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers import model as models
from classifiers.labels import Labelled, counts
from curation.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

#: A score or grade from here on is good.
THRESHOLD = 2.5

_Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Bin:
    """The texts whose score lies from `low` up to below `high`."""

    low: float
    high: float
    documents: int
    mean_score: float
    mean_grade: float


@dataclass(frozen=True)
class SourceFigures:
    """The texts of one source: their mean grade and score, and how many the model calls good."""

    name: str
    documents: int
    mean_grade: float
    mean_score: float
    good_ratio: float


@dataclass(frozen=True)
class Evaluation:
    """What a model scores on labelled texts. None is a figure that these labels cannot give.

    `precision`, `recall` and `f1` are those of "good" at the threshold; average precision and the area under the ROC
    curve (the chance that a good text scores above a bad one) need none; Spearman's correlation needs three grades.
    """

    documents: int
    good: int
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    roc_auc: float | None
    spearman: float | None
    calibration: tuple[Bin, ...]
    sources: tuple[SourceFigures, ...]


def evaluate(path: Path, rows: list[Labelled], *, threshold: float = THRESHOLD) -> Evaluation:
    """The figures of a model on labelled texts; they should not be those it was trained on.

    Raises `UsageError` where there is nothing to score.
    """
    if not rows:
        raise UsageError("no labelled texts to evaluate on", remedy="name files with labels")
    scores = models.scores(path, (row.text for row in rows)).astype(np.float64)
    grades = np.array([row.grade for row in rows], dtype=np.float64)
    return figures(rows, grades, scores, threshold)


def figures(rows: list[Labelled], grades: _Floats, scores: _Floats, threshold: float) -> Evaluation:
    """The figures of scores against grades."""
    good, called = grades >= threshold, scores >= threshold
    hits = int((good & called).sum())
    precision = hits / int(called.sum()) if called.any() else None
    recall = hits / int(good.sum()) if good.any() else None
    both = good.any() and not good.all()
    return Evaluation(
        documents=len(rows),
        good=int(good.sum()),
        threshold=threshold,
        precision=precision,
        recall=recall,
        f1=None if recall is None else 2 * hits / int(good.sum() + called.sum()),
        average_precision=average_precision(good, scores) if both else None,
        roc_auc=roc_auc(good, scores) if both else None,
        spearman=spearman(grades, scores) if len(np.unique(grades)) > 2 else None,
        calibration=tuple(_calibration(grades, scores)),
        sources=tuple(_sources(rows, grades, scores, threshold)),
    )


def ranks(values: _Floats) -> _Floats:
    """The rank of each value from 1; equal values share the mean of their ranks.

    >>> ranks(np.array([10.0, 30.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[which], dtype=np.float64)


def roc_auc(good: np.ndarray[Any, np.dtype[np.bool_]], scores: _Floats) -> float:
    """The chance that a good text scores above a bad one; an equal score counts half.

    >>> roc_auc(np.array([True, True, False, False]), np.array([3.0, 1.0, 1.0, 0.0]))
    0.875
    """
    positives = int(good.sum())
    negatives = len(good) - positives
    above = float(ranks(scores)[good].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def average_precision(good: np.ndarray[Any, np.dtype[np.bool_]], scores: _Floats) -> float:
    """The mean over the good texts of the precision at their score; equal scores are taken together.

    >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    0.8333333333333333
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(good[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    gained = np.diff(np.concatenate([[0], hits[ends]]))
    return float((gained * hits[ends] / (ends + 1)).sum() / hits[-1])


def spearman(grades: _Floats, scores: _Floats) -> float | None:
    """Spearman's rank correlation; None where every score is the same.

    >>> spearman(np.array([0.0, 1.0, 2.0]), np.array([5.0, 3.0, 1.0]))
    -1.0
    """
    first, second = ranks(grades), ranks(scores)
    if not np.ptp(first) or not np.ptp(second):
        return None
    return round(float(np.corrcoef(first, second)[0, 1]), 12)


def _calibration(grades: _Floats, scores: _Floats) -> list[Bin]:
    """A bin for each whole number of the score; the last holds 5 itself. Empty bins are left out."""
    which = np.minimum(scores.astype(int), 4)
    return [
        Bin(low, low + 1, int(inside.sum()), float(scores[inside].mean()), float(grades[inside].mean()))
        for low in range(5)
        if (inside := which == low).any()
    ]


def _sources(rows: list[Labelled], grades: _Floats, scores: _Floats, threshold: float) -> list[SourceFigures]:
    names = np.array([row.source for row in rows])
    figures = []
    for name, documents in counts(rows).items():
        inside = names == name
        mean_grade, mean_score = float(grades[inside].mean()), float(scores[inside].mean())
        figures.append(
            SourceFigures(name, documents, mean_grade, mean_score, float((scores[inside] >= threshold).mean()))
        )
    return sorted(figures, key=lambda one: (-one.mean_grade, one.name))
