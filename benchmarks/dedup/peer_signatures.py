"""What MinHash signatures cost a peer; run under the peers' Python by `benchmarks.dedup`.

    python peer_signatures.py PEER FILE BANDS ROWS NGRAM PASSES

FILE is Parquet with the column `text`, for datasketch and rensa also `shingles` (our 64-bit hashes of each text's
shingles), for datasketch `minhash` (our signatures, which its own must equal bit for bit).

Prints JSON: for each way to sign all the documents its CPU seconds, all threads together. Imports, reading the file and
a first small batch are not counted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 1


def datatrove(rows: pa.Table, bands: int, of_band: int, ngram: int) -> dict[str, Callable[[], Any]]:
    """What its first step does for each document, without writing it down: 64-bit hashes, as it comes."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature  # noqa: PLC0415

    config = MinhashConfig(n_grams=ngram, num_buckets=bands, hashes_per_bucket=of_band)
    step = MinhashDedupSignature(tempfile.gettempdir(), config)
    texts = rows["text"].to_pylist()
    step.get_shingles("One sentence, and another one. So the tokenizer is loaded.")

    def sign() -> None:
        for text in texts:
            shingles = step.get_shingles(text)
            if shingles.size:
                step.get_signature(shingles)

    return {"from the text": sign}


def daft(rows: pa.Table, bands: int, of_band: int, ngram: int) -> dict[str, Callable[[], Any]]:
    """Its expression `minhash` over its `normalize`."""
    from daft import col, from_arrow  # noqa: PLC0415
    from daft.functions import minhash, normalize  # noqa: PLC0415

    text = normalize(col("text"), remove_punct=True, lowercase=True, white_space=True)
    signature = minhash(text, num_hashes=bands * of_band, ngram_size=ngram, seed=SEED)
    from_arrow(rows.slice(0, 10)).select(signature).collect()
    return {"from the text": lambda: from_arrow(rows.select(["text"])).select(signature).collect()}


def datasketch(rows: pa.Table, bands: int, of_band: int, ngram: int) -> dict[str, Callable[[], Any]]:  # noqa: ARG001
    """Its scheme `affine32`, given the hashes of our shingles; what comes out is our signatures."""
    from datasketch import MinHash  # noqa: PLC0415

    ready = rows["shingles"].to_pylist()
    hashes = [[value & 0xFFFFFFFF for value in values] for values in ready]
    signed: dict[int, bytes] = {}

    def sign() -> None:
        for number, values in enumerate(hashes):
            one = MinHash(bands * of_band, seed=SEED, scheme="affine32", hashfunc=int)
            one.update_batch(values)
            signed[number] = one.hashvalues.astype("<u4").tobytes() if values else b""

    sign()
    if list(signed.values()) != rows["minhash"].to_pylist():
        raise AssertionError("datasketch's signatures are not ours")
    return {"our hashes of shingles given": sign}


def rensa(rows: pa.Table, bands: int, of_band: int, ngram: int) -> dict[str, Callable[[], Any]]:
    """Its sketches, of word n-grams made in Python, of the same made before, and of our hashes."""
    from rensa import CMinHash, RMinHash  # noqa: PLC0415

    count = bands * of_band
    texts = rows["text"].to_pylist()
    ready = [grams(text, ngram) for text in texts]
    column = rows["shingles"].combine_chunks()
    hashes, bounds = column.flatten().to_numpy(), column.offsets.to_numpy().astype("u8")
    return {
        "RMinHash, from the text": lambda: RMinHash.digest_matrix_from_token_sets(
            [grams(text, ngram) for text in texts], count, SEED
        ),
        "RMinHash, its n-grams given": lambda: RMinHash.digest_matrix_from_token_sets(ready, count, SEED),
        "RMinHash, our hashes of shingles given": lambda: RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, bounds, count, SEED
        ),
        "CMinHash, its n-grams given": lambda: CMinHash.digests64_from_token_sets(ready, count, SEED),
    }


def grams(text: str, ngram: int) -> list[str]:
    """The word n-grams of a text, lower-case, split at white space: the cheapest there are in Python."""
    words = text.lower().split()
    return [" ".join(words[start : start + ngram]) for start in range(max(1, len(words) - ngram + 1))]


def text_dedup(rows: pa.Table, bands: int, of_band: int, ngram: int) -> dict[str, Callable[[], Any]]:
    """Its `embed_func` with the faster of its hash functions, and 32 bits."""
    import numpy as np  # noqa: PLC0415
    from text_dedup.minhash import RNG, embed_func  # noqa: PLC0415
    from text_dedup.utils import xxh3_32hash  # noqa: PLC0415

    count, prime = bands * of_band, np.uint32((1 << 32) - 5)
    permutations = (
        RNG.randint(1, prime, size=(count,), dtype=np.uint32),
        RNG.randint(0, prime, size=(count,), dtype=np.uint32),
    )
    texts = rows["text"].to_pylist()
    ranges = [(band * of_band, (band + 1) * of_band) for band in range(bands)]

    def sign() -> None:
        for number, text in enumerate(texts):
            embed_func(
                text, number, num_perm=count, ngram_size=ngram, min_length=0, hashranges=ranges,
                permutations=permutations, hash_func=xxh3_32hash, dtype=np.uint32, max_hash=np.uint32((1 << 32) - 1),
                modulo_prime=prime,
            )  # fmt: skip

    return {"from the text": sign}


PEERS = {"datatrove": datatrove, "daft": daft, "datasketch": datasketch, "rensa": rensa, "text-dedup": text_dedup}


def main() -> None:
    """Sign, print."""
    name, path = sys.argv[1:3]
    bands, of_band, ngram, passes = map(int, sys.argv[3:])
    ways = PEERS[name](pq.read_table(path), bands, of_band, ngram)
    found = {}
    for way, sign in ways.items():
        began = time.process_time()
        for _ in range(passes):
            sign()
        found[way] = (time.process_time() - began) / passes
    print(json.dumps(found), flush=True)
    os._exit(0)  # threads of Daft's outlive the interpreter now and then, and abort the process


if __name__ == "__main__":
    main()
