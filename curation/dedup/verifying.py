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
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from curation.dataset import Part, Workspace
    from curation.dedup.rows import Rows

#: Bytes of shingles that are held at once.
_HELD_BYTES = 256 * 1024 * 1024


def sides(pairs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the documents of pairs: the smaller ones, the others."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def by_signature(work: Workspace, rows: Rows, pairs: NDArray[np.uint64]) -> NDArray[np.float64]:
    """How similar each pair is by its signatures: the share of permutations whose minima agree."""
    first, second = sides(pairs)
    involved = distinct(np.concatenate([first, second]))
    values = np.empty((0, 0), np.uint32)
    filled = 0
    for table in rows.pieces(work, ["minhash"], involved):
        for chunk in table["minhash"].chunks:
            offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
            part = np.frombuffer(chunk.buffers()[2], "<u4")[offsets[0] // 4 : offsets[-1] // 4]
            if not len(chunk):
                continue
            if not filled:
                values = np.empty((len(involved), len(part) // len(chunk)), np.uint32)
            values[filled : filled + len(chunk)] = part.reshape(len(chunk), -1)
            filled += len(chunk)
    places = (np.searchsorted(involved, side) for side in (first, second))
    return np.asarray(kernels.grouping.agreement(values, *places), np.float64)


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
