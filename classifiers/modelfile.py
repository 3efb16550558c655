"""Reading a fastText model file: its bytes are checked against one another before anything is made of them.

Nothing in a file is executed, and no more memory is asked for than the file has bytes. The layout is that of fastText's
`saveModel`, version 12, little-endian throughout.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC, _VERSION = 793712314, 12
_SUPERVISED, _SOFTMAX = 3, 3
_LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
_WORD, _LABEL = 0, 1
#: The least that an entry of the dictionary takes: an empty word's end, its count, its kind.
_LEAST_ENTRY = 10

#: How files begin that are sometimes taken for models.
_OTHERS = (
    (b"PK\x03\x04", "a zip archive, as PyTorch and Keras write"),
    (b"\x80", "a Python pickle"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstandard"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GGUF", "a GGUF file"),
    (b"PAR1", "a Parquet file"),
)


class ModelFileError(Exception):
    """Why a file cannot be read as a model for scoring."""


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A supervised model of whole words with softmax: what a fastText model file holds of it."""

    words: list[str]
    labels: list[str]
    rows: NDArray[np.float32]  #: one for each word, then one for each bucket of n-grams
    output: NDArray[np.float32]  #: one row for each label
    ngrams: int


def parse(data: memoryview | bytes) -> ModelFile:
    """The model in the bytes of a file.

    Raises `ModelFileError` for what is no fastText model, is cut or has more bytes than it says, and for a model that
    scoring cannot use: unsupervised, of parts of words, of another loss, or quantised.
    """
    reader = _Reader(memoryview(data))
    magic, version = reader.take("<ii") if len(reader.data) >= 8 else (0, 0)
    if magic != _MAGIC:
        raise ModelFileError(f"not a fastText model: it is {_kind(bytes(reader.data[:8]))}")
    if version != _VERSION:
        raise ModelFileError(f"a fastText model of version {version}; expected {_VERSION}")
    dim, _, _, _, _, ngrams, loss, kind, bucket, _, maxn, _ = reader.take("<12i")
    reader.take("<d")
    if kind != _SUPERVISED:
        raise ModelFileError("not a fastText model for labels, but one of word vectors")
    if maxn > 0:
        raise ModelFileError("it knows parts of words; expected whole words, softmax and plain matrices")
    if loss != _SOFTMAX:
        raise ModelFileError(f"its loss is {_LOSSES.get(loss, loss)}; expected whole words, softmax and plain matrices")
    words, labels = reader.dictionary()
    rows = reader.matrix("words", dim)
    output = reader.matrix("labels", dim)
    reader.end()
    if ngrams < 1 or len(rows) != len(words) + bucket or (ngrams > 1 and bucket < 1):
        raise ModelFileError(f"damaged: {len(rows):,} rows for {len(words):,} words and {bucket:,} buckets")
    if len(output) != len(labels) or not labels:
        raise ModelFileError(f"damaged: {len(output):,} rows for {len(labels):,} labels")
    return ModelFile(words, labels, rows, output, ngrams)


class _Reader:
    """Takes one value after another, never beyond the end."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, layout: str) -> tuple[int, ...]:
        size = struct.calcsize(layout)
        if self.at + size > len(self.data):
            raise ModelFileError(f"cut off: it has {len(self.data):,} bytes and should have more")
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += size
        return values

    def dictionary(self) -> tuple[list[str], list[str]]:
        size, words, labels, _, pruned = self.take("<3i2q")
        if min(size, words, labels) < 0 or size != words + labels or size * _LEAST_ENTRY > len(self.data) - self.at:
            raise ModelFileError(f"damaged or cut off: it says that it has {size:,} words and labels")
        entries = bytes(self.data[self.at :])
        found: list[str] = []
        at = 0
        for place in range(size):
            end = entries.find(b"\0", at)
            if end < 0 or end + 9 >= len(entries):
                raise ModelFileError("damaged or cut off in its dictionary")
            if entries[end + 9] != (_WORD if place < words else _LABEL):
                raise ModelFileError("damaged: its dictionary has a label among the words")
            try:
                found.append(entries[at:end].decode())
            except UnicodeDecodeError as error:
                raise ModelFileError(f"its word {entries[at:end]!r} is not UTF-8") from error
            at = end + 10
        self.at += at
        if pruned >= 0:
            raise ModelFileError(_QUANTISED)
        return found[:words], found[words:]

    def matrix(self, of: str, columns: int) -> NDArray[np.float32]:
        (quantised,) = self.take("<B")
        if quantised:
            raise ModelFileError(_QUANTISED)
        height, width = self.take("<qq")
        size = height * width * 4
        if height < 0 or width != columns or width < 1 or size > len(self.data) - self.at:
            raise ModelFileError(f"damaged or cut off: its matrix of {of} says {height:,} x {width:,}")
        values = np.frombuffer(self.data, "<f4", height * width, self.at).reshape(height, width)
        self.at += size
        if not np.isfinite(values).all():
            raise ModelFileError(f"damaged: its matrix of {of} holds what is no finite number")
        return np.array(values, np.float32)

    def end(self) -> None:
        if self.at != len(self.data):
            raise ModelFileError(f"damaged: {len(self.data) - self.at:,} bytes follow its end")


_QUANTISED = "its matrices are quantised; expected whole words, softmax and plain matrices"


def _kind(start: bytes) -> str:
    r"""What a file is that begins so.

    >>> _kind(b"PK\x03\x04")
    'a zip archive, as PyTorch and Keras write'
    """
    if not start:
        return "empty"
    for magic, name in _OTHERS:
        if start.startswith(magic):
            return name
    return f"something else, which begins with {start[:4].hex(' ')}"
