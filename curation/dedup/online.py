"""Near-duplicates of texts that come one after another: an index of signatures that grows with them.

It holds the signatures and, for each, its band keys in sorted arrays, and no Python object for any of them: of 108
hashes in 36 bands that is 0.9 KiB a text, where datasketch's `MinHashLSH`, which finds the same, takes over 30.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curation.dedup.signatures import band_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: Texts whose keys are in a dictionary before they are sorted into an array.
_RECENT = 1_024


class Online:
    """Signatures of so many bands and rows, of which any that is near to another can be found."""

    def __init__(self, bands: int, rows: int) -> None:
        self._hashes = np.empty((_RECENT, bands * rows), np.uint32)
        self._count = 0
        #: Keys and the numbers of their signatures, sorted by key; each array is longer than the next.
        self._sorted: list[tuple[NDArray[np.uint64], NDArray[np.uint32]]] = []
        self._recent: dict[int, list[int]] = {}
        # The same key in two bands is two keys.
        self._of_band = np.arange(bands, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    def __len__(self) -> int:
        """How many signatures there are."""
        return self._count

    def add(self, minhash: bytes, bands: NDArray[np.uint64]) -> None:
        """Join a signature, with the keys of its bands."""
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[self._count] = np.frombuffer(minhash, "<u4")
        for key in (bands ^ self._of_band).tolist():
            self._recent.setdefault(key, []).append(self._count)
        self._count += 1
        if self._count % _RECENT == 0:
            self._sort()

    def similarity(self, minhash: bytes, bands: NDArray[np.uint64]) -> float:
        """How similar the nearest of those is that share a band with this signature; 0 where none does."""
        found = self._candidates(bands ^ self._of_band)
        if not len(found):
            return 0.0
        same = np.count_nonzero(self._hashes[found] == np.frombuffer(minhash, "<u4"), axis=1)
        return float(same.max()) / self._hashes.shape[1]

    def _candidates(self, keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
        found: list[Any] = [self._recent[key] for key in keys.tolist() if key in self._recent]
        for known, numbers in self._sorted:
            first, last = np.searchsorted(known, keys, "left"), np.searchsorted(known, keys, "right")
            found += [numbers[start:end] for start, end in zip(first, last, strict=True) if start < end]
        return np.unique(np.concatenate(found)).astype(np.uint32) if found else np.empty(0, np.uint32)

    def _sort(self) -> None:
        """Make the recent keys an array, and one of it and those before it that are not longer."""
        keys = np.repeat(np.array(list(self._recent), np.uint64), [len(found) for found in self._recent.values()])
        numbers = np.array([number for found in self._recent.values() for number in found], np.uint32)
        while self._sorted and len(self._sorted[-1][0]) <= len(keys):
            known, theirs = self._sorted.pop()
            keys, numbers = np.concatenate([known, keys]), np.concatenate([theirs, numbers])
        order = np.argsort(keys, kind="stable")
        self._sorted.append((keys[order], numbers[order]))
        self._recent = {}


def band_keys(columns: Mapping[str, Any], bands: int) -> NDArray[np.uint64]:
    """The band keys of each row of what the signal `signature` measured: (rows, bands)."""
    return np.column_stack([np.asarray(columns[name], np.uint64) for name in band_columns(bands)])
