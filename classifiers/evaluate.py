"""How well a model's scores agree with labels that it has not seen: what `curate classifier evaluate` finds out."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers import figures, reformatting, seen
from classifiers import model as models
from classifiers.figures import Bin, Ranking, ranking
from classifiers.labels import Labelled, counts
from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from classifiers.figures import Floats

#: A score or grade from here on is good.
THRESHOLD = 2.5
#: Words at which a band of lengths begins.
LENGTHS = (0, 50, 150, 500, 2_000)
#: Texts that are reformatted at most, chosen by a hash.
REFORMATTED = 5_000
#: Of the most wrong texts so many good and so many bad ones, and their characters that are shown.
WRONG, SHOWN = 10, 600
#: No kind with fewer texts is the worst pair's.
FEW = 10


@dataclass(frozen=True)
class SourceFigures:
    """The texts of one source: their mean grade and score, and how many the model calls good."""

    name: str
    documents: int
    mean_grade: float
    mean_score: float
    good_ratio: float


@dataclass(frozen=True)
class Pair:
    """The good texts of one kind against the bad ones of another; `against` is the other model's area."""

    good_kind: str
    bad_kind: str
    figures: Ranking
    against: float | None = None


@dataclass(frozen=True)
class Band:
    """The texts of at least `words` words and fewer than the next band's."""

    words: int
    below: int | None
    figures: Ranking


@dataclass(frozen=True)
class Flips:
    """What reformatting did: of `documents` texts `changed` were changed by it, and `flipped` cross the threshold.

    `to_good` of them are called good then. `mean_change` and `largest_change` are of the score.
    """

    way: str
    documents: int
    changed: int
    flipped: int
    to_good: int
    mean_change: float
    largest_change: float


@dataclass(frozen=True)
class Wrong:
    """A text whose score is far from its grade."""

    grade: float
    score: float
    kind: str
    source: str
    group: str
    words: int
    text: str


@dataclass(frozen=True)
class Rival:
    """Something else that scores the same texts: another model, or a simple baseline.

    `interval` is of this one's area; `difference` is of the model's area less this one's, both of 95 %.
    """

    name: str
    roc_auc: float | None
    average_precision: float | None
    top: tuple[float, ...]
    interval: tuple[float, float] | None
    difference: tuple[float, float] | None


@dataclass(frozen=True)
class Versus:
    """Another model on the same texts: its figures, and where the two call a text differently."""

    rival: Rival
    spearman: float | None
    differ: int
    only_ours_right: int
    only_theirs_right: int


@dataclass(frozen=True)
class Known:
    """What of the texts the model was trained on. None: nobody knows, since no file beside the model says it.

    `documents` were trained on and `left_out` of the figures; `of_groups` more are of a site or book that it knows.
    """

    documents: int | None
    left_out: int
    of_groups: int | None


@dataclass(frozen=True)
class Evaluation:
    """What a model scores on labelled texts. None is a figure that these labels cannot give.

    `precision`, `recall` and `f1` are those of "good" at the threshold; average precision and the area under the ROC
    curve (the chance that a good text scores above a bad one) need none; Spearman's correlation needs three grades.
    `is_graded` is False for a model that knows only two grades: its score is a probability that was rescaled.
    """

    model: str
    sha256: str
    is_graded: bool
    documents: int
    good: int
    groups: int
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    interval: tuple[float, float] | None
    average_precision: float | None
    top: tuple[float, ...]
    spearman: float | None
    calibration_gap: float
    calibration: tuple[Bin, ...]
    sources: tuple[SourceFigures, ...]
    pairs: tuple[Pair, ...]
    lengths: tuple[Band, ...]
    flips: tuple[Flips, ...]
    wrong: tuple[Wrong, ...]
    baselines: tuple[Rival, ...]
    versus: Versus | None
    known: Known
    warnings: tuple[str, ...]

    @property
    def worst(self) -> Pair | None:
        """The pair of kinds that the model tells apart least, of those with ten texts on each side."""
        return next((pair for pair in self.pairs if min(pair.figures.good, pair.figures.bad) >= FEW), None)


@dataclass(frozen=True, eq=False)
class Judged:
    """The texts that an evaluation is of, and what each scored."""

    rows: list[Labelled]
    grades: Floats
    scores: Floats
    against: Floats | None


def evaluate(
    path: Path,
    rows: list[Labelled],
    *,
    threshold: float = THRESHOLD,
    against: Path | None = None,
    keep_seen: bool = False,
) -> Evaluation:
    """The figures of a model on labelled texts, less those that it, or the model to compare with, was trained on.

    Raises `UsageError` where there is nothing to score.
    """
    return judge(path, rows, threshold=threshold, against=against, keep_seen=keep_seen)[0]


def judge(
    path: Path,
    rows: list[Labelled],
    *,
    threshold: float = THRESHOLD,
    against: Path | None = None,
    keep_seen: bool = False,
) -> tuple[Evaluation, Judged]:
    """`evaluate`, and the texts with their scores."""
    if not rows:
        raise UsageError("no labelled texts to evaluate on", remedy="name files with labels")
    rows, known, warnings = _unseen(path, rows, keep=keep_seen)
    if against is not None:
        rows, _, more = _unseen(against, rows, keep=keep_seen)
        warnings += more
    judged = Judged(
        rows,
        np.array([row.grade for row in rows], np.float64),
        _scores(path, rows),
        None if against is None else _scores(against, rows),
    )
    warnings += _doubts(judged, threshold)
    return _evaluation(path, judged, threshold, against, known, warnings), judged


def _scores(path: Path, rows: list[Labelled]) -> Floats:
    return models.scores(path, (row.text for row in rows)).astype(np.float64)


def _unseen(path: Path, rows: list[Labelled], *, keep: bool) -> tuple[list[Labelled], Known, list[str]]:
    """The texts that a model was not trained on, what it knows of them, and what to warn of."""
    trained_on = seen.of(path, models.digest(path))
    if trained_on is None:
        warning = (
            f"{path.name}: no {seen.place(path).name} of it lies beside it, so nobody knows whether it was trained on "
            "these texts, which would flatter it"
        )
        return rows, Known(None, 0, None), [warning]
    has, has_group = trained_on.has(rows), trained_on.has_group(rows)
    documents, of_groups = int(has.sum()), int((has_group & ~has).sum())
    warnings = []
    if documents:
        what = "which flatters the figures" if keep else "which were left out"
        warnings.append(f"{path.name} was trained on {documents:,} of the {len(rows):,} texts, {what}")
    if of_groups:
        warnings.append(
            f"{of_groups:,} more texts are of sites or books (groups) that {path.name} was trained on: "
            "what it scores elsewhere may be less"
        )
    left = rows if keep else [row for row, is_seen in zip(rows, has, strict=True) if not is_seen]
    if not left:
        raise UsageError(
            f"{path}: it was trained on all {len(rows):,} of these texts, so they say nothing about it",
            remedy="name labels that were kept away from it; --keep-seen shows the figures all the same",
        )
    return left, Known(documents, len(rows) - len(left), of_groups), warnings


def _doubts(judged: Judged, threshold: float) -> list[str]:
    """Why the figures may say little."""
    good = judged.grades >= threshold
    warnings = []
    if good.all() or not good.any():
        kind = "good" if good.all() else "bad"
        warnings.append(f"all texts are {kind} (threshold {threshold:g}): nothing says how well the two are told apart")
    elif min(good.sum(), (~good).sum()) < 50:
        warnings.append(
            f"only {good.sum():,} good and {(~good).sum():,} bad texts: other texts may give quite other figures"
        )
    empty = sum(not row.text.strip() for row in judged.rows)
    if empty:
        warnings.append(f"{empty:,} texts are empty, and score 0")
    verdicts: dict[str, set[bool]] = {}
    for row, is_good in zip(judged.rows, good.tolist(), strict=True):
        verdicts.setdefault(row.text, set()).add(is_good)
    contradicted = sum(len(found) > 1 for found in verdicts.values())
    if contradicted:
        warnings.append(f"{contradicted:,} texts are labelled both good and bad: no model can be right about them")
    return warnings


def _evaluation(
    path: Path, judged: Judged, threshold: float, against: Path | None, known: Known, warnings: list[str]
) -> Evaluation:
    rows, grades, scores = judged.rows, judged.grades, judged.scores
    good, called = grades >= threshold, scores >= threshold
    hits = int((good & called).sum())
    recall = hits / int(good.sum()) if good.any() else None
    overall = ranking(grades, scores, threshold)
    rivals = _rivals(judged, good, against)
    versus = _versus(judged, good, threshold, rivals[0]) if against is not None else None
    return Evaluation(
        model=path.name,
        sha256=models.digest(path),
        is_graded=len(np.unique(models.load(str(path)).worth)) > 2,
        documents=len(rows),
        good=int(good.sum()),
        groups=len({row.group for row in rows}),
        threshold=threshold,
        precision=hits / int(called.sum()) if called.any() else None,
        recall=recall,
        f1=None if recall is None else 2 * hits / int(good.sum() + called.sum()),
        roc_auc=overall.roc_auc,
        interval=figures.intervals(good, [scores], _numbered([row.group for row in rows]))[0],
        average_precision=overall.average_precision,
        top=overall.top,
        spearman=figures.spearman(grades, scores) if len(np.unique(grades)) > 2 else None,
        calibration_gap=overall.calibration_gap,
        calibration=tuple(figures.bins(grades, scores, threshold)),
        sources=tuple(_sources(rows, grades, scores, threshold)),
        pairs=tuple(_pairs(judged, threshold)),
        lengths=tuple(_lengths(judged, threshold)),
        flips=tuple(_flips(path, judged, threshold)),
        wrong=tuple(_wrong(judged, threshold)),
        baselines=tuple(rivals[against is not None :]),
        versus=versus,
        known=known,
        warnings=tuple(warnings),
    )


def _sources(rows: list[Labelled], grades: Floats, scores: Floats, threshold: float) -> list[SourceFigures]:
    names = np.array([row.source for row in rows])
    found = []
    for name, documents in counts(rows).items():
        inside = names == name
        mean_grade, mean_score = float(grades[inside].mean()), float(scores[inside].mean())
        found.append(
            SourceFigures(name, documents, mean_grade, mean_score, float((scores[inside] >= threshold).mean()))
        )
    return sorted(found, key=lambda one: (-one.mean_grade, one.name))


def _pairs(judged: Judged, threshold: float) -> list[Pair]:
    """Every kind that has good texts with every kind that has bad ones, those told apart least first."""
    kinds = np.array([row.kind for row in judged.rows])
    good = judged.grades >= threshold
    found = []
    for mine in sorted(set(kinds[good].tolist())):
        for other in sorted(set(kinds[~good].tolist())):
            inside = ((kinds == mine) & good) | ((kinds == other) & ~good)
            area = None if judged.against is None else figures.roc_auc(good[inside], judged.against[inside])
            found.append(Pair(mine, other, ranking(judged.grades[inside], judged.scores[inside], threshold), area))
    return sorted(found, key=lambda pair: (pair.figures.roc_auc, pair.good_kind, pair.bad_kind))


def _lengths(judged: Judged, threshold: float) -> list[Band]:
    sizes = np.array([len(row.text.split()) for row in judged.rows])
    found = []
    for low, below in zip(LENGTHS, [*LENGTHS[1:], None], strict=True):
        inside = (sizes >= low) & (sizes < (below or np.inf))
        if inside.any():
            found.append(Band(low, below, ranking(judged.grades[inside], judged.scores[inside], threshold)))
    return found


def _flips(path: Path, judged: Judged, threshold: float) -> list[Flips]:
    """What each way of reformatting does to some of the texts."""
    order = sorted(
        range(len(judged.rows)), key=lambda row: blake2b(judged.rows[row].text.encode("utf-8", "replace")).digest()
    )
    chosen = np.array(sorted(order[:REFORMATTED]))
    texts = [judged.rows[row].text for row in chosen]
    before = judged.scores[chosen]
    found = []
    for name, way in reformatting.WAYS.items():
        others = [way(text) for text in texts]
        after = models.scores(path, others).astype(np.float64)
        flipped = (before >= threshold) != (after >= threshold)
        change = np.abs(after - before)
        found.append(
            Flips(
                way=name,
                documents=len(texts),
                changed=sum(one != other for one, other in zip(texts, others, strict=True)),
                flipped=int(flipped.sum()),
                to_good=int((flipped & (after >= threshold)).sum()),
                mean_change=float(change.mean()),
                largest_change=float(change.max()),
            )
        )
    return found


def _wrong(judged: Judged, threshold: float) -> list[Wrong]:
    """The good texts with the lowest scores, then the bad ones with the highest, each text once."""
    found = []
    for is_good in (True, False):
        rows = np.flatnonzero((judged.grades >= threshold) == is_good)
        order = rows[np.argsort(judged.scores[rows] * (1 if is_good else -1), kind="stable")]
        texts = dict.fromkeys(judged.rows[row].text for row in order[: 20 * WRONG])
        first = {judged.rows[row].text: int(row) for row in order[: 20 * WRONG][::-1]}
        for text in list(texts)[:WRONG]:
            score, row = float(judged.scores[first[text]]), judged.rows[first[text]]
            if (score >= threshold) != is_good:
                found.append(Wrong(row.grade, score, row.kind, row.source, row.group, len(text.split()), text[:SHOWN]))
    return found


def _rivals(judged: Judged, good: Any, against: Path | None) -> list[Rival]:
    """The other model, if there is one, then the baselines."""
    sizes = [row.text.split() for row in judged.rows]
    others: dict[str, Floats] = {} if against is None or judged.against is None else {against.name: judged.against}
    others["longer texts first (words)"] = np.array([len(words) for words in sizes], np.float64)
    others["longer words first (mean characters)"] = np.array(
        [sum(map(len, words)) / len(words) if words else 0 for words in sizes], np.float64
    )
    groups = _numbered([row.group for row in judged.rows])
    both = bool(good.any() and not good.all())
    found = []
    for name, scores in others.items():
        _, own, difference = figures.intervals(good, [judged.scores, scores], groups)
        found.append(
            Rival(
                name=name,
                roc_auc=figures.roc_auc(good, scores) if both else None,
                average_precision=figures.average_precision(good, scores) if both else None,
                top=tuple(figures.precision_at(good, scores, share) for share in figures.TOP),
                interval=own,
                difference=difference,
            )
        )
    return found


def _versus(judged: Judged, good: Any, threshold: float, rival: Rival) -> Versus | None:
    if judged.against is None:
        return None
    ours, theirs = (judged.scores >= threshold) == good, (judged.against >= threshold) == good
    return Versus(
        rival=rival,
        spearman=figures.spearman(judged.scores, judged.against),
        differ=int((ours != theirs).sum()),
        only_ours_right=int((ours & ~theirs).sum()),
        only_theirs_right=int((theirs & ~ours).sum()),
    )


def _numbered(names: Sequence[str]) -> Any:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)
