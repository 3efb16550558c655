"""An evaluation of `language` in Markdown, as `curate classifier evaluate language` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifiers.card import between, share, table

if TYPE_CHECKING:
    from classifiers.evaluate_language import Evaluation, Some

#: Languages that are listed: those with the lowest F1.
_LANGUAGES = 20


def figures(found: Evaluation) -> str:
    """The figures over all, then tables by language, pair, length, score and source."""
    summary = [
        ("texts", f"{found.documents:,} in {found.languages:,} languages"),
        ("called right", between(found.right_ratio, found.interval)),
        ("called right, of languages that the model knows",
         f"{share(found.known_right_ratio)} of {found.known_documents:,}"),
        ("called und", share(found.undetermined_ratio)),
        ("mean F1 of the languages", share(found.mean_f1)),
        ("mean distance of score and share right", share(found.calibration_gap)),
    ]  # fmt: skip
    parts = [
        table(("figure", "value"), summary),
        _languages(found),
        table(
            ("language", "called", "texts", "share of the language", "mean score"),
            ((one.label, one.called, f"{one.documents:,}", f"{one.ratio:.1%}", share(one.mean_score))
             for one in found.confusions),
        ) if found.confusions else "",
        _parts("characters", found.lengths),
        table(
            ("score", "texts", "mean score", "called right"),
            ((f"{one.low:g} to {one.high:g}", f"{one.documents:,}", share(one.mean_score), share(one.right_ratio))
             for one in found.calibration),
        ),
        table(
            ("least score", "texts that have it", "called right of them"),
            ((f"{one.score:g}", f"{one.kept_ratio:.1%}", share(one.right_ratio)) for one in found.cuts),
        ),
        _parts("source", found.sources) if len(found.sources) > 1 else "",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _languages(found: Evaluation) -> str:
    labelled = [one for one in found.by_language if one.labelled]
    lines = table(
        ("language", "texts", "called so", "precision", "recall", "F1"),
        (
            (one.language, f"{one.labelled:,}", f"{one.called:,}", share(one.precision), share(one.recall),
             share(one.f1))
            for one in labelled[:_LANGUAGES]
        ),
    )  # fmt: skip
    if not (more := labelled[_LANGUAGES:]):
        return lines
    least = f"an F1 of {more[0].f1:.3f} or more" if more[0].f1 < 1 else "no mistake"
    return f"{lines}\n\n{len(more):,} more languages have {least}; the page of `--report` has all."


def _parts(name: str, some: tuple[Some, ...]) -> str:
    return table(
        (name, "texts", "called right", "called und"),
        (
            (one.name or "(not said)", f"{one.documents:,}", share(one.right_ratio), share(one.undetermined_ratio))
            for one in some
        ),
    )
