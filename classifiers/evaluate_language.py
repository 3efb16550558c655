"""How often `language` names the labelled language: what `curate classifier evaluate language` finds out.

Labels are JSONL (also .gz, .zst) or Parquet with `text`, `label`, the code of a language, and optionally `source`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers import labels, language
from classifiers.model import joined
from curation.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from classifiers.figures import Bools, Floats

#: Characters at which a band of lengths begins. Words would not do: Thai and Chinese write none apart.
LENGTHS = (0, 20, 50, 100, 300, 1_000, 5_000)
#: Bins of scores, from 0 to 1.
BINS = 10
#: The least scores that a rule may ask for.
CUTS = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99)
#: Pairs of languages that are listed, most wrong texts, and their characters that are shown.
PAIRS, WRONG, SHOWN = 30, 20, 600
#: Texts in one go.
_BATCH = 1_000
#: With fewer texts a figure of a language says little.
FEW = 20

#: What others call a language of the model: the code of a macrolanguage's chief member, one withdrawn, one of no text.
ALIASES = {"nb": "no", "cmn": "zh", "arb": "ar", "fil": "tl", "iw": "he", "in": "id", "mo": "ro", "zxx": "und"}

_FORMS = 'give JSONL or Parquet with "text" and "label", the code of a language: "en"'
_CODE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class Sample:
    """A text and the language that it is in."""

    text: str
    language: str
    source: str = ""


@dataclass(frozen=True)
class LanguageFigures:
    """The texts of one language: so many are labelled so, called so, and both.

    Recall is None where none is labelled so, precision where none is called so. `mean_score` is of those labelled so.
    """

    language: str
    is_known: bool
    labelled: int
    called: int
    right: int
    precision: float | None
    recall: float | None
    f1: float
    mean_score: float | None


@dataclass(frozen=True)
class Confusion:
    """Texts of one language that are called another, and which share they are of the first."""

    label: str
    called: str
    documents: int
    ratio: float
    mean_score: float


@dataclass(frozen=True)
class Some:
    """Some of the texts: how many, and which shares of them are called right and are said to be in no language."""

    name: str
    documents: int
    right_ratio: float
    undetermined_ratio: float


@dataclass(frozen=True)
class Bin:
    """The texts whose score lies from `low` up to below `high`, the last bin's also at it; none that is `und`."""

    low: float
    high: float
    documents: int
    mean_score: float
    right_ratio: float


@dataclass(frozen=True)
class Cut:
    """Which share of the texts has so high a score or a higher one, and which share of those is called right."""

    score: float
    kept_ratio: float
    right_ratio: float | None


@dataclass(frozen=True)
class Wrong:
    """A text that is called another language than it is labelled."""

    label: str
    called: str
    score: float
    source: str
    characters: int
    text: str


@dataclass(frozen=True)
class Evaluation:
    """What `language` answers for labelled texts.

    `interval` is of `right_ratio`, of 95 %, as if each text were drawn alone. `known_right_ratio` is of the texts whose
    label the model can answer. `mean_f1` counts each labelled language once. `calibration_gap` is the mean distance
    of score and share right over the bins, each counted as often as it has texts; None where all are `und`.
    """

    version: str
    documents: int
    languages: int
    right: int
    right_ratio: float
    interval: tuple[float, float]
    known_documents: int
    known_right_ratio: float | None
    undetermined_ratio: float
    mean_f1: float
    calibration_gap: float | None
    by_language: tuple[LanguageFigures, ...]
    confusions: tuple[Confusion, ...]
    more_confusions: int
    lengths: tuple[Some, ...]
    sources: tuple[Some, ...]
    calibration: tuple[Bin, ...]
    cuts: tuple[Cut, ...]
    wrong: tuple[Wrong, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Judged:
    """The texts that an evaluation is of, what each was called, and with what score."""

    samples: list[Sample]
    called: list[str]
    scores: Floats
    right: Bools


def read(paths: Iterable[Path]) -> list[Sample]:
    """The labelled texts of files, in their order.

    A label's region or script is left out ("pt-BR" is "pt"), and `ALIASES` are followed. Raises `UsageError` where a
    file is none of the forms, and `InputError` at the first row that cannot be read, with its place.
    """
    found: list[Sample] = []
    for path in paths:
        before = len(found)
        for place, row in labels.objects(path, ("text", "label", "source"), _FORMS):
            found.append(_sample(row, place))
        if len(found) == before:
            raise InputError(f"{path}: no labelled texts in it", remedy=_FORMS)
    return found


def code(label: str) -> str | None:
    """The language that a label names, None where it has not the form of one.

    >>> code("pt_BR"), code(" EN "), code("zh-Hans"), code("nb"), code("english")
    ('pt', 'en', 'zh', 'no', None)
    """
    first = re.split("[-_]", label.strip().casefold(), maxsplit=1)[0]
    return ALIASES.get(first, first) if _CODE.fullmatch(first) else None


def judge(samples: list[Sample]) -> tuple[Evaluation, Judged]:
    """The figures, and the texts with their answers; `UsageError` where there are no texts."""
    if not samples:
        raise UsageError("no labelled texts to evaluate on", remedy="name files with labels")
    called: list[str] = []
    scores = np.empty(len(samples))
    for start in range(0, len(samples), _BATCH):
        some = samples[start : start + _BATCH]
        answers, found = language.identified(*joined(one.text for one in some))
        called += answers.to_pylist()
        scores[start : start + len(some)] = np.round(found.astype(np.float64), 4)
    right = np.array([one.language == answer for one, answer in zip(samples, called, strict=True)])
    judged = Judged(samples, called, scores, right)
    return _evaluation(judged), judged


def _evaluation(judged: Judged) -> Evaluation:
    samples, right = judged.samples, judged.right
    known = np.array([one.language in language.known() for one in samples])
    undetermined = _undetermined(judged)
    by_language = _by_language(judged)
    labelled = [one for one in by_language if one.labelled]
    confusions = _confusions(judged)
    calibration = _calibration(judged)
    answered = sum(one.documents for one in calibration)
    gap = sum(one.documents * abs(one.mean_score - one.right_ratio) for one in calibration)
    return Evaluation(
        version=language.VERSION,
        documents=len(samples),
        languages=len(labelled),
        right=int(right.sum()),
        right_ratio=float(right.mean()),
        interval=wilson(int(right.sum()), len(samples)),
        known_documents=int(known.sum()),
        known_right_ratio=float(right[known].mean()) if known.any() else None,
        undetermined_ratio=float(undetermined.mean()),
        mean_f1=math.fsum(one.f1 for one in labelled) / len(labelled),
        calibration_gap=gap / answered if answered else None,
        by_language=tuple(by_language),
        confusions=tuple(confusions[:PAIRS]),
        more_confusions=len(confusions[PAIRS:]),
        lengths=tuple(_lengths(judged)),
        sources=tuple(_sources(judged)),
        calibration=tuple(calibration),
        cuts=tuple(cut(judged, score) for score in CUTS),
        wrong=tuple(_wrong(judged)),
        warnings=tuple(_doubts(judged)),
    )


def wilson(right: int, of: int) -> tuple[float, float]:
    """Between what a share lies with 95 %, by Wilson (1927); it stays between 0 and 1 and has a width at both.

    >>> [round(end, 3) for end in wilson(9, 10)], [round(end, 3) for end in wilson(100, 100)]
    ([0.596, 0.982], [0.963, 1.0])
    """
    z = 1.959964
    share = right / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def cut(judged: Judged, score: float) -> Cut:
    """What a rule that asks for this score leaves."""
    kept = judged.scores >= score
    return Cut(score, float(kept.mean()), float(judged.right[kept].mean()) if kept.any() else None)


def _by_language(judged: Judged) -> list[LanguageFigures]:
    """Every language that a text is labelled or called: those labelled with the lowest F1 first, then the others."""
    names = np.array([one.language for one in judged.samples])
    labelled, called = Counter(names.tolist()), Counter(judged.called)
    right = Counter(names[judged.right].tolist())
    found = [
        LanguageFigures(
            language=name,
            is_known=name in language.known(),
            labelled=labelled[name],
            called=called[name],
            right=right[name],
            precision=right[name] / called[name] if called[name] else None,
            recall=right[name] / labelled[name] if labelled[name] else None,
            f1=2 * right[name] / (labelled[name] + called[name]),
            mean_score=float(judged.scores[names == name].mean()) if labelled[name] else None,
        )
        for name in {*labelled, *called}
    ]
    return sorted(found, key=lambda one: (not one.labelled, one.f1, -one.labelled, -one.called, one.language))


def _confusions(judged: Judged) -> list[Confusion]:
    """What is taken for what, the most frequent first."""
    labelled = Counter(one.language for one in judged.samples)
    scores: dict[tuple[str, str], list[float]] = {}
    for row in np.flatnonzero(~judged.right):
        pair = judged.samples[row].language, judged.called[row]
        scores.setdefault(pair, []).append(float(judged.scores[row]))
    found = [
        Confusion(label, called, len(some), len(some) / labelled[label], math.fsum(some) / len(some))
        for (label, called), some in scores.items()
    ]
    return sorted(found, key=lambda one: (-one.documents, -one.ratio, one.label, one.called))


def _lengths(judged: Judged) -> list[Some]:
    sizes = np.array([len(one.text.strip()) for one in judged.samples])
    ends = [f"{low:,} to {below - 1:,}" for low, below in pairwise(LENGTHS)] + [f"{LENGTHS[-1]:,} or more"]
    which = np.searchsorted(LENGTHS, sizes, side="right") - 1
    return [_some(judged, name, which == place) for place, name in enumerate(ends) if (which == place).any()]


def _sources(judged: Judged) -> list[Some]:
    """Each source, the most texts first."""
    names = np.array([one.source for one in judged.samples])
    found = [_some(judged, name, names == name) for name in dict.fromkeys(names.tolist())]
    return sorted(found, key=lambda one: (-one.documents, one.name))


def _some(judged: Judged, name: str, inside: Bools) -> Some:
    undetermined = _undetermined(judged)
    return Some(name, int(inside.sum()), float(judged.right[inside].mean()), float(undetermined[inside].mean()))


def _undetermined(judged: Judged) -> Bools:
    return np.array([answer == "und" for answer in judged.called])


def _calibration(judged: Judged) -> list[Bin]:
    """The texts that were given a language by their score; empty bins are left out."""
    which = np.minimum((judged.scores * BINS + 1e-9).astype(int), BINS - 1)
    which[_undetermined(judged)] = -1
    return [
        Bin(
            place / BINS, (place + 1) / BINS, int(inside.sum()), float(judged.scores[inside].mean()),
            float(judged.right[inside].mean()),
        )
        for place in range(BINS)
        if (inside := which == place).any()
    ]  # fmt: skip


def _wrong(judged: Judged) -> list[Wrong]:
    """The wrong texts of which the model is surest, each text once."""
    rows = np.flatnonzero(~judged.right)
    order = rows[np.argsort(-judged.scores[rows], kind="stable")].tolist()
    first: dict[str, int] = {}
    for row in order:
        first.setdefault(judged.samples[row].text, row)
        if len(first) == WRONG:
            break
    return [
        Wrong(
            judged.samples[row].language, judged.called[row], float(judged.scores[row]), judged.samples[row].source,
            len(text.strip()), text[:SHOWN],
        )
        for text, row in first.items()
    ]  # fmt: skip


def _doubts(judged: Judged) -> list[str]:
    """Why the figures may say little."""
    labelled = Counter(one.language for one in judged.samples)
    warnings = []
    unknown = {name: count for name, count in labelled.items() if name not in language.known()}
    if unknown:
        named = ", ".join(f"{name} ({count:,})" for name, count in sorted(unknown.items()))
        warnings.append(
            f"the model knows no language of these names, and every text of them counts as wrong: {named}; its names "
            "are ISO 639-1 codes, or ISO 639-3 where there is none of two letters"
        )
    if len(labelled) == 1:
        warnings.append("all texts are of one language: how often others are taken for it is not seen here")
    few = sum(count < FEW for count in labelled.values())
    if few:
        warnings.append(
            f"{few:,} of {len(labelled):,} languages have fewer than {FEW} texts: their own figures say little"
        )
    empty = sum(not one.text.strip() for one in judged.samples)
    if empty:
        warnings.append(f"{empty:,} texts are empty, and are called und")
    verdicts: dict[str, set[str]] = {}
    for one in judged.samples:
        verdicts.setdefault(one.text, set()).add(one.language)
    contradicted = sum(len(found) > 1 for found in verdicts.values())
    if contradicted:
        warnings.append(f"{contradicted:,} texts are labelled with two languages: no model can be right about them")
    return warnings


def _sample(row: dict[str, Any], place: str) -> Sample:
    for key in ("text", "label"):
        if not isinstance(row.get(key), str):
            there = f"got {labels.shown(row[key])}" if row.get(key) is not None else "there is none"
            raise InputError(f"{place}: {key}: expected a string, {there}", remedy=_FORMS)
    if (name := code(row["label"])) is None:
        raise InputError(
            f'{place}: label: expected the code of a language, such as "en" or "yue", got {labels.shown(row["label"])}',
            remedy='correct that label; "und" is for text in no language',
        )
    text = row["text"].encode("utf-8", "replace").decode()  # JSON may hold half of a surrogate pair
    return Sample(text, name, str(row.get("source") or ""))
