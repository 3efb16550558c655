"""How well and how fast benchmark items are found: `python benchmarks/contamination.py`, with CURATE_DATA set.

Looks for the items of every file in CURATE_DATA/benchmarks: planted in each way into clean chapters of textbooks (all
items, not a sample), in look-alikes, and in bench/text-mixed.parquet, whose matches are printed to be looked at. In one
process, in CPU time.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation import decontamination
from curation.signals import contamination
from curation.signals.batch import Batch

REPEATS = 3
#: Matches that are printed, one of each item.
SHOWN = 25


def batches(text: pa.Array) -> list[Batch]:
    """The texts in batches of a thousand."""
    return [Batch(text.slice(start, 1000)) for start in range(0, len(text), 1000)]


def flagged(known: contamination.Index, text: pa.Array) -> list[int]:
    """The rows in which an item is found."""
    found = [contamination.find(known, batch)["is_contaminated"] for batch in batches(text)]
    return [row for row, hit in enumerate(hit for part in found for hit in part.tolist()) if hit]


def main() -> None:
    """Measure, print."""
    data = Path(os.environ["CURATE_DATA"]).expanduser().resolve()
    signal = contamination.load(contamination.Settings(benchmarks=(str(data / "benchmarks" / "*"),)))
    items = signal.items()
    contamination.index(items[:10])  # kernels are compiled or loaded
    started = time.process_time()
    known = contamination.index(items)
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}")
    print(
        f"{len(items):,} items, {known.looked_for:,} looked for, {len(known.arrays[2]):,} seeds: "
        f"indexed in {time.process_time() - started:.2f} s"
    )
    books = pq.read_table(data / "textbooks" / "openstax.parquet", columns=["text"])["text"].combine_chunks()
    hits = set(flagged(known, books))
    clean = [text for row, text in enumerate(books.to_pylist()) if row not in hits]
    findings = decontamination.try_out(known, items, clean, seed=0, most=len(items))
    for way, planted in findings.planted.items():
        print(f"{way:12} {findings.found[way]:5,} of {planted:5,} {findings.found[way] / planted:7.2%}")
    told, others = decontamination._apart(decontamination.chosen(items, len(items), 0, "unknown"), len(items))  # noqa: SLF001
    half = contamination.index(told)
    with gzip.open(data / "internal" / "code.jsonl.gz", "rt", encoding="utf-8") as file:
        code = pa.array([json.loads(line)["text"] for line in file])
    lookalikes = pa.array([item.question for item in others])
    for name, index, text in (
        ("the other half of the items", half, lookalikes), ("code", known, code), ("textbooks", known, books),
    ):  # fmt: skip
        hit = flagged(index, text)
        print(f"in {name}: {len(hit):,} of {len(text):,}, {len(hit) / len(text):.2%}")
    table = pq.read_table(data / "bench" / "text-mixed.parquet", columns=["text", "source"])
    text = table["text"].combine_chunks()
    megabytes = pc.sum(pc.binary_length(text)).as_py() / 1e6
    seconds = []
    for _ in range(REPEATS):
        fresh = batches(text)
        started = time.process_time()
        for batch in fresh:
            contamination.find(known, batch)
        seconds.append(time.process_time() - started)
    took = sorted(seconds)[REPEATS // 2]
    speed = f"{megabytes / took:.0f} MB/s (median of {REPEATS})"
    print(f"text-mixed: {len(text):,} documents, {megabytes:.0f} MB in {took:.2f} s: {speed}")
    rows = flagged(known, text)
    print(f"in text-mixed: {len(rows)} of {len(text):,}")
    sources = table["source"].to_pylist()
    print(", ".join(f"{source} {number}" for source, number in Counter(sources[row] for row in rows).most_common()))
    shown: set[str] = set()
    for row in rows:
        answers = contamination.find(known, Batch(text.slice(row, 1)))
        raw = text[row].as_py().encode()
        for name in answers["contamination_items"][0].as_py():
            if name not in shown and len(shown) < SHOWN:
                shown.add(name)
                span = answers["contamination"][0].as_py()[0]
                print(f"  {sources[row]}, {name}: {raw[span['start'] : span['end']].decode()[:100]!r}")


if __name__ == "__main__":
    main()
