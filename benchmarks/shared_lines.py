"""Lines that many documents share: `CURATE_DATA=… python -m benchmarks.shared_lines [SECTION…]`.

- `quality`: real pages as whole texts, nothing extracted; of what is shared, how much stands in the main text that
  people marked, for several thresholds and several lengths of the shortest line;
- `signal`: what measuring costs, and the sidecar's size, on the whole mixed file;
- `step`: the corpus step on the mixed file;
- `scale`: the same step on made-up sidecars of many lines, nine of ten of which one document alone has; then once more
  without sifting, as it is done where there are thousands of millions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text

from benchmarks.dedup.scale import Watch
from benchmarks.dedup.scale import mixed as hashed
from benchmarks.signals.measuring import megabytes, mixed, texts_of
from curation import corpus, pipeline
from curation.dataset import Footer, Part, Workspace
from curation.engine import LocalEngine
from curation.errors import CurationError
from curation.kernels.folding import folded
from curation.progress import Silent
from curation.recipe import load
from curation.run import Run, workspace
from curation.schema import DOCUMENTS
from curation.signals import SIGNALS, lines, signal_name
from curation.signals.batch import Batch
from curation.signals.url import parse
from curation.sources.decoding import Fault
from curation.sources.extract import parse as parse_html

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Documents of a made-up part, lines of each, and hosts of all.
A_PART, LINES, HOSTS = 250_000, 50, 20_000
THRESHOLDS = ((2, 2), (5, 3), (10, 5), (20, 5), (50, 10))


def main() -> None:
    """Run the sections that are asked for, print what they say."""
    sections = {"quality": quality, "signal": signal, "step": step, "scale": scale}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shared_lines", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("sections", nargs="*", choices=[*sections, []], metavar="SECTION", help=", ".join(sections))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each figure (3)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lines", type=int, nargs="*", default=[12_500_000, 100_000_000], help="of `scale`")
    parser.add_argument("--scratch", type=Path, help="a folder with room: 20 bytes for each of those lines")
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, {options.workers} workers")
    for name in options.sections or sections:
        sections[name](options)


# Quality


def quality(_: argparse.Namespace) -> None:
    """Which lines are shared, told from what people marked as the main text."""
    data = Path(os.environ["CURATE_DATA"]).expanduser().resolve()
    pages = dict(whole_pages(data))
    with gzip.open(data / "web" / "gold.jsonl.gz", "rt", encoding="utf-8") as file:
        gold = {row["url"]: row["text"] for row in map(json.loads, file) if row["coverage"] >= 0.5}
    texts = {url: [(words_of(line), line) for line in page.splitlines()] for url, page in pages.items()}
    documents: Counter[tuple[str, ...]] = Counter()
    hosts = defaultdict(set)
    for url, found in texts.items():
        for words in {words for words, _ in found}:
            documents[words] += 1
            hosts[words].add(parse(url)[0])
    marked = {url: f" {' '.join(words_of(text))} " for url, text in gold.items() if url in texts}
    every = [
        (words, len(line.strip()), f" {' '.join(words)} " in marked[url])
        for url in marked
        for words, line in texts[url]
    ]
    total, main_text = sum(size for _, size, _ in every), sum(size for _, size, is_main in every if is_main)
    print(f"\n{len(pages):,} pages of {len({parse(url)[0] for url in pages}):,} hosts, nothing extracted; "
          f"{len(marked)} with a main text, which is {main_text / total:.0%} of theirs")  # fmt: skip
    print("  words  documents  hosts   shared lines  of the text  of all but the main text  in the main text")
    for least in (1, 2, 3, 4):
        for more_than, on in THRESHOLDS:
            shared = {one for one, count in documents.items()
                      if len(one) >= least and count > more_than and len(hosts[one]) >= on}  # fmt: skip
            mine = [(size, is_main) for words, size, is_main in every if words in shared]
            size, wrong = sum(one for one, _ in mine), sum(one for one, is_main in mine if is_main)
            print(f"  {least:5} {f'> {more_than}':>10} {f'≥ {on}':>6} {len(shared):14,} {size / total:12.2%} "
                  f"{(size - wrong) / (total - main_text):25.2%} {wrong / max(1, size):17.1%}")  # fmt: skip


def whole_pages(data: Path) -> Iterator[tuple[str, str]]:
    """The URL and all the text of each page, menus and footers included."""
    files = [*sorted((data / "web").glob("*.warc.gz")), data / "lowquality" / "boilerplate-pages.warc.gz",
             data / "bench" / "web-00000.warc.gz"]  # fmt: skip
    for path in files:
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                try:
                    _, tree = parse_html(record.reader.read())
                except (Fault, CurationError):
                    continue
                text = extract_plain_text(tree, main_content=False, preserve_formatting=True, alt_texts=False,
                                          links=False, form_fields=False, noscript=False)  # fmt: skip
                yield record.headers["WARC-Target-URI"], text


def words_of(text: str) -> tuple[str, ...]:
    """The folded words of a text."""
    (words,) = Batch(pa.array([text])).words
    return tuple(map(folded, words))


# Cost


def signal(options: argparse.Namespace) -> None:
    """What the signal costs beside what it shares with others."""
    texts, measured = texts_of(mixed()), lines.load(lines.Settings())
    size = megabytes(texts)
    measured.measure(Batch(pa.array(["one two three"])))
    spent = defaultdict(list)
    for _ in range(options.repeats):
        seconds = Counter[str]()
        for text in texts:
            batch = Batch(text)
            for name in ("word_spans", "line_spans", "word_hashes"):
                began = time.process_time()
                getattr(batch, name)
                seconds[name] += time.process_time() - began
            began = time.process_time()
            measured.measure(batch)
            seconds["lines"] += time.process_time() - began
        for name, one in seconds.items():
            spent[name].append(one)
    print(f"\nwhole file: {size:.1f} MB, one core            CPU s    MB/s")
    for name, found in spent.items():
        shared = "" if name == "lines" else " (shared)"
        print(f"  {name + shared:38} {statistics.median(found):7.2f} {size / statistics.median(found):7.0f}")


_RECIPE = """
name = "lines"
[dedup]
prefer = "word_count desc"
max_loss = 1
[[source]]
name = "mixed"
kind = "parquet"
paths = ["{path}"]
"""


def recipe_of(folder: Path) -> Any:
    """A recipe that measures nothing but lengths, lines and signatures."""
    off = {signal_name(module) for module in SIGNALS} - {"length", "lines"}
    path = folder / "recipe.toml"
    path.write_text(_RECIPE.format(path=mixed()) + "".join(f"[signals.{name}]\nenabled = false\n" for name in off))
    return load(path)


def step(options: argparse.Namespace) -> None:
    """The corpus step on the mixed file, after all else was made."""
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        recipe = recipe_of(Path(scratch))
        with LocalEngine(options.workers) as engine:
            run = pipeline.run(recipe, engine, until="compare")
        place = Path(run.work.storage.root) / "signals" / "lines"
        written = sum(path.stat().st_size for path in place.rglob("*.parquet"))
        text = sum(footer.notes["text_bytes"] for footer in run.parts.values())
        print(f"\nthe signal's sidecars: {written / 1e6:.1f} MB, {written / text:.1%} of the text")
        print(_HEAD)
        timed(run, options.workers)


def scale(options: argparse.Namespace) -> None:
    """The corpus step on made-up sidecars."""
    print(f"\n{_HEAD}")
    for number in options.lines:
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            recipe = recipe_of(Path(scratch))
            work, signals = workspace(recipe)
            documents = number // LINES
            sizes = [min(A_PART, documents - first) for first in range(0, documents, A_PART)]
            parts = {Part("mixed", f"{one:05d}"): Footer("made up", rows, {}) for one, rows in enumerate(sizes)}
            made_from = {part: {"corpus/lines": "made up"} for part in parts}
            with LocalEngine(options.workers) as engine:
                tasks = [Make(work, part, one, footer.rows) for one, (part, footer) in enumerate(parts.items())]
                engine.map(make, tasks, label="make")
            with LocalEngine(options.workers) as engine:
                run = Run(recipe, work, signals, engine, Silent(), lambda: None, parts=parts, signals_from=made_from)
                timed(run, options.workers)
                corpus.lines.SIFTED = 0  # as if there were too many lines to sift
                timed(run, options.workers)
                corpus.lines.SIFTED = 1 << 28


_HEAD = (
    "      lines  documents  clock s  CPU s  lines/s a core    marked  largest process MB  all together MB  on disk MB"
)


def timed(run: Run, workers: int) -> None:
    """One line of the table: the step, made anew by fresh workers; `on disk` is what lies there meanwhile."""
    root = Path(run.work.storage.root)
    shutil.rmtree(root / "corpus", ignore_errors=True)
    before = sum(os.times()[:4])
    with LocalEngine(workers) as engine, Watch() as watch, Disk(root) as disk:
        run.engine = engine
        began = time.monotonic()
        corpus.make(run)
        seconds = time.monotonic() - began
    cpu = sum(os.times()[:4]) - before  # the workers are gone, so theirs is in it
    sidecar, made = run.work.signal("lines"), run.work.corpus["lines"]
    count, marked = (
        sum(pc.sum(pc.list_value_length(dataset.read(part, [name])[name])).as_py() or 0 for part in run.parts)
        for dataset, name in ((sidecar, "line_hashes"), (made, "shared_lines"))
    )
    print(
        f"{count:11,} {run.documents:10,} {seconds:8.1f} {cpu:6.1f} {count / cpu:15,.0f} {marked:9,} "
        f"{watch.largest / 1e6:19,.0f} {watch.most / 1e6:16,.0f} {disk.most / 1e6:11,.1f}",
        flush=True,
    )


class Disk(Watch):
    """The most bytes that the folders of the step had in a workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _look(self) -> None:
        while not self._over.wait(0.05):
            with suppress(OSError):  # removed meanwhile
                files = [path for name in ("line_counts", "line_sets") for path in (self.root / name).rglob("*")]
                self.most = max(self.most, sum(path.stat().st_size for path in files))


@dataclass(frozen=True)
class Make:
    """One part of made-up sidecars."""

    work: Workspace
    part: Part
    number: int
    rows: int


def make(task: Make) -> None:
    """Write a part of `documents`, without texts, and of the sidecar `lines`.

    A tenth of the lines are from a common stock, the n-th of which is n times as rare as the first.
    """
    random = np.random.default_rng(task.number)
    count = task.rows * LINES
    stock = np.exp(random.random(count) * np.log(1e6)).astype(np.uint64)
    hashes = np.where(random.random(count) < 0.9, random.integers(2**64, size=count, dtype=np.uint64), hashed(stock))
    bounds = pa.array(np.arange(0, count + 1, LINES, dtype=np.int32))
    sizes = random.integers(20, 120, count, dtype=np.int32)
    ids = pa.array([raw.hex() for raw in map(bytes, random.integers(0, 256, (task.rows, 16), dtype=np.uint8))])
    table = {
        "id": ids,
        "line_hashes": pa.ListArray.from_arrays(bounds, pa.array(hashes)),
        "line_gaps": pa.ListArray.from_arrays(bounds, pa.array(np.zeros(count, np.int32))),
        "line_sizes": pa.ListArray.from_arrays(bounds, pa.array(sizes)),
        "line_margins": pa.ListArray.from_arrays(bounds, pa.array(np.ones(count, np.int32))),
        "line_char_count": pa.array(sizes.reshape(-1, LINES).sum(axis=1), pa.int32()),
    }
    task.work.signal("lines").write(task.part, pa.table(table), "made up")
    uris = pa.array([f"https://h{host}.example/" for host in random.integers(HOSTS, size=task.rows)])
    text = pa.array([""] * task.rows)
    filled = {"id": ids, "source": text, "uri": uris, "origin": text, "meta": text}
    columns = {field.name: filled.get(field.name, pa.nulls(task.rows, field.type)) for field in DOCUMENTS}
    task.work.documents.write(task.part, pa.table(columns), "made up")


if __name__ == "__main__":
    main()
