"""Tokenised shards: a flat array of token ids and an index of documents, as Megatron's indexed datasets are.

`tokens/train-00000.bin` holds nothing but ids, document after document, each followed by the token that ends it;
`tokens/train-00000.idx` says how long each is and where it begins. docs/releases.md has the format to the byte.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from numpy.typing import NDArray

    from curation.releases import Release
    from curation.storage import Storage
    from curation.tokenizing import Tokenizer

#: The folder of a release that tokenised shards lie in, and what the shards of a release are called.
FOLDER = "tokens"
_MAGIC, _FORMAT = b"MMIDIDX\x00\x00", 1
#: Megatron's number of each type; ids of 2^16 and more are int32, which a reader of uint32 reads the same.
_CODES = {"uint16": 8, "int32": 4}


def dtype_of(vocabulary: int) -> str:
    """The type of ids, little-endian, by one more than the largest of them.

    >>> dtype_of(65_536), dtype_of(65_537)
    ('uint16', 'int32')
    """
    return "uint16" if vocabulary <= 2**16 else "int32"


class TokenWriter:
    """Writes documents into an open `.bin`, and remembers what the index needs."""

    def __init__(self, stream: IO[bytes], tokenizer: Tokenizer, end: int) -> None:
        self._stream, self._tokenizer, self._end = stream, tokenizer, end
        self.dtype = dtype_of(tokenizer.vocabulary)
        self.sizes: list[int] = []

    def write(self, texts: Sequence[str]) -> list[int]:
        """Append documents; how many tokens each has, without the one that ends it."""
        counts = []
        for ids in self._tokenizer.encode(texts):
            self._stream.write(np.append(ids, self._end).astype(np.dtype(self.dtype).newbyteorder("<")).tobytes())
            counts.append(len(ids))
        self.sizes += [count + 1 for count in counts]
        return counts

    def index(self) -> bytes:
        """The `.idx` of what was written."""
        return index_of(self.sizes, self.dtype)


def index_of(lengths: Sequence[int] | NDArray[np.int32], dtype: str) -> bytes:
    """The `.idx` of documents of these lengths in tokens, each one sequence."""
    sizes = np.array(lengths, dtype="<i4")
    starts = np.zeros(len(sizes), dtype="<i8")
    np.cumsum(sizes[:-1], out=starts[1:], dtype=np.int64)
    head = _MAGIC + struct.pack("<QBQQ", _FORMAT, _CODES[dtype], len(sizes), len(sizes) + 1)
    documents = np.arange(len(sizes) + 1, dtype="<i8")
    return head + sizes.tobytes() + (starts * np.dtype(dtype).itemsize).tobytes() + documents.tobytes()


def without(source: IO[bytes], index: bytes, rows: NDArray[np.int64], target: IO[bytes]) -> bytes:
    """Copy a `.bin` without the documents of these numbers, which ascend; its new `.idx`."""
    dtype, sizes, starts = read_index(index)
    stays = np.ones(len(sizes), np.bool_)
    stays[rows] = False
    for number in np.flatnonzero(stays):
        source.seek(int(starts[number]))
        target.write(source.read(int(sizes[number]) * np.dtype(dtype).itemsize))
    return index_of(sizes[stays], dtype)


def read_index(data: bytes) -> tuple[str, NDArray[np.int32], NDArray[np.int64]]:
    """The type of ids, the length of each document (int32), and the byte at which it begins (int64).

    Raises `ValueError` where that is not an index of this format.
    """
    head = len(_MAGIC) + struct.calcsize("<QBQQ")
    if data[: len(_MAGIC)] != _MAGIC or len(data) < head:
        raise ValueError("not an index of tokens")
    version, code, documents, bounds = struct.unpack_from("<QBQQ", data, len(_MAGIC))
    names = {number: name for name, number in _CODES.items()}
    if version != _FORMAT or code not in names or bounds != documents + 1:
        raise ValueError("an index of another kind")
    if len(data) != head + documents * 12 + bounds * 8:
        raise ValueError("an index that ends too early or too late")
    sizes = np.frombuffer(data, "<i4", documents, head)
    return names[code], sizes, np.frombuffer(data, "<i8", documents, head + 4 * documents)


def described(storage: Storage, folder: str, name: str) -> dict[str, Any]:
    """What the manifest says of a tokenised shard: its two files, with `bytes` and `sha256`, and its tokens."""
    entry: dict[str, Any] = {}
    for key, ending in (("", "bin"), ("index_", "idx")):
        path = f"{FOLDER}/{name}.{ending}"
        with storage.reading(f"{folder}/{path}") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            entry |= {f"{key}path": path, f"{key}bytes": stream.tell(), f"{key}sha256": digest}
    _, sizes, _ = read_index(storage.read(f"{folder}/{FOLDER}/{name}.idx") or b"")
    return {**entry, "documents": len(sizes), "tokens": int(sizes.sum(dtype=np.int64))}


def faults(release: Release, manifest: dict[str, Any]) -> list[str]:
    """In what the tokenised shards of a release differ from its manifest and from its rows."""
    found: list[str] = []
    listed = set()
    for shard in manifest["shards"]:
        entry = shard.get("tokenised")
        if entry is None:
            continue
        for key in ("", "index_"):
            path = entry[f"{key}path"]
            listed.add(path)
            if not release.storage.exists(f"{release.folder}/{path}"):
                found.append(f"{path}: missing")
                continue
            with release.storage.reading(f"{release.folder}/{path}") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != entry[f"{key}sha256"]:
                    found.append(f"{path}: its sha256 is not the manifest's")
        if entry["documents"] != shard["rows"] or entry["tokens"] != shard["tokens"] + shard["rows"]:
            found.append(f"{entry['path']}: {entry['documents']:,} documents and {entry['tokens']:,} tokens are not "
                         f"those of {shard['path']}")  # fmt: skip
    there = [
        file.path.removeprefix(f"{release.folder}/") for file in release.storage.files(f"{release.folder}/{FOLDER}")
    ]
    found += [f"{path}: not in the manifest" for path in there if path not in listed]
    return [*found, *_tokenizer_faults(release, manifest)]


def _tokenizer_faults(release: Release, manifest: dict[str, Any]) -> list[str]:
    if not str(manifest.get("tokenizer")).startswith("sha256:"):
        return []
    data = release.storage.read(f"{release.folder}/tokenizer.json")
    if data is None:
        return ["tokenizer.json: missing"]
    is_it = f"sha256:{hashlib.sha256(data).hexdigest()}" == manifest["tokenizer"]
    return [] if is_it else ["tokenizer.json: its sha256 is not the manifest's"]
