"""What `pii` and `mojibake` cost beside the other signals: `python benchmarks/pii.py`, with CURATE_DATA set.

Measures every tenth document of bench/text-mixed.parquet, in batches of 500, with all other signals and the signature
together, then with each of the two alone; then the two on the textbooks, which hold almost none. In one process, in
CPU time.
"""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.dedup import signatures
from curation.recipe import Dedup
from curation.signals import SIGNALS, bare, mojibake, pii, signal_name
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from curation.signals import Signal

REPEATS = 5


def seconds(signals: list[Signal], texts: list[pa.Array]) -> float:
    """CPU seconds of measuring all texts with these signals, which share their batches."""
    started = time.process_time()
    for text in texts:
        batch = Batch(text, pa.nulls(len(text), pa.string()))
        for signal in signals:
            signal.measure(batch)
    return time.process_time() - started


def main() -> None:
    """Measure, print."""
    file = Path(os.environ["CURATE_DATA"]).expanduser().resolve() / "bench" / "text-mixed.parquet"
    rows = pq.read_table(file, columns=["text"])["text"].combine_chunks()
    sample = rows.take(pa.array(range(0, len(rows), 10)))
    texts = [pa.concat_arrays([sample.slice(start, 500)]) for start in range(0, len(sample), 500)]
    megabytes = pc.sum(pc.binary_length(sample)).as_py() / 1e6
    measured = (pii, mojibake)
    others = [bare(module) for module in SIGNALS if module not in measured] + [signatures.load(Dedup())]
    for signals in (others, list(measured)):
        seconds(signals, texts[:1])  # models are loaded, kernels compiled
    all_others = seconds(others, texts)
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}")
    print(f"{len(sample):,} documents, {megabytes:.1f} MB")
    print(f"all other signals and the signature: {all_others:.1f} s, {megabytes / all_others:.2f} MB/s")
    for signal in measured:
        alone = sorted(seconds([signal], texts) for _ in range(REPEATS))[REPEATS // 2]
        name = signal_name(signal)
        print(f"{name}: {alone:.3f} s, {megabytes / alone:.0f} MB/s (median of {REPEATS}): {alone / all_others:.1%}")
    file = file.parent.parent / "textbooks" / "openstax.parquet"
    books = pq.read_table(file, columns=["text"])["text"].combine_chunks()
    megabytes = pc.sum(pc.binary_length(books)).as_py() / 1e6
    print(f"textbooks, {len(books):,} documents, {megabytes:.1f} MB")
    for signal in measured:
        alone = sorted(seconds([signal], [books]) for _ in range(REPEATS))[REPEATS // 2]
        print(f"{signal_name(signal)}: {alone:.3f} s, {megabytes / alone:.0f} MB/s (median of {REPEATS})")


if __name__ == "__main__":
    main()
