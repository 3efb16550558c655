"""MinHash signatures, and the hash that exact duplicates share; measured like any signal.

The words are those of the whole project, each in Unicode form NFC and case-folded. A shingle is `ngram` words in a
row; a document with fewer words is one shingle of them all; one without words has no signature and no near-duplicate.
The permutations are datasketch's `affine32`, whose `MinHash` makes the signatures.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xxhash

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from datasketch import MinHash

    from curation.recipe import Dedup
    from curation.signals.batch import Batch

#: Raised when the same text gives another signature.
VERSION = 1
#: The seed of the permutations; other tools that read the signatures need it.
SEED = 1
#: Hashes of permuted shingles that are held at once, 4 bytes each.
_HELD = 8_000_000
#: An odd constant (2^64 / golden ratio) that makes a shingle's hash depend on the order of its words.
_ORDER = np.uint64(0x9E3779B97F4A7C15)


def normalised(text: str) -> str:
    r"""What exact duplicates have in common: NFC, case-folded, white space collapsed.

    >>> normalised("The  Straße\n")
    'the strasse'
    """
    return " ".join(_folded(text).split())


def _folded(text: str) -> str:
    """NFC and case-folded."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def shingles(distinct: list[str], numbers: npt.NDArray[np.int32], ngram: int) -> npt.NDArray[np.uint64]:
    """64-bit hashes of the word n-grams of a text, in order, with repetitions, from its words as numbered.

    >>> from curation.kernels import text as units
    >>> [len(shingles(*units.numbered_words(text), 5)) for text in ("a b c d e f", "a b", "--")]
    [2, 1, 0]
    >>> one, other = (shingles(*units.numbered_words(text), 5) for text in ("Straße, NOW", "strasse now"))
    >>> one == other
    array([ True])
    """
    hashes = np.fromiter((xxhash.xxh3_64_intdigest(_folded(word).encode()) for word in distinct), dtype=np.uint64)
    words = hashes[numbers]
    width = min(ngram, len(words))
    if width == 0:
        return words
    total = np.zeros(len(words) - width + 1, dtype=np.uint64)
    for offset in range(width):
        total = total * _ORDER + words[offset : len(words) - width + 1 + offset]
    return total ^ (total >> np.uint64(32))


class Signatures:
    """The signal `signature` for the recipe's n-gram length, bands and rows.

    Columns: `text_hash`, 32 hex digits that exact duplicates share ("" for no text); `minhash`, the signature as
    little-endian uint32 (empty for a document without words); `band_00`, `band_01`, … a 64-bit hash of each band's rows
    (0 for none), so that candidates are found by reading one column.
    """

    def __init__(self, ngram: int, bands: int, rows: int) -> None:
        self.ngram = ngram
        self.bands = bands
        self.rows = rows
        self.VERSION = f"{VERSION}-{ngram}-{bands}-{rows}"
        self.COLUMNS: Mapping[str, pa.DataType] = {
            "text_hash": pa.string(),
            "minhash": pa.binary(),
            **{name: pa.uint64() for name in band_columns(bands)},
        }

    @cached_property
    def _empty(self) -> MinHash:
        from datasketch import MinHash  # noqa: PLC0415  # over a second: it brings SciPy

        return MinHash(self.bands * self.rows, seed=SEED, scheme="affine32", hashfunc=int)

    def signature(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        """The minimum of each permutation over the lower 32 bits of the shingles' hashes."""
        sketch = self._empty.copy()
        chunk = max(1, _HELD // (self.bands * self.rows))
        for start in range(0, len(hashes), chunk):
            sketch.update_batch((hashes[start : start + chunk] & np.uint64(0xFFFFFFFF)).tolist())
        values: npt.NDArray[np.uint32] = sketch.hashvalues.astype("<u4")
        return values

    def measure(self, batch: Batch) -> dict[str, Any]:
        """The columns for each row. Equal text hashes mean equal signatures, which are part of what is hashed."""
        text_hashes, signatures = [], []
        bands: list[list[int]] = [[] for _ in range(self.bands)]
        for text, (distinct, numbers) in zip(batch.texts, batch.numbered_words, strict=True):
            hashes = shingles(distinct, numbers, self.ngram)
            signature = self.signature(hashes).tobytes() if len(hashes) else b""
            signatures.append(signature)
            text_hashes.append(_text_hash(text, signature))
            width = self.rows * 4
            for band, column in enumerate(bands):
                rows = signature[band * width : (band + 1) * width]
                column.append(xxhash.xxh3_64_intdigest(rows) or 1 if rows else 0)
        return {
            "text_hash": text_hashes,
            "minhash": pa.array(signatures, pa.binary()),
            **{
                name: np.array(column, dtype=np.uint64)
                for name, column in zip(band_columns(self.bands), bands, strict=True)
            },
        }


def _text_hash(text: str, signature: bytes) -> str:
    plain = normalised(text)
    return hashlib.blake2b(plain.encode() + b"\0" + signature, digest_size=16).hexdigest() if plain else ""


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
