"""Labelled texts: reading them from files and folders, and splitting them into two halves that share no group.

Three forms are read, and may be mixed:

- JSONL (also .gz, .zst): an object a line, with `text`, `label`, and optionally `group`, `source`, `kind`, `license`;
- Parquet with the same columns; a row with an `error` in place of its label is passed over, so that what
  `curate classifier label` writes can be read;
- a folder with the folders `good` and `bad` (or `0` to `5`) of text files in UTF-8; a folder inside them is a group.

A label is a grade from 0 to 5, or good (5) or bad (0), or true (5) or false (0). A group (a site, a book) is what must
not stand on both sides of a split; texts without one are in a group with their exact copies alone. Source, kind (what
the text is: a lesson, a review) and licence are only reported on; without a kind a text is of the kind of its source.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curation.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

HIGHEST = 5

_NAMED: dict[object, float] = {"good": HIGHEST, "bad": 0, "true": HIGHEST, "false": 0}
_EXPECTED = "expected a number from 0 to 5, good or bad"
_UNLABELLED = 'give a text file, a folder of them, or JSONL or Parquet with "text"'
_OPTIONAL = ("group", "source", "kind", "license")
_FORMS = 'give JSONL or Parquet with "text" and "label", or a folder with the folders "good" and "bad"'


@dataclass(frozen=True)
class Labelled:
    """A text and its grade from 0 to 5."""

    text: str
    grade: float
    group: str
    source: str = ""
    kind: str = ""
    license: str = ""


def read(
    paths: Iterable[str | Path], positives: Iterable[str | Path] = (), negatives: Iterable[str | Path] = ()
) -> list[Labelled]:
    """The labelled texts of files and folders, in their order; then texts that are all good, then those all bad.

    Raises `UsageError` where a path is none of the forms, and `InputError` at the first row that cannot be read, with
    its place.
    """
    rows: list[Labelled] = []
    for given, grade in ((paths, None), (positives, HIGHEST), (negatives, 0)):
        for path in map(Path, given):
            found = list(_rows(path, grade))
            if not found:
                raise InputError(f"{path}: no labelled texts in it", remedy=_FORMS if grade is None else _UNLABELLED)
            rows += found
    if not rows:
        raise UsageError("no labelled files were named", remedy=_FORMS)
    if {row.grade for row in rows} <= {0, 1} and not negatives:
        raise UsageError(
            "every label is 0 or 1, and a number is a grade from 0 to 5",
            remedy="write good and bad, or true and false, or grades up to 5",
        )
    return rows


def objects(path: Path, columns: Iterable[str], forms: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of JSONL (also .gz, .zst) or Parquet with its place, for messages; of Parquet these columns alone.

    Raises `UsageError` with the forms that are read where the file is neither, and `InputError` where it is broken.
    """
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    with _faults(path, forms):
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder", remedy=forms)
        if name.endswith((".jsonl", ".ndjson")):
            yield from _lines(path, forms)
        elif name.endswith(".parquet"):
            yield from _table_rows(path, columns)
        else:
            raise UsageError(f"{path}: not a form of labelled texts", remedy=forms)


def split(
    rows: list[Labelled], share: float, seed: int, threshold: float, joined: list[str] | None = None
) -> tuple[list[Labelled], list[Labelled]]:
    """Training and held-out texts: about `share` of the good and of the bad, in whole groups chosen by a hash.

    A group is good if the mean of its grades reaches the threshold. One of a kind stays in training. `joined` names a
    larger group of each text, where some groups must stay together.
    """
    names = [row.group for row in rows] if joined is None else joined
    groups: dict[str, list[Labelled]] = {}
    for row, name in zip(rows, names, strict=True):
        groups.setdefault(name, []).append(row)
    held: set[str] = set()
    for good in (True, False):
        kind = [name for name, members in groups.items() if (_mean_grade(members) >= threshold) == good]
        room = share * sum(len(groups[name]) for name in kind)
        for name in sorted(kind, key=lambda name: blake2b(f"{seed}\n{name}".encode()).digest())[: len(kind) - 1]:
            if len(groups[name]) <= room:
                held.add(name)
                room -= len(groups[name])
    return (
        [row for row, name in zip(rows, names, strict=True) if name not in held],
        [row for row, name in zip(rows, names, strict=True) if name in held],
    )


def counts(rows: Iterable[Labelled]) -> dict[str, int]:
    """How many texts there are of each source, most first."""
    found = Counter(row.source for row in rows)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _mean_grade(rows: list[Labelled]) -> float:
    return math.fsum(row.grade for row in rows) / len(rows)


def _rows(path: Path, grade: float | None) -> Iterator[Labelled]:
    """The texts of a file or folder, labelled by themselves, or all with one grade."""
    forms = _FORMS if grade is None else _UNLABELLED
    with _faults(path, forms):
        if path.is_dir():
            yield from _folder(path) if grade is None else _texts(path, path, grade)
        elif path.suffix in (".txt", ".md") and path.exists() and grade is not None:
            text = path.read_text(encoding="utf-8")
            yield Labelled(text, grade, _own_group(text), path.stem, path.stem)
        else:
            for place, row in objects(path, ("text", "label", *_OPTIONAL, "error"), forms):
                if row.get("label") is None and row.get("error") is not None:  # a model was asked, and gave none
                    continue
                yield _labelled(row, place, grade, path)


@contextmanager
def _faults(path: Path, forms: str) -> Iterator[None]:
    """What reading a file raises, as the project's errors."""
    try:
        yield
    except (OSError, EOFError, zstandard.ZstdError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read: {error}", remedy=forms) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason}", remedy="save it as UTF-8") from error


def _lines(path: Path, forms: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with _open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{place}: not JSON: {error}", remedy="correct or remove that line") from error
            if not isinstance(row, dict):
                raise InputError(f"{place}: expected an object, got {shown(row)}", remedy=forms)
            yield place, row


def _table_rows(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    with pq.ParquetFile(path) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(1_024, columns=there):
            for row in batch.to_pylist():
                number += 1
                yield f"{path} row {number}", row


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if path.suffix == ".zst":
        return cast("TextIO", zstandard.open(path, "rt", encoding="utf-8"))
    return path.open(encoding="utf-8")


def _folder(path: Path) -> Iterator[Labelled]:
    for kind in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        grade = _grade(int(kind.name) if kind.name.isdecimal() else kind.name, str(kind))
        yield from _texts(kind, path, grade)


def _texts(folder: Path, of: Path, grade: float) -> Iterator[Labelled]:
    """The files of a folder; a folder inside it is a group."""
    for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        inside = file.relative_to(folder).parts
        text = file.read_text(encoding="utf-8")
        yield Labelled(text, grade, inside[0] if len(inside) > 1 else _own_group(text), of.name, of.name)


def _labelled(row: dict[str, Any], place: str, grade: float | None, path: Path) -> Labelled:
    for key in ("text", "label") if grade is None else ("text",):
        if row.get(key) is None:
            raise InputError(f'{place}: no "{key}" in it, only {", ".join(map(str, row)) or "nothing"}', remedy=_FORMS)
    if not isinstance(row["text"], str):
        raise InputError(f"{place}: text: expected a string, got {shown(row['text'])}", remedy=_FORMS)
    group = row.get("group")
    source = str(row.get("source") or ("" if grade is None else path.name.split(".")[0]))
    return Labelled(
        row["text"],
        _grade(row["label"], place) if grade is None else grade,
        _own_group(row["text"]) if group is None else str(group),
        source,
        str(row.get("kind") or source),
        str(row.get("license") or ""),
    )


def _grade(label: object, place: str) -> float:
    if isinstance(label, bool):
        return HIGHEST if label else 0
    if isinstance(label, (int, float)) and 0 <= label <= HIGHEST:
        return label
    grade = _NAMED.get(label.strip().casefold()) if isinstance(label, str) else None
    if grade is None:
        raise InputError(f"{place}: label: {_EXPECTED}, got {shown(label)}", remedy="correct that label")
    return grade


def _own_group(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def shown(value: object) -> str:
    """A value of a row as JSON, for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
