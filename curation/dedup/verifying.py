"""How similar candidates are: from their signatures, or exactly from their text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation import kernels
from curation.dedup.rows import distinct
from curation.dedup.signatures import shingles
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from curation.dataset import Part, Workspace
    from curation.dedup.rows import Rows

#: Bytes of shingles that are held at once; of signatures twice as many.
_HELD_BYTES = 256 * 1024 * 1024


def sides(pairs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the documents of pairs: the smaller ones, the others."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def held_at_once(values: int) -> int:
    """How many signatures of so many values are held at once: 512 MB."""
    return max(2, 2 * _HELD_BYTES // (4 * values))


def by_signature(work: Workspace, rows: Rows, pairs: NDArray[np.uint64], values: int) -> NDArray[np.float64]:
    """How similar each pair is by its signatures of so many values: the share of permutations whose minima agree.

    The pairs ascend. Signatures are held for as many documents as `_HELD_BYTES` have room for, twice.
    """
    first, second = sides(pairs)
    most = max(1, held_at_once(values) // 2)
    involved = distinct(np.concatenate([first, second]))
    if len(involved) <= held_at_once(values):
        return among(work, rows, involved, values)(*map(kernels.positions.Positions(involved).of, (first, second)))
    similar = np.empty(len(pairs))
    for low, high in _cut(first, most):
        mine = distinct(first[low:high])
        held, place_of = _signatures(work, rows, mine, values), kernels.positions.Positions(mine).of
        order = low + np.argsort(second[low:high])
        for begin, end in _cut(second[order], most):
            chosen = order[begin:end]
            others = distinct(second[chosen])
            beside = _signatures(work, rows, others, values)
            other = kernels.positions.Positions(others).of(second[chosen])
            similar[chosen] = kernels.grouping.agreement(held, place_of(first[chosen]), beside, other)
    return similar


def among(
    work: Workspace, rows: Rows, documents: NDArray[np.int64], values: int
) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]:
    """A function that gives for pairs of these documents, which ascend, what `by_signature` gives.

    It is given the places of both documents of each pair among them. The signatures are read once, however often it is
    asked, where there is room for them all.
    """
    if len(documents) > held_at_once(values):
        numbers = documents.astype(np.uint64)

        def in_turns(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
            pairs = numbers[np.minimum(one, other)] << np.uint64(32) | numbers[np.maximum(one, other)]
            order = np.argsort(pairs)
            similar = np.empty(len(pairs))
            similar[order] = by_signature(work, rows, pairs[order], values)
            return similar

        return in_turns
    held = _signatures(work, rows, documents, values)
    return lambda one, other: np.asarray(kernels.grouping.agreement(held, one, held, other), np.float64)


def _signatures(work: Workspace, rows: Rows, documents: NDArray[np.int64], values: int) -> NDArray[np.uint32]:
    """The signatures of the documents with these numbers, which ascend: uint32 (documents, values)."""
    return minima(rows.pieces(work, ["minhash"], documents), len(documents), values)


def minima(pieces: Iterable[pa.Table], documents: int, values: int) -> NDArray[np.uint32]:
    """The columns `minhash` of these tables, which are of so many documents: uint32 (documents, values)."""
    found = np.empty((documents, values), np.uint32)
    filled = 0
    for table in pieces:
        for chunk in table["minhash"].chunks:
            offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
            part = np.frombuffer(chunk.buffers()[2] or b"", "<u4")[offsets[0] // 4 : offsets[-1] // 4]
            found[filled : filled + len(chunk)] = part.reshape(len(chunk), values)
            filled += len(chunk)
    return found


def _cut(ascending: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Where runs of values begin and end that hold so many different ones at most.

    >>> list(_cut(np.array([1, 1, 2, 5, 5, 7]), 2))
    [(0, 3), (3, 6)]
    """
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    yield from pairwise([*starts[::most].tolist(), len(ascending)])


def write_shingles(work: Workspace, part: Part, texts: Iterable[pa.Array], ngram: int, made_from: str) -> None:
    """Write the shingle sets of a part's candidates: of these texts, in order."""
    with work.shingles.writing(part, made_from) as writer:
        for text in texts:
            bounds, found = shingles(Batch(text), ngram)
            sets = [distinct(found[begin:end]).astype("<u8") for begin, end in pairwise(bounds.tolist())]
            writer.write(
                pa.table({"shingle_count": pa.array(map(len, sets), pa.int32()),
                          "shingles": pa.array([one.tobytes() for one in sets], pa.binary())})
            )  # fmt: skip


def by_shingles(
    work: Workspace, rows: Rows, pairs: NDArray[np.uint64], wanted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How similar each pair is exactly: Jaccard's index of their shingle sets. Those of `wanted` were written."""
    first, second = sides(pairs)
    involved = distinct(np.concatenate([first, second]))
    written = _Written(work, rows, wanted)
    sizes = written.sizes(involved)
    similar = np.empty(len(pairs))
    for low, high in _runs(np.searchsorted(involved, first), np.searchsorted(involved, second), 8 * sizes):
        held = written.sets(distinct(np.concatenate([first[low:high], second[low:high]])))
        for pair in range(low, high):
            a, b = held[int(first[pair])], held[int(second[pair])]
            common = len(np.intersect1d(a, b, assume_unique=True))
            similar[pair] = common / (len(a) + len(b) - common)
    return similar


class _Written:
    """The shingle sets that were written: of each part those of the `wanted` documents, in order."""

    def __init__(self, work: Workspace, rows: Rows, wanted: NDArray[np.int64]) -> None:
        self.work = work
        self.wanted = wanted
        self.parts = rows.parts
        self.ends = np.searchsorted(wanted, rows.starts)

    def _places(self, involved: NDArray[np.int64]) -> Iterator[tuple[Part, NDArray[np.int64], NDArray[np.int64]]]:
        """By part: its documents among these, and where they are in it."""
        places = np.searchsorted(self.wanted, involved)
        for part, low, high in zip(self.parts, self.ends[:-1], self.ends[1:], strict=True):
            mine = (places >= low) & (places < high)
            if mine.any():
                yield part, involved[mine], places[mine] - low

    def sizes(self, involved: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many shingles each has."""
        counts = [
            self.work.shingles.read(part, ["shingle_count"])["shingle_count"].to_numpy()[places]
            for part, _, places in self._places(involved)
        ]
        return np.concatenate(counts).astype(np.int64) if counts else np.empty(0, np.int64)

    def sets(self, involved: NDArray[np.int64]) -> dict[int, NDArray[np.uint64]]:
        """The shingles of each."""
        held: dict[int, NDArray[np.uint64]] = {}
        for part, documents, places in self._places(involved):
            start = 0
            for table in self.work.shingles.batches(part, ["shingles"]):
                low, high = np.searchsorted(places, [start, start + len(table)])
                chosen = table["shingles"].take(pa.array(places[low:high] - start)).to_pylist()
                held |= {
                    int(one): np.frombuffer(raw, "<u8") for one, raw in zip(documents[low:high], chosen, strict=True)
                }
                start += len(table)
        return held


def _runs(first: NDArray[np.int64], second: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where runs of pairs begin and end whose documents' values can be held together."""
    begin, held = 0, 0
    inside: set[int] = set()
    for pair, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        more = sum(int(sizes[one]) for one in {a, b} - inside)
        if pair > begin and held + more > _HELD_BYTES:
            yield begin, pair
            begin, inside, held = pair, set(), 0
            more = int(sizes[a] + sizes[b])
        inside |= {a, b}
        held += more
    if begin < len(first):
        yield begin, len(first)
