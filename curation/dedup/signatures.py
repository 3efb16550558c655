"""MinHash signatures, and the hash that exact duplicates share; measured like any signal.

The words are those of the whole project, each in Unicode form NFC and case-folded. A shingle is `ngram` words in a
row; a document with fewer words is one shingle of them all; one without words has no signature and no near-duplicate.
The permutations are datasketch's `affine32`: `to_datasketch` makes its `MinHash` of a signature.
"""

from __future__ import annotations

import hashlib
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
VERSION = 4
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
        there = words.counts > 0
        signatures = _binary(values.astype("<u4", copy=False), there)
        texts = kernels.folding.normalised_texts(batch.data, batch.bounds)
        raw = signatures.to_pylist()
        return {
            "text_hash": list(map(_text_hash, texts, raw)),
            "minhash": signatures,
            "signature_hash": np.fromiter(map(_signature_hash, raw), np.uint64, len(raw)),
            **dict(zip(band_columns(self.bands), np.ascontiguousarray(bands.T), strict=True)),
        }


def _binary(values: np.ndarray[Any, np.dtype[np.uint32]], there: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Array:
    """Each row's bytes, none where it is not there."""
    offsets = np.concatenate([[0], np.cumsum(there * values.shape[1] * 4)]).astype(np.int32)
    kept = np.ascontiguousarray(values[there])
    return pa.Array.from_buffers(pa.binary(), len(there), [None, pa.py_buffer(offsets), pa.py_buffer(kept)])


def _text_hash(text: memoryview, signature: bytes) -> str:
    """A cryptographic hash: nobody can write a text that removes another one."""
    if not text:
        return ""
    hashed = hashlib.sha256(text)
    hashed.update(b"\0" + signature)
    return hashed.hexdigest()[:32]


def _signature_hash(signature: bytes) -> int:
    """Equal for equal signatures, and nobody can find another one for it."""
    return int.from_bytes(hashlib.sha256(signature).digest()[:8], "little") | 1 if signature else 0


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
