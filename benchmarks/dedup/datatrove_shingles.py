"""The shingles of datatrove's deduplication; run under the peer's Python by `benchmarks.dedup`.

    python datatrove_shingles.py FILE OUT NGRAM

FILE is Parquet with the column `text`; OUT gets the column `shingles`, the 64-bit hashes of each text's shingles.
"""

from __future__ import annotations

import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature


def main() -> None:
    """Ask the step that makes signatures."""
    path, target, ngram = sys.argv[1:]
    step = MinhashDedupSignature(tempfile.gettempdir(), MinhashConfig(n_grams=int(ngram)))
    found = [step.get_shingles(text).ravel() for text in pq.read_table(path)["text"].to_pylist()]
    pq.write_table(pa.table({"shingles": pa.array(found, pa.list_(pa.uint64()))}), target)


if __name__ == "__main__":
    main()
