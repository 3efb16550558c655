"""datatrove's deduplication as its example has it; run under the peer's Python by `benchmarks.dedup`.

    python datatrove_job.py FOLDER WORK BANDS ROWS NGRAM

FOLDER holds Parquet files with the columns `id` and `text`. Four executors of one worker each: signatures, buckets,
clusters, and the filter, which writes what stays to WORK/kept and what goes to WORK/removed.
"""

from __future__ import annotations

import sys

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers.parquet import ParquetWriter


def main() -> None:
    """Run the steps one after the other."""
    folder, work = sys.argv[1:3]
    bands, rows, ngram = map(int, sys.argv[3:])
    config = MinhashConfig(n_grams=ngram, num_buckets=bands, hashes_per_bucket=rows)
    reader = ParquetReader(folder, text_key="text", id_key="id")
    steps = (
        (1, [reader, MinhashDedupSignature(f"{work}/signatures", config)]),
        (bands, [MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config)]),
        (1, [reader, MinhashDedupFilter(f"{work}/remove", ParquetWriter(f"{work}/removed")),
             ParquetWriter(f"{work}/kept")]),
    )  # fmt: skip
    for number, (tasks, pipeline) in enumerate(steps):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{work}/logs/{number}").run()


if __name__ == "__main__":
    main()
