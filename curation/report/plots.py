"""What the pages of evaluations share: how figures are written, and places in their plots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from classifiers.figures import Bools, Floats

#: The place of a plot in its drawing: left, right, top and bottom in units of the SVG.
_PLOT = (42, 348, 14, 188)
#: Bars of the distribution of scores, and points of a curve at most.
_BARS, _POINTS = 25, 200


def place() -> dict[str, int]:
    """The place of a plot, for the templates."""
    return dict(zip(("left", "right", "top", "bottom"), _PLOT, strict=True))


def figure(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash for none.

    >>> figure(0.5), figure(None)
    ('0.500', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"


def interval(value: tuple[float, float] | None, sign: str = "") -> str:
    """Both ends of an interval, nothing for none.

    >>> interval((-0.1, 0.25), "+"), interval(None)
    ('-0.100 to +0.250', '')
    """
    return "" if value is None else f"{value[0]:{sign}.3f} to {value[1]:{sign}.3f}"


def point(across: float, up: float) -> str:
    """The place of a point of a plot whose axes go from 0 to 1.

    >>> point(0, 0), point(1, 1)
    ('42.0,188.0', '348.0,14.0')
    """
    left, right, top, bottom = _PLOT
    return f"{left + across * (right - left):.1f},{bottom - up * (bottom - top):.1f}"


def curve(points: Sequence[tuple[float, float]]) -> str:
    """The points of a line, some of them left out where there are many."""
    step = max(1, math.ceil(len(points) / _POINTS))
    return " ".join(point(*one) for one in [*points[:-1:step], points[-1]])


def bubbles(of: Iterable[tuple[float, float, int]]) -> list[dict[str, Any]]:
    """Points that are larger for more texts: across, up, and how many."""
    of = list(of)
    most = max((count for _, _, count in of), default=1)
    found = []
    for across, up, count in of:
        x, y = point(across, up).split(",")
        found.append({"x": x, "y": y, "r": round(2 + 7 * math.sqrt(count / most), 1)})
    return found


def mirrored(scores: Floats, upwards: Bools, most: int, threshold: float | None = None) -> dict[str, Any]:
    """Bars of scores from 0 to `most`, some upwards and the others down; as high as their share of their kind."""
    left, right, top, bottom = _PLOT
    middle, width = (top + bottom) / 2, (right - left) / _BARS
    which = np.minimum((scores * _BARS / most).astype(int), _BARS - 1)
    shares = {
        kind: np.bincount(which[inside], minlength=_BARS) / max(1, int(inside.sum()))
        for kind, inside in (("kept", upwards), ("dropped", ~upwards))
    }
    highest = max(float(share.max()) for share in shares.values()) or 1
    paths = dict.fromkeys(shares, "")
    for kind, share in shares.items():
        for number, value in enumerate(share.tolist()):
            height = (middle - top) * value / highest * (1 if kind == "kept" else -1)
            if value:
                x = left + number * width + 0.4
                paths[kind] += f"M{x:.1f} {middle:.1f}V{middle - height:.1f}h{width - 0.8:.1f}V{middle:.1f}z"
    at = None if threshold is None else round(left + threshold / most * (right - left), 1)
    ticks = [(f"{most * tick / 5:g}", round(left + tick / 5 * (right - left), 1)) for tick in range(6)]
    return {"paths": paths, "middle": middle, "threshold": at, "ticks": ticks}
