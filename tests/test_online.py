"""An index of signatures that grows: what it finds, against datasketch's, and what it holds."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHashLSH

from curation.dedup.online import Online, band_keys
from curation.dedup.signatures import Signatures, to_datasketch
from curation.signals.batch import Batch

BANDS, ROWS = 36, 3


def texts(count):
    """Texts of which many are near to one before, some nearer than others."""
    lot = random.Random(7)  # noqa: S311  # no secret
    found = []
    for _ in range(count):
        words = [f"w{lot.randrange(5_000)}" for _ in range(40)]
        if found and lot.random() < 0.5:
            words = lot.choice(found).split()
            for _ in range(lot.randrange(8)):
                words[lot.randrange(len(words))] = "other"
        found.append(" ".join(words))
    return found


def test_it_finds_what_datasketch_finds(monkeypatch):
    """The greatest similarity of any that shares a band, from the dictionary and from the sorted arrays."""
    monkeypatch.setattr("curation.dedup.online._RECENT", 50)
    signed = Signatures(5, BANDS, ROWS).measure(Batch(pa.array(texts(700))))
    index, theirs, there, near = Online(BANDS, ROWS), MinHashLSH(num_perm=108, params=(BANDS, ROWS)), [], 0
    for minhash, bands in zip(signed["minhash"].to_pylist(), band_keys(signed, BANDS), strict=True):
        other = to_datasketch(minhash)
        expected = max((other.jaccard(there[number]) for number in theirs.query(other)), default=0.0)
        assert index.similarity(minhash, bands) == pytest.approx(expected, abs=0)
        near += expected >= 0.5
        index.add(minhash, bands)
        theirs.insert(len(there), other)
        there.append(other)
    assert len(index) == 700
    assert len(index._sorted) == 3  # 700 = (8 + 4 + 2) * 50
    assert 100 < near < 500


def test_it_holds_less_than_two_kilobytes_a_text():
    """Signatures and keys in arrays that are at most twice too large; only the last thousand are held otherwise."""
    lot = np.random.default_rng(1)
    count = 4_096
    hashes = lot.integers(0, 2**32, (count, BANDS * ROWS), dtype=np.uint32)
    keys = lot.integers(0, 2**64, (count, BANDS), dtype=np.uint64)
    tracemalloc.start()
    before, index = tracemalloc.get_traced_memory()[0], Online(BANDS, ROWS)
    for row in range(count):
        index.add(hashes[row].tobytes(), keys[row])
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held / count < 2_000
    assert index.similarity(hashes[3].tobytes(), keys[3]) == 1.0
    assert index.similarity(hashes[3].tobytes(), keys[3] + np.uint64(1)) == 0.0
