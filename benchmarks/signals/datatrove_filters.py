"""datatrove's four filters over the texts of a Parquet file; run under the peer's Python by `benchmarks.signals`.

    python datatrove_filters.py FILE WORKERS

Prints JSON: CPU and wall seconds of the filters, and the peer's version. Each filter sees each document, as where
every one of them is to give its verdict; loading the tokenizer and reading the file are not counted.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from importlib.metadata import version

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter

FILTERS = (GopherQualityFilter, GopherRepetitionFilter, C4QualityFilter, FineWebQualityFilter)


def work(path: str, share: int, of: int, barrier) -> tuple[float, float, float]:  # noqa: ANN001
    """CPU seconds, start and end of one worker's share."""
    documents = [Document(text=text, id="") for text in pq.read_table(path)["text"].to_pylist()[share::of]]
    filters = [one() for one in FILTERS]
    judge(filters, Document(text="It was warm. The tokenizer is loaded. " * 20, id=""))
    barrier.wait()
    cpu, wall = time.process_time(), time.monotonic()
    for document in documents:
        judge(filters, document)
    return time.process_time() - cpu, wall, time.monotonic()


def judge(filters: list, document: Document) -> None:
    """Ask each filter; C4's writes into the text that it is given, so each gets its own document."""
    for one in filters:
        try:
            one.filter(Document(text=document.text, id=""))
        except (ZeroDivisionError, IndexError):  # a text without words is more than two of them take
            continue


def main() -> None:
    """Run the workers, print."""
    path, workers = sys.argv[1], int(sys.argv[2])
    with multiprocessing.Manager() as manager, multiprocessing.Pool(workers) as pool:
        barrier = manager.Barrier(workers)
        answers = pool.starmap(work, [(path, share, workers, barrier) for share in range(workers)])
    wall = max(end for _, _, end in answers) - min(start for _, start, _ in answers)
    print(json.dumps({"cpu": sum(cpu for cpu, _, _ in answers), "wall": wall, "version": version("datatrove")}))


if __name__ == "__main__":
    main()
