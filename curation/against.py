"""against: documents from outside of the run that its own are compared with: earlier releases, other corpora.

Of each only what a comparison asks is kept (`Workspace.against`), in parts that follow the files of the entries: made
once for each content, and removed when the file is there no more. The texts stay where they are.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.dataset import ROW_GROUP_ROWS, Part, Workspace, fingerprint
from curation.dedup import signatures
from curation.engine import chunks
from curation.errors import InputError, RecipeError, ReleaseError, StorageError
from curation.inputs import HashIndex, Input, find_inputs, located
from curation.pull import PART_BYTES, PART_ROWS, hashes, stem
from curation.recipe import faults_text
from curation.releases import VERSION_PATTERN, Release, latest
from curation.run import release_place, work_place
from curation.signals.batch import Batch
from curation.sources.record import MAX_TEXT_BYTES
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from curation.recipe import Dedup, Recipe
    from curation.run import Run
    from curation.storage import Storage

#: Raised when the same files give other parts.
VERSION = 1
#: Bytes of text that are read at once, about.
_BATCH_BYTES = 8 * 1024 * 1024
#: Characters of an id and of a URI; what is longer is taken for none.
_LONGEST = 2_000
#: The file in WORK that remembers the hashes of files which no manifest lists; it may be deleted.
_INDEX = "against.json"
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Shard:
    """A Parquet file of an entry; `sha256` is what the manifest of its release says, None where there is none."""

    file: Input
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `dedup.against`: its number, as it is written, its files, and NAME/VERSION where it is a release."""

    number: int
    written: str
    shards: tuple[Shard, ...]
    release: str | None = None

    def part(self, shard: Shard, index: int) -> Part:
        """What holds the documents of a file, cut like those of an input; no source has a dot in its name."""
        readable = re.sub(r"[^A-Za-z0-9_-]+", "-", self.written.rstrip("/").rsplit("/", 1)[-1])[:40]
        folder = f"{readable}.{hashlib.blake2b(self.written.encode(), digest_size=8).hexdigest()}"
        return Part(folder, f"{stem(shard.file.name)}.{index:05d}")

    @property
    def name(self) -> str:
        """What it is called where no path is to be told: NAME/VERSION of a release, else the last step of the path."""
        return self.release or self.written.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Outside:
    """A part that is there: the number of its entry, the row groups of which file it was made of, and its rows."""

    entry: int
    file: Input
    groups: tuple[int, int]
    rows: int
    made_from: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A file to be cut into parts."""

    entry: Entry
    shard: Shard
    made_from: str

    def __str__(self) -> str:
        return self.shard.file.path


@dataclass(frozen=True, slots=True)
class Sign:
    """A part to make, one of so many, of these row groups of a file."""

    work: Workspace
    dedup: Dedup
    entry: Entry
    shard: Shard
    index: int
    of: int
    groups: tuple[int, int]
    made_from: str

    def __str__(self) -> str:
        return f"{self.shard.file.path}, row groups from {self.groups[0]}"


# The entries ----------------------------------------------------------------------------------------------------------


def check(recipe: Recipe) -> None:
    """Raise what `find` raises, and `InputError` where a corpus's first file is no Parquet or has no text."""
    for entry in find(recipe):
        if entry.release is None:
            with _of(entry.number), _opened(entry.shards[0].file):
                pass


def find(recipe: Recipe) -> list[Entry]:
    """The entries with their files, none where deduplication is off. Of releases the manifest is read, else nothing.

    Raises `RecipeError` for the recipe's own releases, `ReleaseError` for a release that is not whole, and `InputError`
    for what is not there.
    """
    if not recipe.dedup.enabled:
        return []
    _refuse_own(recipe)
    found = []
    for number, written in enumerate(recipe.dedup.against):
        with _of(number):
            found.append(_found(recipe, number, written))
    return found


def _refuse_own(recipe: Recipe) -> None:
    own = f"{release_place(recipe).identity}/{recipe.name}/"
    faults = []
    for number, written in enumerate(recipe.dedup.against):
        with _of(number):
            path = located(written, recipe.base)
        if not _is_pattern(path) and f"{open_storage(path).identity}/".startswith(own):
            faults.append(
                f"dedup.against[{number}]: {written} holds this recipe's own releases: every document that is in them "
                "would go as a copy of itself"
            )
    if faults:
        raise RecipeError(
            faults_text(recipe.path, faults),
            remedy="remove it; if what is released is to stay when a better copy comes, set stable = true in [dedup]",
        )


@contextmanager
def _of(number: int) -> Iterator[None]:
    """Puts the entry before the messages of errors."""
    try:
        yield
    except (InputError, ReleaseError, StorageError) as error:
        raise type(error)(f"dedup.against[{number}]: {error.message}", remedy=error.remedy) from error


def _is_pattern(path: str) -> bool:
    return re.search(r"[*?\[]", path) is not None


def _found(recipe: Recipe, number: int, written: str) -> Entry:
    path = located(written, recipe.base)
    release = None if _is_pattern(path) else _release_at(open_storage(path))
    if release is not None:
        return Entry(number, written, tuple(_shards(release)), f"{release.name}/{release.version}")
    own = (str(work_place(recipe)), release_place(recipe).path(recipe.name))
    correct = "correct the entry, or remove it"
    try:
        files = find_inputs([written], recipe.base, without=own)
    except InputError as error:
        raise InputError(error.message, remedy=correct) from error
    if not _is_pattern(path) and files[0].path != path:  # a folder: what else lies in it is passed over
        files = [file for file in files if file.name.endswith(".parquet")]
    if not files:
        raise InputError(f"{written}: holds no file that ends in .parquet", remedy=correct)
    return Entry(number, written, tuple(map(Shard, files)))


def _release_at(place: Storage) -> Release | None:
    """The release at a place, NAME (its latest) or NAME/VERSION; None where there is nothing of a release.

    Raises `ReleaseError` where there is one that is not finished, or the place holds several.
    """
    root, _, last = place.root.rpartition("/")
    if VERSION_PATTERN.fullmatch(last) and (place.exists("manifest.json") or place.exists("claim.json")):
        above, _, name = root.rpartition("/")
        return _finished(Release(open_storage(above), name, last))
    if place.exists("latest.json") and (release := latest(open_storage(root), last)):
        return _finished(release)
    folders = place.folders()
    begun = [name for name in folders if VERSION_PATTERN.fullmatch(name) and place.exists(f"{name}/claim.json")]
    if begun:
        return _finished(Release(open_storage(root), last, begun[-1]))
    names = [name for name in folders if place.exists(f"{name}/latest.json")]
    if names:
        raise ReleaseError(
            f"{place}: holds releases of {', '.join(names[:5])}{', …' if len(names) > 5 else ''}",
            remedy=f"name one of them, like {place.path(names[0])}",
        )
    return None


def _finished(release: Release) -> Release:
    if release.manifest() is None:
        raise ReleaseError(
            f"{release.path}: this release is not finished, it has no manifest.json",
            remedy="wait for it, name a finished version, or remove the entry",
        )
    return release


def _shards(release: Release) -> Iterator[Shard]:
    """The shards that the manifest lists; `ReleaseError` for one that does not lie there as it says."""
    there = {file.path: file for file in release.storage.files(f"{release.folder}/data")}
    for shard in (release.manifest() or {})["shards"]:
        name = f"{release.folder}/{shard['path']}"
        file = there.get(name)
        if file is None or file.size != shard["bytes"]:
            fault = "is missing" if file is None else f"has {file.size:,} bytes instead of {shard['bytes']:,}"
            raise ReleaseError(
                f"{release.path}: its {shard['path']} {fault}",
                remedy=f"see what is wrong: curate releases verify {release.path}; restore it, or remove the entry",
            )
        short = shard["path"].rpartition("/")[2]
        yield Shard(Input(release.storage.path(name), short, file.size, file.changed), shard["sha256"])


# Their parts ----------------------------------------------------------------------------------------------------------


def parts_there(recipe: Recipe, work: Workspace) -> dict[Part, Outside]:
    """The parts that are made of the entries as they are now, as far as is known without reading them."""
    entries = find(recipe)
    index = HashIndex(work.storage, _INDEX)
    digests = {file.path: index.get(file) or "" for file in _unlisted(entries)}
    return _parts(recipe, work, entries, digests)[0]


def unread(recipe: Recipe, work: Workspace) -> list[tuple[Entry, int]]:
    """The entries, each with the bytes of its files of which parts are missing, as far as is known without reading."""
    entries = find(recipe)
    index = HashIndex(work.storage, _INDEX)
    undone = _parts(recipe, work, entries, {file.path: index.get(file) or "" for file in _unlisted(entries)})[1]
    sizes = [sum(cut.shard.file.size for cut in undone if cut.entry == entry) for entry in entries]
    return list(zip(entries, sizes, strict=True))


def look_up(work: Workspace, parts: Mapping[Part, Outside], entry: int, document: str) -> tuple[Part, int, str | None]:
    """Where a document of an entry is, by its id: its part, row and URI; `StorageError` where it is no more."""
    for part, outside in parts.items():
        if outside.entry == entry:
            table = work.against.read(part, ["id", "uri"])
            row = pc.index(table["id"], document).as_py()
            if row >= 0:
                return part, row, table["uri"][row].as_py()
    raise StorageError(
        f"{document}: is not in dedup.against[{entry}] any more",
        remedy="run again: it is compared with what is there now",
    )


def measure_against(run: Run) -> dict[str, dict[str, Any]]:
    """Make the parts that are missing, remove those of which the file is gone or another, and set `run.against`.

    The figures tell of each entry its files and documents, and how many of these were measured now.
    """
    recipe, work = run.recipe, run.work
    if not recipe.dedup.enabled:
        return {}
    entries = find(recipe)
    files = _unlisted(entries)
    digests = hashes(run, files, _INDEX) if files else {}
    before, undone = _parts(recipe, work, entries, digests)
    cuts = run.engine.map(_cut, undone, label="against: look", unit="files", little=len(undone) < 100)
    tasks = []
    weights: list[int] = []
    for cut, pieces in zip(undone, cuts, strict=True):
        for index, (groups, size) in enumerate(pieces):
            made_from = fingerprint(cut.made_from, index)
            if not work.against.is_made(cut.entry.part(cut.shard, index), made_from):
                tasks.append(Sign(work, recipe.dedup, cut.entry, cut.shard, index, len(pieces), groups, made_from))
                weights.append(size)
    together = chunks(tasks, weights, 16 * 1024 * 1024)
    ends = np.cumsum([len(group) for group in together])
    sizes = [sum(weights[end - len(group) : end]) for end, group in zip(ends.tolist(), together, strict=True)]
    run.engine.map(_sign_all, together, label="against: measure", sizes=sizes, unit="B")
    run.against, undone = _parts(recipe, work, entries, digests)
    if undone:
        raise InputError(f"{undone[0]}: its parts are not there after it was measured", remedy="run again")
    work.against.keep_only(run.against)
    return {entry.written: _figures(entry, run.against, before) for entry in entries}


def _figures(entry: Entry, parts: Mapping[Part, Outside], before: Mapping[Part, Outside]) -> dict[str, Any]:
    mine = {part: outside for part, outside in parts.items() if outside.entry == entry.number}
    return {
        "name": entry.name,
        "files": len(entry.shards),
        "documents": sum(outside.rows for outside in mine.values()),
        "measured": sum(outside.rows for part, outside in mine.items() if part not in before),
        "fingerprint": fingerprint([[part.name, outside.made_from] for part, outside in mine.items()]),
    }


def _unlisted(entries: Iterable[Entry]) -> list[Input]:
    """The files whose hash no manifest tells, each once."""
    files = {shard.file.path: shard.file for entry in entries for shard in entry.shards if shard.sha256 is None}
    return list(files.values())


def _parts(
    recipe: Recipe, work: Workspace, entries: list[Entry], digests: dict[str, str]
) -> tuple[dict[Part, Outside], list[Cut]]:
    """The parts that are there, in order, and the files of which some are not."""
    version = [VERSION, signatures.load(recipe.dedup).VERSION, unicodedata.unidata_version]
    files = []
    for entry in entries:
        for shard in entry.shards:
            digest = shard.sha256 or digests[shard.file.path]
            files.append(Cut(entry, shard, fingerprint("against", version, shard.file.name, digest)))

    def there(cut: Cut) -> tuple[dict[Part, Outside], bool]:
        found: dict[Part, Outside] = {}
        of = 1
        while len(found) < of:
            index = len(found)
            part, made_from = cut.entry.part(cut.shard, index), fingerprint(cut.made_from, index)
            footer = work.against.footer(part)
            if footer is None or footer.fingerprint != made_from:
                return found, False
            groups = (int(footer.notes["groups"][0]), int(footer.notes["groups"][1]))
            found[part] = Outside(cut.entry.number, cut.shard.file, groups, footer.rows, made_from)
            of = int(footer.notes["of"])
        return found, True

    answers = work.storage.each(there, files)
    parts = {part: outside for found, _ in answers for part, outside in found.items()}
    return parts, [cut for cut, (_, is_whole) in zip(files, answers, strict=True) if not is_whole]


def _cut(task: Cut) -> list[tuple[tuple[int, int], int]]:
    """The row groups of each part of a file, and the bytes of their text: as many as an input's parts have of rows."""
    pieces: list[tuple[tuple[int, int], int]] = []
    with _of(task.entry.number), _opened(task.shard.file) as file:
        begin = rows = size = 0
        for group in range(file.num_row_groups):
            rows += file.metadata.row_group(group).num_rows
            size += _text_bytes(file, group)
            if rows >= PART_ROWS or size >= PART_BYTES or group == file.num_row_groups - 1:
                pieces.append(((begin, group + 1), size))
                begin, rows, size = group + 1, 0, 0
    return pieces or [((0, 0), 0)]


def _sign_all(tasks: list[Sign]) -> None:
    for task in tasks:
        with _of(task.entry.number):
            _sign(task)


def _sign(task: Sign) -> None:
    signal = signatures.load(task.dedup)
    dataset = task.work.against
    part = task.entry.part(task.shard, task.index)
    with _opened(task.shard.file) as file, dataset.writing(part, task.made_from) as writer:
        number = sum(file.metadata.row_group(group).num_rows for group in range(task.groups[0]))
        names = [name for name in ("id", "uri", "url", "text") if name in file.schema_arrow.names]
        for group in range(*task.groups):
            for batch in _batches(file, task.shard.file, group, names):
                columns = signal.measure(Batch(_texts(batch["text"])))
                columns |= {"id": _ids(batch, task.shard.file.name, number), "uri": _uris(batch)}
                writer.write(pa.table(columns).select(dataset.schema.names).cast(dataset.schema))
                number += batch.num_rows
        writer.notes |= {"groups": list(task.groups), "of": task.of}
        task.shard.file.refuse_change()


# Their texts ----------------------------------------------------------------------------------------------------------


def texts(outside: Outside, rows: NDArray[np.int64]) -> Iterator[pa.Array]:
    """The texts of these rows of a part (ascending), a few at a time, read from the file that it was made of."""
    with _opened(outside.file) as file:
        start = 0
        for group in range(*outside.groups):
            end = start + file.metadata.row_group(group).num_rows
            if np.searchsorted(rows, start) < np.searchsorted(rows, end):
                first = start
                for batch in _batches(file, outside.file, group, ["text"]):
                    low, high = np.searchsorted(rows, [first, first + batch.num_rows])
                    if low < high:
                        yield _texts(batch["text"].take(pa.array(rows[low:high] - first)))
                    first += batch.num_rows
            start = end
    outside.file.refuse_change()


@contextmanager
def _opened(path: Input) -> Iterator[pq.ParquetFile]:
    """The file, once it is known to hold texts; `InputError` if it does not, or is no Parquet."""
    with path.open() as stream:
        try:
            file = pq.ParquetFile(stream, pre_buffer=False)
        except _UNREADABLE as error:
            what = str(error).splitlines()[0][:200]
            raise InputError(
                f"{path.path}: not a Parquet file that can be read: {what}", remedy="correct the entry, or remove it"
            ) from error
        with file:
            names = file.schema_arrow.names
            columns = ", ".join(f"{column.name} ({column.type})" for column in file.schema_arrow)
            if names.count("text") != 1:
                raise InputError(
                    f"{path.path}: {'no column' if 'text' not in names else 'two columns'} `text`; the columns are "
                    f"{columns}",
                    remedy="write the file anew with its text in a column of that name, or remove the entry",
                )
            if not _is_text(kind := file.schema_arrow.field("text").type):
                raise InputError(
                    f"{path.path}: the column `text` holds {kind}, not text; the columns are {columns}",
                    remedy="write the file anew with its text in that column, or remove the entry",
                )
            yield file


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _text_bytes(file: pq.ParquetFile, group: int) -> int:
    """How many bytes the texts of a row group take, encoded but not compressed."""
    metadata = file.metadata.row_group(group)
    columns = (metadata.column(number) for number in range(metadata.num_columns))
    return sum(column.total_uncompressed_size for column in columns if column.path_in_schema == "text")


def _batches(file: pq.ParquetFile, path: Input, group: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a row group, as many at a time as have about `_BATCH_BYTES` of text."""
    rows = max(1, file.metadata.row_group(group).num_rows)
    most = max(1, min(ROW_GROUP_ROWS, rows * _BATCH_BYTES // max(1, _text_bytes(file, group))))
    try:
        yield from file.iter_batches(batch_size=most, row_groups=[group], columns=names, use_threads=False)
    except _UNREADABLE as error:
        what = str(error).splitlines()[0][:200]
        raise InputError(
            f"{path.path}: row group {group} cannot be read: {what}", remedy="restore the file, or remove the entry"
        ) from error


def _texts(column: pa.Array) -> pa.Array:
    """The column as strings; null for what is not UTF-8, and for a text over the limit that documents have."""
    column = _strings(column)
    return pc.if_else(pc.greater(pc.binary_length(column), MAX_TEXT_BYTES), None, column)


def _strings(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = column.cast(pa.string())
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([_decoded(value) for value in column.cast(pa.binary()).to_pylist()], pa.string())
    return column


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _ids(batch: pa.RecordBatch, name: str, first: int) -> pa.Array:
    """What the corpus calls each document; its file and row where it does not, from row number `first` on."""
    by_place = pa.array([f"{name}#{number}" for number in range(first, first + batch.num_rows)])
    return pc.coalesce(_short(batch, "id"), by_place)


def _uris(batch: pa.RecordBatch) -> pa.Array:
    return pc.coalesce(_short(batch, "uri"), _short(batch, "url"))


def _short(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of short texts or whole numbers as strings; null where there is none."""
    kind = batch.schema.field(name).type if name in batch.schema.names else pa.null()
    if pa.types.is_integer(kind):
        return batch[name].cast(pa.string())
    if not _is_text(kind):
        return pa.nulls(batch.num_rows, pa.string())
    column = _strings(batch[name])
    return pc.if_else(pc.greater(pc.utf8_length(column), _LONGEST), None, column)
