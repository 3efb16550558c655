"""compare: verified pairs of exact and near-duplicates, and corpus columns. It knows no rule: that is judge's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import against, corpus, kernels, schema
from curation.dataset import Footer, Part, Workspace, fingerprint
from curation.dedup import candidates, compared, scattered, verifying
from curation.dedup.rows import Rows, distinct
from curation.dedup.signatures import band_columns
from curation.run import LITTLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from curation.against import Outside
    from curation.recipe import Dedup
    from curation.run import Run


#: Raised when the same signatures give other pairs, or the same ones in other parts.
VERSION = 5

#: The part of the pairs that link copies to the first of their group; the others link such firsts.
COPIES = Part("copies", "00000")
#: Beside the bands: the copies, all candidates, and every document among those.
_COPIES = Part("all", "copies")
_PAIRS = Part("all", "pairs")
_WANTED = Part("all", "wanted")
#: What one task verifies, roughly, and of how many pairs one writes those that are similar, with their documents' ids.
_DOCUMENTS_A_TASK, _PAIRS_A_TASK, _NAMED_A_TASK = 1_000_000, 8_000_000, 2_000_000


@dataclass(frozen=True, slots=True)
class Compare:
    """What every step of comparing needs."""

    work: Workspace
    rows: Rows
    dedup: Dedup
    made_from: str

    @property
    def bands(self) -> list[str]:
        """The columns of bands, which name the parts of `candidates` too."""
        return band_columns(self.dedup.bands)

    @property
    def is_little(self) -> bool:
        """Whether work on the columns of all documents takes less than starting a worker process."""
        return self.rows.total < LITTLE

    @property
    def values(self) -> int:
        """How many values a signature has."""
        return self.dedup.bands * self.dedup.rows

    def numbers(self, part: Part) -> NDArray[np.uint64]:
        """What a part of `candidates` holds."""
        return np.asarray(self.work.candidates.read(part)["pair"].to_numpy(), np.uint64)

    def some_pairs(self, first: int, last: int) -> NDArray[np.uint64]:
        """The candidates from one place up to another."""
        pieces = self.work.candidates.pick(_PAIRS, np.arange(first, last), ["pair"])
        return np.concatenate([np.empty(0, np.uint64), *(piece["pair"].to_numpy() for piece in pieces)])

    def keep(self, part: Part, numbers: NDArray[Any]) -> None:
        """Write a part of `candidates`."""
        self.work.candidates.write(part, pa.table({"pair": pa.array(numbers.astype(np.uint64))}), self.made_from)


@dataclass(frozen=True, slots=True)
class Find:
    """Find the candidates of one band."""

    step: Compare
    band: str

    def __str__(self) -> str:
        return self.band


@dataclass(frozen=True, slots=True)
class Read:
    """Read the shingles of one part's candidates: of the documents in these rows of it."""

    step: Compare
    number: int
    rows: NDArray[np.int64]
    outside: Outside | None

    def __str__(self) -> str:
        return str(self.step.rows.parts[self.number])


@dataclass(frozen=True, slots=True)
class Scatter:
    """Write the signatures of one part's candidates, the documents of these numbers, by their partitions."""

    step: Compare
    documents: NDArray[np.int64]
    partition: NDArray[np.uint32]

    def __str__(self) -> str:
        return f"signatures from {self.documents[0]:,}"


@dataclass(frozen=True, slots=True)
class Slice:
    """Verify the candidates from one place up to another, or write such pairs with the ids of their documents.

    `scattered` has the parts in which signatures of their partition lie, with the row groups of each; None where
    signatures were not scattered.
    """

    step: Compare
    number: int
    first: int
    last: int
    scattered: list[tuple[Part, range]] | None = None

    def __str__(self) -> str:
        return f"pairs from {self.first:,}"


def compare(run: Run) -> dict[str, Any]:
    """Make `pairs` and the corpus columns, unless they are there already."""
    figures = _compared(run)
    corpus.make(run)
    return figures


def _compared(run: Run) -> dict[str, Any]:
    dedup, work = run.recipe.dedup, run.work
    if not dedup.enabled:
        work.pairs.keep_only([])
        return {"exact": 0, "near": 0, "candidates": 0, "not_compared": 0, "newly_compared": 0}
    rows = rows_of(run)
    step = Compare(work, rows, dedup, pairs_fingerprint(run))
    there = pair_parts(work)
    if _complete(there, step.made_from):
        return _figures(there) | {"newly_compared": 0}
    work.storage.remove(work.pairs.path(COPIES))  # first: without it nothing is complete
    finished = {part for part, footer in there.items() if footer.fingerprint == step.made_from}
    work.pairs.keep_only(finished - {COPIES})
    copies, covered = candidates.copies(work, rows, dedup.against, by_signature=dedup.verify == "signature")
    step.keep(_COPIES, covered)
    found = run.engine.map(
        _find,
        [Find(step, band) for band in step.bands],
        label="compare: candidates",
        unit="bands",
        little=step.is_little,
    )
    pairs = candidates.merged(step.numbers(Part("band", band)) for band in step.bands)
    pairs = candidates.of_one_text(work, rows, pairs)
    signed = _signed(run)
    is_known, similar = compared.earlier(work, rows, signed, dedup.verify).look_up(pairs)
    every = np.empty(len(pairs))
    every[is_known], every[~is_known] = similar, _verified(run, step, pairs[~is_known])
    compared.remember(work, rows, signed, dedup.verify, compared.Compared(pairs, every))
    tasks = _slices(step, len(pairs), 1 + len(pairs) // _NAMED_A_TASK)
    run.engine.map(_name, tasks, label="compare: pairs", unit="slots", little=step.is_little)
    with work.pairs.writing(COPIES, step.made_from) as writer:  # last: it says that all are there
        writer.write(copies.cast(schema.PAIRS))
        writer.notes |= {
            "exact": pc.sum(pc.equal(copies["kind"], "exact")).as_py() or 0,
            "candidates": len(pairs),
            "not_compared": sum(found),
            "tasks": len(tasks),
        }
    for folder in (work.candidates.name, work.scattered.name, work.shingles.name):
        work.storage.remove(folder)
    return _figures(pair_parts(work)) | {"newly_compared": int((~is_known).sum())}


def rows_of(run: Run) -> Rows:
    """The run's documents and those from outside, by number."""
    parts = (*run.parts, *run.against)
    counts = (*(footer.rows for footer in run.parts.values()), *(part.rows for part in run.against.values()))
    return Rows(parts, counts, tuple(part.entry for part in run.against.values()))


def _signed(run: Run) -> list[str]:
    """What the signatures of each part are made from."""
    return [
        *(run.signals_from[part]["signature"] for part in run.parts),
        *(part.made_from for part in run.against.values()),
    ]


def _verified(run: Run, step: Compare, pairs: NDArray[np.uint64]) -> NDArray[np.float64]:
    """How similar these pairs are, which were not compared before."""
    rows = step.rows
    wanted = distinct(np.concatenate(verifying.sides(pairs)))
    ends = np.searchsorted(wanted, rows.starts)
    if step.dedup.verify == "signature" and len(wanted) > 2 * verifying.held_at_once(step.values):
        return _verified_apart(run, step, pairs, wanted, ends)
    step.keep(_PAIRS, pairs)
    if step.dedup.verify == "exact":
        step.keep(_WANTED, wanted)
        reads = [
            Read(step, number, wanted[ends[number] : ends[number + 1]] - rows.starts[number],
                 run.against.get(rows.parts[number]))
            for number in np.flatnonzero(np.diff(ends)).tolist()
        ]  # fmt: skip
        run.engine.map(_read, reads, label="compare: read candidates", little=step.is_little)
    tasks = _slices(step, len(pairs), 1 + max(len(wanted) // _DOCUMENTS_A_TASK, len(pairs) // _PAIRS_A_TASK))
    return np.concatenate(run.engine.map(_verify, tasks, label="compare: verify", unit="slots", little=step.is_little))


def _verified_apart(
    run: Run, step: Compare, pairs: NDArray[np.uint64], wanted: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The same for more documents than a worker can hold signatures of, partition by partition.

    The signatures of each part's documents, which end at `ends` of those that are `wanted`, are scattered before.
    """
    of_pair, of_document = kernels.grouping.parted(
        pairs, wanted, step.rows.total, max(1 + verifying.held_at_once(step.values) // 2, -(-len(wanted) // 0xFFFF))
    )
    order = np.argsort(of_pair.astype(np.uint16), kind="stable")  # by digits, since they are short
    step.keep(_PAIRS, pairs[order])
    there = np.flatnonzero(np.diff(ends)).tolist()
    scatters = [Scatter(step, wanted[ends[one] : ends[one + 1]], of_document[ends[one] : ends[one + 1]])
                for one in there]  # fmt: skip
    run.engine.map(_scatter, scatters, label="compare: scatter signatures", little=step.is_little)
    partitions = int(of_document.max()) + 1
    counts = np.array([np.bincount(scatter.partition, minlength=partitions) for scatter in scatters])
    groups = scattered.row_groups(counts)
    ends_of_pairs = np.searchsorted(of_pair[order], np.arange(partitions), side="right").tolist()
    tasks = []
    for number, (first, last) in enumerate(pairwise([0, *ends_of_pairs])):
        mine = [(step.rows.parts[one], of_part[number]) for one, of_part in zip(there, groups, strict=True)]
        tasks.append(Slice(step, number, first, last, [(part, chosen) for part, chosen in mine if chosen]))
    similar = np.empty(len(pairs))
    verified = run.engine.map(_verify, tasks, label="compare: verify", unit="partitions", little=step.is_little)
    similar[order] = np.concatenate(verified)
    return similar


def _slices(step: Compare, pairs: int, number: int) -> list[Slice]:
    """So many pairs in so many slices."""
    ends = [pairs * place // number for place in range(number + 1)]
    return [Slice(step, place, first, last) for place, (first, last) in enumerate(pairwise(ends))]


def _complete(parts: dict[Part, Footer], made_from: str) -> bool:
    """Whether all the parts of these pairs are there: `COPIES` is written last and says how many others there are."""
    if COPIES not in parts or any(footer.fingerprint != made_from for footer in parts.values()):
        return False
    return len(parts) == 1 + int(parts[COPIES].notes["tasks"])


def pair_parts(work: Workspace) -> dict[Part, Footer]:
    """The parts of `pairs` with their footers."""
    parts = work.pairs.parts()
    footers = work.storage.each(work.pairs.footer, parts)
    return {part: footer for part, footer in zip(parts, footers, strict=True) if footer is not None}


def pairs_fingerprint(run: Run) -> str:
    """What the pairs are made from: the signatures, and how they are compared."""
    dedup = run.recipe.dedup
    signatures = [
        *_signed(run),
        *([dedup.against, [part.entry for part in run.against.values()]] if run.against else []),
    ]
    settings = [dedup.similarity, dedup.verify, candidates.FULL_BUCKET, candidates.HUBS, candidates.NEIGHBOURS]
    return fingerprint("pairs", VERSION, settings, signatures)


def _figures(parts: dict[Part, Footer]) -> dict[str, Any]:
    notes = parts[COPIES].notes
    return {
        "exact": notes["exact"],
        "near": sum(footer.rows for footer in parts.values()) - notes["exact"],
        "candidates": notes["candidates"],
        "not_compared": notes["not_compared"],
    }


def _find(task: Find) -> int:
    step = task.step
    covered = step.numbers(_COPIES).astype(np.int64)
    pairs, left_out = candidates.of_band(step.work, step.rows, step.bands, task.band, covered)
    step.keep(Part("band", task.band), pairs)
    return left_out


def _read(task: Read) -> None:
    step = task.step
    part = step.rows.parts[task.number]
    texts = _own_texts(step.work, part, task.rows) if task.outside is None else against.texts(task.outside, task.rows)
    verifying.write_shingles(step.work, part, texts, step.dedup.ngram, step.made_from)


def _scatter(task: Scatter) -> None:
    step = task.step
    scattered.write(step.work, step.rows, task.documents, task.partition, step.values, step.made_from)


def _own_texts(work: Workspace, part: Part, rows: NDArray[np.int64]) -> Iterator[pa.Array]:
    for table in work.documents.pick(part, rows, ["text"]):
        yield table["text"].combine_chunks()


def _verify(task: Slice) -> NDArray[np.float64]:
    step = task.step
    pairs = step.some_pairs(task.first, task.last)
    if step.dedup.verify == "exact":
        return verifying.by_shingles(step.work, step.rows, pairs, step.numbers(_WANTED).astype(np.int64))
    if task.scattered is not None:
        documents = distinct(np.concatenate(verifying.sides(pairs)))
        if len(documents) <= verifying.held_at_once(
            step.values
        ):  # else they hang together, and some are held at a time
            held = scattered.read(step.work, task.scattered, len(documents), step.values)
            one, other = map(kernels.positions.Positions(documents).of, verifying.sides(pairs))
            return np.asarray(kernels.grouping.agreement(held, one, held, other), np.float64)
    return verifying.by_signature(step.work, step.rows, pairs, step.values)


def _name(task: Slice) -> None:
    step, work, part = task.step, task.step.work, Part("near", f"{task.number:05d}")
    if work.pairs.is_made(part, step.made_from):  # before a kill
        return
    table = compared.between(work, task.first, task.last)
    table = table.filter(pc.greater_equal(table["similarity"], step.dedup.similarity))
    first, second = verifying.sides(table["pair"].to_numpy())
    involved = distinct(np.concatenate([first, second]))
    ids = step.rows.take(work, ["id"], involved)["id"].combine_chunks()
    one, other = (ids.take(pa.array(side)) for side in map(kernels.positions.Positions(involved).of, (first, second)))
    entry = pa.array(step.rows.entry_of(second))
    is_outside = pc.greater_equal(entry, 0)
    in_order = pc.and_not(pc.less(one, other), is_outside)
    names = pa.array(step.dedup.against, pa.string())
    pairs = {
        "id_a": pc.if_else(in_order, one, other),
        "id_b": pc.if_else(in_order, other, one),
        "similarity": table["similarity"].cast(pa.float32()),
        "kind": pa.repeat("near", len(table)),
        "against": names.take(pc.if_else(is_outside, entry, None)),
        "row_a": pc.if_else(in_order, first, second),
        "row_b": pc.if_else(in_order, second, first),
    }
    work.pairs.write(part, pa.table(pairs, schema=schema.PAIRS), step.made_from)
