"""MinHash signatures, and the hash that exact duplicates share; measured like any signal.

The words are those of the whole project, each in Unicode form NFC and case-folded. A shingle is `ngram` words in a
row; a document with fewer words is one shingle of them all; one without words has no signature and no near-duplicate.
The permutations are datasketch's `affine32`: `to_datasketch` makes its `MinHash` of a signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation import kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasketch import MinHash

    from curation.recipe import Dedup
    from curation.signals.batch import Batch

#: Raised when the same text gives another signature.
VERSION = 5
#: The seed of the permutations; other tools that read the signatures need it.
SEED = 1


def shingles(batch: Batch, ngram: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Hashes of the word n-grams of each text, in order, with repetitions: those of row i are `bounds[i]` to `[i + 1]`.

    >>> from curation.signals.batch import Batch
    >>> bounds, hashes = shingles(Batch(pa.array(["a b c d e f", "a b", "--", "A  b."])), 5)
    >>> bounds.tolist(), bool(hashes[2] == hashes[3])
    ([0, 2, 3, 3, 4], True)
    """
    bounds, found = kernels.minhash.shingles(batch.word_hashes, batch.word_spans.bounds, ngram)
    return bounds, found


class Signatures:
    """The signal `signature` for the recipe's n-gram length, bands and rows.

    Columns: `text_hash`, 32 hex digits that exact duplicates share ("" for no text); `minhash`, the signature as
    little-endian uint32 (empty for a document without words); `signature_hash`, 64 bits of a cryptographic hash of it
    (0 for none); `band_00`, `band_01`, … a 64-bit hash of each band's rows (0 for none), so that candidates are found
    by reading one column.
    """

    def __init__(self, ngram: int, bands: int, rows: int) -> None:
        self.ngram = ngram
        self.bands = bands
        self.rows = rows
        self.VERSION = f"{VERSION}-{ngram}-{bands}-{rows}"
        self.COLUMNS: Mapping[str, pa.DataType] = {
            "text_hash": pa.string(),
            "minhash": pa.binary(),
            "signature_hash": pa.uint64(),
            **{name: pa.uint64() for name in band_columns(bands)},
        }

    def measure(self, batch: Batch) -> dict[str, Any]:
        """The columns for each row. Equal text hashes mean equal signatures, which are part of what is hashed."""
        words = batch.word_spans
        sizes = (self.ngram, self.bands, self.rows)
        values, bands = kernels.minhash.signatures(batch.word_hashes, words.bounds, *sizes, SEED)
        there, raw = words.counts > 0, values.astype("<u4", copy=False).view(np.uint8)
        return {
            "text_hash": _text_hashes(batch, raw),
            "minhash": _strings(pa.binary(), raw, there),
            "signature_hash": _signature_hashes(raw, there),
            **dict(zip(band_columns(self.bands), np.ascontiguousarray(bands.T), strict=True)),
        }


def _strings(
    kind: pa.DataType, values: np.ndarray[Any, np.dtype[np.uint8]], there: np.ndarray[Any, np.dtype[np.bool_]]
) -> pa.Array:
    """Each row's bytes, none where it is not there."""
    offsets = np.concatenate([[0], np.cumsum(there * values.shape[1])]).astype(np.int32)
    kept = np.ascontiguousarray(values[there])
    return pa.Array.from_buffers(kind, len(there), [None, pa.py_buffer(offsets), pa.py_buffer(kept)])


def _text_hashes(batch: Batch, signatures: np.ndarray[Any, np.dtype[np.uint8]]) -> pa.StringArray:
    """Cryptographic hashes of signature and normalised text: nobody can write a text that removes another one."""
    digests, there = np.empty((len(batch), kernels.blake2b.SIZE), np.uint8), np.empty(len(batch), np.bool_)
    heads, size = signatures.ravel(), signatures.shape[1]  # all as long: where the text begins is clear
    first = 0
    for texts, bounds in kernels.folding.normalised_texts(batch.data, batch.bounds):
        last = first + len(bounds) - 1
        digests[first:last] = kernels.blake2b.digests(heads, size * np.arange(first, last + 1), texts, bounds)
        there[first:last] = np.diff(bounds) > 0
        first = last
    return _strings(pa.string(), kernels.blake2b.hexadecimal(digests), there)


def _signature_hashes(
    signatures: np.ndarray[Any, np.dtype[np.uint8]], there: np.ndarray[Any, np.dtype[np.bool_]]
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Equal for equal signatures, and nobody can find another one for it; 0 for none."""
    nothing, bounds = np.zeros(len(signatures) + 1, np.int64), signatures.shape[1] * np.arange(len(signatures) + 1)
    digests = kernels.blake2b.digests(np.empty(0, np.uint8), nothing, signatures.ravel(), bounds)
    numbers = np.ascontiguousarray(digests[:, :8]).view("<u8")[:, 0]
    return np.where(there, numbers | np.uint64(1), np.uint64(0))


def to_datasketch(minhash: bytes) -> MinHash:
    """Datasketch's `MinHash` of a value of the column `minhash`, for its `MinHashLSH` and its other indexes.

    >>> from curation.signals.batch import Batch
    >>> signal = Signatures(ngram=5, bands=14, rows=8)
    >>> batch = Batch(pa.array(["The quick brown fox jumps over the lazy dog", "the quick brown fox jumps over it"]))
    >>> one, other = map(to_datasketch, signal.measure(batch)["minhash"].to_pylist())
    >>> 0.1 < one.jaccard(other) < 0.6  # they share 2 shingles of 6
    True
    """
    from datasketch import MinHash  # noqa: PLC0415  # over a second: it brings SciPy

    values = np.frombuffer(minhash, "<u4")
    return MinHash(len(values), seed=SEED, scheme="affine32", hashfunc=int, hashvalues=values)


def band_columns(bands: int) -> list[str]:
    """The names of the columns that hold a band each.

    >>> band_columns(2)
    ['band_00', 'band_01']
    """
    return [f"band_{band:02d}" for band in range(bands)]


def load(settings: Dedup) -> Signatures:
    """The signal for `[dedup]`."""
    return Signatures(settings.ngram, settings.bands, settings.rows)


def probability(similarity: float, bands: int, rows: int) -> float:
    """How likely a pair of this similarity becomes a candidate: 1 - (1 - s^rows)^bands.

    >>> round(probability(0.8, 14, 8), 3)
    0.924
    """
    return 1.0 - (1.0 - similarity**rows) ** bands
