"""pull: inputs become parts of `documents`, one row for each record.

An input that holds many records is cut into parts of about 128 MB. Files that are one document each share parts: bucket
`hash(path) mod 64`, cut in the same way where they hold more. An archive of such files is an input of many records.

A part's notes count what was read for it: `records` by type, rows or not, and those that were `not_wanted`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from curation import documents, expressions, sources, tombstones
from curation.compiling import compile_kernels
from curation.dataset import ROW_GROUP_BYTES, ROW_GROUP_ROWS, Dataset, Footer, Part, Workspace, fingerprint
from curation.engine import chunks
from curation.errors import StorageError
from curation.inputs import HashIndex, Input, find_inputs, sha256
from curation.progress import Progress, Silent
from curation.run import release_place, work_place
from curation.signals import SIGNALS, signal_name
from curation.sources import archives, decoding, extract
from curation.sources.record import MAX_TEXT_BYTES, Record, Records, Skipped, as_json
from curation.textbooks.asking import Asking
from curation.textbooks.checking import Acceptance
from curation.tombstones import PULLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from curation.documents import Rows
    from curation.recipe import Recipe, Source
    from curation.run import Run

#: Raised when the same records give other rows.
VERSION = 2
#: A part is closed when its rows reach this many bytes ...
PART_BYTES = 128 * 1024 * 1024
#: ... or this many rows: what is measured of a part is held until it is done, about a kilobyte a row.
PART_ROWS = 250_000
#: Files that are one document each are spread over this many parts: a part costs about 20 ms a run whatever it holds,
#: and one more file makes one part anew.
BUCKETS = 64
#: Items that `rows` asks the source's `where` of at once: few, since reading them may take long.
LOOKED_AT = 16


@dataclass(frozen=True, slots=True)
class Pull:
    """The parts that come from one input, or from one bucket of small files.

    A part ends at a position `end`, where the next begins: in one input what its module says, among the files of a
    bucket the number of files that are done.
    """

    documents: Dataset
    recipe: Recipe
    source: Source
    inputs: tuple[tuple[Input, str], ...]
    stem: str
    whole_files: bool
    #: Whether an endpoint may be asked; else only what its ledger has is read.
    asks: bool = True
    #: What answers of an endpoint must keep to.
    acceptance: Acceptance = field(default_factory=Acceptance)
    #: Where is told how many documents were written.
    progress: Progress = field(default_factory=Silent, compare=False)

    def __str__(self) -> str:
        return self.inputs[0][0].path if len(self.inputs) == 1 else f"{len(self.inputs)} files of {self.source.name}"

    @property
    def is_archive(self) -> bool:
        """Whether the one input is an archive of files."""
        return _is_archive(self.source, self.inputs[0][0])

    def part(self, index: int) -> Part:
        """The part with this index."""
        return Part(self.source.name, f"{self.stem}.{index:05d}")

    def fingerprint(self, index: int) -> str:
        """What this part is made from."""
        module = sources.load(self.source.kind)
        settings = self.source.model_dump(mode="json", exclude={"paths", "root", "max_loss", "endpoint", "run_code"})
        asked = self.recipe.extraction
        engine = extract.version(asked.engine, asked.format, asked.model) if _extracts(self.source) else None
        content = [[_name(file, module), digest] for file, digest in self.inputs]
        software = [VERSION, module.VERSION, decoding.version(), engine]
        if self.source.endpoint is not None:
            asks, service = cast("sources.Asks", module), self.recipe.service(self.source.endpoint)
            software.append(asks.made_from(service, self.acceptance))
        if self.is_archive:
            software.append(archives.VERSION)
        if self.source.where is not None or any(not expressions.is_path(sql) for sql in self.source.fields.values()):
            software.append(expressions.version())
        return fingerprint("documents", software, settings, content, index)

    def finished(self) -> tuple[dict[Part, Footer], int]:
        """The parts that are there already, and where in the input to go on (-1: nowhere, all is done)."""
        parts: dict[Part, Footer] = {}
        end = 0
        while True:
            part = self.part(len(parts))
            footer = self.documents.footer(part)
            if footer is None or footer.notes.get(PULLED, footer.fingerprint) != self.fingerprint(len(parts)):
                return parts, end
            parts[part] = footer
            if footer.notes["last"]:
                return parts, -1
            end = footer.notes["end"]


def pull(run: Run) -> dict[str, Any]:
    """Make the parts of `documents` that are missing and set `run.parts` and `run.inputs`."""
    found = {source.name: inputs_of(run.recipe, source) for source in run.recipe.source}
    digests = hashes(run, [file for files in found.values() for file in files])
    pulls = plan(run.recipe, run.work, found, digests)
    ends = run.work.storage.each(lambda task: task.finished()[1], pulls)
    missing = [task for task, end in zip(pulls, ends, strict=True) if end >= 0]
    asking = [task for task in missing if task.source.endpoint is not None]
    undone = [task for task in missing if task.source.endpoint is None]
    sizes = [sum(file.size for file, _ in task.inputs) for task in undone]
    groups = chunks(undone, sizes, 16 * 1024 * 1024)
    weights = [sum(file.size for task in group for file, _ in task.inputs) for group in groups]
    if run.recipe.extract.engine == "blocks" and any(_extracts(task.source) for task in undone):
        compile_kernels(run.engine, "pages")
    run.engine.map(_pull_all, groups, label="pull", sizes=weights, unit="B")
    if asking:
        compile_kernels(run.engine, "texts")
    for task in asking:  # in this process: one at a time, since each holds a ledger, and for as long as it takes
        _pull_one(replace(task, progress=run.progress))
    run.parts = {}
    for task, (made, end) in zip(pulls, run.work.storage.each(Pull.finished, pulls), strict=True):
        if end >= 0:
            raise StorageError(f"{task}: its parts are not there after it was pulled", remedy="run again")
        run.parts |= made
    run.inputs = [
        {"source": name, "uri": file.name, "bytes": file.size, "sha256": digests[file.path]}
        for name, files in found.items()
        for file in files
    ]
    _forget(run)
    _warn_of_missing(run)
    _remove_orphans(run)
    read = sum(len(task.inputs) for task in missing)
    return {"inputs": len(run.inputs), "inputs_read": read, "rows": run.documents, **_counts(run)}


def _forget(run: Run) -> None:
    """Take what is forgotten out of the parts of `run.parts` in which it stands."""
    stones = tombstones.read(release_place(run.recipe), run.recipe.name)
    run.forgotten = stones.fingerprint
    if stones:
        run.parts = tombstones.apply(run.work, run.parts, stones, run.engine)


def _warn_of_missing(run: Run) -> None:
    asking = {source.name for source in run.recipe.source if source.endpoint is not None}
    for part, footer in run.parts.items():
        if part.source in asking and footer.notes["records"].get("missing"):
            why = f"select error from documents where source = '{part.source}' and error is not null"
            run.warn(
                f'{part.source}: documents that its plan wants are missing; why: curate sql {run.recipe.shown} "{why}"'
            )


def _counts(run: Run) -> dict[str, dict[str, Any]]:
    """For each source how many records there were of each type, and how many of them were not wanted."""
    records: dict[str, Counter[str]] = {source.name: Counter() for source in run.recipe.source}
    not_wanted = {source.name: 0 for source in run.recipe.source if source.where is not None}
    for part, footer in run.parts.items():
        documents.count_types(records[part.source], footer.notes["records"])
        if part.source in not_wanted:
            not_wanted[part.source] += footer.notes["not_wanted"]
    return {
        "records": {name: dict(sorted(counts.items())) for name, counts in records.items()},
        "not_wanted": not_wanted,
    }


def inputs_of(recipe: Recipe, source: Source) -> list[Input]:
    """The inputs of a source; what a run of this recipe made itself is none."""
    releases = release_place(recipe).path(recipe.name)
    return find_inputs(source.paths, recipe.base, root=source.root, without=(str(work_place(recipe)), releases))


def plan(recipe: Recipe, work: Workspace, found: dict[str, list[Input]], digests: dict[str, str]) -> list[Pull]:
    """What to pull, in the order of the recipe's sources and of their inputs' names."""
    pulls = []
    for source in recipe.source:
        stems: dict[str, list[Input]] = {}
        for file in found[source.name]:
            stems.setdefault(_stem_of(source, file), []).append(file)
        acceptance = Acceptance() if source.endpoint is None else Acceptance.of(recipe, source)
        for stem in sorted(stems):
            files = tuple((file, digests[file.path]) for file in stems[stem])
            whole = is_whole(source, files[0][0])
            pulls.append(Pull(work.documents, recipe, source, files, stem, whole, acceptance=acceptance))
    return pulls


def parts_there(recipe: Recipe, work: Workspace) -> dict[Part, Footer]:
    """The parts of the last run, found from the recipe's inputs without hashing them; empty if there was none."""
    stems = [
        (source.name, stem)
        for source in recipe.source
        for stem in sorted({_stem_of(source, file) for file in inputs_of(recipe, source)})
    ]

    def there(stem: tuple[str, str]) -> dict[Part, Footer]:
        parts: dict[Part, Footer] = {}
        last = False
        while not last:
            part = Part(stem[0], f"{stem[1]}.{len(parts):05d}")
            footer = work.documents.footer(part)
            if footer is None:
                break
            parts[part] = footer
            last = footer.notes["last"]
        return parts

    return {part: footer for parts in work.storage.each(there, stems) for part, footer in parts.items()}


def hashes(run: Run, files: list[Input], name: str = "inputs.json") -> dict[str, str]:
    """The SHA-256 of each file by its path, as the index of this name remembers it or made now by the workers."""
    index = HashIndex(run.work.storage, name)
    new = [file for file in files if index.get(file) is None]
    sizes = [file.size for file in new]
    groups = chunks(new, sizes, 64 * 1024 * 1024, count=256)
    if sum(sizes) < 64 * 1024 * 1024:  # not worth starting workers
        fresh = [_hash_all(group) for group in groups]
    else:
        weights = [sum(file.size for file in group) for group in groups]
        fresh = run.engine.map(_hash_all, groups, label="hash inputs", sizes=weights, unit="B")
    made = {}
    for group, digests in zip(groups, fresh, strict=True):
        for file, digest in zip(group, digests, strict=True):
            index.put(file, digest)
            made[file.path] = digest
    index.save(files)
    return {file.path: made.get(file.path) or index.known[file.path]["sha256"] for file in files}


def _hash_all(files: list[Input]) -> list[str]:
    return [sha256(file) for file in files]


def _pull_all(tasks: list[Pull]) -> None:
    for task in tasks:
        _pull_one(task)


def _pull_one(task: Pull) -> None:
    parts, start = task.finished()
    index = len(parts)
    runs = documents.cut(_pieces(task, start), PART_BYTES, PART_ROWS)
    last = False
    while not last:
        with task.documents.writing(task.part(index), task.fingerprint(index)) as writer:
            last = documents.fill(writer, runs)
            writer.notes |= {"index": index, "last": last}
            for file, _ in task.inputs:
                file.refuse_change()
        index += 1


@dataclass(slots=True)
class _Item:
    """A record that was read: its type, the position after it, and its row, None where it makes none."""

    type: str
    end: int
    row: dict[str, Any] | None
    is_wanted: bool = True


def rows(task: Pull) -> Iterator[list[dict[str, Any] | None]]:
    """What the task's inputs hold, from their beginning, to look at some of it: rows of `documents`, None for no row.

    They come a few at once, as many as were read for them, so that whoever looks can stop at any time.
    """
    if _in_columns(task):
        return (piece.table.to_pylist() for piece in _pieces(task, 0))
    items = _all_items(replace(task, asks=False), 0)
    if task.source.where is None:
        return ([item.row] for item in items)
    where = expressions.Where(task.source.name, task.source.where)
    return ([item.row for item in _asked(batch, where)] for batch in _batches(items, LOOKED_AT))


def _pieces(task: Pull, start: int) -> Iterator[Rows]:
    """What the task's inputs hold from a position on: in columns where the source's kind reads such, else in rows."""
    if not _in_columns(task):
        yield from _rowed(_items(task, start))
        return
    ((file, _),) = task.inputs
    module = cast("sources.InColumns", sources.load(task.source.kind))
    with file.open() as stream:
        for found in module.read_columns(stream, file.name, start, task.source):
            if isinstance(found, Records):
                yield documents.of_records(found, file.name, task.source.name, task.source.license)
            else:
                yield from _rowed([_Item(found.type, found.end, _row(found, file.name, task))])


def _in_columns(task: Pull) -> bool:
    """Whether many records are read at once; what a source wants is asked of rows."""
    return hasattr(sources.load(task.source.kind), "read_columns") and task.source.where is None


def _rowed(items: Iterable[_Item]) -> Iterator[Rows]:
    """The items in pieces of about the size of a row group."""
    for batch in _batches(items, ROW_GROUP_ROWS, ROW_GROUP_BYTES):
        if batch:
            types, ends = [item.type for item in batch], [item.end for item in batch]
            yield documents.of_rows([item.row for item in batch], types, ends, [item.is_wanted for item in batch])


def _items(task: Pull, start: int) -> Iterator[_Item]:
    """What the task's inputs hold from a position on; what the source does not want has no row."""
    items = _all_items(task, start)
    if task.source.where is None:
        return items
    return _wanted(items, expressions.Where(task.source.name, task.source.where))


def _all_items(task: Pull, start: int) -> Iterator[_Item]:
    module = sources.load(task.source.kind)
    for number, (file, _) in enumerate(task.inputs):
        if task.whole_files and number < start:
            continue
        first = 0 if task.whole_files else start
        with file.open() as stream:
            for record in _read(task, stream, _name(file, module), first):
                row = _row(record, file.name, task) if isinstance(record, Record) else None
                yield _Item(record.type, number + 1 if task.whole_files else record.end, row)


def _read(task: Pull, stream: BinaryIO, name: str, start: int) -> Iterator[Record | Skipped]:
    module = sources.load(task.source.kind)
    if task.is_archive:
        return archives.read(stream, name, start, task.source, task.recipe.extraction, cast("archives.Files", module))
    if (endpoint := task.source.endpoint) is not None:
        service, folder = task.recipe.service(endpoint), task.recipe.ledger(endpoint)
        asking = Asking(service, folder, task.asks, task.progress)
        asked = cast("sources.Asks", module)
        return asked.read(stream, name, start, task.source, task.recipe.extraction, asking, task.acceptance)
    return module.read(stream, name, start, task.source, task.recipe.extraction)


def _wanted(items: Iterator[_Item], where: expressions.Where) -> Iterator[_Item]:
    """The items, those that the source does not want without their row; one with `error` cannot be said of."""
    for batch in _batches(items, expressions.BATCH_ROWS):
        yield from _asked(batch, where)


def _batches(items: Iterable[_Item], most: int, most_bytes: int = expressions.BATCH_BYTES) -> Iterator[list[_Item]]:
    """The items in lists of so many, or fewer where they hold much text."""
    batch: list[_Item] = []
    held = 0
    for item in items:
        batch.append(item)
        held += len(item.row["text"] or "") if item.row else 0
        if len(batch) >= most or held >= most_bytes:
            yield batch
            batch, held = [], 0
    yield batch


def _asked(batch: list[_Item], where: expressions.Where) -> list[_Item]:
    read = [item for item in batch if item.row is not None and item.row["error"] is None]
    answers = where.wanted([item.row for item in read if item.row]) if read else []
    for item, answer in zip(read, answers, strict=True):
        if not answer:
            item.row, item.is_wanted = None, False
    return batch


def _name(file: Input, module: sources.SourceModule) -> str:
    """What a module is told of where its input lies: its name, with its folder where that says what the file is."""
    if getattr(module, "NAMED_BY_FOLDER", False) and "/" not in file.name:
        return "/".join(file.path.split("/")[-2:])
    return file.name


def _row(record: Record, name: str, task: Pull) -> dict[str, Any]:
    text, error = record.text, record.error
    if text is not None:
        text = _valid(text)
        if text.isspace():
            text = ""
        if len(text) > MAX_TEXT_BYTES // 4 and (size := len(text.encode())) > MAX_TEXT_BYTES:
            text, error = None, f"text of {size:,} bytes: over the limit of {MAX_TEXT_BYTES:,}"
    name = _valid(f"{name}!/{record.place}" if record.place else name)
    is_file = sources.load(task.source.kind).WHOLE_FILES
    origin = name if task.whole_files or record.place else f"{name}#{record.offset}"
    origin = record.origin or origin
    uri = _valid(record.uri) if record.uri else (name if is_file else None)
    return {
        "id": documents.document_id(task.source.name, uri, origin, text),
        "source": task.source.name,
        "uri": uri,
        "title": _valid(record.title) if record.title else None,
        "text": text,
        "license": _valid(record.license) if record.license else task.source.license,
        "created_at": record.created_at,
        "fetched_at": record.fetched_at,
        "origin": origin,
        "meta": _valid(as_json(record.meta)),
        "error": _valid(error) if error else None,
    }


def _valid(text: str) -> str:
    r"""The text with what UTF-8 cannot hold (lone surrogates) replaced.

    >>> _valid("a\ud800b")
    'a�b'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _remove_orphans(run: Run) -> None:
    storage = run.work.storage
    work = run.work
    for dataset in (work.documents, *work.corpus.values(), work.hits, work.verdicts, work.blend):
        dataset.keep_only(run.parts)
    known = {signal_name(module) for module in SIGNALS} | {"signature", *run.recipe.signals}
    for name in storage.folders("signals"):
        if name in run.work.signals:
            run.work.signal(name).keep_only(run.parts)
        elif name not in known:  # one that is only switched off need not be measured again
            storage.remove(f"signals/{name}")


def _is_archive(source: Source, file: Input) -> bool:
    return bool(getattr(sources.load(source.kind), "MEMBERS", ())) and archives.is_archive(file.name)


def cuts_blocks(recipe: Recipe) -> bool:
    """Whether pages are cut into blocks, which kernels do."""
    return recipe.extract.engine == "blocks" and any(map(_extracts, recipe.source))


def _extracts(source: Source) -> bool:
    return bool(getattr(sources.load(source.kind), "EXTRACTS", False))


def is_whole(source: Source, file: Input) -> bool:
    """Whether a file is one document."""
    return sources.load(source.kind).WHOLE_FILES and not _is_archive(source, file)


def _stem_of(source: Source, file: Input) -> str:
    return _bucket(file.name) if is_whole(source, file) else stem(file.name)


def _bucket(name: str) -> str:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return f"files-{int.from_bytes(digest, 'little') % BUCKETS:03d}"


def stem(name: str) -> str:
    """A part's name for an input: readable, safe as a path, and its own.

    >>> stem("crawl/a b.warc.gz")
    'a-b-471ec980d0324cfe'
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name.rsplit("/", 1)[-1].split(".", 1)[0])[:40] or "input"
    return f"{readable}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"
