"""What a run will read, need and cost, estimated from a sample of its inputs before it starts. Nothing is written."""

from __future__ import annotations

import hashlib
import io
import math
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation import against, pull, schema, tokenizing
from curation import rules as ruling
from curation.dataset import PartWriter, Workspace, connect
from curation.dedup.signatures import probability
from curation.doctor import WORKER_BYTES, cores_and_memory
from curation.groups import asked_of, group_sql, groups_of, wishes_of
from curation.inputs import HashIndex, Input
from curation.judge import Rulings, ruled
from curation.measure import sidecar_fingerprint
from curation.mixing import Cell, Wish, mix, scaled
from curation.run import release_place, workspace
from curation.scaling import worth
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import BufferedReader

    from curation.recipe import Dedup, Recipe, Source
    from curation.scaling import Target
    from curation.signals import Signal

#: What is read of a source: so many files at most, of each about so much text (all of it where it is small), in about
#: so many seconds; and how many of the documents that were read are measured.
FILES, WHOLE_FILES = 6, 60
TEXT = 1_500_000
SMALL = 4_000_000
SECONDS = 3.0
MEASURED = 150
#: Seconds that a stage takes however little there is, and those a document takes on two workers: see docs/plan.md.
_START = {"pull": 1.0, "measure": 1.5, "compare": 1.0, "judge": 0.3, "blend": 0.3, "report": 0.3, "publish": 0.4}
_A_DOCUMENT = {"compare": 75e-6, "judge": 8e-6, "blend": 6e-6, "report": 5e-6}
#: Bytes of text a second that one worker writes into shards.
_PUBLISH_RATE = 15e6
#: Bytes a second that one worker reads and signs of the files of `dedup.against`: see docs/plan.md.
_AGAINST_RATE = 15e6
#: Similarities whose chance to be found is told.
SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
#: Bytes of text in a part of documents, as pull cuts them, and in one upload of S3.
_PART = pull.PART_BYTES
_UPLOAD = 8 * 2**20


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """A source: its files, what is pulled already (exact), what there will be in all and be kept (estimates).

    `kept` is what passes the rules; copies are not looked for in a sample. `sampled` documents were read, `measured` of
    them measured and judged.
    """

    name: str
    files: int
    bytes: int
    bytes_to_read: int
    documents_there: int
    documents: int
    text_bytes: int
    kept: int
    tokens: int
    errors: int
    sampled: int
    measured: int


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """A group of the blend: what is asked of it, and the tokens that may be there, copies among them (an estimate)."""

    name: str
    asked: int | None
    available: int
    most: int


@dataclass(frozen=True, slots=True)
class GroupTarget:
    """What a group would be asked for a model, and what that is worth; tokens there are an estimate.

    `passes` is how often each token would be read, None where there is none; more than `most` the recipe forbids.
    `worth` is in new tokens: what the repeated ones are worth as well.
    """

    name: str
    asked: int
    available: int
    passes: float | None
    worth: int
    most: int


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """What a model wants of this corpus, in the recipe's shares; `feasible` is the most that its copies allow."""

    target: Target
    groups: list[GroupTarget]
    worth: int
    feasible: int


@dataclass(frozen=True, slots=True)
class AgainstPlan:
    """An entry of `dedup.against`: its files, and the bytes of those that were not read yet, all of them exact."""

    entry: str
    files: int
    bytes: int
    bytes_to_read: int


@dataclass(frozen=True, slots=True)
class DedupPlan:
    """How likely a pair of documents becomes a candidate, and so can be found at all, with these bands and rows.

    `likely` is that at the recipe's `similarity`; `curve` holds others beside it, in order, with the same two keys.
    """

    bands: int
    rows: int
    similarity: float
    likely: float
    curve: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer; everything but files, bytes and what is there already is an estimate."""

    recipe: str
    workers: int
    sources: list[SourcePlan]
    groups: list[GroupPlan]
    seconds: dict[str, float]
    parts_there: int
    work: str
    to: str
    work_bytes: int
    release_bytes: int
    free_bytes: int | None
    memory_bytes: int
    memory_free: int
    requests: dict[str, int] = field(default_factory=dict)
    sample_documents: int = 0
    sample_measured: int = 0
    sample_bytes: int = 0
    sample_seconds: float = 0.0
    dedup: DedupPlan | None = None
    against: list[AgainstPlan] = field(default_factory=list)
    models: list[ModelPlan] = field(default_factory=list)


@dataclass(slots=True)
class _Sample:
    """What was read of a source: rows, the bytes of input they came from, and the seconds."""

    rows: list[dict[str, Any]]
    files: int = 0
    consumed: float = 0.0
    seconds: float = 0.0

    @property
    def measured(self) -> list[dict[str, Any]]:
        """Some of the rows, evenly from beginning to end."""
        step = max(1, math.ceil(len(self.rows) / MEASURED))
        return self.rows[::step]


class _Watched(Input):
    """An input that remembers the stream it was opened with, to tell how far it was read."""

    def open(self) -> BufferedReader:
        stream = super().open()
        object.__setattr__(self, "stream", stream)
        return stream

    def read_so_far(self) -> int:
        """The place in the file up to which it was read, 0 where it is closed."""
        stream: BufferedReader = self.stream  # type: ignore[attr-defined]  # set by open()
        return 0 if stream.closed else stream.tell()


def plan(recipe: Recipe, workers: int | None = None, targets: Sequence[Target] = ()) -> Plan:
    """The plan of a run of this recipe, and what the models that are `targets` would want of it.

    Raises `RecipeError` for what is wrong in it, `InputError` for inputs that are not there, and `RuleError` for a rule
    without an answer for a document of the sample.
    """
    began = time.perf_counter()
    work, signals = workspace(recipe)
    ruling.check(recipe, work)
    cores, memory = cores_and_memory()
    workers = workers or cores
    found = {source.name: pull.inputs_of(recipe, source) for source in recipe.source}
    index = HashIndex(work.storage)
    digests = {file.path: index.get(file) or "" for files in found.values() for file in files}
    tasks = pull.plan(recipe, work, found, digests)
    samples = {source.name: _sample(recipe, work, source, found[source.name]) for source in recipe.source}
    rows = [row for sample in samples.values() for row in sample.measured]
    table, measure_seconds, sizes = _measured(work, signals, rows)
    judged = _judged(recipe, work, table, _bytes_a_token(recipe, rows))

    sources, pull_seconds, unmeasured, parts = [], 0.0, 0.0, 0
    for source in recipe.source:
        mine = [task for task in tasks if task.source.name == source.name]
        one, seconds, to_measure = _source(
            work, signals, source, found[source.name], mine, samples[source.name], judged
        )
        sources.append(one)
        pull_seconds += seconds
        unmeasured += to_measure
        parts += sum(len(task.finished()[0]) for task in mine)
    documents, text = sum(one.documents for one in sources), sum(one.text_bytes for one in sources)
    sampled_text = sum(_text_bytes(row) for row in rows) or 1
    groups = _groups(recipe, judged, {one.name: one.documents / (one.measured or 1) for one in sources})
    bytes_a_token = _bytes_a_token(recipe, rows)
    chosen = sum(min(g.available * g.most, g.asked) if g.asked else g.available for g in groups)
    published = min(chosen, recipe.blend.budget or chosen) * bytes_a_token
    ratio = sizes["documents"] / sampled_text
    work_bytes = sum(_work_bytes(name, size, documents, text, len(rows), sampled_text) for name, size in sizes.items())
    at_once = max(1, min(workers, len(tasks)))
    outside = [
        AgainstPlan(entry.written, len(entry.shards), sum(shard.file.size for shard in entry.shards), size)
        for entry, size in against.unread(recipe, work)
    ]
    compare = _A_DOCUMENT["compare"] * recipe.dedup.bands / 14 if recipe.dedup.enabled else 0.0
    amounts = {
        "pull": pull_seconds / at_once,
        "measure": measure_seconds * unmeasured / sampled_text / at_once
        + sum(entry.bytes_to_read for entry in outside) / _AGAINST_RATE / workers,
        "compare": compare * documents * 2 / workers,
        **{stage: _A_DOCUMENT[stage] * documents for stage in ("judge", "blend", "report")},
        "publish": published / _PUBLISH_RATE / workers,
    }
    place = release_place(recipe)
    return Plan(
        recipe=recipe.name, workers=workers, sources=sources, groups=groups,
        seconds={stage: round(_START[stage] + amount, 1) for stage, amount in amounts.items()},
        parts_there=parts, work=str(work.storage), to=str(place),
        work_bytes=round(work_bytes), release_bytes=round(published * ratio), free_bytes=_free(work.storage.root),
        memory_bytes=workers * WORKER_BYTES, memory_free=memory,
        requests=_requests(work, signals, place.root, len(tasks), text, round(published), recipe.release.shard_bytes),
        sample_documents=sum(len(sample.rows) for sample in samples.values()), sample_measured=len(rows),
        sample_bytes=round(sum(sample.consumed for sample in samples.values())),
        sample_seconds=round(time.perf_counter() - began, 1),
        dedup=_dedup(recipe.dedup) if recipe.dedup.enabled else None, against=outside,
        models=[_model(recipe, groups, target) for target in targets],
    )  # fmt: skip


def _dedup(dedup: Dedup) -> DedupPlan:
    def likely(similarity: float) -> float:
        return round(probability(similarity, dedup.bands, dedup.rows), 6)

    similarities = sorted({*SIMILARITIES, dedup.similarity})
    curve = [{"similarity": similarity, "likely": likely(similarity)} for similarity in similarities]
    return DedupPlan(dedup.bands, dedup.rows, dedup.similarity, likely(dedup.similarity), curve)


def _sample(recipe: Recipe, work: Workspace, source: Source, files: list[Input]) -> _Sample:
    """Documents of some inputs, chosen by a hash of their names: the same ones each time, if time allows."""
    sample = _Sample([])
    ordered = sorted(files, key=lambda file: hashlib.blake2b(file.name.encode()).digest())
    chosen: list[Input] = []  # by what each is: so many archives, or so many pages
    room = FILES * WHOLE_FILES
    for file in ordered:
        room -= FILES if pull.is_whole(source, file) else WHOLE_FILES
        if room < 0:
            break
        chosen.append(file)
    began = time.perf_counter()
    for number, file in enumerate(chosen):
        now = time.perf_counter()
        left = SECONDS - (now - began)
        if left < 0:
            break
        _read(sample, recipe, work, source, file, now + left / (len(chosen) - number))
    sample.seconds = time.perf_counter() - began
    return sample


def _read(sample: _Sample, recipe: Recipe, work: Workspace, source: Source, file: Input, deadline: float) -> None:
    """Add the first documents of an input, all of them where it is small."""
    watched = _Watched(file.path, file.name, file.size, file.changed)
    task = pull.Pull(work.documents, recipe, source, ((watched, ""),), "sample", pull.is_whole(source, file))
    reading = pull.rows(task)
    count = text = at_first = first = 0
    is_whole = True
    for batch in reading:  # items without a row among them: what is not wanted is read as well
        count += len(batch)
        found = [row for row in batch if row is not None]
        sample.rows += found
        text += sum(map(_text_bytes, found))
        read = watched.read_so_far()
        if not at_first:
            at_first, first = count, read
        is_enough = text >= TEXT and file.size > SMALL and read < file.size
        if is_enough or time.perf_counter() > deadline:
            is_whole = not next(reading, None)
            break
    sample.files += 1
    if is_whole:
        sample.consumed += file.size
    elif source.kind == "parquet":
        with file.open() as again:
            sample.consumed += file.size * count / max(1, pq.ParquetFile(again).metadata.num_rows)
    elif count > at_first and read > first:  # what is read ahead of the first is not counted
        sample.consumed += min(file.size, (read - first) * count / (count - at_first))
    else:
        sample.consumed += read
    del reading  # which closes the file


def _measured(
    work: Workspace, signals: Mapping[str, Signal], rows: list[dict[str, Any]]
) -> tuple[pa.Table, float, dict[str, int]]:
    """The rows with what the signals say of them, the seconds that took, and the bytes of each dataset on disk."""
    table = pa.Table.from_pylist(rows, schema.DOCUMENTS)
    sizes = {"documents": _written(table)}
    columns = table.drop_columns(["text"])
    first, whole = (
        Batch(one["text"].combine_chunks(), one["uri"].combine_chunks()) for one in (table.slice(0, 1), table)
    )
    seconds = 0.0
    for name, signal in signals.items():
        signal.measure(first)  # models are loaded, kernels compiled
        began = time.perf_counter()
        answers = signal.measure(whole)
        seconds += time.perf_counter() - began
        target = work.signal(name).schema
        arrays = [_array(answers[field.name], field.type) for field in list(target)[1:]]
        sidecar = pa.Table.from_arrays([table["id"].combine_chunks(), *arrays], schema=target)
        sizes[f"signals/{name}"] = _written(sidecar)
        for column in list(target)[1:]:
            columns = columns.append_column(column, sidecar[column.name])
    for dataset in work.corpus.values():  # what a sample cannot tell is none
        for column in list(dataset.schema)[1:]:
            nothing: Any = [] if pa.types.is_nested(column.type) else 0
            columns = columns.append_column(column, pa.array([nothing] * len(table), column.type))
    return columns, seconds, sizes


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return (values if isinstance(values, pa.Array) else pa.array(values, kind)).cast(kind)


def _written(table: pa.Table) -> int:
    stream = io.BytesIO()
    writer = PartWriter(stream, table.schema)
    writer.write(table)
    writer.close("")
    return stream.tell()


def _bytes_a_token(recipe: Recipe, rows: list[dict[str, Any]]) -> float:
    """The bytes of a token: those of the estimate, or as the tokenizer counts the sample."""
    if tokenizing.is_estimate(recipe.blend.tokenizer):
        return tokenizing.bytes_a_token(recipe.blend.tokenizer)
    tokenizer = tokenizing.of(recipe)
    texts = [row["text"] for row in rows if row["text"]]
    return sum(map(_text_bytes, rows)) / max(1, sum(tokenizer.count(texts))) if texts else tokenizing.GUESS


def _judged(
    recipe: Recipe, work: Workspace, table: pa.Table, bytes_a_token: float
) -> list[tuple[str, str, str | None, int]]:
    """For each document of the sample its source, fate by the rules, group and tokens as published."""
    edits = ruling.edits_of(recipe)
    connection = connect()
    connection.register("ruled", ruled(Rulings(work, ruling.rules_of(recipe), edits, []), table))
    connection.register("documents", table)
    return connection.execute(f"""
        SELECT source,
            CASE WHEN reasons = ['{ruling.UNREADABLE}'] THEN 'error'
                WHEN len(reasons) > 0 THEN 'dropped' ELSE 'kept' END,
            {group_sql(recipe)},
            CASE WHEN len(reasons) = 0
                THEN ceil({ruling.edited_bytes(edits)} / {bytes_a_token!r}::DOUBLE)::BIGINT ELSE 0 END
        FROM (SELECT documents.*, ruled.reasons FROM documents POSITIONAL JOIN ruled)
    """).fetchall()


def _source(
    work: Workspace, signals: Mapping[str, Signal], source: Source, files: list[Input], tasks: list[pull.Pull],
    sample: _Sample, judged: list[tuple[str, str, str | None, int]],
) -> tuple[SourcePlan, float, float]:  # fmt: skip
    """The source's plan, the seconds to pull it on one worker, and the bytes of text to measure."""
    documents_there = text_there = to_read = unmeasured = 0
    for task in tasks:
        parts, end = task.finished()
        if end >= 0:  # one that was begun counts as a whole
            to_read += sum(file.size for file, _ in task.inputs)
            continue
        for part, footer in parts.items():
            documents_there += footer.rows
            text_there += footer.notes["text_bytes"]
            wanted = {name: sidecar_fingerprint(name, signal, footer) for name, signal in signals.items()}
            if not all(work.signal(name).is_made(part, made) for name, made in wanted.items()):
                unmeasured += footer.notes["text_bytes"]
    factor = to_read / (sample.consumed or 1)
    mine = [row for row in judged if row[0] == source.name]
    count = len(sample.rows)
    documents = documents_there + round(count * factor)
    to_pull = sum(_text_bytes(row) for row in sample.rows) * factor
    share = documents / (len(mine) or 1)
    return (
        SourcePlan(
            name=source.name, files=len(files), bytes=sum(file.size for file in files), bytes_to_read=to_read,
            documents_there=documents_there, documents=documents, text_bytes=round(text_there + to_pull),
            kept=round(share * sum(row[1] == "kept" for row in mine)),
            tokens=round(share * sum(row[3] for row in mine)),
            errors=round(share * sum(row[1] == "error" for row in mine)),
            sampled=count, measured=len(mine),
        ),
        sample.seconds * factor,
        unmeasured + to_pull,
    )  # fmt: skip


def _text_bytes(row: Mapping[str, Any]) -> int:
    return len(row["text"].encode()) if row["text"] else 0


def _groups(
    recipe: Recipe, judged: list[tuple[str, str, str | None, int]], factors: Mapping[str, float]
) -> list[GroupPlan]:
    available = {group.name: 0.0 for group in groups_of(recipe)}
    for source, fate, group, tokens in judged:
        if fate == "kept" and group is not None:
            available[group] += tokens * factors[source]
    asked = asked_of(recipe)
    return [
        GroupPlan(group.name, asked[group.name][1], round(available[group.name]), group.max_copies)
        for group in groups_of(recipe)
    ]


def _model(recipe: Recipe, groups: list[GroupPlan], target: Target) -> ModelPlan:
    """What each group is asked for so many tokens: its share, or as much of them as of what there is.

    Limits across groups are not looked at: a sample cannot tell what they leave.
    """
    root, _ = wishes_of(recipe)
    there = sum(group.available for group in groups) or 1
    if recipe.blend.budget is None:
        root = Wish("", parts=tuple(Wish(g.name, g.available / there, copies=g.most) for g in groups if g.available))
    else:
        root = scaled(root, target.tokens / recipe.blend.budget)
    enough = tuple(Cell(group.name, frozenset(), max(group.available, 1) * 10**9) for group in groups)
    asked = (
        dict(zip((cell.group for cell in enough), mix(root, (), enough, target.tokens).tokens, strict=True))
        if root.parts
        else {}
    )
    cells = tuple(Cell(group.name, frozenset(), group.available) for group in groups)
    feasible = mix(root, (), cells, target.tokens).largest if root.parts else 0
    found = [
        GroupTarget(
            group.name, asked.get(group.name, 0), group.available,
            round(asked.get(group.name, 0) / group.available, 3) if group.available else None,
            round(worth(group.available, asked.get(group.name, 0))), group.most,
        )
        for group in groups
    ]  # fmt: skip
    return ModelPlan(target, found, sum(one.worth for one in found), feasible)


def _work_bytes(name: str, size: int, documents: int, text: int, sampled: int, sampled_text: int) -> float:
    """Bytes on disk of a dataset, from those of the sample's: documents grow with their text, sidecars with rows."""
    return size * (text / sampled_text if name == "documents" else documents / (sampled or 1))


def _free(root: str) -> int | None:
    if "://" in root:
        return None
    existing = next(folder for folder in (Path(root), *Path(root).parents) if folder.exists())
    return shutil.disk_usage(existing).free


def _requests(
    work: Workspace, signals: Mapping[str, Signal], to: str, tasks: int, text: int, published: int, shard: int
) -> dict[str, int]:
    """About how many requests S3 answers for what lies there; the fixed numbers were counted at a server."""
    parts = max(tasks, math.ceil(text / _PART))
    found: dict[str, int] = {}
    if "://" in work.storage.root:
        datasets = len(signals) + len(work.corpus) + 5  # documents, hits, verdicts, groups, blend
        uploads = math.ceil(text / 2 / _UPLOAD)  # zstd halves text, about
        found |= {"WORK put": parts * datasets + uploads + 60, "WORK get": 6 * parts * datasets + uploads}
    if "://" in to:
        found["TO put"] = 50 + max(1, math.ceil(published / shard)) * max(1, math.ceil(shard / 2 / _UPLOAD))
    return found
