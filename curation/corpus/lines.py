"""How much of each document stands in lines that many documents of many hosts have, and where.

Cookie banners, footers, menus. Only the sidecars of the signal `lines` are read, and URIs. In four steps, none of which
holds more than a bounded number of lines:

1. sift: lines are counted in a table of fixed size, which tells most of those that are rare;
2. count: of each line that is left, in how many documents of which hosts it is, by parts;
3. choose: the same of all parts together, by ranges of a hash, and which lines are shared;
4. mark: the columns of each part.

A document that is a copy of another one counts for no line, since copies go anyway: of a text that fifty newspapers
print one stays, and is no boilerplate.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from curation import kernels
from curation.dataset import ROW_GROUP_ROWS, Part, Workspace, connect, fingerprint
from curation.dedup.rows import distinct
from curation.engine import chunks
from curation.signals.batch import ratio, spans
from curation.signals.url import hosts_from, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from curation.kernels.shared_lines import Filter, Tally
    from curation.run import Run
    from curation.signals.lines import LineHashes

#: Raised when the same sidecars give other columns.
VERSION = 1

#: Lines that are held at once; with all that is made of them a worker takes 1 GB at most.
TOGETHER = 1 << 22
#: Places of the table that sifts, a byte each, and of the one that shared lines are looked up in first.
SIFTED, LOOKED_UP = 1 << 28, 1 << 26
#: Places in the latter for each shared line, so that few others get past it.
_SPARSE = 16

#: Sets of numbers that all tasks need: what sifting found, and the ids of the copies.
_SIFTED, _COPIES = Part("all", "sifted"), Part("all", "copies")
_SHARED = "shared"
_COUNTED = "counted"


@dataclass(frozen=True, slots=True)
class Step:
    """What every task needs; `salt` is odd and random, so that no text can be made to fill one range of hashes."""

    work: Workspace
    made_from: str
    salt: int
    documents: int
    hosts: int


@dataclass(frozen=True, slots=True)
class Sift:
    """Count so many lines of all parts in one table."""

    step: Step
    parts: list[Part]
    lines: int

    def __str__(self) -> str:
        return "the lines of all parts"


@dataclass(frozen=True, slots=True)
class Count:
    """Count the documents and hosts of the lines of some parts."""

    step: Step
    number: int
    parts: list[Part]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


@dataclass(frozen=True, slots=True)
class Choose:
    """Choose the shared lines of one of several ranges, of what that many tasks counted."""

    step: Step
    number: int
    ranges: int
    counted: int

    def __str__(self) -> str:
        return f"range {self.number + 1} of {self.ranges} of the lines"


@dataclass(frozen=True, slots=True)
class Mark:
    """Write the columns of some parts."""

    step: Step
    parts: list[Part]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def fingerprint_of(run: Run, sidecars: Sequence[str], pairs: str | None) -> str:
    """What every part's columns are made from: the sidecars of all parts, who is a copy, and what a shared line is."""
    signal = _signal(run)
    return fingerprint("shared lines", VERSION, hosts_from(), [signal.documents, signal.hosts], pairs, sidecars)


def _signal(run: Run) -> LineHashes:
    return cast("LineHashes", run.signals["lines"])


def make(run: Run, missing: list[Part], made_from: str) -> None:
    """Write the columns `shared_line_ratio` and `shared_lines` of these parts."""
    work, signal, parts = run.work, _signal(run), list(run.parts)
    _clear(work)
    step = Step(work, made_from, secrets.randbits(64) | 1, signal.documents, signal.hosts)
    sidecar = work.signal("lines")
    sizes = [sum(size for _, size in groups) // 8
             for groups in work.storage.each(lambda part: sidecar.groups(part, "line_hashes"), parts)]  # fmt: skip
    _write_set(step, _COPIES, _copies(work))
    if (lines := sum(sizes)) <= SIFTED * signal.documents:
        run.engine.map(_sift, [Sift(step, parts, lines)], label="compare: sift lines", little=run.is_little)
    else:  # nearly every place would count too many
        _write_set(step, _SIFTED, ~np.zeros(1, np.uint64))
    counts = [Count(step, number, group) for number, group in enumerate(chunks(parts, sizes, 2 * TOGETHER))]
    counted = run.engine.map(_count, counts, label="compare: count lines", little=run.is_little)
    ranges = 1 + sum(counted) // TOGETHER
    choices = [Choose(step, number, ranges, len(counts)) for number in range(ranges)]
    run.engine.map(_choose, choices, label="compare: shared lines", unit="ranges", little=run.is_little)
    rows = [run.parts[part].rows for part in missing]
    marks = [Mark(step, group) for group in chunks(missing, rows, 100_000)]
    run.engine.map(_mark, marks, label="compare: mark lines", little=run.is_little)
    _clear(work)


def _clear(work: Workspace) -> None:
    for folder in (work.line_counts.name, work.line_sets.name):
        work.storage.remove(folder)


def _write_set(step: Step, part: Part, numbers: NDArray[np.uint64]) -> None:
    step.work.line_sets.write(part, pa.table({"number": pa.array(numbers)}), step.made_from)


def _read_set(step: Step, part: Part) -> NDArray[np.uint64]:
    return np.asarray(step.work.line_sets.read(part)["number"].to_numpy(), np.uint64)


def _copies(work: Workspace) -> NDArray[np.uint64]:
    """The ids, as numbers, of documents that are a copy of one with a smaller id, ascending.

    Of the copies of a document from outside of the run the first is none: one of the run's must count for its lines.
    """
    connection = connect(work)
    parts = work.pairs.parts()  # those that compare has just made, or found complete
    connection.register("pairs", work.pairs.scan(parts, ["id_a", "id_b", "against"]))
    ids = connection.sql("""
        SELECT id_b FROM pairs WHERE against IS NULL
        UNION ALL
        SELECT id_b FROM (
            SELECT id_b, min(id_b) OVER (PARTITION BY against, id_a) AS first FROM pairs WHERE against IS NOT NULL
        )
        WHERE id_b <> first
    """).to_arrow_reader(1 << 20)
    found = [_numbers(pa.chunked_array([batch["id_b"]])) for batch in ids]
    return distinct(np.concatenate([np.empty(0, np.uint64), *found]))


def _numbers(ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first sixteen of an id's hexadecimal digits."""
    strings = ids.combine_chunks()
    bounds = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset :][: len(strings) + 1].astype(np.int64)
    return np.asarray(kernels.grouping.hex_keys(np.frombuffer(strings.buffers()[2] or b"", np.uint8), bounds))


def _among(numbers: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which numbers are among those that are known, which ascend."""
    if not len(known):
        return np.zeros(len(numbers), np.bool_)
    places = np.searchsorted(known, numbers)
    places[places == len(known)] = 0
    return np.asarray(known[places] == numbers)


def _flat(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """A column of lists: where each row's values begin and end, and the values."""
    lists = column.combine_chunks()
    bounds = lists.offsets.to_numpy().astype(np.int64)
    return bounds - bounds[0], lists.flatten().to_numpy()


# Sift


def _sift(task: Sift) -> None:
    step, salt = task.step, np.uint64(task.step.salt)
    counters = np.zeros(kernels.shared_lines.size_of_filter(task.lines, SIFTED), np.uint8)
    for part in task.parts:
        for table in step.work.signal("lines").batches(part, ["line_hashes"]):
            kernels.shared_lines.count(_flat(table["line_hashes"])[1], salt, counters)
    _write_set(step, _SIFTED, kernels.shared_lines.filter_of(counters, step.documents, salt).bits)


# Count


def _count(task: Count) -> int:
    """How many rows it writes: those of each run ascend, and the notes say what each row group begins and ends with."""
    step = task.step
    sifted = kernels.shared_lines.Filter(_read_set(step, _SIFTED), np.uint64(step.salt))
    copies = _read_set(step, _COPIES)
    written = 0
    with step.work.line_counts.writing(Part(_COUNTED, f"{task.number:05d}"), step.made_from) as writer:
        writer.notes["groups"] = []
        for rows in _in_runs(step, task.parts, sifted, copies):
            found = kernels.shared_lines.tally(rows, step.hosts)
            writer.write(pa.table(found._asdict()))
            first = np.arange(0, len(found.place), ROW_GROUP_ROWS)
            last = np.minimum(first + ROW_GROUP_ROWS, len(found.place)) - 1
            writer.notes["groups"] += np.stack([found.place[first], found.place[last]], axis=1).tolist()
            written += len(found.place)
    return written


def _in_runs(step: Step, parts: list[Part], sifted: Filter, copies: NDArray[np.uint64]) -> Iterator[Tally]:
    """A row for each line of each document, as many at a time as are held at once."""
    held: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
    for part in parts:
        documents = step.work.documents.read(part, ["id", "uri"])
        is_copy = _among(_numbers(documents["id"]), copies)
        uris = documents["uri"].combine_chunks()
        start = 0
        for table in step.work.signal("lines").batches(part, ["line_hashes"]):
            bounds, hashes = _flat(table["line_hashes"])
            row, places = _distinct(bounds, hashes, is_copy[start : start + len(table)], sifted)
            first = np.flatnonzero(np.diff(row, prepend=-1))  # a document's lines follow each other
            hosts = [_host(uri, part.source) for uri in uris.take(pa.array(start + row[first])).to_pylist()]
            of_line = np.repeat(np.array(hosts, np.uint64).view(np.int64), np.diff(first, append=len(row)))
            held.append((places, of_line))
            start += len(table)
            while sum(len(places) for places, _ in held) >= TOGETHER:
                places, of_line = (np.concatenate(column) for column in zip(*held, strict=True))
                yield _each_once(places[:TOGETHER], of_line[:TOGETHER])
                held = [(places[TOGETHER:], of_line[TOGETHER:])]
    if sum(len(places) for places, _ in held):
        yield _each_once(*(np.concatenate(column) for column in zip(*held, strict=True)))


def _each_once(places: NDArray[np.uint64], hosts: NDArray[np.int64]) -> Tally:
    return kernels.shared_lines.Tally(places, hosts, np.ones(len(places), np.int64))


def _distinct(
    bounds: NDArray[np.int64], hashes: NDArray[np.uint64], is_copy: NDArray[np.bool_], sifted: Filter
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The row and the place of each line that may be shared, once for each document that counts."""
    left = np.flatnonzero(kernels.shared_lines.passes(hashes, sifted))
    row = np.searchsorted(bounds, left, side="right") - 1
    left, row = left[~is_copy[row]], row[~is_copy[row]]
    places = hashes[left] * sifted.salt
    order = np.lexsort((places, row))
    places, row = places[order], row[order]
    is_first = np.ones(len(row), np.bool_)
    is_first[1:] = (row[1:] != row[:-1]) | (places[1:] != places[:-1])
    return row[is_first], places[is_first]


def _host(uri: str | None, source: str) -> int:
    """A hash of the host that a document comes from; where its URI has none, of its source."""
    host = parse(uri)[0] if uri else ""
    return xxh3_64_intdigest((host or f"source {source}").encode())  # no host has a space


# Choose


def _choose(task: Choose) -> None:
    step = task.step
    low, beyond = ((task.number + end) * 2**64 // task.ranges for end in (0, 1))
    tables = [step.work.line_counts.schema.empty_table()]
    for number in range(task.counted):
        part = Part(_COUNTED, f"{number:05d}")
        footer = step.work.line_counts.footer(part)
        groups = footer.notes["groups"] if footer is not None else []
        mine = [group for group, (first, last) in enumerate(groups) if last >= low and first < beyond]
        if mine:
            tables.append(step.work.line_counts.read_groups(part, mine))
    table = pa.concat_tables(tables)
    places = table["place"].to_numpy()
    inside = (places >= np.uint64(low)) & (places <= np.uint64(beyond - 1))
    rows = kernels.shared_lines.Tally(*(table[name].to_numpy()[inside] for name in table.column_names))
    found = kernels.shared_lines.shared(kernels.shared_lines.tally(rows, step.hosts), step.documents, step.hosts)
    hashes = found * np.uint64(pow(step.salt, -1, 2**64))
    _write_set(step, Part(_SHARED, f"{task.number:05d}"), hashes)


# Mark


def _mark(task: Mark) -> None:
    step = task.step
    parts = [part for part in step.work.line_sets.parts() if part.source == _SHARED]
    known = np.sort(np.concatenate([np.empty(0, np.uint64), *(_read_set(step, part) for part in parts)]))
    counters = np.zeros(kernels.shared_lines.size_of_filter(_SPARSE * len(known), LOOKED_UP), np.uint8)
    salt = np.uint64(step.salt)
    kernels.shared_lines.count(known, salt, counters)
    likely = kernels.shared_lines.filter_of(counters, 0, salt)
    for part in task.parts:
        with step.work.corpus["lines"].writing(part, step.made_from) as writer:
            for table in step.work.signal("lines").batches(part):
                bounds, hashes = _flat(table["line_hashes"])
                places = np.flatnonzero(kernels.shared_lines.passes(hashes, likely))
                writer.write(marked(table, bounds, places[_among(hashes[places], known)]))


def marked(table: pa.Table, bounds: NDArray[np.int64], places: NDArray[np.int64]) -> pa.Table:
    """The columns of rows of the signal's sidecar, of whose lines those at `places` are shared."""
    gaps, sizes, margins = (_flat(table[name])[1] for name in ("line_gaps", "line_sizes", "line_margins"))
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(gaps + sizes, dtype=np.int64)])
    row = np.searchsorted(bounds, places, side="right") - 1
    end = ends[places + 1] - ends[bounds[row]]
    chars = np.bincount(row, sizes[places] - margins[places], minlength=len(table)).astype(np.int64)
    return pa.table(
        {
            "id": table["id"],
            "shared_line_ratio": pa.array(ratio(chars, table["line_char_count"].to_numpy()), pa.float32()),
            "shared_lines": spans(np.searchsorted(places, bounds), end - sizes[places], end),
        }
    )
