"""Measuring texts as the product does, in this process or in workers of a pool."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.dataset import ROW_GROUP_BYTES, ROW_GROUP_ROWS
from curation.signals import SIGNALS, bare, signal_name
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The signals that the four filters of datatrove correspond to.
OF_PRESETS = ("length", "symbols", "gopher_quality", "gopher_repetition", "c4", "fineweb")
#: Every signal that no model is asked for, but `lines`: as the signature it keeps hashes, which say something of the
#: whole corpus only, and has a benchmark of its own.
HEURISTIC = tuple(
    signal_name(module)
    for module in SIGNALS
    if module.__name__.startswith("curation.signals.") and signal_name(module) != "lines"
)
#: What these share, made when it is first asked for.
SHARED = ("characters", "word_spans", "line_spans", "repeated_grams")


def mixed() -> Path:
    """The mixed file of the real input."""
    return Path(os.environ["CURATE_DATA"]).expanduser().resolve() / "bench" / "text-mixed.parquet"


def write_sample(target: Path, size: float) -> None:
    """Write about so many MB of texts of the mixed file, of every source its share: those whose ids hash least."""
    share = size * 1e6 / pc.sum(pc.binary_length(pq.read_table(mixed(), columns=["text"])["text"])).as_py()
    duckdb.execute(f"""
        COPY (
            SELECT text FROM (
                SELECT text, row_number() OVER (PARTITION BY source ORDER BY md5(id)) AS place,
                    count(*) OVER (PARTITION BY source) AS documents
                FROM '{mixed()}'
            ) WHERE place <= greatest(1, round(documents * {share}))
        ) TO '{target}' (FORMAT parquet)
    """)


def megabytes(texts: Iterable[pa.Array]) -> float:
    """Bytes of UTF-8 in millions."""
    return sum(pc.sum(pc.binary_length(text)).as_py() or 0 for text in texts) / 1e6


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU and clock seconds."""
    cpu, wall = time.process_time(), time.monotonic()
    work()
    return time.process_time() - cpu, time.monotonic() - wall


def median(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """The medians of CPU and of clock seconds."""
    return statistics.median(cpu for cpu, _ in pairs), statistics.median(wall for _, wall in pairs)


def prose() -> bytes:
    """The lines of the mixed file, none twice: what is long repeats itself more, but not so."""
    text = pq.read_table(mixed(), columns=["text"])["text"]
    return "\n".join(dict.fromkeys("\n\n".join(text.to_pylist()).split("\n"))).encode()


def batches(text: pa.Array) -> list[pa.Array]:
    """The texts in batches as large as the product's."""
    ends = np.cumsum(pc.binary_length(text).to_numpy(zero_copy_only=False).astype(np.int64))
    found, first = [], 0
    while first < len(text):
        before = ends[first - 1] if first else 0
        last = min(int(np.searchsorted(ends, before + ROW_GROUP_BYTES)) + 1, first + ROW_GROUP_ROWS, len(text))
        found.append(pa.concat_arrays([text.slice(first, last - first)]))
        first = last
    return found


def texts_of(path: Path) -> list[pa.Array]:
    """The texts of a Parquet file in batches."""
    return batches(pq.read_table(path, columns=["text"])["text"].combine_chunks())


def signals(names: Iterable[str]) -> list[Any]:
    """Signals as they are without settings, their kernels loaded."""
    found = [bare(module) for module in SIGNALS if signal_name(module) in names]
    for signal in found:
        signal.measure(Batch(pa.array(["One sentence. Another one."]), pa.nulls(1, pa.string())))
    return found


def measure(chosen: list[Any], texts: list[pa.Array]) -> None:
    """Measure all of it."""
    for text in texts:
        batch = Batch(text, pa.nulls(len(text), pa.string()))
        for signal in chosen:
            signal.measure(batch)


def share_of(path: Path, share: int, of: int, until: float) -> tuple[float, float]:
    """CPU and clock seconds of one worker that measures its share of a sample, over and over for a while.

    The sample is read again and again, since once is over in a fraction of a second; the answer is for one reading.
    """
    chosen, texts = signals(OF_PRESETS), texts_of(path)
    mine = batches(pa.concat_arrays(texts).take(pa.array(range(share, sum(map(len, texts)), of))))
    time.sleep(max(0.0, until - time.time()))  # all workers begin together
    cpu, wall = time.process_time(), time.monotonic()
    rounds = 0
    while rounds < 3 or time.monotonic() - wall < 2:
        measure(chosen, mine)
        rounds += 1
    return (time.process_time() - cpu) / rounds, (time.monotonic() - wall) / rounds
