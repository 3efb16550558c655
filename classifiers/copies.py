"""Which labelled texts are near-copies of each other, by the project's own MinHash: they stay on one side."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from curation import kernels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

#: Words of a shingle, bands and rows of a signature: those of `[dedup]` where a recipe says nothing.
NGRAM, BANDS, ROWS, _SEED = 5, 18, 6, 1
#: Two texts are near-copies from this similarity on, as their signatures estimate it.
SIMILARITY = 0.7
#: Texts whose words are looked at at a time.
_PIECE = 5_000


def clusters(texts: Sequence[str]) -> NDArray[np.int64]:
    """For each text the number of the first text that it is, through others or directly, a near-copy of.

    Texts that share a band are compared with the first of those and with the one before, so that a thousand versions
    of a page cost a thousand comparisons. A text without words is a copy of none.

    >>> clusters(["a b c d e f g h", "something else altogether", "A b c d e f g h."]).tolist()
    [0, 1, 0]
    """
    values, bands = _signatures(texts)
    parents = np.arange(len(texts))
    for band in bands.T:
        found = kernels.grouping.groups([kernels.grouping.chosen(np.ascontiguousarray(band))])
        for one, other in _compared(found.bounds, found.rows):
            first, second = _root(parents, one), _root(parents, other)
            if first != second and (values[one] == values[other]).mean() >= SIMILARITY:
                parents[max(first, second)] = min(first, second)
    return np.array([_root(parents, text) for text in range(len(texts))], np.int64)


def _compared(bounds: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    for start, end in pairwise(bounds.tolist()):
        first, *others = rows[start:end].tolist()
        for before, one in pairwise([first, *others]):
            yield first, one
            if before != first:
                yield before, one


def _root(parents: NDArray[np.int64], text: int) -> int:
    while parents[text] != text:
        parents[text] = parents[parents[text]]
        text = int(parents[text])
    return text


def _signatures(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    values = np.empty((len(texts), BANDS * ROWS), np.uint32)
    bands = np.empty((len(texts), BANDS), np.uint64)
    for start in range(0, len(texts), _PIECE):
        parts = [text.encode("utf-8", "replace") for text in texts[start : start + _PIECE]]
        bounds = np.cumsum([0, *map(len, parts)])
        data = kernels.masks.readable(np.frombuffer(b"".join(parts), np.uint8))
        found = kernels.words.words(data, bounds)
        hashes = kernels.folding.word_hashes(data, bounds, found)
        piece = slice(start, start + len(parts))
        values[piece], bands[piece] = kernels.minhash.signatures(hashes, found.bounds, NGRAM, BANDS, ROWS, _SEED)
    return values, bands
