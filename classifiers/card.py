"""The card of a model: what it was made of, what it scores where it was not trained, and what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from classifiers.evaluate import Evaluation
    from classifiers.train import Trained

_WHAT = """
A fastText model that gives a text a score from 0 (teaches nothing) to 5 (a good textbook): the expectation of the
grades it knows. It sees words alone; layout, punctuation, case and numerals are taken away before.
"""
_NO_FIGURES = "There are none: evaluate it before you rely on it, with `curate classifier evaluate`."
_NO_LIMITS = "Nobody has written them down yet."


def card(
    trained: Trained,
    unseen: Evaluation | None = None,
    *,
    name: str,
    command: str,
    made_at: date,
    data: str = "",
    limits: str = "",
) -> str:
    """The card in Markdown.

    `unseen` are the figures on sources that are in the training data in no form; `data` says where the texts are from
    and under which licences, `limits` what the model gets wrong; both are Markdown.
    """
    settings = ", ".join(f"{key} {value}" for key, value in trained.settings.model_dump().items())
    grades = ", ".join(f"{count:,} of grade {grade}" for grade, count in trained.grades.items())
    size = f"{trained.documents:,} texts: {grades}. {trained.words:,} words. Left out without one: {trained.skipped:,}."
    parts = [
        f"# {name}",
        _WHAT,
        _table(
            ("", ""),
            (
                ("file", f"`{trained.path.name}`, {trained.bytes:,} bytes"),
                ("sha256", f"`{trained.sha256}`"),
                ("made by", f"`{command}`"),
                ("on", made_at.isoformat()),
                ("settings", settings),
            ),
        ),
        "## What it was trained on",
        data,
        size,
        _table(("source", "texts"), ((name or "(not said)", f"{count:,}") for name, count in trained.sources.items())),
        "## On held-out groups of the same sources",
        figures(trained.held_out) if trained.held_out else _NO_FIGURES,
        "## On sources it was not trained on",
        figures(unseen) if unseen else _NO_FIGURES,
        "## Limits",
        limits or _NO_LIMITS,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def figures(found: Evaluation) -> str:
    """An evaluation in Markdown: its figures, the calibration, and a row for each source."""
    summary = (
        ("texts", f"{found.documents:,}, of them {found.good:,} good (grade {found.threshold:g} or more)"),
        ("precision, recall, F1 of good", " / ".join(map(_share, (found.precision, found.recall, found.f1)))),
        ("average precision", _share(found.average_precision)),
        ("area under the ROC curve", _share(found.roc_auc)),
        ("Spearman's correlation with the grade", _share(found.spearman)),
    )
    calibration = (
        (f"{one.low:g} to {one.high:g}", f"{one.documents:,}", f"{one.mean_score:.2f}", f"{one.mean_grade:.2f}")
        for one in found.calibration
    )
    sources = (
        (
            one.name or "(not said)",
            f"{one.documents:,}",
            f"{one.mean_grade:.2f}",
            f"{one.mean_score:.2f}",
            f"{one.good_ratio:.1%}",
        )
        for one in found.sources
    )
    return "\n\n".join(
        (
            _table(("figure", "value"), summary),
            _table(("score", "texts", "mean score", "mean grade"), calibration),
            _table(("source", "texts", "mean grade", "mean score", "called good"), sources),
        )
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
