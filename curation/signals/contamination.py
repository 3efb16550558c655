"""Benchmark items that stand in a document: which, where, and how much of the document they are.

The rule, which docs/decontamination.md explains: text is a stream of words, runs of letters and numbers without case,
accents, punctuation and HTML references. A passage is an item's question; its question and answers, where the question
says too little alone; and each long answer. What many items share is no evidence. A passage of `LONG` words of
evidence or more is found where at least `SHARE` of them stand in order, a shorter one where all of them do.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from xxhash import xxh3_128_hexdigest

from curation import kernels
from curation.errors import UsageError
from curation.schema import SPANS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from curation.signals.batch import Batch

COLUMNS = {
    "contamination_ratio": pa.float32(),
    "is_contaminated": pa.bool_(),
    "contamination_item_count": pa.int32(),
    "contamination_items": pa.list_(pa.string()),
    "contamination": SPANS,
}

#: A recipe that does not give this key does without the signal.
NEEDS = "benchmarks"
#: Words of evidence that make a passage long, and the share of them that must be found; of fewer, all.
LONG, SHARE = 13, 0.9
#: Fewer words of evidence are looked for nowhere; an answer alone needs more.
LEAST, LEAST_OF_ANSWER = 5, 25
#: A seed that more items have is what they are written with, and no evidence.
COMMON = 8
#: Words of a passage that are looked at.
LONGEST = 1024
#: Places of a seed in one passage that are looked at.
REPEATED = 4
#: Ids of items that a document's list holds at most.
MOST_ITEMS = 100
#: The fields of an item that hold its question, of which the first that it has counts; those that hold answers, of
#: which all count; and those that hold its name.
QUESTIONS = ("question", "text", "prompt", "problem", "query", "ctx", "sentence", "input")
ANSWERS = ("choices", "options", "answer", "solution", "canonical_solution", "completion", "target", "output")
NAMES = ("id", "task_id", "question_id", "qid")

_SUFFIXES = ".jsonl, .jsonl.gz, .parquet, .txt, .txt.gz"


class Settings(BaseModel):
    """The keys of `[signals.contamination]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmarks: tuple[str, ...] = Field((), description=f"paths or globs of files of items ({_SUFFIXES})")
    question_fields: tuple[str, ...] = Field(QUESTIONS, description="the first of these is an item's question")
    answer_fields: tuple[str, ...] = Field(ANSWERS, description="all of these are an item's answers")

    @field_validator("benchmarks")
    @classmethod
    def _placed(cls, paths: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Relative paths are taken from the folder `base` of the validation's context, else from the current one."""
        base = Path((info.context or {}).get("base") or ".")
        return tuple(str((base / Path(path).expanduser()).absolute()) for path in paths)


@dataclass(frozen=True)
class Item:
    """One item of a benchmark; its name is FILE:ID, FILE without its endings."""

    name: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Contamination:
    """The signal with its benchmarks; small to send to another process, which reads them itself."""

    files: tuple[tuple[str, str], ...]  # path and digest of each
    fields: tuple[tuple[str, ...], tuple[str, ...]]  # of questions, of answers
    VERSION: str

    COLUMNS: ClassVar[Mapping[str, pa.DataType]] = COLUMNS

    def measure(self, batch: Batch) -> dict[str, Any]:
        """The columns for each text."""
        return find(_index_of(self.files, self.fields), batch)

    def items(self) -> tuple[Item, ...]:
        """The items of all the benchmarks."""
        return _items_of(self.files, self.fields)


def load(settings: Settings) -> Contamination:
    """The signal for these settings; `UsageError` if a benchmark is not there or cannot be read.

    Its version holds a digest of the benchmarks' names and content: in another folder they are the same.
    """
    fields = (settings.question_fields, settings.answer_fields)
    files = tuple((path, xxh3_128_hexdigest(_raw(path))) for path in _paths(settings.benchmarks))
    _items_of(files, fields)  # read now, so that what is wrong in them is said before anything else is read
    if not files:
        return Contamination((), fields, "1")
    state = json.dumps([sorted((_stem(path), digest) for path, digest in files), fields])
    return Contamination(files, fields, f"1+{xxh3_128_hexdigest(state.encode())[:16]}")


# Items


def _paths(benchmarks: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for pattern in benchmarks:
        paths = sorted(map(str, Path("/").glob(pattern.lstrip("/")))) if has_magic(pattern) else [pattern]
        paths = [path for path in paths if Path(path).is_file()]
        if not paths:
            raise UsageError(f"{pattern}: there is no such benchmark", remedy="see signals.contamination.benchmarks")
        found |= dict.fromkeys(paths)
    return list(found)


def _raw(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _stem(path: str) -> str:
    return Path(path).name.partition(".")[0]


@lru_cache(maxsize=2)
def _items_of(files: tuple[tuple[str, str], ...], fields: tuple[tuple[str, ...], tuple[str, ...]]) -> tuple[Item, ...]:
    return tuple(item for path, _ in files for item in _items_in(path, *fields))


def _items_in(path: str, questions: Sequence[str], answers: Sequence[str]) -> Iterator[Item]:
    """The items of a file that have a question; `UsageError` if none has."""
    number = 0
    keys: set[str] = set()
    for line, record in _records(path):
        keys |= record.keys()
        question = next((" ".join(_strings(record[field])) for field in questions if record.get(field)), "")
        if not question:
            continue
        number += 1
        name = next((record[field] for field in NAMES if isinstance(record.get(field), str | int)), line)
        said = tuple(text for field in answers if field in record for text in _strings(record[field]))
        yield Item(f"{_stem(path)}:{name}", question, said)
    if not number:
        raise UsageError(
            f"{path}: no item has a question in {', '.join(questions)}; there are {', '.join(sorted(keys))}",
            remedy="name the field: question_fields in [signals.contamination]",
        )


def _records(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file with their numbers from 1; a line of plain text is a record whose `text` it is."""
    kind = Path(path.removesuffix(".gz")).suffix
    if kind == ".parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415  # only where it is asked for

        try:
            yield from enumerate(pq.read_table(path).to_pylist(), 1)
        except pa.ArrowException as error:
            raise UsageError(f"{path}: cannot be read as Parquet: {error}") from error
        return
    if kind not in (".jsonl", ".txt"):
        raise UsageError(f"{path}: what is in it?", remedy=f"benchmarks are files {_SUFFIXES}")
    try:
        raw = _raw(path)
        lines = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode("utf-8-sig").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line) if kind == ".jsonl" else {"text": line}
        except ValueError as error:
            raise UsageError(f"{path}:{number}: no JSON: {error}") from error
        if not isinstance(record, dict):
            raise UsageError(f"{path}:{number}: expected an object, got {line[:40].strip()!r}")
        yield number, record


def _strings(value: Any) -> Iterator[str]:
    """The texts in a value, however deep; a single letter, as which of the choices is right, is none."""
    if isinstance(value, str):
        if len(value.strip()) > 1:
            yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)


# The index


@dataclass(frozen=True)
class Index:
    """Passages to look for: what `kernels.contamination.search` needs of them, and whose they are."""

    names: NDArray[np.object_]  # of the items
    item_of: NDArray[np.int64]  # the item of each passage
    arrays: tuple[NDArray[Any], ...]

    @property
    def looked_for(self) -> int:
        """How many items have a passage with evidence enough."""
        passages = self.arrays[7][self.arrays[3]]
        return len(np.unique(self.item_of[passages]))


@lru_cache(maxsize=1)
def _index_of(files: tuple[tuple[str, str], ...], fields: tuple[tuple[str, ...], tuple[str, ...]]) -> Index:
    return index(_items_of(files, fields))


@dataclass(frozen=True)
class _Words:
    """The words of some texts, in one stream; `ends` has where each text's end."""

    words: NDArray[np.uint64]
    sizes: NDArray[np.int32]
    seeds: NDArray[np.uint64]
    ends: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many words each text has."""
        return np.diff(self.ends, prepend=0)

    @property
    def texts(self) -> NDArray[np.int64]:
        """The text of each word."""
        return np.repeat(np.arange(len(self.ends)), self.counts)


def _words(texts: Sequence[str]) -> _Words:
    raw = [text.encode("utf-8", "replace") for text in texts]
    data = np.frombuffer(b"".join(raw), np.uint8)
    bounds = np.concatenate([[0], np.cumsum([len(text) for text in raw], dtype=np.int64)]).astype(np.int64)
    words, sizes, seeds = np.empty(len(data), np.uint64), np.empty(len(data), np.int32), np.empty(len(data), np.uint64)
    ends = np.empty(len(raw), np.int64)
    table = kernels.contamination.stream()
    number = kernels.contamination.words_of(data, bounds, table, words, sizes, seeds, ends)
    return _Words(words[:number], sizes[:number], seeds[:number], ends)


def index(items: Sequence[Item]) -> Index:
    """The passages of these items."""
    texts = [text for item in items for text in (item.question, *item.answers)]
    owners = np.repeat(np.arange(len(items)), [1 + len(item.answers) for item in items])
    said = _words(texts)
    common = _common(said, owners)
    told = _summed(_evidence(said, common), said.ends).tolist()
    passages, item_of, spacious, row = [], [], [], 0
    for number, item in enumerate(items):
        alone = told[row] >= LEAST
        passages.append(item.question if alone else "\n".join([item.question, *item.answers]))
        long = [text for text, words in zip(item.answers, told[row + 1 :], strict=False) if words >= LEAST_OF_ANSWER]
        passages += long
        item_of += [number] * (1 + len(long))
        spacious += [not alone] + [True] * len(long)
        row += 1 + len(item.answers)
    names = np.array([item.name for item in items], np.object_)
    return _indexed(_words(passages), common, names, np.array(item_of, np.int64), np.array(spacious, np.bool_))


def _common(said: _Words, owners: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The seeds that more than `COMMON` items have, sorted."""
    pairs = np.stack([said.seeds, owners[said.texts].astype(np.uint64)])[:, said.seeds != 0]
    seeds, counts = np.unique(np.unique(pairs, axis=1)[0], return_counts=True)
    return seeds[counts > COMMON]


def _evidence(said: _Words, common: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """1 for each word that no common seed covers."""
    covered = np.zeros(len(said.words), np.bool_)
    starts = np.flatnonzero(np.isin(said.seeds, common))
    for place in range(kernels.contamination.SEED):
        covered[starts + place] = True
    return (~covered).astype(np.uint8)


def _summed(values: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of the values of each text."""
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return sums[ends] - sums[np.concatenate([[0], ends[:-1]])] if len(ends) else np.zeros(0, np.int64)


def _indexed(
    said: _Words,
    common: NDArray[np.uint64],
    names: NDArray[np.object_],
    item_of: NDArray[np.int64],
    spacious: NDArray[np.bool_],
) -> Index:
    seed = kernels.contamination.SEED
    evidence = _evidence(said, common)
    bounds = np.concatenate([[0], said.ends]).astype(np.int64)
    place_in = np.arange(len(said.words)) - bounds[said.texts]
    evidence[place_in >= LONGEST] = 0
    told = _summed(evidence, said.ends)
    words = np.minimum(said.counts, LONGEST)
    long = told >= LONG
    share = np.where(long, SHARE, 1.0)
    room = np.where(long | spacious, 2 * words, words + words // 8)
    need = np.stack([np.ceil(words * share), np.ceil(told * share), room], axis=1)
    enough = (told >= LEAST)[said.texts]
    use = enough & (said.seeds != 0) & (place_in <= LONGEST - seed) & ~np.isin(said.seeds, common)
    places = np.flatnonzero(use)
    windows = np.sort(said.words[places[:, None] + np.arange(seed)], axis=1)
    places = places[(np.diff(windows, axis=1) != 0).sum(axis=1) >= 2]  # "0 0 0 0 0" is found in any table
    order = np.argsort(said.seeds[places], kind="stable")
    places = places[order]
    seeds = said.seeds[places]
    # a seed that a passage repeats is one of its first places alone
    repeated = np.zeros(len(places), np.bool_)
    if len(places) > REPEATED:
        repeated[REPEATED:] = (seeds[REPEATED:] == seeds[:-REPEATED]) & (
            said.texts[places[REPEATED:]] == said.texts[places[:-REPEATED]]
        )
    places, seeds = places[~repeated], seeds[~repeated]
    bits = max(6, (8 * len(seeds)).bit_length())
    there = np.zeros(1 << bits, np.bool_)
    there[(seeds & np.uint64((1 << bits) - 1)).astype(np.int64)] = True
    high = max(1, len(seeds).bit_length())
    first = np.searchsorted(seeds, np.arange(1 << high, dtype=np.uint64) << np.uint64(64 - high))
    arrays = (
        np.packbits(there, bitorder="little").view(np.uint64), np.append(first, len(seeds)).astype(np.int32),
        seeds, places.astype(np.int32),
        said.words, said.sizes, evidence, said.texts.astype(np.int32), bounds, need.astype(np.int32),
    )  # fmt: skip
    return Index(names, item_of, arrays)


# Matches


def find(known: Index, batch: Batch) -> dict[str, Any]:
    """The columns for each text: which of the items stand in it, and where."""
    matches, words = _matches(known, batch)
    rows = len(batch)
    count, items = _items(known, matches, rows)
    row, first, last, start, end = _merged(matches)
    covered = np.bincount(row, last - first, minlength=rows) if rows else np.zeros(0)
    spans = pa.StructArray.from_arrays(
        [pa.array(start, pa.int32()), pa.array(end, pa.int32())], fields=list(SPANS.value_type)
    )
    offsets = np.searchsorted(row, np.arange(rows + 1)).astype(np.int32)
    return {
        "contamination_ratio": (covered / np.maximum(words, 1)).astype(np.float32),
        "is_contaminated": count > 0,
        "contamination_item_count": count.astype(np.int32),
        "contamination_items": items,
        "contamination": pa.ListArray.from_arrays(pa.array(offsets), spans).cast(SPANS),
    }


def _matches(known: Index, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The matches in all texts, in the order in which they were found, and the words of each text."""
    words = np.empty(len(batch), np.int64)
    room = 1024
    while True:
        matches = np.empty((room, 6), np.int64)
        table = kernels.contamination.stream()
        number = kernels.contamination.search(batch.data, batch.bounds, table, *known.arrays, matches, words)
        if number <= room:
            return matches[:number], words
        room = number


def _items(known: Index, matches: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], pa.Array]:
    """How many items each text has, and their names in the order of the text, at most `MOST_ITEMS`."""
    row, item = matches[:, kernels.contamination.ROW], known.item_of[matches[:, kernels.contamination.PASSAGE]]
    _, places = np.unique(np.stack([row, item]), axis=1, return_index=True)
    places = np.sort(places)
    row, item = row[places], item[places]
    count = np.bincount(row, minlength=rows)
    shown = np.arange(len(row)) - (np.cumsum(count) - count)[row] < MOST_ITEMS
    offsets = np.concatenate([[0], np.cumsum(np.minimum(count, MOST_ITEMS))]).astype(np.int32)
    names = pa.array(known.names[item[shown]], pa.string())
    return count, pa.ListArray.from_arrays(pa.array(offsets), names)


def _merged(matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Matches of each text that overlap or touch made into one: rows, first and last words, first and last bytes."""
    c = kernels.contamination
    matches = matches[np.lexsort((matches[:, c.FIRST], matches[:, c.ROW]))]
    row = matches[:, c.ROW]
    # In one count over all rows, a row's matches lie behind those of the rows before.
    reach = np.maximum.accumulate((row << 32) + matches[:, c.LAST])
    begins = np.ones(len(matches), np.bool_)
    begins[1:] = (row[1:] << 32) + matches[1:, c.FIRST] > reach[:-1]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.zeros((5, 0), np.int64)
    greatest = np.maximum.reduceat(matches[:, [c.LAST, c.END]], starts)
    return np.stack([row[starts], matches[starts, c.FIRST], greatest[:, 0], matches[starts, c.START], greatest[:, 1]])
