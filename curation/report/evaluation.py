"""The page of `curate classifier evaluate`: one file of HTML that says how far a model's scores can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from classifiers import figures
from classifiers.card import versus
from curation import __version__
from curation.report import plots
from curation.report.shown import environment

if TYPE_CHECKING:
    from classifiers.evaluate import Evaluation, Judged
    from classifiers.figures import Bools


def page(found: Evaluation, judged: Judged) -> str:
    """The page; all that comes from labels files is escaped."""
    good = judged.grades >= found.threshold
    template = environment().get_template("evaluation.html.j2")
    return template.render(
        found=found,
        versus=versus(found),
        software=f"curate {__version__}",
        plot=plots.place(),
        curves=_curves(found, judged, good),
        scores=plots.mirrored(judged.scores, good, 5, found.threshold),
        reliability=plots.bubbles((one.mean_score / 5, one.mean_grade / 5, one.documents) for one in found.calibration),
        matrix=_matrix(found),
        figure=plots.figure,
        interval=plots.interval,
    )


def _curves(found: Evaluation, judged: Judged, good: Bools) -> list[dict[str, str]]:
    """The ROC curve of the model, and of the other one; none where all texts are of a kind."""
    if not good.any() or good.all():
        return []
    curves = [{"name": found.model, "kind": "path", "points": plots.curve(figures.roc_curve(good, judged.scores))}]
    if judged.against is not None and found.versus is not None:
        points = plots.curve(figures.roc_curve(good, judged.against))
        curves.append({"name": found.versus.rival.name, "kind": "path other", "points": points})
    return curves


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
