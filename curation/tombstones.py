"""Tombstones: what was asked to be forgotten, as every later run and every look into a release knows it again.

By its id, by the hash of its text, whatever the text is called, and, where an address was asked for, by the hash of
that. `TO/NAME/forgotten.parquet` holds them: hashes, and no address or text.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation import schema
from curation.dataset import Part, Workspace, fingerprint, parquet_bytes
from curation.engine import chunks
from curation.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from curation.dataset import Footer
    from curation.engine import Engine
    from curation.storage import Storage

#: The `error` of a document that is forgotten, and the reason of its verdict.
FORGOTTEN = "forgotten"
#: The note of a part in which something is forgotten: the fingerprint that it was pulled with.
PULLED = "pulled"
#: Which parts were looked through for which tombstones; it can be deleted at any time.
INDEX = "forgotten.json"


@dataclass(frozen=True, slots=True)
class Tombstones:
    """What is forgotten: ids, hashes of addresses, and hashes of texts by the texts' lengths in bytes."""

    ids: frozenset[str] = frozenset()
    uris: frozenset[str] = frozenset()
    texts: Mapping[int, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Tombstones:
        """Those of rows of `schema.TOMBSTONES`."""
        rows = list(rows)
        texts: dict[int, set[str]] = {}
        for row in rows:
            if row["text_sha256"]:
                texts.setdefault(row["text_bytes"], set()).add(row["text_sha256"])
        return cls(
            frozenset(row["id"] for row in rows if row["id"]),
            frozenset(row["uri_sha256"] for row in rows if row["uri_sha256"]),
            {size: frozenset(hashes) for size, hashes in texts.items()},
        )

    def __len__(self) -> int:
        """How many documents and addresses there are."""
        return len(self.ids) + len(self.uris)

    @property
    def fingerprint(self) -> str:
        """A hash of what they say, whenever and why they were set."""
        return fingerprint(sorted(self.ids), sorted(self.uris), sorted(set[str]().union(*self.texts.values())))

    def named(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which rows are forgotten by their `id` or `uri`."""
        found: NDArray[np.bool_] = pc.is_in(rows["id"], pa.array(sorted(self.ids), pa.string())).to_numpy()
        if self.uris:
            found = found | np.array([uri is not None and digest(uri) in self.uris for uri in rows["uri"].to_pylist()],
                                     np.bool_)  # fmt: skip
        return found

    def sizes(self, sizes: pa.ChunkedArray) -> NDArray[np.int64]:
        """The numbers of the rows whose texts have as many bytes as one that is forgotten; they are worth hashing."""
        found = pc.fill_null(pc.is_in(sizes.cast(pa.int64()), pa.array(sorted(self.texts), pa.int64())), False)
        return np.flatnonzero(found.to_numpy())

    def holds_text(self, text: str | None) -> bool:
        """Whether this text is forgotten."""
        if text is None:
            return False
        data = text.encode()
        return hashlib.sha256(data).hexdigest() in self.texts.get(len(data), ())


def digest(value: str) -> str:
    """The SHA-256 of an address or a text, 64 hex digits."""
    return hashlib.sha256(value.encode()).hexdigest()


def rows(storage: Storage, name: str) -> list[dict[str, Any]]:
    """What is forgotten of the releases of this name, in the order in which it was; `schema.TOMBSTONES`."""
    return _rows(storage, name, storage.read(_path(name)))


def read(storage: Storage, name: str) -> Tombstones:
    """What is forgotten of the releases of this name."""
    return Tombstones.of(rows(storage, name))


def add(storage: Storage, name: str, more: Iterable[Mapping[str, Any]]) -> int:
    """Set tombstones; how many of them were not there."""
    more = list(more)
    while True:
        there = storage.read(_path(name))
        known = _rows(storage, name, there)
        have = {_key(row) for row in known}
        new = [dict(row) for row in more if _key(row) not in have]
        if not new:
            return 0
        table = pa.Table.from_pylist([*known, *new], schema.TOMBSTONES)
        if storage.swap(_path(name), parquet_bytes(table), there):
            return len(new)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["id"], row["uri_sha256"], row["text_sha256"]


def _path(name: str) -> str:
    return f"{name}/forgotten.parquet"


def _rows(storage: Storage, name: str, data: bytes | None) -> list[dict[str, Any]]:
    if data is None:
        return []
    try:
        found: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).cast(schema.TOMBSTONES).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ReleaseError(
            f"{storage.path(_path(name))}: cannot be read: {error}",
            remedy="restore it from a copy: without it what was forgotten would come back",
        ) from error
    return found


# In a workspace -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Apply:
    """Parts of documents to be looked through."""

    work: Workspace
    parts: list[Part]
    stones: Tombstones

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def apply(work: Workspace, parts: Mapping[Part, Footer], stones: Tombstones, engine: Engine) -> dict[Part, Footer]:
    """Take what is forgotten out of these parts of `documents`; the parts with their footers as they are then.

    Its row stays, with `error`, without all that it said. A part is looked through once for the same tombstones, and
    made anew only where one of them is in it.
    """
    known = _index(work, stones)
    todo = [part for part, footer in parts.items() if known.get(str(part)) != footer.fingerprint]
    groups = chunks(todo, [parts[part].rows for part in todo], 100_000)
    tasks = [Apply(work, group, stones) for group in groups]
    is_little = sum(parts[part].rows for part in todo) < 20_000
    made = dict(parts)
    for changed in engine.map(_apply_all, tasks, label="pull: forget", little=is_little):
        for part in changed:
            footer = work.documents.footer(part)
            if footer is not None:
                made[part] = footer
    if todo:
        seen = {"tombstones": stones.fingerprint, "parts": {str(part): one.fingerprint for part, one in made.items()}}
        work.storage.write(INDEX, json.dumps(seen).encode())
    return made


def _index(work: Workspace, stones: Tombstones) -> dict[str, str]:
    try:
        index = json.loads(work.storage.read(INDEX) or b"{}")
    except ValueError:
        return {}
    return index["parts"] if index.get("tombstones") == stones.fingerprint else {}


def _apply_all(task: Apply) -> list[Part]:
    return [part for part in task.parts if _apply(task.work, part, task.stones)]


def _apply(work: Workspace, part: Part, stones: Tombstones) -> bool:
    """Whether something in a part had to be forgotten, and is now."""
    documents = work.documents.read(part, ["id", "uri", "error"])
    is_done = pc.fill_null(pc.equal(documents["error"], FORGOTTEN), False).to_numpy()
    found = stones.named(documents) & ~is_done
    if stones.texts:
        found[_by_text(work, part, stones, documents["id"])] = True
    if not found.any():
        return False
    footer = work.documents.footer(part)
    assert footer is not None  # noqa: S101  # it was read
    pulled = footer.notes.get(PULLED, footer.fingerprint)
    gone = sorted(documents.filter(pa.array(found | is_done))["id"].to_pylist())
    with work.documents.writing(part, fingerprint(FORGOTTEN, pulled, gone)) as writer:
        start = 0
        for table in work.documents.batches(part):
            writer.write(_without(table, pa.array(found[start : start + table.num_rows])))
            start += table.num_rows
        writer.notes |= {**footer.notes, PULLED: pulled}
    return True


def _by_text(work: Workspace, part: Part, stones: Tombstones, ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """The numbers of the rows whose text is forgotten; only those that are as long as one of these are read."""
    length = work.signal("length")
    if length.footer(part) is not None and (sizes := length.read(part, ["id", "byte_count"]))["id"].equals(ids):
        candidates = stones.sizes(sizes["byte_count"])
        texts = [
            text for table in work.documents.pick(part, candidates, ["text"]) for text in table["text"].to_pylist()
        ]
    else:
        found, texts, start = [np.empty(0, np.int64)], [], 0
        for table in work.documents.batches(part, ["text"]):
            mine = stones.sizes(pc.binary_length(table["text"]))
            texts += table["text"].take(pa.array(mine)).to_pylist()
            found.append(mine + start)
            start += table.num_rows
        candidates = np.concatenate(found)
    return candidates[np.array([stones.holds_text(text) for text in texts], np.bool_)]


def _without(table: pa.Table, gone: pa.Array) -> pa.Table:
    """The rows, those that are gone without what they said."""
    for name in ("uri", "title", "text", "license", "created_at", "fetched_at", "meta", "error"):
        stands = {"meta": "{}", "error": FORGOTTEN}.get(name)
        kind = table.schema.field(name)
        column = pc.if_else(gone, pa.scalar(stands, kind.type), table[name])
        table = table.set_column(table.schema.get_field_index(name), kind, column)
    return table
