"""Labels by a person: grades of sampled documents, each on the disk before the next document is asked about.

What a person sees and which keys there are is not here: curation/cli/by_hand.py asks, and this remembers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pyarrow.parquet as pq

from classifiers import labelling
from classifiers.labels import HIGHEST
from classifiers.rubric import Document
from classifiers.text import WINDOW
from curation import schema
from curation.dataset import save
from curation.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from classifiers.rubric import Rubric

#: What a person says of a document: a grade from 0 to 5, or that it is to be passed over, that the last answer is to be
#: taken back, or that it is enough.
Said: TypeAlias = int | Literal["skip", "undo", "quit"]

#: What the column `model` says of who graded.
BY_HAND = "by hand"


def made_by(rubric: Rubric, user: str = "") -> dict[str, str]:
    """What decides labels besides the documents, as it stands in each row: who, and by which rubric.

    >>> from classifiers import rubric
    >>> made_by(rubric.load(), "ada")["model"], made_by(rubric.load())["model"]
    ('by hand: ada', 'by hand')
    """
    who = " ".join("".join(letter for letter in user if letter.isprintable()).split())
    model = f"{BY_HAND}: {who}" if who else BY_HAND
    return {"model": model, "parameters": "{}", "rubric": rubric.label, "rubric_sha256": rubric.sha256}


@dataclass
class Sheet:
    """The labels in a file, rows of `schema.LABELS` in the order in which they were given.

    Each change is on the disk when the call returns. The file is read whole and written whole, as it is small: 2,000
    documents of 6,000 characters are written in 0.1 s.
    """

    path: Path
    made: dict[str, str]
    strategy: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    _is_written: bool = True
    _seen: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path, made: dict[str, str], strategy: str) -> Sheet:
        """The sheet with what is in the file already; `UsageError` where that is labels of another maker, or none."""
        sheet = cls(path, made, strategy)
        if path.exists():
            labelling.refuse_other(labelling.read(path), path, made)
            with pq.ParquetFile(path) as file:
                if not file.schema_arrow.equals(schema.LABELS):
                    raise UsageError(
                        f"{path}: its columns are not those that labels by hand are written with",
                        remedy="name another file with --to; training takes several",
                    )
                sheet.rows = file.read().to_pylist()
            sheet._seen = _stamp(path)
        return sheet

    def add(self, document: Document, grade: int | None) -> None:
        """One more label; None for a document that was passed over, which is kept as a row that training passes over.

        Raises `ValueError` for what is no grade, and `StorageError` where the file cannot be written.
        """
        if grade is not None and not 0 <= grade <= HIGHEST:
            raise ValueError(f"{grade} is no grade from 0 to {HIGHEST}")
        error = f"{labelling.SKIPPED}: {BY_HAND}" if grade is None else None
        self.rows.append({
            "id": document.id, "source": document.source, "uri": document.uri, "group": document.group,
            "text": document.text, "label": grade, "points": None, "reason": None, "error": error, "answer": None,
            "score": document.score, "strategy": self.strategy, **self.made, "input_tokens": 0, "output_tokens": 0,
            "cost": 0.0,
        })  # fmt: skip
        self._is_written = False
        self.save()

    def take_back(self) -> dict[str, Any] | None:
        """The last row, which is in the file no more; None where there is none."""
        if not self.rows:
            return None
        row = self.rows.pop()
        self._is_written = False
        self.save()
        return row

    def save(self) -> None:
        """Write what is not written yet.

        Raises `StorageError` where the file cannot be written, or where another process has written it since.
        """
        if self._is_written:
            return
        if _stamp(self.path) != self._seen:
            raise StorageError(
                f"{self.path}: was changed by somebody else while you labelled",
                remedy="let one person at a time label into a file: name another with --to; training takes several",
            )
        save(labelling.table(self.rows), self.path)
        self._seen = _stamp(self.path)
        self._is_written = True


def label(documents: Sequence[Document], sheet: Sheet, ask: Callable[[Document | None, Sheet, int], Said]) -> None:
    """Ask about each document that has no row yet, until all have one or the person has had enough.

    `ask` is given the document, the sheet, and how many documents wait, this one included; None when none waits: a
    person may still take back what they said last. Taking back goes through the rows of earlier sessions too. Whatever
    ends this, a Ctrl-C while the file is written included, the file holds every label that was given.
    """
    by_id = {document.id: document for document in documents}
    known = {row["id"] for row in sheet.rows}
    waiting = [document for document in reversed(documents) if document.id not in known]
    try:
        while (said := ask(waiting[-1] if waiting else None, sheet, len(waiting))) != "quit":
            if said == "undo":
                if row := sheet.take_back():
                    waiting.append(by_id.get(row["id"]) or _again(row))
            elif waiting:
                sheet.add(waiting.pop(), None if said == "skip" else said)
    finally:
        sheet.save()


def _again(row: dict[str, Any]) -> Document:
    """The document of a row that is of another sample: of a long one nobody knows here how much is left out."""
    return Document(
        row["id"], row["source"], row["uri"], row["group"], row["text"], min(len(row["text"]), 3 * WINDOW), row["score"]
    )


def _stamp(path: Path) -> tuple[int, int] | None:
    """What differs when a file was changed; None where there is none."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_mtime_ns, there.st_ino
