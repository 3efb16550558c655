"""How far two labellings of the same documents agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classifiers.labels import HIGHEST

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Agreement:
    """Of `documents` that both have graded: the shares with the same grade, and with grades at most one apart.

    `kappa` is Cohen's with quadratic weights: 0 is what chance would give, 1 is the same throughout; None where both
    gave one grade to all.
    """

    documents: int
    exact: float
    within_one: float
    kappa: float | None


def agreement(first: Mapping[str, int], second: Mapping[str, int]) -> Agreement | None:
    """The agreement of two labellings, each grades from 0 to 5 by document; None where they share no document.

    Cohen (1968), Weighted kappa, with the squares of distances as weights.

    >>> agreement({"a": 0, "b": 5, "c": 3}, {"a": 0, "b": 4, "c": 3, "d": 1}).exact
    0.6666666666666666
    """
    both = sorted(first.keys() & second.keys())
    if not both:
        return None
    grades = np.array([[first[name], second[name]] for name in both], np.int64)
    apart = np.abs(grades[:, 0] - grades[:, 1])
    ranks = np.arange(HIGHEST + 1)
    weights = (ranks[:, None] - ranks[None, :]) ** 2
    counts = [np.bincount(column, minlength=HIGHEST + 1) for column in grades.T]
    by_chance = int((weights * np.outer(*counts)).sum())  # times the number of documents
    observed = int((apart**2).sum()) * len(both)
    return Agreement(
        documents=len(both),
        exact=float((apart == 0).mean()),
        within_one=float((apart <= 1).mean()),
        kappa=1 - observed / by_chance if by_chance else None,
    )
