"""Training a fastText model of grades from labelled texts, so that the same texts give the same file, byte for byte."""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from classifiers import model as models
from classifiers.evaluate import THRESHOLD, Evaluation, evaluate
from classifiers.labels import HIGHEST, Labelled, counts, split
from classifiers.text import words
from curation.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Settings(BaseModel):
    """What decides a model besides its labelled texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**31)
    dim: int = Field(16, ge=1, le=1_000)
    epochs: int = Field(5, ge=1)
    rate: float = Field(0.1, gt=0)
    #: 1: words alone; 2: pairs too, which 24,000 passages were too few to gain by (docs/classifier.md).
    ngrams: int = Field(1, ge=1, le=5)
    #: Rows for the hashes of word n-grams; more of them means fewer that share one, and a larger file.
    buckets: int = Field(30_000, ge=1)
    #: Words the model may know: those in the most texts.
    vocabulary: int = Field(20_000, ge=1)
    #: A word in fewer texts, or in fewer groups, is not learned: names and addresses go, and the jargon of one book.
    min_documents: int = Field(10, ge=1)
    min_groups: int = Field(3, ge=1)
    #: The share of the texts that is held out, in whole groups.
    held_out: float = Field(0.1, ge=0, lt=1)
    threshold: float = Field(THRESHOLD, gt=0, le=5)


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
    sources: dict[str, int]
    held_out: Evaluation | None


def train(rows: list[Labelled], out: Path, settings: Settings | None = None) -> Trained:
    """A model in the file `out`, trained on all but the held-out groups, and its figures on those.

    Grades that are not whole are rounded, halves up. Texts without a word are skipped.
    Raises `UsageError` where the labels are of one kind only or no word is frequent enough.
    """
    settings = settings or Settings()
    inside, outside = split(rows, settings.held_out, settings.seed, settings.threshold)
    prepared = [(words(row.text), row) for row in inside]
    prepared = [(text, row) for text, row in prepared if text]
    grades = Counter(_class(row.grade) for _, row in prepared)
    _check(grades, settings)
    vocabulary = _vocabulary(prepared, settings)
    if not vocabulary:
        raise UsageError(
            f"no word is in {settings.min_documents} texts and {settings.min_groups} groups",
            remedy="label more texts, or lower min_documents and min_groups",
        )
    random.Random(settings.seed).shuffle(prepared)  # noqa: S311  # an order, not a secret
    _fit(
        (
            f"{models.PREFIX}{_class(row.grade)} {' '.join(word for word in text if word in vocabulary)}\n"
            for text, row in prepared
        ),
        out,
        settings,
    )
    return Trained(
        path=out,
        sha256=models.digest(out),
        bytes=out.stat().st_size,
        settings=settings,
        documents=len(prepared),
        skipped=len(inside) - len(prepared),
        words=len(vocabulary),
        grades=dict(sorted(grades.items())),
        sources=counts(row for _, row in prepared),
        held_out=evaluate(out, outside, threshold=settings.threshold) if outside else None,
    )


def _class(grade: float) -> int:
    return min(int(grade + 0.5), HIGHEST)


def _check(grades: Counter[int], settings: Settings) -> None:
    if not grades:
        raise UsageError("no labelled text has a word in it", remedy="label texts, not numbers or symbols")
    good = sum(count for grade, count in grades.items() if grade >= settings.threshold)
    if good in (0, grades.total()):
        kind = "good" if good else "bad"
        raise UsageError(
            f"all {grades.total():,} texts to train on are {kind} (threshold {settings.threshold:g})",
            remedy=f"add texts that are {'bad' if good else 'good'}: a model learns from the difference",
        )


def _vocabulary(prepared: list[tuple[list[str], Labelled]], settings: Settings) -> frozenset[str]:
    """The words in most texts, ties in the order of the alphabet."""
    documents: Counter[str] = Counter()
    groups: dict[str, set[str]] = {}
    for text, row in prepared:
        for word in set(text):
            documents[word] += 1
            held = groups.setdefault(word, set())
            if len(held) < settings.min_groups:
                held.add(row.group)
    frequent = [
        word
        for word, count in documents.items()
        if count >= settings.min_documents and len(groups[word]) >= settings.min_groups
    ]
    return frozenset(sorted(frequent, key=lambda word: (-documents[word], word))[: settings.vocabulary])


def _fit(lines: Iterable[str], out: Path, settings: Settings) -> None:
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
    except RuntimeError as error:
        raise UsageError(f"training failed: {error}", remedy=f"lower the rate, now {settings.rate:g}") from error
