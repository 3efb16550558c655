"""The page of `curate classifier evaluate`: one file of HTML that says how far a model's scores can be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers import figures
from classifiers.card import versus
from curation import __version__
from curation.report.shown import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classifiers.evaluate import Evaluation, Judged
    from classifiers.figures import Bools, Floats

#: The place of a plot in its drawing: left, right, top and bottom in units of the SVG.
_PLOT = (42, 348, 14, 188)
#: Bars of the distribution of scores, and points of a curve at most.
_BARS, _POINTS = 25, 200


def page(found: Evaluation, judged: Judged) -> str:
    """The page; all that comes from labels files is escaped."""
    good = judged.grades >= found.threshold
    template = environment().get_template("evaluation.html.j2")
    return template.render(
        found=found,
        versus=versus(found),
        software=f"curate {__version__}",
        plot=dict(zip(("left", "right", "top", "bottom"), _PLOT, strict=True)),
        curves=_curves(found, judged, good),
        scores=_distribution(judged.scores, good, found.threshold),
        reliability=_reliability(found),
        matrix=_matrix(found),
        figure=_figure,
        interval=_interval,
    )


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(value: tuple[float, float] | None, sign: str = "") -> str:
    return "" if value is None else f"{value[0]:{sign}.3f} to {value[1]:{sign}.3f}"


def _point(across: float, up: float) -> str:
    left, right, top, bottom = _PLOT
    return f"{left + across * (right - left):.1f},{bottom - up * (bottom - top):.1f}"


def _curves(found: Evaluation, judged: Judged, good: Bools) -> list[dict[str, str]]:
    """The ROC curve of the model, and of the other one; none where all texts are of a kind."""
    if not good.any() or good.all():
        return []
    curves = [{"name": found.model, "kind": "path", "points": _thinned(figures.roc_curve(good, judged.scores))}]
    if judged.against is not None and found.versus is not None:
        points = _thinned(figures.roc_curve(good, judged.against))
        curves.append({"name": found.versus.rival.name, "kind": "path other", "points": points})
    return curves


def _thinned(points: Sequence[tuple[float, float]]) -> str:
    step = max(1, math.ceil(len(points) / _POINTS))
    return " ".join(_point(*point) for point in [*points[:-1:step], points[-1]])


def _distribution(scores: Floats, good: Bools, threshold: float) -> dict[str, Any]:
    """Bars of the scores of good and of bad texts, mirrored; as high as their share of their kind."""
    left, right, top, bottom = _PLOT
    middle, width = (top + bottom) / 2, (right - left) / _BARS
    which = np.minimum((scores * _BARS / 5).astype(int), _BARS - 1)
    shares = {
        kind: np.bincount(which[inside], minlength=_BARS) / max(1, int(inside.sum()))
        for kind, inside in (("kept", good), ("dropped", ~good))
    }
    most = max(float(share.max()) for share in shares.values()) or 1
    paths = dict.fromkeys(shares, "")
    for kind, share in shares.items():
        for place, value in enumerate(share.tolist()):
            height = (middle - top) * value / most * (1 if kind == "kept" else -1)
            if value:
                x = left + place * width + 0.4
                paths[kind] += f"M{x:.1f} {middle:.1f}V{middle - height:.1f}h{width - 0.8:.1f}V{middle:.1f}z"
    at = left + threshold / 5 * (right - left)
    ticks = [(grade, round(left + grade / 5 * (right - left), 1)) for grade in range(6)]
    return {"paths": paths, "middle": middle, "threshold": round(at, 1), "ticks": ticks}


def _reliability(found: Evaluation) -> list[dict[str, Any]]:
    """A point for each bin of scores: its mean score across, its mean grade up, larger for more texts."""
    most = max(one.documents for one in found.calibration)
    points = []
    for one in found.calibration:
        x, y = _point(one.mean_score / 5, one.mean_grade / 5).split(",")
        points.append({"x": x, "y": y, "r": round(2 + 7 * math.sqrt(one.documents / most), 1)})
    return points


def _matrix(found: Evaluation) -> dict[str, Any]:
    """Good kinds down, bad kinds across, the area of each pair and how far it is below 1."""
    areas = {(pair.good_kind, pair.bad_kind): pair for pair in found.pairs}
    down = sorted({pair.good_kind for pair in found.pairs})
    across = sorted({pair.bad_kind for pair in found.pairs})
    rows = [
        (kind, [(pair, _shade(pair.figures.roc_auc)) for other in across if (pair := areas[kind, other])])
        for kind in down
    ]
    return {"across": across, "rows": rows}


def _shade(area: float | None) -> int:
    """How dark a cell is, in percent: 0 for an area of 1, 80 for one of 0.5 or less."""
    return 0 if area is None else round(80 * min(1.0, (1 - area) / 0.5))
