"""pull: inputs become parts of `documents`, one row for each record.

An input that holds many records is cut into parts of about 128 MB of text. Files that are one document each share
parts: bucket `hash(path) mod 256`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import schema, sources
from curation.dataset import ROW_GROUP_BYTES, ROW_GROUP_ROWS, Dataset, Footer, Part, Workspace, fingerprint
from curation.engine import chunks
from curation.sources import extract
from curation.sources.record import MAX_TEXT_BYTES, Record
from curation.storage import HashIndex, Input, find_inputs, sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from curation.dataset import PartWriter
    from curation.recipe import Recipe, Source
    from curation.run import Run

#: Raised when the same records give other rows.
VERSION = 1
#: A part is closed when its text reaches this many bytes.
PART_BYTES = 128 * 1024 * 1024
#: Files that are one document each are spread over this many parts.
BUCKETS = 256


@dataclass(frozen=True, slots=True)
class Pull:
    """The parts that come from one input, or from one bucket of small files."""

    documents: Dataset
    recipe: Recipe
    source: Source
    inputs: tuple[tuple[Input, str], ...]
    stem: str
    whole_files: bool

    def __str__(self) -> str:
        return self.inputs[0][0].path if len(self.inputs) == 1 else f"{len(self.inputs)} files of {self.source.name}"

    def part(self, index: int) -> Part:
        """The part with this index."""
        return Part(self.source.name, self.stem if self.whole_files else f"{self.stem}.{index:05d}")

    def fingerprint(self, index: int) -> str:
        """What this part is made from."""
        module = sources.load(self.source.kind)
        settings = self.source.model_dump(mode="json", exclude={"paths", "max_loss"})
        engine = extract.version(self.recipe.extract.engine) if getattr(module, "EXTRACTS", False) else None
        content = [[_name(file, module), digest] for file, digest in self.inputs]
        return fingerprint("documents", VERSION, module.VERSION, settings, engine, content, index)

    def finished(self) -> tuple[dict[Part, Footer], int]:
        """The parts that are there already, and where in the input to go on (-1: nowhere, all is done)."""
        parts: dict[Part, Footer] = {}
        end = 0
        while True:
            part = self.part(len(parts))
            footer = self.documents.footer(part)
            if footer is None or footer.fingerprint != self.fingerprint(len(parts)):
                return parts, end
            parts[part] = footer
            if footer.notes["last"]:
                return parts, -1
            end = footer.notes["end"]


def pull(run: Run) -> dict[str, Any]:
    """Make the parts of `documents` that are missing and set `run.parts` and `run.inputs`."""
    found = {source.name: find_inputs(source.paths, run.recipe.base) for source in run.recipe.source}
    digests = _hashes(run, [file for files in found.values() for file in files])
    pulls = plan(run.recipe, run.work, found, digests)
    undone = [task for task in pulls if task.finished()[1] >= 0]
    sizes = [sum(file.size for file, _ in task.inputs) for task in undone]
    groups = chunks(undone, sizes, 16 * 1024 * 1024)
    weights = [sum(file.size for task in group for file, _ in task.inputs) for group in groups]
    run.engine.map(_pull_all, groups, label="pull", sizes=weights, unit="B")
    run.parts = {part: footer for task in pulls for part, footer in task.finished()[0].items()}
    run.inputs = [
        {"source": name, "uri": file.name, "bytes": file.size, "sha256": digests[file.path]}
        for name, files in found.items()
        for file in files
    ]
    _remove_orphans(run)
    return {"inputs": len(run.inputs), "inputs_read": sum(len(task.inputs) for task in undone), "rows": run.documents}


def plan(recipe: Recipe, work: Workspace, found: dict[str, list[Input]], digests: dict[str, str]) -> list[Pull]:
    """What to pull, in the order of the recipe's sources and of their inputs' names."""
    pulls = []
    for source in recipe.source:
        whole_files = sources.load(source.kind).WHOLE_FILES
        stems: dict[str, list[Input]] = {}
        for file in found[source.name]:
            stems.setdefault(_bucket(file.name) if whole_files else _stem(file.name), []).append(file)
        for stem in sorted(stems):
            files = tuple((file, digests[file.path]) for file in stems[stem])
            pulls.append(Pull(work.documents, recipe, source, files, stem, whole_files))
    return pulls


def parts_there(recipe: Recipe, work: Workspace) -> dict[Part, Footer]:
    """The parts of the last run, found from the recipe's inputs without hashing them; empty if there was none."""
    parts: dict[Part, Footer] = {}
    for source in recipe.source:
        whole_files = sources.load(source.kind).WHOLE_FILES
        names = {_bucket(file.name) if whole_files else _stem(file.name)
                 for file in find_inputs(source.paths, recipe.base)}  # fmt: skip
        for stem in sorted(names):
            index, last = 0, False
            while not last:
                part = Part(source.name, stem if whole_files else f"{stem}.{index:05d}")
                footer = work.documents.footer(part)
                if footer is None:
                    break
                parts[part] = footer
                index, last = index + 1, footer.notes["last"]
    return parts


def document_id(source: str, uri: str | None, origin: str, text: str | None) -> str:
    """32 hex digits of a BLAKE2b hash of source, uri, origin and text, each with its length before it.

    >>> document_id("web", None, "a.warc.gz#0", "text") == document_id("web", None, "a.warc.gz#0", "text")
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for field in (source, uri or "", origin, text or ""):
        data = field.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _hashes(run: Run, files: list[Input]) -> dict[str, str]:
    index = HashIndex(run.work.storage)
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
    rows = _rows(task, start)
    last = False
    while not last:
        with task.documents.writing(task.part(index), task.fingerprint(index)) as writer:
            last = _fill(writer, rows)
            writer.notes |= {"index": index, "last": last}
        index += 1


def _rows(task: Pull, start: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The rows of the task's inputs in order, each with where its record ends."""
    module = sources.load(task.source.kind)
    for file, _ in task.inputs:
        with file.open() as stream:
            for record in module.read(stream, _name(file, module), start, task.source, task.recipe.extract):
                yield _row(record, file.name, task), record.end


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
    origin = _valid(name) if task.whole_files else f"{_valid(name)}#{record.offset}"
    uri = _valid(record.uri) if record.uri else (_valid(name) if task.whole_files else None)
    return {
        "id": document_id(task.source.name, uri, origin, text),
        "source": task.source.name,
        "uri": uri,
        "title": _valid(record.title) if record.title else None,
        "text": text,
        "license": _valid(record.license) if record.license else task.source.license,
        "created_at": record.created_at,
        "fetched_at": record.fetched_at,
        "origin": origin,
        "meta": _valid(json.dumps(record.meta, ensure_ascii=False, sort_keys=True, default=str)),
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


def _fill(writer: PartWriter, rows: Iterable[tuple[dict[str, Any], int]]) -> bool:
    """Write rows until the part is full (False) or there are no more (True)."""
    group: list[dict[str, Any]] = []
    group_bytes = part_bytes = 0
    writer.notes["text_bytes"] = 0
    for row, end in rows:
        group.append(row)
        size = len(row["text"].encode()) if row["text"] else 0
        group_bytes += size
        part_bytes += size
        writer.notes |= {"text_bytes": part_bytes, "end": end}
        if group_bytes >= ROW_GROUP_BYTES or len(group) >= ROW_GROUP_ROWS:
            writer.write(pa.Table.from_pylist(group, schema.DOCUMENTS))
            group, group_bytes = [], 0
        if part_bytes >= PART_BYTES:
            break
    else:
        writer.write(pa.Table.from_pylist(group, schema.DOCUMENTS))
        return True
    writer.write(pa.Table.from_pylist(group, schema.DOCUMENTS))
    return False


def _remove_orphans(run: Run) -> None:
    storage = run.work.storage
    for dataset in (run.work.documents, run.work.hits, run.work.verdicts, run.work.blend):
        dataset.keep_only(run.parts)
    for name in storage.folders("signals"):
        if name not in run.work.signals:
            storage.remove(f"signals/{name}")
        else:
            run.work.signal(name).keep_only(run.parts)


def _bucket(name: str) -> str:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return f"files-{int.from_bytes(digest, 'little') % BUCKETS:03d}"


def _stem(name: str) -> str:
    """A part's name for an input: readable, safe as a path, and its own.

    >>> _stem("crawl/a b.warc.gz")
    'a-b-4e5ee0f4'
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name.rsplit("/", 1)[-1].split(".", 1)[0])[:40] or "input"
    return f"{readable}-{hashlib.blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=4).hexdigest()}"
