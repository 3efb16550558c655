"""The card of a model: what it was made of, what it scores where it was not trained, and what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifiers.figures import TOP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from classifiers.evaluate import Evaluation
    from classifiers.figures import Ranking
    from classifiers.train import Trained

_WHAT = """
A fastText model that gives a text a score from 0 (teaches nothing) to 5 (a good textbook): the expectation of the
grades it knows. It sees words alone; layout, punctuation, case and numerals are taken away before.
"""
RESCALED = """
It was trained on good and bad texts, not on grades between, so the score is **five times the probability of good: a
rescaled probability, not a grade of the rubric**. What transfers to other documents is the order of the scores: a rule
on `education_rank`, the place within the corpus.
"""
GRADED = """
It was trained on grades between 0 and 5 too, so the score estimates such a grade; the calibration below says how well.
"""
_NO_FIGURES = "There are none: evaluate it before you rely on it, with `curate classifier evaluate`."
_NO_LIMITS = "Nobody has written them down yet."
#: Pairs of kinds that are listed: those told apart least.
_PAIRS = 15


def card(
    trained: Trained,
    unseen: Evaluation | None = None,
    *,
    name: str,
    command: str,
    made_at: date,
    data: str = "",
    limits: str = "",
    more: Mapping[str, Evaluation] | None = None,
) -> str:
    """The card in Markdown.

    `unseen` are the figures on sources that are in the training data in no form; `data` says where the texts are from
    and under which licences, `limits` what the model gets wrong; both are Markdown. `more`: other figures, by heading.
    """
    settings = ", ".join(f"{key} {value}" for key, value in trained.settings.model_dump().items())
    grades = ", ".join(f"{count:,} of grade {grade}" for grade, count in trained.grades.items())
    size = f"{trained.documents:,} texts: {grades}. {trained.words:,} words. Left out without one: {trained.skipped:,}."
    notes = "\n".join(f"- {warning}" for warning in trained.warnings)
    parts = [
        f"# {name}",
        _WHAT,
        GRADED if len(trained.grades) > 2 else RESCALED,
        table(
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
        table(
            ("source", "licence", "texts", "of them good"),
            (
                (one.name or "(not said)", one.license or "(not said)", f"{one.documents:,}", f"{one.good:,}")
                for one in trained.sources
            ),
        ),
        notes and f"What was noticed:\n\n{notes}",
        _tried(trained),
        *_held_out(trained, unseen),
        "## On sources it was not trained on",
        figures(unseen) if unseen else _NO_FIGURES,
        *(part for heading, found in (more or {}).items() for part in (f"## {heading}", figures(found))),
        "## Limits",
        limits or _NO_LIMITS,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _held_out(trained: Trained, unseen: Evaluation | None) -> tuple[str, ...]:
    """The figures on held-out groups; nothing where the others are there and nothing was held out."""
    if trained.held_out is None and unseen is not None:
        return ()
    heading = "## On held-out groups of the same sources"
    return (heading, figures(trained.held_out) if trained.held_out else _NO_FIGURES)


def _tried(trained: Trained) -> str:
    if not trained.tried:
        return ""
    rows = (
        (", ".join(f"{key} {value}" for key, value in one.changes.items()) or "as given", share(one.roc_auc))
        for one in trained.tried
    )
    return (
        "Settings that were tried, with the area under the ROC curve on a further part of the training texts; of the"
        " best ones the first were taken.\n\n" + table(("changed", "area"), rows)
    )


def figures(found: Evaluation) -> str:
    """An evaluation in Markdown: its figures, then tables by score, source, kinds, length and form."""
    scale = "" if found.is_graded else " (the score is a rescaled probability, the gap is not one of grades)"
    grade = f" (grade {found.threshold:g} or more)"
    summary = [
        ("texts", f"{found.documents:,} in {found.groups:,} groups, {found.good:,} of them good{grade}"),
        ("area under the ROC curve", between(found.roc_auc, found.interval)),
        ("average precision", share(found.average_precision)),
        ("good among the top 5, 10, 20 %", tops(found.top)),
        ("precision, recall, F1 of good", " / ".join(map(share, (found.precision, found.recall, found.f1)))),
        ("Spearman's correlation with the grade", share(found.spearman)),
        ("mean distance of score and grade", f"{found.calibration_gap:.2f}{scale}"),
    ]  # fmt: skip
    if found.known.documents:
        summary.append(("trained on, and left out here", f"{found.known.left_out:,} texts"))
    if found.worst:
        worst = f"{found.worst.good_kind} / {found.worst.bad_kind}"
        summary.append(("worst pair of kinds", f"{share(found.worst.figures.roc_auc)}: {worst}"))
    if found.flips:
        flipped = max(found.flips, key=lambda one: one.flipped)
        rate = flipped.flipped / flipped.documents
        summary.append(("verdicts flipped by reformatting", f"{rate:.1%} at most: {flipped.way}"))
    parts = [
        table(("figure", "value"), summary),
        table(
            ("score", "texts", "mean score", "mean grade", "good"),
            (
                (f"{one.low:g} to {one.high:g}", f"{one.documents:,}", f"{one.mean_score:.2f}",
                 f"{one.mean_grade:.2f}", f"{one.good_ratio:.1%}")
                for one in found.calibration
            ),
        ),
        table(
            ("source", "texts", "mean grade", "mean score", "called good"),
            (
                (one.name or "(not said)", f"{one.documents:,}", f"{one.mean_grade:.2f}", f"{one.mean_score:.2f}",
                 f"{one.good_ratio:.1%}")
                for one in found.sources
            ),
        ),
        _kinds(found),
        table(
            ("words", *_RANKING),
            (
                (f"{one.words:,} or more" if one.below is None else f"{one.words:,} to {one.below - 1:,}",
                 *_ranking(one.figures))
                for one in found.lengths
            ),
        ),
        table(
            ("reformatted", "texts", "changed", "flipped", "to good", "mean change", "largest"),
            (
                (one.way, f"{one.documents:,}", f"{one.changed:,}",
                 f"{one.flipped:,} ({one.flipped / one.documents:.1%})", f"{one.to_good:,}",
                 f"{one.mean_change:.3f}", f"{one.largest_change:.2f}")
                for one in found.flips
            ),
        ),
        _rivals(found),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _kinds(found: Evaluation) -> str:
    if not found.pairs:
        return ""
    shown = found.pairs[:_PAIRS]
    more = len(found.pairs) - len(shown)
    head = ("good kind", "bad kind", *_RANKING, *(("the other's area",) if found.versus else ()))
    rows = (
        (pair.good_kind or "(not said)", pair.bad_kind or "(not said)", *_ranking(pair.figures),
         *((share(pair.against),) if found.versus else ()))
        for pair in shown
    )  # fmt: skip
    tail = f"\n\n{more:,} more pairs are told apart better; the page of `--report` has all." if more else ""
    return table(head, rows) + tail


def _rivals(found: Evaluation) -> str:
    rivals = [*([found.versus.rival] if found.versus else []), *found.baselines]
    compared = table(
        ("other score", "area under the ROC curve", "average precision", "top 5, 10, 20 %", "the model has more by"),
        (
            (one.name, between(one.roc_auc, one.interval), share(one.average_precision), tops(one.top),
             "-" if one.difference is None else f"{one.difference[0]:.3f} to {one.difference[1]:.3f}")
            for one in rivals
        ),
    )  # fmt: skip
    if not found.versus:
        return compared
    return f"{compared}\n\n{versus(found)}"


def versus(found: Evaluation) -> str:
    """How the verdicts of two models differ, in a sentence."""
    if not (other := found.versus):
        return ""
    alike = "" if other.spearman is None else f"; rank correlation of the scores {other.spearman:.3f}"
    return (
        f"{found.model} and {other.rival.name} call {other.differ:,} of {found.documents:,} texts differently: in "
        f"{other.only_ours_right:,} {found.model} is right, in {other.only_theirs_right:,} {other.rival.name}{alike}."
    )


_RANKING = ("good", "bad", "area", "average precision", "top 5, 10, 20 %", "calibration gap")


def _ranking(one: Ranking) -> tuple[str, ...]:
    return (
        f"{one.good:,}", f"{one.bad:,}", share(one.roc_auc), share(one.average_precision), tops(one.top),
        f"{one.calibration_gap:.2f}",
    )  # fmt: skip


def tops(values: tuple[float, ...]) -> str:
    """The precision at each share of `figures.TOP`.

    >>> tops((1.0, 0.95, 0.5))
    '1.000 / 0.950 / 0.500'
    """
    return " / ".join(map(share, values[: len(TOP)]))


def between(value: float | None, interval: tuple[float, float] | None) -> str:
    """A figure with its interval.

    >>> between(0.9, (0.8, 0.95)), between(None, None)
    ('0.900 (0.800 to 0.950)', '-')
    """
    return share(value) + ("" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})")


def share(value: float | None) -> str:
    """A figure from 0 to 1, or a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown, whose cells stay cells whatever is in them."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """A cell that stays one: names come from labels files, which anyone may have written."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
