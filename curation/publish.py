"""publish: what the blend chose becomes shards, and the release appears at once.

Claim the version, write shards, report and card, then the manifest, the pointer last. The shuffle is global and needs
the memory of one shard: parts are first cut into slices by the hash of seed, document and copy, then each shard gathers
its slices and sorts them. The only stage that reads the text of kept documents.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import __version__, schema, tokenised, tokenizing, tombstones
from curation import rules as ruling
from curation.dataset import ROW_GROUP_BYTES, Dataset, Part, Workspace, connect, fingerprint, first_row
from curation.errors import ReleaseError, StorageError
from curation.releases import Release, latest, order
from curation.releases.claiming import claim, point
from curation.run import FORMAT, release_fingerprint, release_place, workspace_id
from curation.signals import load_signals, with_stand_ins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from curation.recipe import Recipe
    from curation.run import Run


@dataclass(frozen=True, slots=True)
class Slice:
    """A part whose chosen rows are to be cut into slices, one for each shard."""

    work: Workspace
    recipe: Recipe
    part: Part
    shards: int
    made_from: str

    def __str__(self) -> str:
        return str(self.part)


@dataclass(frozen=True, slots=True)
class Gather:
    """A shard to be made of the slices of all parts."""

    work: Workspace
    recipe: Recipe
    parts: list[Part]
    release: Release
    index: int
    shards: int
    made_from: str

    def __str__(self) -> str:
        return f"shard {self.index}"


def publish(run: Run) -> dict[str, Any]:
    """Publish a release, or nothing when the latest one was made from the same.

    Raises `ReleaseError` when no document is in the blend, and when the version that the recipe asks for is taken by
    another release.
    """
    if not run.figures["blend"]["documents"]:
        raise ReleaseError(
            "nothing to publish: no document is in the blend",
            remedy=f"look at what the rules take: curate rules {run.recipe.shown}; and at the report: "
            f"curate report {run.recipe.shown}",
        )
    storage = release_place(run.recipe)
    made_from = release_fingerprint(run)
    newest = latest(storage, run.recipe.name)
    wanted = run.recipe.release.version
    same = newest if wanted is None else Release(storage, run.recipe.name, wanted)
    if same is not None and _was_pointed_to(same, made_from, newest):
        return {"published": False, "release": same.path, "version": same.version}
    mine = {"fingerprint": made_from, "workspace": workspace_id(run.work.storage)}
    release = claim(storage, run.recipe.name, wanted, mine, newest, run.confirm)
    storage.sweep(release.folder)
    try:
        return _finished(run, release, made_from, newest)
    except BaseException:
        with suppress(StorageError):  # also where another run holds the workspace now: it may be writing there
            run.confirm()
            storage.sweep(release.folder)
        raise


def _finished(run: Run, release: Release, made_from: str, newest: Release | None) -> dict[str, Any]:
    """Make what the claimed release lacks, and publish it."""
    from curation.report.card import card  # noqa: PLC0415  # with Jinja 0.1 s, and not every run comes here

    storage = release.storage
    if (data := storage.read(f"{release.folder}/manifest.json")) is not None:  # killed just before the pointer moved
        point(release, data)
        return _published(release, json.loads(data))
    shards = _shards(run, release, made_from)
    run.work.storage.remove("shuffle")
    report = run.work.storage.read("report.html")
    if report is None:
        raise StorageError(f"{run.work.storage.path('report.html')}: is gone", remedy="run again: it is made anew")
    storage.write(f"{release.folder}/report.html", report)
    if not tokenizing.is_estimate(run.recipe.blend.tokenizer):
        storage.write(f"{release.folder}/tokenizer.json", tokenizing.read(run.recipe.blend.tokenizer, run.recipe.base))
    manifest = _manifest(run, release, made_from, shards, newest)
    before = newest.manifest() if newest is not None and manifest["previous"] else None
    storage.write(f"{release.folder}/README.md", card(manifest, before).encode())
    data = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    run.confirm()
    if tombstones.read(storage, run.recipe.name).fingerprint != run.forgotten:
        raise ReleaseError(
            f"{release.path}: something was forgotten while this was being made, and it may hold that",
            remedy="run again: what is not concerned is kept",
        )
    if not storage.create(f"{release.folder}/manifest.json", data):
        raise ReleaseError(f"{release.path}: another run published it meanwhile", remedy="run again")
    point(release, data)
    return _published(release, manifest)


def _published(release: Release, manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "published": True,
        "release": release.path,
        "version": release.version,
        "shards": len(manifest["shards"]),
        "documents": manifest["documents"],
        "rows": manifest["rows"],
        "tokens": manifest["tokens"],
        "bytes": manifest["bytes"],
    }


def _was_pointed_to(release: Release, made_from: str, newest: Release | None) -> bool:
    """Whether this release was published, from the same: the latest, or an older one."""
    manifest = release.manifest()
    if manifest is None or newest is None or manifest["fingerprint"] != made_from:
        return False
    return order(release.version) <= order(newest.version)


def _shards(run: Run, release: Release, made_from: str) -> list[dict[str, Any]]:
    chosen, size = _chosen(run)
    count = max(1, -(-size // run.recipe.release.shard_bytes)) if chosen else 0
    slices = slices_dataset(run.work, run.recipe).not_made(
        {part: fingerprint(made_from, run.blend_from[part]) for part in chosen}
    )
    undone = [Slice(run.work, run.recipe, part, count, made) for part, made in slices.items()]
    weights = [run.parts[task.part].notes["text_bytes"] for task in undone]
    run.engine.map(_slice, undone, label="publish: shuffle", sizes=weights, unit="B")
    gathers = [
        Gather(run.work, run.recipe, chosen, release, index, count, fingerprint(made_from, index))
        for index in range(count)
    ]
    return run.engine.map(_gather, gathers, label="publish: shards", unit="shards")


def _chosen(run: Run) -> tuple[list[Part], int]:
    """The parts with documents in the release, and how many bytes of text those have, with repetitions."""
    connection = connect(run.work)
    parts, total = [], 0
    for part in run.parts:
        connection.register("blend", run.work.blend.read(part, ["copies", "bytes"]))
        (size,) = first_row(connection, "SELECT sum(copies * bytes)::BIGINT FROM blend WHERE copies > 0")
        if size:
            parts.append(part)
            total += int(size)
    return parts, total


def shard_schema(work: Workspace, recipe: Recipe) -> pa.Schema:
    """The columns of a shard: the fixed ones and those the recipe asks for."""
    asked = [work.row.field(name) for name in recipe.release.columns if name not in schema.SHARD.names]
    return pa.schema([*schema.SHARD, *asked])


def slices_dataset(work: Workspace, recipe: Recipe) -> Dataset:
    """Each part's chosen rows, a row group for each shard; kept until the release is out."""
    fields = [*shard_schema(work, recipe), pa.field("key", pa.uint64(), nullable=False), pa.field("copy", pa.int32())]
    return Dataset(work.storage, "shuffle", pa.schema(fields), "lz4")  # read once, then removed: fast, not small


def shuffle_key(seed: int, document: str, copy: int) -> int:
    """The place of a copy in the release: a hash from 0 to 2^64 - 1.

    >>> shuffle_key(0, "a", 0) == shuffle_key(0, "a", 0) != shuffle_key(0, "a", 1)
    True
    """
    data = f"{seed}:{document}:{copy}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def shuffle_keys(
    seed: int, ids: list[str], rows: NDArray[np.int64], copies: NDArray[np.int64]
) -> NDArray[np.uint64]:  # fmt: skip
    """`shuffle_key` of copies of documents, each a place in `ids` and the number of the copy.

    >>> bool(shuffle_keys(0, ["a", "b"], np.array([1]), np.array([3]))[0] == shuffle_key(0, "b", 3))
    True
    """
    hashed = [
        hashlib.blake2b(f"{seed}:{ids[row]}:{copy}".encode(), digest_size=8).digest()
        for row, copy in zip(rows.tolist(), copies.tolist(), strict=True)
    ]
    return np.frombuffer(b"".join(hashed), ">u8").astype(np.uint64)


def shard_of(keys: NDArray[np.uint64], shards: int) -> NDArray[np.int64]:
    """Which of so many shards each key falls into: key x shards / 2^64, in whole numbers.

    >>> shard_of(np.array([0, 2**62, 2**64 - 1], np.uint64), 5).tolist()
    [0, 1, 4]
    """
    high, low, count = keys >> np.uint64(32), keys & np.uint64(2**32 - 1), np.uint64(shards)
    return ((high * count + (low * count >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def _slice(task: Slice) -> None:
    target = slices_dataset(task.work, task.recipe)
    rows = _chosen_rows(task)
    counts = rows["copies"].to_numpy()
    copies = np.repeat(np.arange(rows.num_rows), counts)
    number = np.arange(len(copies)) - np.repeat(np.cumsum(counts) - counts, counts)
    keys = shuffle_keys(task.recipe.seed, rows["id"].to_pylist(), copies, number)
    shards = shard_of(keys, task.shards)
    with target.writing(task.part, task.made_from) as writer:
        groups: dict[str, list[int]] = {}
        for shard in np.unique(shards):
            mine = np.flatnonzero(shards == shard)
            table = rows.take(pa.array(copies[mine]))
            table = table.append_column("key", pa.array(keys[mine])).append_column("copy", pa.array(number[mine]))
            before = writer.groups
            writer.write(table)
            groups[str(shard)] = [before, writer.groups]
        writer.notes["groups"] = groups


def _chosen_rows(task: Slice) -> pa.Table:
    """The chosen rows of a part with their text as published, in the shard's columns, and `copies`."""
    work, recipe = task.work, task.recipe
    blend = work.blend.read(task.part)
    edits = ruling.edits_of(recipe)
    asked = [name for name in recipe.release.columns if name not in schema.SHARD.names]
    spans = [*recipe.edit.remove, *recipe.edit.replace]
    side = work.read(task.part, [*spans, *asked, *ruling.columns_in(edits.where, work)])
    to_edit = _where(side, edits.where)
    chosen = pc.greater(blend["copies"], 0)
    tables = []
    start = 0
    columns = [name for name in schema.SHARD.names if name in schema.DOCUMENTS.names]
    for documents in work.documents.batches(task.part, columns):
        here = chosen.slice(start, documents.num_rows)
        if pc.any(here).as_py():
            kept, beside = documents, side.slice(start, documents.num_rows)
            if not pc.all(here).as_py():  # else all would be copied
                kept, beside = kept.filter(here), beside.filter(here)
            rows = kept.select(["id", "text"])
            for name in spans:
                rows = rows.append_column(name, beside[name])
            texts = _edited(rows, recipe, to_edit.slice(start, len(here)).filter(here))
            kept = kept.set_column(kept.schema.get_field_index("text"), "text", texts)
            for name in asked:
                kept = kept.append_column(side.schema.field(name), beside[name])
            for name in ("group", "tokens", "copies"):
                kept = kept.append_column(name, blend[name].slice(start, documents.num_rows).filter(here))
            tables.append(kept)
        start += documents.num_rows
    return pa.concat_tables(tables).combine_chunks()


def published_texts(
    work: Workspace, recipe: Recipe, part: Part, wanted: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """The places of the wanted rows of a part, and their `id` and `text` as published, some at a time."""
    edits = ruling.edits_of(recipe)
    spans = [*recipe.edit.remove, *recipe.edit.replace]
    side = work.read(part, [*spans, *ruling.columns_in(edits.where, work)])
    to_edit = _where(side, edits.where)
    start = 0
    for documents in work.documents.batches(part, ["id", "text"]):
        rows = start + np.flatnonzero(wanted[start : start + documents.num_rows])
        start += documents.num_rows
        if len(rows):
            chosen = documents.take(pa.array(rows - (start - documents.num_rows)))
            for name in spans:
                chosen = chosen.append_column(name, side[name].take(pa.array(rows)))
            texts = _edited(chosen, recipe, to_edit.take(pa.array(rows)))
            yield rows, pa.table({"id": chosen["id"], "text": texts})


def _where(rows: pa.Table, predicate: str) -> pa.ChunkedArray:
    connection = connect()
    connection.register("documents", rows)
    return connection.sql(f"SELECT coalesce(({predicate}\n), false) AS chosen FROM documents").to_arrow_table()[
        "chosen"
    ]


def _edited(rows: pa.Table, recipe: Recipe, chosen: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts as published: where chosen, without the spans to remove, and with stand-ins for those to replace.

    `rows` has `id`, `text` and the columns of spans.
    """
    edit = recipe.edit
    if not edit.remove and not edit.replace:
        return rows["text"]
    known = with_stand_ins(load_signals(recipe)) if edit.replace else {}
    removed = zip(*(rows[name].to_pylist() for name in edit.remove), strict=True) if edit.remove else repeat(())
    replaced = zip(*(rows[name].to_pylist() for name in edit.replace), strict=True) if edit.replace else repeat(())
    texts = []
    for document, text, is_chosen, cuts, finds in zip(
        rows["id"].to_pylist(), rows["text"].to_pylist(), chosen.to_pylist(), removed, replaced, strict=False
    ):
        if not is_chosen or not any((*cuts, *finds)):
            texts.append(text)
            continue
        data, key = text.encode(), stand_in_key(recipe.seed, document)
        pieces: list[tuple[int, int, bytes]] = []
        for name, spans in zip(edit.replace, finds, strict=True):
            places = [(span["start"], span["end"]) for span in spans]
            names = known[name]([data[start:end].decode() for start, end in places], key)
            mine = [(*place, name.encode()) for place, name in zip(places, names, strict=True)]
            pieces += [one for one in mine if not any(one[0] < end and start < one[1] for start, end, _ in pieces)]
        texts.append(edited(data, [(s["start"], s["end"]) for spans in cuts for s in spans], pieces).decode())
    return pa.chunked_array([pa.array(texts, pa.string())])


def stand_in_key(seed: int, document: str) -> bytes:
    """What the stand-ins of a document depend on: 32 bytes, of the seed and the document's id.

    >>> stand_in_key(0, "a") == stand_in_key(0, "a") != stand_in_key(0, "b")
    True
    """
    return hashlib.blake2b(f"stand-ins:{seed}:{document}".encode(), digest_size=32).digest()


def edited(data: bytes, removed: list[tuple[int, int]], replaced: list[tuple[int, int, bytes]]) -> bytes:
    """A text without the spans to remove, which may overlap, and with others replaced, which may not.

    Removing goes first. Of a span to be replaced of which only a part is removed nothing stays: its stand-in stands
    where the rest began. One that is removed whole has none.

    >>> edited(b"one two three", [(0, 4), (2, 4)], [(8, 13, b"3")])
    b'two 3'
    >>> edited(b"one two three", [(0, 5)], [(4, 7, b"2")]), edited(b"one two three", [(3, 8)], [(4, 7, b"2")])
    (b'2 three', b'onethree')
    """
    pieces: list[bytes] = []
    done = 0
    ahead = sorted(replaced)
    place = 0
    for start, end in [*_union(removed), (len(data), len(data))]:
        while place < len(ahead) and ahead[place][0] < start:
            first, last, new = ahead[place]
            if last > done:
                pieces += [data[done : max(first, done)], new]
                done = max(done, last)
            place += 1
        pieces.append(data[done : max(start, done)])
        done = max(done, end)
    return b"".join(pieces)


def _union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same places as spans that are in order and apart.

    >>> _union([(4, 6), (0, 2), (1, 3)])
    [(0, 3), (4, 6)]
    """
    union: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((start, end))
    return union


def _gather(task: Gather) -> dict[str, Any]:
    target = Dataset(task.release.storage, task.release.folder, shard_schema(task.work, task.recipe))
    part = Part("data", f"train-{task.index:05d}")
    if not target.is_made(part, task.made_from):
        source = slices_dataset(task.work, task.recipe)
        tables = [source.schema.empty_table()]
        for name in task.parts:
            footer = source.footer(name)
            groups = footer.notes["groups"].get(str(task.index)) if footer else None
            if groups:
                tables.append(source.read_groups(name, range(*groups)))
        rows = pa.concat_tables(tables).combine_chunks()  # taking from many chunks copies them all each time
        del tables
        with target.writing(part, task.made_from) as writer, _tokens_beside(task) as beside:
            for table in _row_groups(rows):
                writer.write(table)
                beside(table)
    rows = target.read(part, ["tokens"])
    path = target.path(part)
    with target.storage.reading(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
    total = pc.sum(rows["tokens"]).as_py() or 0
    entry = {"path": f"{part}.parquet", "rows": rows.num_rows, "tokens": total, "bytes": size, "sha256": digest}
    if task.recipe.release.tokenised:
        entry["tokenised"] = tokenised.described(target.storage, task.release.folder, part.name)
    return entry


@contextmanager
def _tokens_beside(task: Gather) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes rows into the tokenised shard too, which is there whole before its Parquet is."""
    recipe, storage = task.recipe, task.release.storage
    if not recipe.release.tokenised:
        yield lambda _: None
        return
    tokenizer = tokenizing.of(recipe)
    name = f"{task.release.folder}/{tokenised.FOLDER}/train-{task.index:05d}"
    with storage.writing(f"{name}.bin") as stream:
        writer = tokenised.TokenWriter(stream, tokenizer, tokenizer.end(recipe.release.end_of_document)[1])

        def write(rows: pa.Table) -> None:
            counts = writer.write(rows["text"].to_pylist())
            if counts != rows["tokens"].to_pylist():
                raise ReleaseError(
                    f"{name}.bin: documents have other tokens than were counted",
                    remedy=f"remove {task.work.storage.path('tokens')} and run again: they are counted anew",
                )

        yield write
    storage.write(f"{name}.idx", writer.index())


def _row_groups(rows: pa.Table) -> Iterator[pa.Table]:
    """The rows in their order, in runs with about `ROW_GROUP_BYTES` of text: small enough to be read one at random."""
    order = pc.sort_indices(rows, [("key", "ascending"), ("id", "ascending"), ("copy", "ascending")])
    sizes = pc.binary_length(rows["text"]).take(order).to_numpy().astype(np.int64)
    bounds = np.flatnonzero(np.diff(np.cumsum(sizes) // ROW_GROUP_BYTES)) + 1
    for start, end in zip([0, *bounds], [*bounds, len(sizes)], strict=True):
        if end > start:
            yield rows.take(order.slice(start, end - start))


def _manifest(
    run: Run, release: Release, made_from: str, shards: list[dict[str, Any]], previous: Release | None
) -> dict[str, Any]:
    judged, blended, counted = (run.figures[stage] for stage in ("judge", "blend", "report"))
    groups = [
        {
            "name": group["name"],
            "asked_share": group["asked_share"],
            "achieved_share": group["achieved_share"],
            "documents": group["documents"],
            "tokens": group["tokens"],
            "max_copies": group["max_copies"],
        }
        for group in blended["groups"]
    ]
    return {
        "format": FORMAT,
        "name": release.name,
        "version": release.version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": made_from,
        "recipe": run.recipe.semantic(),
        "software": f"curate {__version__}",
        "documents": blended["documents"],
        "rows": sum(shard["rows"] for shard in shards),
        "tokens": sum(shard["tokens"] for shard in shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "tokenizer": run.recipe.tokenizer_identity,
        "tokenised": _tokenised(run.recipe),
        "shards": shards,
        "groups": groups,
        "limits": blended["limits"],
        "sources": [{"name": name, **counts, **counted["sources"][name]} for name, counts in judged["sources"].items()],
        "together": counted["together"],
        "languages": counted["languages"],
        "scorecard": counted["scorecard"],
        "inputs": run.inputs,
        "against": [
            {
                "name": entry["name"],
                "documents": entry["documents"],
                "duplicates": sum(judged["against"][written].values()),
                "fingerprint": entry["fingerprint"],
            }
            for written, entry in run.figures["measure"]["against"].items()
        ],
        "stable": run.basis.record() if run.basis else None,
        "previous": previous.version if previous and previous.version != release.version else None,
        "forgotten": sum(counts["rules"].get(ruling.FORGOTTEN, 0) for counts in judged["sources"].values()),
        "derived": None,
    }


def _tokenised(recipe: Recipe) -> dict[str, Any] | None:
    """How token ids are written; None where they are not."""
    if not recipe.release.tokenised:
        return None
    tokenizer = tokenizing.of(recipe)
    token, number = tokenizer.end(recipe.release.end_of_document)
    vocabulary = tokenizer.vocabulary
    return {
        "dtype": tokenised.dtype_of(vocabulary), "vocabulary": vocabulary, "end_of_document": token, "end_id": number
    }  # fmt: skip
