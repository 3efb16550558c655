"""What a model was trained on, in hashes, in a file beside it: so that it is not judged by what it has learnt.

`pumps.bin` has `pumps.seen.parquet`. It holds a hash of the words of each training text, a sample of the hashes of
their 13-grams, and a hash of the name of each group (a site, a book). No text can be read from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.text import excerpt, words
from curation import kernels
from curation.dataset import save

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from classifiers.labels import Labelled

#: Raised when the same texts give other hashes.
VERSION = 1
#: Words of a passage; one in so many passages is kept, chosen by its hash, with 32 bits of it.
NGRAM, SAMPLE = 13, 32
#: A text is seen from this share of its sampled passages on: 2 in 100,000 would be found by chance.
SHARE = 0.2

_TEXT, _PASSAGE, _GROUP = "text", "passage", "group"


@dataclass(frozen=True, eq=False)
class Seen:
    """Sorted hashes of what a model was trained on; `model` is the first 64 bits of the SHA-256 of its file."""

    model: int
    texts: NDArray[np.uint64]
    passages: NDArray[np.uint64]
    groups: NDArray[np.uint64]

    def has(self, rows: list[Labelled]) -> NDArray[np.bool_]:
        """Which texts it was trained on: the same words, or a fifth of their sampled passages."""
        same = np.isin(np.fromiter((text_hash(words(row.text)) for row in rows), np.uint64, len(rows)), self.texts)
        owner, passages = _passages([row.text for row in rows])
        counts = np.bincount(owner, minlength=len(rows))
        hits = np.bincount(owner[np.isin(passages, self.passages)], minlength=len(rows))
        return np.asarray(same | ((hits > 0) & (hits >= SHARE * counts)), np.bool_)

    def has_group(self, rows: list[Labelled]) -> NDArray[np.bool_]:
        """Which texts are of a group that it was trained on."""
        return np.isin(np.fromiter((_hash(row.group) for row in rows), np.uint64, len(rows)), self.groups)


def place(model: Path) -> Path:
    """The file beside a model."""
    return model.with_suffix(".seen.parquet")


def note(model: Path, digest: str, rows: list[Labelled]) -> None:
    """Write what a model, whose file has this SHA-256, was trained on."""
    hashes: dict[str, Iterable[int]] = {
        "version": [VERSION],
        "model": [int(digest[:16], 16)],
        _TEXT: np.unique(np.fromiter((text_hash(words(row.text)) for row in rows), np.uint64, len(rows))),
        _PASSAGE: np.unique(_passages([row.text for row in rows])[1]),
        _GROUP: np.unique(np.fromiter({_hash(row.group) for row in rows}, np.uint64)),
    }
    what = pa.array([name for name, found in hashes.items() for _ in found], pa.string())
    values = np.concatenate([np.fromiter(found, np.uint64) for found in hashes.values()])
    save(pa.table({"what": what, "hash": values}), place(model))


def of(model: Path, digest: str) -> Seen | None:
    """What a model was trained on; None where no file says so, or one of another model does."""
    path = place(model)
    try:
        table = pq.read_table(path, columns=["what", "hash"])
        found = {
            name: table.filter(pa.compute.equal(table["what"], name))["hash"].to_numpy().astype(np.uint64)
            for name in ("version", "model", _TEXT, _PASSAGE, _GROUP)
        }
    except (OSError, KeyError, pa.ArrowException):
        return None
    if found["version"].tolist() != [VERSION] or found["model"].tolist() != [int(digest[:16], 16)]:
        return None
    return Seen(int(found["model"][0]), found[_TEXT], found[_PASSAGE], found[_GROUP])


def text_hash(prepared: Iterable[str]) -> int:
    """64 bits of a hash of a text's words, as `classifiers.text.words` gives them."""
    return _hash(" ".join(prepared))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _passages(texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Sampled hashes of the 13-grams of what a classifier reads of each text, and which text each is of."""
    parts = [excerpt(text).encode("utf-8", "replace") for text in texts]
    bounds = np.cumsum([0, *map(len, parts)])
    data = kernels.masks.readable(np.frombuffer(b"".join(parts), np.uint8))
    found = kernels.words.words(data, bounds)
    hashes = kernels.folding.word_hashes(data, bounds, found)
    ends, grams = kernels.minhash.shingles(hashes, found.bounds, NGRAM)
    owner = np.repeat(np.arange(len(texts)), np.diff(ends))
    long_enough = (found.counts >= NGRAM)[owner]
    chosen = (grams % np.uint64(SAMPLE) == 0) & long_enough
    return owner[chosen], grams[chosen] >> np.uint64(32)
