"""Whole runs of the command line as data doubles and doubles again: `CURATE_DATA=… python -m benchmarks.scale`.

The documents are those of bench/text-mixed.parquet in an order of their own, over and over, never twice the same: in
each, `CHANGED` of the words are others, drawn from the words of all documents, so that no two have five words in a row
in common by more than chance. `NEAR` of the documents are copies instead: of the document that stands in their place
one round before, with `LIGHTLY` of its words changed. So the near-duplicates to be found are known, and as many in
proportion at each size. A quarter of `--documents` is 1x, half of them 2x, all 4x.

Each size is run from nothing, and removed. Told is what each stage takes; it ends with 1 where 4x takes a quarter more
than 1x, of the processor for each document, or of memory. The disk must hold twice the text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.dedup.scale import Watch, mixed
from curation.kernels.words import words
from curation.pipeline import STAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
NAMES = [stage.__name__ for stage in STAGES]
SIZES = (1, 2, 4)
#: The share of words that are others in each document; of documents that are copies; of words that are others in those.
CHANGED, NEAR, LIGHTLY = 0.3, 0.1, 0.01
#: Words that are drawn from, bytes that one may have, and documents in a file.
DRAWN, LONGEST, A_FILE = 1 << 22, 20, 50_000
#: Times as much as at 1x from which on something grows faster than the data, and the share of a whole run below which
#: a stage is too little to tell.
ALARM, LITTLE = 1.25, 0.02
RECIPE = """
name = "scale"

[[source]]
name = "text"
kind = "parquet"
paths = ["input/*.parquet"]

[rules]
presets = ["gopher-quality", "gopher-repetition", "c4", "fineweb"]
not_english = "language <> 'en' or language_score < 0.65"
low_value = "education_score < 1"

[edit]
remove = ["c4_lines"]
replace = ["pii"]

[release]
to = "to"
columns = ["education_score"]
"""


@dataclass(frozen=True)
class Corpus:
    """Texts and their words: those of text i are `bounds[i]` to `bounds[i + 1]` of `start` and `end`, in its bytes."""

    data: NDArray[np.uint8]
    texts: NDArray[np.int64]
    bounds: NDArray[np.int64]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    #: Where the words begin that are drawn from, and their bytes.
    drawn: NDArray[np.int64]
    length: NDArray[np.int64]


@dataclass
class Took:
    """What a stage took."""

    clock: float
    processor: float
    #: Bytes that were read and written by all processes.
    read: int
    written: int
    #: Bytes of memory that all processes had together, and the largest of them.
    together: int
    largest: int


@dataclass
class Size:
    """One size and what it took."""

    times: int
    documents: int
    megabytes: float
    copies: int
    stages: dict[str, Took] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> Took:
        """All stages together."""
        took = self.stages.values()
        return Took(
            sum(one.clock for one in took), sum(one.processor for one in took),
            sum(one.read for one in took), sum(one.written for one in took),
            max(one.together for one in took), max(one.largest for one in took),
        )  # fmt: skip


def main() -> None:
    """Make, run, print; end with 1 where something grows faster than the data."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--documents", type=int, default=2_100_000, help="of the largest size (2,100,000: 10 GB)")
    parser.add_argument("--folder", type=Path, default=Path("bench-scale"), help="where; made new")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="leave inputs, workspaces and releases there")
    options = parser.parse_args()
    if options.folder.exists():
        raise SystemExit(f"{options.folder} is there already: name a folder that can be made and removed")
    options.folder.mkdir(parents=True)
    try:
        faults = scale(options.folder, options.documents, options.workers, keep=options.keep)
    finally:
        if not options.keep:
            shutil.rmtree(options.folder)
    sys.exit(1 if faults else 0)


def scale(folder: Path, documents: int, workers: int, *, keep: bool) -> list[str]:
    """What grows faster than the data, a line each; the figures are printed."""
    base = corpus(min(55_675, max(1, documents // 16)))
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "input").mkdir()
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, {workers} workers", flush=True)
    sizes: list[Size] = []
    made, size, count = 0, 0, min(A_FILE, -(-documents // 16))
    for times in SIZES:
        wanted, began = documents * times // SIZES[-1], time.monotonic()
        while made < wanted:
            size += write(base, made, min(count, wanted - made), folder / "input" / f"{made:010}.parquet")
            if not sizes and made == 0:
                run(folder, "first", workers)  # compiles, where nothing is compiled yet
                shutil.rmtree(folder / "first")
                refuse_little_room(folder, size * documents // count)
            made += min(count, wanted - made)
        one = Size(times, wanted, size / 1e6, copies(len(base.texts) - 1, wanted))
        files = len(list((folder / "input").iterdir()))
        print(
            f"\n{times}x: {wanted:,} documents, {one.megabytes:,.0f} MB in {files} files, {one.copies:,} copies "
            f"of another among them; written in {time.monotonic() - began:.0f} s"
        )
        one.stages, one.figures = run(folder, f"{times}x", workers)
        tell(one)
        sizes.append(one)
        if not keep:
            shutil.rmtree(folder / f"{times}x")
    return compared(sizes)


# ------------------------------------------------------------------------------------------------------ the documents


def corpus(documents: int) -> Corpus:
    """So many of the documents, in an order of their own."""
    table = pq.read_table(Path(os.environ["CURATE_DATA"]) / "bench" / "text-mixed.parquet", columns=["text"])
    random = np.random.default_rng(0)
    table = table.take(pa.array(random.permutation(table.num_rows)[:documents]))
    text = pa.concat_arrays(table["text"].cast(pa.large_string()).chunks)
    _, offsets, buffer = text.buffers()
    texts = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    data = np.frombuffer(buffer, np.uint8)
    found = words(data, texts)
    first = np.repeat(texts[:-1], found.counts) + found.start
    length = (found.end - found.start).astype(np.int64)
    short = np.flatnonzero(length <= LONGEST)
    short = short[random.integers(0, len(short), DRAWN)]
    return Corpus(data, texts, found.bounds, found.start, found.end, first[short], length[short])


def write(base: Corpus, first: int, count: int, path: Path) -> int:
    """Write the documents from number `first` on; the bytes of their texts."""
    texts, size = [], 0
    for start in range(first, first + count, 2_000):
        numbers = np.arange(start, min(start + 2_000, first + count), dtype=np.uint64)
        copied = _is_copy(numbers, len(base.texts) - 1)
        places = (numbers % np.uint64(len(base.texts) - 1)).astype(np.int64)
        of = np.where(copied, numbers - np.uint64(len(base.texts) - 1), numbers)
        keys, lightly = mixed(of + np.uint64(1 << 40)), np.where(copied, mixed(numbers + np.uint64(1 << 41)), 0)
        given = (base.data, base.texts, base.bounds, base.start, base.end, base.drawn, base.length,
                 places, keys, lightly.astype(np.uint64))  # fmt: skip
        ends = np.zeros(len(numbers) + 1, np.int64)
        _put(*given, ends, np.empty(0, np.uint8))
        out = np.empty(ends[-1], np.uint8)
        _put(*given, ends, out)
        texts.append(pa.LargeStringArray.from_buffers(len(numbers), pa.py_buffer(ends), pa.py_buffer(out)))
        size += len(out)
    uris = pa.array([f"round-{number // (len(base.texts) - 1)}/{number}" for number in range(first, first + count)])
    pq.write_table(
        pa.table({"uri": uris, "text": pa.chunked_array(texts)}), path, compression="zstd", compression_level=1,
        row_group_size=2_000, use_dictionary=False, write_statistics=False,
    )  # fmt: skip
    return size


def copies(round_: int, documents: int) -> int:
    """How many documents are copies of one that is there."""
    numbers = np.arange(round_, documents, dtype=np.uint64)
    return int(np.sum(_is_copy(numbers, round_) & ~_is_copy(numbers - np.uint64(round_), round_)))


def _is_copy(numbers: NDArray[np.uint64], round_: int) -> NDArray[np.bool_]:
    """Whether a document is a copy of the one a round before; none of the first round is."""
    drawn = mixed(numbers + np.uint64(1 << 42)) >> np.uint64(32)
    return (drawn < np.uint64(NEAR * 2**32)) & (numbers >= np.uint64(round_))


@numba.njit(nogil=True)
def _put(
    data: Any, texts: Any, bounds: Any, start: Any, end: Any, drawn: Any, length: Any, places: Any, keys: Any,
    lightly: Any, ends: Any, out: Any,
) -> None:  # fmt: skip
    """Write the texts at these places with words replaced as their keys say, or only where they end if `out` is empty.

    Key 0 replaces nothing.
    """
    at, is_written = 0, len(out) > 0
    for row in range(len(places)):
        text = texts[places[row]]
        done = text  # what lies before is written
        for word in range(bounds[places[row]], bounds[places[row] + 1]):
            number = np.uint64(word - bounds[places[row]] + 1)
            other = _other(keys[row], number, CHANGED, len(drawn))
            if lightly[row]:
                light = _other(lightly[row], number, LIGHTLY, len(drawn))
                other = light if light >= 0 else other
            if other < 0:
                continue
            kept, size = text + start[word] - done, length[other]
            if is_written:
                out[at : at + kept] = data[done : done + kept]
                out[at + kept : at + kept + size] = data[drawn[other] : drawn[other] + size]
            at += kept + size
            done = text + end[word]
        kept = texts[places[row] + 1] - done
        if is_written:
            out[at : at + kept] = data[done : done + kept]
        at += kept
        ends[row + 1] = at


@numba.njit(nogil=True)
def _other(key: Any, number: Any, share: float, count: int) -> int:
    """Which of so many words stands in place of a text's word of this number; -1 where it stays, of which share."""
    bits = key + number * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    if np.float64(bits >> np.uint64(32)) >= share * 2**32:
        return -1
    return np.int64((bits & np.uint64(0xFFFFFFFF)) * np.uint64(count) >> np.uint64(32))


def refuse_little_room(folder: Path, size: int) -> None:
    """End where the disk has no room for so many bytes of text and what is made of them."""
    free = shutil.disk_usage(folder).free
    if free < 2 * size:
        text = f"{size / 1e9:.0f} GB of text"
        raise SystemExit(f"{folder}: {free / 1e9:.0f} GB are free, and {text} take nearly twice as much")


# ----------------------------------------------------------------------------------------------------------- the runs


def run(folder: Path, name: str, workers: int) -> tuple[dict[str, Took], dict[str, Any]]:
    """What each stage of a run takes, and the run's figures."""
    place = folder / name
    command = [
        sys.executable, "-m", "curation", "run", str(folder / "recipe.toml"), "--workers", str(workers),
        "--work", str(place / "work"), "--set", f'release.to="{(place / "to").absolute()}"',
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    peaks, said = {}, []
    with subprocess.Popen(
        command, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    ) as process, Watch(process.pid) as watch:  # fmt: skip
        for line in process.stderr or ():
            said.append(line)
            if (stage := line.partition(" ")[0]) in NAMES:  # it has ended
                peaks[stage] = watch.take()
    if process.returncode:
        raise SystemExit(f"the run failed:\n{''.join(said)}")
    record = json.loads((place / "work" / "run.json").read_text())
    took = {
        stage: Took(
            one["seconds"], one["processor_seconds"], one["read_bytes"] or 0, one["written_bytes"] or 0, *peaks[stage]
        )
        for stage, one in record["stages"].items()
    }  # fmt: skip
    return took, record["figures"]


def tell(size: Size) -> None:
    """What one size took, by stage."""
    pairs = sum(size.figures["compare"].get(kind, 0) for kind in ("exact", "near"))
    counts = size.figures["judge"]["sources"]["text"]
    judged = ", ".join(f"{counts[key]:,} {key}" for key in ("dropped", "duplicates", "kept"))
    print(f"{pairs:,} pairs found; {judged}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':10}{'clock s':>10}{'share':>8}{'MB/s':>8}{'processor s':>13}{'MB/s a core':>13}"
          f"{'MB read':>10}{'written':>10}{'of memory':>11}{'of the largest':>16}")  # fmt: skip
    for name, took in [*size.stages.items(), ("whole", size.whole)]:
        print(
            f"{name:10}{took.clock:10.1f}{took.clock / size.whole.clock:8.1%}{size.megabytes / took.clock:8.1f}"
            f"{took.processor:13.1f}{size.megabytes / max(took.processor, 0.001):13.1f}"
            f"{took.read / 1e6:10,.0f}{took.written / 1e6:10,.0f}"
            f"{took.together / 1e6:11,.0f}{took.largest / 1e6:16,.0f}",
            flush=True,
        )


def compared(sizes: list[Size]) -> list[str]:
    """What grows faster than the data, a line each; printed are the sizes beside each other."""
    kinds = ("clock", "processor", "memory", "of the largest")
    head = "".join(f"{f'{size.times}x':>8}" for size in sizes)
    print("times as much as at 1x: of seconds for each document, of memory in all")
    print(f"{'':10}" + "".join(f"{kind:>{len(head)}}" for kind in kinds) + f"\n{'':10}{head * len(kinds)}")
    faults = []
    for name in [*NAMES, "whole"]:
        took = [size.whole if name == "whole" else size.stages[name] for size in sizes]
        each = [size.documents for size in sizes]
        grown = {
            "clock": _times([one.clock / documents for one, documents in zip(took, each, strict=True)]),
            "processor": _times([one.processor / documents for one, documents in zip(took, each, strict=True)]),
            "memory": _times([one.together for one in took]),
            "of the largest": _times([one.largest for one in took]),
        }
        print(f"{name:10}" + "".join(f"{value:8.2f}" for kind in kinds for value in grown[kind]))
        counts = took[-1].processor >= LITTLE * sizes[-1].whole.processor
        if counts and grown["processor"][-1] > ALARM:
            faults.append(f"{name}: a document takes {grown['processor'][-1]:.2f} times as much of the processor")
        if name == "whole" and grown["memory"][-1] > ALARM:
            faults.append(f"all processes take {grown['memory'][-1]:.2f} times as much memory")
    print("\n".join(faults) or f"a straight line, and flat: nothing that counts is {ALARM} times that of 1x")
    return faults


def _times(values: list[float] | list[int]) -> list[float]:
    return [value / (values[0] or 1) for value in values]


if __name__ == "__main__":
    main()
