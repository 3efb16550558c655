"""The page of `curate classifier evaluate language`: one file of HTML that says how far to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classifiers.evaluate_language import cut
from curation import __version__
from curation.report import plots
from curation.report.shown import environment

if TYPE_CHECKING:
    from classifiers.evaluate_language import Evaluation, Judged

#: Steps of the curve of least scores.
_STEPS = 50
#: Languages that are seen at once; the others are folded away.
_LISTED = 25


def page(found: Evaluation, judged: Judged) -> str:
    """The page; all that comes from labels files is escaped."""
    cuts = [(score, cut(judged, score)) for score in np.linspace(0, 1, _STEPS + 1).round(4).tolist()]
    return (
        environment()
        .get_template("language.html.j2")
        .render(
            found=found,
            software=f"curate {__version__}",
            plot=plots.place(),
            reliability=plots.bubbles((one.mean_score, one.right_ratio, one.documents) for one in found.calibration),
            scores=plots.mirrored(judged.scores, judged.right, 1),
            kept=plots.curve([(score, one.kept_ratio) for score, one in cuts]),
            right=plots.curve([(score, one.right_ratio) for score, one in cuts if one.right_ratio is not None]),
            listed=_LISTED,
            labelled=[one for one in found.by_language if one.labelled],
            never=[one for one in found.by_language if not one.labelled],
            figure=plots.figure,
            interval=plots.interval,
        )
    )
