"""How near-duplicates grow: `python -m benchmarks.dedup.scale [--documents N…] [--repeats N] [--against N] …`.

Signatures are made up, a sidecar as the product writes it: seven documents of ten are like no other; the others are in
clusters of five on average, scattered over all parts, each 0.7 to 1.0 like the middle of its cluster; a thousandth of
all are in one cluster. What is timed is compare (candidates of all bands, verifying, writing pairs) and then judge
without rules: ranking, choosing who stays, writing verdicts. Peak memory is that of the largest process, and of all.
Work that takes n log n has the same nanoseconds by n log2 n in each line: those of the processor, user and system
together. The files are written before, and lie in memory as far as there is room; it takes more where they are read
from the disk: with fewer `--bands` and `--rows` they are smaller. With `--repeats` the same files are compared and
judged several times, by a process of its own each time, and all numbers of documents in turns, since machines become
faster and slower. What is said last is by the medians: how time grows from each number to the next, against n log n.

With `--against` there are so many documents from outside beside them, of the same clusters, which count as documents.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from curation import compare, copies, judge, schema
from curation.against import Outside
from curation.dataset import Footer, Part, Workspace
from curation.dedup.signatures import band_columns
from curation.engine import LocalEngine
from curation.inputs import Input
from curation.progress import Silent
from curation.recipe import Dedup, Recipe, load
from curation.run import Run, workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

A_PART = 250_000
DEFAULT = Dedup()
#: Bytes of room that a document takes: its sidecars, and once more the signatures of those that have copies.
A_DOCUMENT = 850
_RECIPE = """
name = "scale"
[[source]]
name = "s"
kind = "jsonl"
paths = ["none.jsonl"]
[signals.lines]
enabled = false
[signals.education]
enabled = false
[dedup]
prefer = "word_count desc"
max_loss = 1
bands = {bands}
rows = {rows}
"""


@dataclass(frozen=True)
class Make:
    """One part of made-up sidecars."""

    work: Workspace
    part: Part
    number: int
    rows: int
    documents: int
    bands: int
    values: int


def main() -> None:
    """Make, compare, judge, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup.scale", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--documents", type=int, nargs="*", default=[1_250_000, 5_000_000, 20_000_000])
    parser.add_argument("--repeats", type=int, default=1, help="times that the same files are compared and judged (1)")
    parser.add_argument("--against", type=int, default=0, help="documents from outside to compare with (0)")
    parser.add_argument("--bands", type=int, default=DEFAULT.bands, help=f"of a signature ({DEFAULT.bands})")
    parser.add_argument("--rows", type=int, default=DEFAULT.rows, help=f"of a band ({DEFAULT.rows})")
    parser.add_argument(
        "--scratch", type=Path, help=f"a folder with {A_DOCUMENT} bytes of room for each of all documents"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # of the workers, as `curate` has it
    pa.set_memory_pool(pa.system_memory_pool())
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, {options.workers} workers, "
        f"{options.bands} x {options.rows}"
    )
    print(
        "  documents  compare s  judge s  together  user s  system s  ns by n log2 n  MB from disk  pairs verified     "
        "gone  largest process MB  all together MB"
    )
    room = shutil.disk_usage(options.scratch or tempfile.gettempdir()).free
    if (most := A_DOCUMENT * sum(options.documents)) > room:
        raise SystemExit(f"{most / 1e9:.0f} GB of room are needed, {room / 1e9:.0f} are free: see --scratch")
    times: dict[int, list[Time]] = {documents: [] for documents in options.documents}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        every = {documents: made(options, documents, folder / f"{documents}") for documents in times}
        for _ in range(max(1, options.repeats)):
            for documents, made_up in every.items():
                in_memory(folder, made_up.folder)
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                    times[documents].append(alone.submit(measured, made_up, documents, options.workers).result())
    medians = []
    for of_one in times.values():
        _, clock, processor = map(statistics.median, zip(*of_one, strict=True))
        medians.append(Time(of_one[0].documents, clock, processor))
    for less, more in pairwise(medians):
        print(
            f"{less.documents:,} to {more.documents:,}: {more.clock / less.clock:.2f} times by the clock, "
            f"{more.processor / less.processor:.2f} of the processor; n log n is {more.n_log_n / less.n_log_n:.2f}"
        )


def in_memory(every: Path, mine: Path) -> None:
    """Have the system hold the files of `mine` in memory, as far as there is room, and no others of `every`."""
    os.sync()
    for file in filter(Path.is_file, every.rglob("*")):
        with file.open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.is_relative_to(mine) and stream.read(1 << 24):
                pass


class Time(NamedTuple):
    """What so many documents, those from outside among them, took: seconds by the clock, and of the processor."""

    documents: int
    clock: float
    processor: float

    @property
    def n_log_n(self) -> float:
        """What work that grows so is a multiple of."""
        return self.documents * math.log2(self.documents)


@dataclass(frozen=True)
class MadeUp:
    """Parts whose sidecars are written; none has been compared."""

    folder: Path
    recipe: Recipe
    parts: dict[Part, Footer]
    against: dict[Part, Outside]


def made(options: argparse.Namespace, documents: int, folder: Path) -> MadeUp:
    """Write the sidecars."""
    folder.mkdir()
    toml, outside = _RECIPE.format(bands=options.bands, rows=options.rows), options.against
    (folder / "recipe.toml").write_text(toml + ("against = ['outside']\n" if outside else ""))
    recipe = load(folder / "recipe.toml")
    work, _ = workspace(recipe)
    sizes = [min(A_PART, documents - first) for first in range(0, documents, A_PART)]
    parts = {Part("s", f"{number:05d}"): Footer("made up", rows, {}) for number, rows in enumerate(sizes)}
    values = recipe.dedup.bands * recipe.dedup.rows
    tasks = [Make(work, part, number, footer.rows, documents + outside, recipe.dedup.bands, values)
             for number, (part, footer) in enumerate(parts.items())]  # fmt: skip
    nowhere = Input("outside", "outside", 0, 0)
    sizes = [min(A_PART, outside - first) for first in range(0, outside, A_PART)]
    against = {
        Part("out.side", f"{number:05d}"): Outside(0, nowhere, (0, 1), rows, "made up")
        for number, rows in enumerate(sizes)
    }
    tasks += [Make(work, part, 1_000_000 + number, one.rows, documents + outside, recipe.dedup.bands, values)
              for number, (part, one) in enumerate(against.items())]  # fmt: skip
    with LocalEngine(options.workers) as engine:
        engine.map(make, tasks, label="make")
    return MadeUp(folder, recipe, parts, against)


def measured(made_up: MadeUp, documents: int, workers: int) -> Time:
    """One line of the table; what is written on the way is removed."""
    together = documents + sum(outside.rows for outside in made_up.against.values())
    parts = made_up.parts
    work, signals = workspace(made_up.recipe)
    there = set(made_up.folder.rglob("*"))
    before = spent()
    with LocalEngine(workers) as engine, Watch() as watch:
        run = Run(made_up.recipe, work, signals, engine, Silent(), lambda: None, parts=parts, against=made_up.against,
                  signals_from={part: {"signature": "made up"} for part in parts})  # fmt: skip
        began = time.monotonic()
        figures = compare.compare(run)
        compared = time.monotonic() - began
        began = time.monotonic()
        gone = copies.gone(run, judge.passed(work, parts))
        judge.write_verdicts(run, dict.fromkeys(parts, "made up"), gone)
        judged = time.monotonic() - began
    user, system, from_disk = spent() - before
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(
        f"{documents:11,} {compared:10.1f} {judged:8.1f} {compared + judged:9.1f} {user:7.1f} {system:9.1f} "
        f"{1e9 * (user + system) / (together * math.log2(together)):15.1f} {from_disk:13,.0f} "
        f"{figures['candidates']:15,} "
        f"{len(gone):8,} {largest:19,.0f} {watch.most / 1e6:16,.0f}",
        flush=True,
    )
    for path in set(made_up.folder.rglob("*")) - there:
        if path.is_file():
            path.unlink()
    return Time(together, compared + judged, user + system)


def spent() -> NDArray[np.float64]:
    """User and system seconds, and MB read from the disk, of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    every = np.array([(one.ru_utime, one.ru_stime, one.ru_inblock * 512 / 1e6) for one in used])
    return np.asarray(every.sum(axis=0))


def make(task: Make) -> None:
    """Write a part of documents without text, of the sidecars `signature` and `length`, and of hits."""
    random = np.random.default_rng(task.number)
    rows, values = task.rows, task.values
    minhash = random.integers(0, 2**32, (rows, values), dtype=np.uint32)
    first = 7 * rows // 10
    clusters = random.integers(1, max(2, 3 * task.documents // 50), rows - first, dtype=np.uint64)
    clusters[: rows // 1000] = 0
    middle = mixed(clusters[:, None] * np.uint64(2**20) + np.arange(values, dtype=np.uint64)) >> np.uint64(32)
    stays = random.random((rows - first, values), np.float32) < random.uniform(0.7, 1.0, (rows - first, 1))
    minhash[first:] = np.where(stays, middle.astype(np.uint32), minhash[first:])
    ids = random.integers(0, 256, (rows, 16), dtype=np.uint8)
    names = pa.array([raw.hex() for raw in map(bytes, ids)])
    table: dict[str, Any] = {
        "id": names,
        "text_hash": names,
        "minhash": pa.array([raw.tobytes() for raw in minhash], pa.binary()),
        "signature_hash": folded(minhash),
    }
    for number, band in enumerate(band_columns(task.bands)):
        width = values // task.bands
        table[band] = folded(minhash[:, number * width : (number + 1) * width])
    if task.part.source == "out.side":
        table["uri"] = pa.nulls(rows, pa.string())
        task.work.against.write(task.part, pa.table(table, schema=task.work.against.schema), "made up")
        return
    documents = {field.name: names if field.name == "id" else pa.nulls(rows, field.type) if field.nullable
                 else pa.repeat(pa.scalar("s", pa.string()), rows).cast(field.type)
                 for field in task.work.documents.schema}  # fmt: skip
    task.work.documents.write(task.part, pa.table(documents, schema=task.work.documents.schema), "made up")
    sidecar = task.work.signal("signature")
    sidecar.write(task.part, pa.table(table, schema=sidecar.schema), "made up")
    length = task.work.signal("length")
    counts = {field.name: np.zeros(rows, field.type.to_pandas_dtype()) for field in length.schema if field.name != "id"}
    counts["word_count"] = random.integers(50, 2000, rows)
    length.write(task.part, pa.table({"id": names, **counts}).cast(length.schema), "made up")
    reasons = pa.array([[]] * rows, pa.list_(pa.string()))
    task.work.hits.write(task.part, pa.table({"id": names, "reasons": reasons}).cast(schema.HITS), "made up")


def mixed(numbers: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A hash of each number."""
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        numbers = (numbers ^ (numbers >> np.uint64(31))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def folded(values: np.ndarray[Any, np.dtype[np.uint32]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A hash of each row."""
    total = np.full(len(values), 0x9E3779B97F4A7C15, np.uint64)
    for column in values.T:
        total = (total ^ column) * np.uint64(0xFF51AFD7ED558CCD)
        total ^= total >> np.uint64(32)
    return total | np.uint64(1)


class Watch:
    """The most memory that a process, this one by itself, and its children had at once, and the largest had alone.

    It is looked at ten times a second.
    """

    def __init__(self, process: int | None = None) -> None:
        self.process = process or os.getpid()

    def __enter__(self) -> Self:
        self.most, self.largest, self._over = 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            each = list(map(_resident, [self.process, *_children(self.process)]))
            self.most, self.largest = max(self.most, sum(each)), max(self.largest, *each)

    def take(self) -> tuple[int, int]:
        """Both so far; it begins anew."""
        taken, self.most, self.largest = (self.most, self.largest), 0, 0
        return taken


def _children(process: int) -> list[int]:
    children = [int(one) for task in Path(f"/proc/{process}/task").glob("*/children") for one in _read(task).split()]
    return [*children, *(grandchild for child in children for grandchild in _children(child))] if children else []


def _resident(process: int) -> int:
    fields = _read(Path(f"/proc/{process}/statm")).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
