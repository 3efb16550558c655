"""Training a fastText model of grades from labelled texts, so that the same texts give the same file, byte for byte."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from classifiers import copies, figures, seen
from classifiers import model as models
from classifiers.evaluate import THRESHOLD, Evaluation, evaluate
from classifiers.labels import HIGHEST, Labelled, split
from classifiers.text import words
from curation.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray


class Settings(BaseModel):
    """What decides a model besides its labelled texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**31)
    dim: int = Field(16, ge=1, le=1_000)
    epochs: int = Field(5, ge=1)
    rate: float = Field(0.1, gt=0)
    #: 1: words alone; 2: pairs too, which few texts are too few to gain by (docs/classifier.md).
    ngrams: int = Field(1, ge=1, le=5)
    #: Rows for the hashes of word n-grams; more of them means fewer that share one, and a larger file.
    buckets: int = Field(30_000, ge=1)
    #: Words the model may know: those in the most texts.
    vocabulary: int = Field(20_000, ge=1)
    #: A word in fewer texts, or in fewer groups, is not learned: names and addresses go, and the jargon of one book.
    min_documents: int = Field(10, ge=1)
    min_groups: int = Field(3, ge=1)
    #: Whether the texts of the rarer of good and bad are repeated until they weigh as much as the others.
    balance: bool = False
    #: The share of the texts that is held out, in whole groups.
    held_out: float = Field(0.1, ge=0, lt=1)
    threshold: float = Field(THRESHOLD, gt=0, le=5)


#: What tuning tries, in this order, each in place of what the settings say.
TRIED: tuple[dict[str, int | float | bool], ...] = (
    {},
    {"epochs": 10},
    {"balance": True},
    {"ngrams": 2, "buckets": 200_000},
    {"dim": 32},
    {"rate": 0.3},
    {"ngrams": 2, "buckets": 200_000, "epochs": 10},
    {"min_groups": 10},
    {"epochs": 25},
    {"rate": 0.03, "epochs": 10},
    {"vocabulary": 50_000, "min_documents": 5},
    {"ngrams": 2, "buckets": 2_000_000, "epochs": 10, "dim": 32},
)
#: Texts that are few: what they teach varies with which they are.
FEW = 200
#: Of good and bad, how much more of one than of the other is said.
UNEQUAL = 10
#: How often a text is repeated at most.
_REPEATED = 20


@dataclass(frozen=True)
class Source:
    """The training texts of one source under one licence."""

    name: str
    license: str
    documents: int
    good: int


@dataclass(frozen=True)
class Try:
    """What tuning tried, and the area under the ROC curve that it got on texts kept away from it."""

    changes: dict[str, int | float | bool]
    roc_auc: float


@dataclass(frozen=True)
class Trained:
    """A model that was written, and what it was made of."""

    path: Path
    sha256: str
    bytes: int
    settings: Settings
    documents: int
    skipped: int
    words: int
    grades: dict[int, int]
    sources: tuple[Source, ...]
    warnings: tuple[str, ...]
    tried: tuple[Try, ...]
    held_out: Evaluation | None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Texts to train on: their words, by number, and what the numbers stand for."""

    rows: list[Labelled]
    words: list[NDArray[np.int32]]
    names: list[str]


def train(
    rows: list[Labelled],
    out: Path,
    settings: Settings | None = None,
    *,
    tune: float = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """A model in the file `out`, trained on all but the held-out groups, and its figures on those.

    Beside it lies what it was trained on, in hashes (`classifiers.seen`). Grades that are not whole are rounded, halves
    up. Texts without a word are skipped, exact copies count once, those with contradicting labels not at all; groups
    with near-copies of each other stay on one side. With `tune`, settings are tried for so many seconds, on a further
    part of the texts that is kept away meanwhile; the first are always those given.

    Raises `UsageError` where the labels are of one kind only or no word is frequent enough.
    """
    settings = settings or Settings()
    clean, empty, warnings = _cleaned(rows, settings)
    _check(Counter(_class(row.grade) for row in clean), settings)
    joined, more = _joined(clean, settings)
    inside, outside = split(clean, settings.held_out, settings.seed, settings.threshold, joined)
    warnings += [*more, *_doubts(inside, outside, settings)]
    tried: list[Try] = []
    if tune > 0:
        settings, tried = _tuned(inside, dict(zip(map(id, clean), joined, strict=True)), settings, tune, clock)
    prepared = _prepare(inside)
    known = _fit(prepared, out, settings)
    digest = models.digest(out)
    seen.note(out, digest, inside)
    return Trained(
        path=out,
        sha256=digest,
        bytes=out.stat().st_size,
        settings=settings,
        documents=len(inside),
        skipped=empty,
        words=known,
        grades=dict(sorted(Counter(_class(row.grade) for row in inside).items())),
        sources=tuple(_sources(inside, settings.threshold)),
        warnings=tuple(warnings),
        tried=tuple(tried),
        held_out=evaluate(out, outside, threshold=settings.threshold) if outside else None,
    )


def _class(grade: float) -> int:
    return min(int(grade + 0.5), HIGHEST)


def _cleaned(rows: list[Labelled], settings: Settings) -> tuple[list[Labelled], int, list[str]]:
    """The texts with words, each once and with one label; how many had no word, and what to warn of."""
    found: dict[int, list[Labelled]] = {}
    empty = 0
    for row in rows:
        if prepared := words(row.text):
            found.setdefault(seen.text_hash(prepared), []).append(row)
        else:
            empty += 1
    clean: list[Labelled] = []
    copied = contradicted = 0
    example = ""
    for same in found.values():
        if len({row.grade >= settings.threshold for row in same}) > 1:
            contradicted += len(same)
            example = example or " ".join(same[0].text.split())[:60]
            continue
        copied += len(same) - 1
        clean.append(replace(same[0], grade=sum(row.grade for row in same) / len(same)))
    warnings = []
    if empty:
        warnings.append(f"{empty:,} texts have no word in them, and were left out")
    if copied:
        warnings.append(f"{copied:,} texts are exact copies of others, which count once (their mean grade)")
    if contradicted:
        warnings.append(
            f"{contradicted:,} texts are labelled both good and bad, and were left out, such as {example!r}"
        )
    return clean, empty, warnings


def _joined(rows: list[Labelled], settings: Settings) -> tuple[list[str], list[str]]:
    """For each text the name of its group, the same for groups with near-copies of each other; and what to warn of."""
    cluster = copies.clusters([row.text for row in rows]).tolist()
    heads: dict[str, str] = {row.group: row.group for row in rows}

    def head(name: str) -> str:
        while heads[name] != name:
            heads[name] = heads[heads[name]]
            name = heads[name]
        return name

    for row, first in zip(rows, cluster, strict=True):
        one, other = head(row.group), head(rows[first].group)
        if one != other:
            heads[max(one, other)] = min(one, other)
    verdicts: dict[int, set[bool]] = {}
    for row, first in zip(rows, cluster, strict=True):
        verdicts.setdefault(first, set()).add(row.grade >= settings.threshold)
    contradicted = sum(len(verdicts[first]) > 1 for first in cluster)
    warnings = []
    if contradicted:
        warnings.append(
            f"{contradicted:,} texts are near-copies of texts with the other label: look at what grades them"
        )
    names = [head(row.group) for row in rows]
    before, after = len({row.group for row in rows}), len(set(names))
    if after < before:
        warnings.append(
            f"{before:,} groups are {after:,}, since some hold near-copies of each other and stay on one side"
        )
    return names, warnings


def _check(grades: Counter[int], settings: Settings) -> None:
    if not grades:
        raise UsageError(
            "no labelled text is left that has a word in it and one label",
            remedy="label texts, not numbers or symbols, and each once",
        )
    good = sum(count for grade, count in grades.items() if grade >= settings.threshold)
    if good in (0, grades.total()):
        kind = "good" if good else "bad"
        raise UsageError(
            f"all {grades.total():,} texts to train on are {kind} (threshold {settings.threshold:g})",
            remedy=f"add texts that are {'bad' if good else 'good'}: a model learns from the difference",
        )


def _doubts(inside: list[Labelled], outside: list[Labelled], settings: Settings) -> list[str]:
    """Why the model, or its figures, may be worth little."""
    warnings = []
    if len(inside) < FEW:
        warnings.append(f"only {len(inside):,} texts to train on: label some hundreds, better thousands")
    good = sum(row.grade >= settings.threshold for row in inside)
    few, many = sorted((good, len(inside) - good))
    if few and many > UNEQUAL * few and not settings.balance:
        rarer = "good" if few == good else "bad"
        warnings.append(f"{rarer} texts are one in {round(len(inside) / few):,}: balance makes both weigh the same")
    if settings.held_out and len({row.grade >= settings.threshold for row in outside}) < 2:
        warnings.append(
            "not both good and bad texts could be held out, since their groups are few or large: "
            "evaluate the model on others"
        )
    return warnings


def _sources(rows: list[Labelled], threshold: float) -> Iterator[Source]:
    """The sources, those with most texts first."""
    found: dict[tuple[str, str], list[bool]] = {}
    for row in rows:
        found.setdefault((row.source, row.license), []).append(row.grade >= threshold)
    for (name, license_name), goods in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        yield Source(name, license_name, len(goods), sum(goods))


def _tuned(
    rows: list[Labelled], joined: dict[int, str], settings: Settings, seconds: float, clock: Callable[[], float]
) -> tuple[Settings, list[Try]]:
    """The best settings of those tried in this time, and how each did."""
    names = [joined[id(row)] for row in rows]
    inside, outside = split(rows, 0.15, settings.seed + 1, settings.threshold, names)
    good = np.array([row.grade >= settings.threshold for row in outside], np.bool_)
    if not good.any() or good.all() or len({row.grade >= settings.threshold for row in inside}) < 2:
        raise UsageError(
            "tuning needs good and bad texts of several groups, to try the settings on some that were kept away",
            remedy="label texts of more sites or books, or leave tuning out",
        )
    prepared = _prepare(inside)
    texts = [row.text for row in outside]
    start = clock()
    tried: list[Try] = []
    best = settings
    with tempfile.TemporaryDirectory(prefix="tuning-") as folder:
        for number, changes in enumerate(TRIED):
            began = clock()
            changed = settings.model_copy(update=changes)
            path = Path(folder) / f"{number}.bin"
            try:
                _fit(prepared, path, changed)
            except UsageError:
                if not number:
                    raise
                continue
            area = figures.roc_auc(good, models.scores(path, texts).astype(np.float64))
            if not tried or area > max(one.roc_auc for one in tried):
                best = changed
            tried.append(Try(changes, round(area, 6)))
            if clock() - start + (clock() - began) > seconds:
                break
    return best, tried


def _prepare(rows: list[Labelled]) -> _Prepared:
    numbers: dict[str, int] = {}
    found = [np.array([numbers.setdefault(word, len(numbers)) for word in words(row.text)], np.int32) for row in rows]
    return _Prepared(rows, found, list(numbers))


def _vocabulary(prepared: _Prepared, settings: Settings) -> NDArray[np.bool_]:
    """Which words the model is to know: those in most texts, ties in the order of the alphabet."""
    groups: dict[str, int] = {}
    of_group = [groups.setdefault(row.group, len(groups)) for row in prepared.rows]
    size = len(prepared.names)
    distinct = [np.unique(text) for text in prepared.words]
    documents = np.bincount(np.concatenate(distinct), minlength=size)
    pairs = np.unique(
        np.concatenate([group * size + text.astype(np.int64) for group, text in zip(of_group, distinct, strict=True)])
    )
    frequent = (documents >= settings.min_documents) & (
        np.bincount(pairs % size, minlength=size) >= settings.min_groups
    )
    order = sorted(np.flatnonzero(frequent).tolist(), key=lambda word: (-documents[word], prepared.names[word]))
    known = np.zeros(size, np.bool_)
    known[order[: settings.vocabulary]] = True
    return known


def _fit(prepared: _Prepared, out: Path, settings: Settings) -> int:
    """Write a model; how many words it knows."""
    known = _vocabulary(prepared, settings)
    if not known.any():
        raise UsageError(
            f"no word is in {settings.min_documents} texts and {settings.min_groups} groups",
            remedy="label more texts, or lower min_documents and min_groups",
        )
    order = [place for place, times in enumerate(_repetitions(prepared.rows, settings)) for _ in range(times)]
    random.Random(settings.seed).shuffle(order)  # noqa: S311  # an order, not a secret
    _write_model(
        (
            f"{models.PREFIX}{_class(prepared.rows[place].grade)} "
            f"{' '.join([prepared.names[word] for word in text[known[text]].tolist()])}\n"
            for place in order
            if len(text := prepared.words[place])
        ),
        out,
        settings,
    )
    return int(known.sum())


def _repetitions(rows: list[Labelled], settings: Settings) -> list[int]:
    """How often each text is shown: once, or so often that good and bad weigh about the same."""
    good = [row.grade >= settings.threshold for row in rows]
    counts = Counter(good)
    most = max(counts.values())
    times = {kind: min(_REPEATED, round(most / count)) if settings.balance else 1 for kind, count in counts.items()}
    return [times[kind] for kind in good]


def _write_model(lines: Iterable[str], out: Path, settings: Settings) -> None:
    import fasttext  # noqa: PLC0415  # loaded where a model is made, not where its figures are shown

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".training-") as folder:
            text, made = Path(folder) / "train.txt", Path(folder) / "model.bin"
            with text.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
            model = fasttext.train_supervised(
                input=str(text),
                seed=settings.seed,
                dim=settings.dim,
                epoch=settings.epochs,
                lr=settings.rate,
                wordNgrams=settings.ngrams,
                bucket=settings.buckets,
                loss="softmax",
                minCount=1,
                thread=1,  # two threads race, and each run gives another model
                verbose=0,
            )
            model.save_model(str(made))
            os.replace(made, out)  # noqa: PTH105  # the name of the operation that is meant: atomic
    except OSError as error:
        raise StorageError(f"{out}: cannot be written: {error.strerror}", remedy="name another --out") from error
