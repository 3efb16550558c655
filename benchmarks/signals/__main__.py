"""What measuring costs: `CURATE_DATA=… python -m benchmarks.signals [SECTION…]`; `--help` lists the options.

- `peer`: our signals and datatrove's four filters on the same sample, in turns, on one core and with two workers;
- `limit`: the whole mixed file, measured, and read and rewritten as the product writes it;
- `parts`: what the signals share and each signal by itself, on the whole file;
- `stage`: `curate run --until measure` over the whole file, as a command, with one and with two workers;
- `linear`: nanoseconds a byte for 1, 4 and 16 times the documents, and for documents of 1 KB to 50 MB;
- `start`: the first process of an installation, which compiles, a later one, and numba alone;
- `instructions`, where it is named: how many instructions a byte takes, counted by Valgrind.

MB are 10^6 bytes of UTF-8. Figures are medians of CPU time, which other work on the machine disturbs less than time on
the clock; where that matters both are given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import peer
from benchmarks.signals.instructions import instructions
from benchmarks.signals.measuring import (
    HEURISTIC,
    OF_PRESETS,
    SHARED,
    batches,
    measure,
    median,
    megabytes,
    mixed,
    prose,
    share_of,
    signals,
    texts_of,
    timed,
    write_sample,
)
from curation.dataset import ROW_GROUP_ROWS
from curation.signals import SIGNALS, bare, signal_name
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def main() -> None:
    """Run the sections that are asked for, print what they say."""
    sections = {"peer": against_peer, "limit": limit, "parts": parts, "stage": stage, "linear": linear, "start": start,
                "instructions": instructions}  # fmt: skip
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signals", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sections", nargs="*", choices=[*sections, []], metavar="SECTION", help=", ".join(sections))
    parser.add_argument("--repeats", type=int, default=5, help="runs of each figure (5)")
    parser.add_argument("--sample-mb", type=float, default=6, help="the sample that the peer gets too (6)")
    peer.add_options(parser)
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, medians of {options.repeats}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.sections or [name for name in sections if name != "instructions"]:
            print(f"… {name}", file=sys.stderr)
            sections[name](options, Path(scratch))
            sys.stdout.flush()


def against_peer(options: argparse.Namespace, scratch: Path) -> None:
    """Our signals and datatrove's filters on the same documents, in turns."""
    sample = scratch / "sample.parquet"
    write_sample(sample, options.sample_mb)
    executable = peer.python(options, scratch)
    texts = texts_of(sample)
    size = megabytes(texts)
    print(f"\nsample: {sum(map(len, texts)):,} documents of every source, {size:.1f} MB")
    for workers in (1, 2):
        ours, theirs = [], []
        for number in range(options.repeats):
            print(f"… {workers} workers, round {number + 1} of {options.repeats}", file=sys.stderr)
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                begin = time.time() + 4
                found = [pool.submit(share_of, sample, place, workers, begin) for place in range(workers)]
                answers = [future.result() for future in found]
            ours.append((sum(cpu for cpu, _ in answers), max(wall for _, wall in answers)))
            command = [executable, str(HERE / "datatrove_filters.py"), str(sample), str(workers)]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            theirs.append((told["cpu"], told["wall"]))
        print(f"\n{workers} worker{'s' if workers > 1 else ''}         CPU s  MB/s a core  clock s    MB/s")
        for name, (cpu, wall) in (("curate", median(ours)), (f"datatrove {told['version']}", median(theirs))):
            print(f"{name:16} {cpu:7.3f} {size / cpu:10.3f} {wall:10.3f} {size / wall:7.2f}")
        ratios = [their[0] / our[0] for our, their in zip(ours, theirs, strict=True)]
        spread = f"{statistics.median(ratios):.0f} times (from {min(ratios):.0f} to {max(ratios):.0f})"
        print(f"CPU time: {spread}; on the clock: {median(theirs)[1] / median(ours)[1]:.0f} times")


def limit(options: argparse.Namespace, scratch: Path) -> None:
    """The whole file: measured, and merely read and rewritten."""
    texts = texts_of(mixed())
    size = megabytes(texts)
    pa.set_cpu_count(1)
    kinds: dict[str, Callable[[], None]] = {
        "signals of the presets": lambda: measure(of_presets, texts),
        "all heuristic signals": lambda: measure(heuristic, texts),
        "limit: read": lambda: rewrite(None),
        "limit: read and rewrite": lambda: rewrite(scratch / "again.parquet"),
    }
    of_presets, heuristic = signals(OF_PRESETS), signals(HEURISTIC)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(options.repeats):
        for name, work in kinds.items():
            found[name].append(timed(work))
    print(f"\nwhole file: {sum(map(len, texts)):,} documents, {size:.1f} MB, one core")
    print(f"{'':28} CPU s    MB/s  clock s    MB/s")
    for name, pairs in found.items():
        cpu, wall = median(pairs)
        print(f"{name:26} {cpu:7.2f} {size / cpu:7.1f}  {wall:7.2f} {size / wall:7.1f}")


def rewrite(target: Path | None) -> None:
    """Read the mixed file row group by row group, and write it as `curation.dataset` does."""
    with pq.ParquetFile(mixed()) as file:
        if target is None:
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)
            return
        names = [name for name in file.schema_arrow.names if name != "text"]
        with pq.ParquetWriter(target, file.schema_arrow, compression="zstd", compression_level=1,
                              write_statistics=names, use_dictionary=names) as writer:  # fmt: skip
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group, use_threads=False), row_group_size=ROW_GROUP_ROWS)


def parts(options: argparse.Namespace, _: Path) -> None:
    """Signal by signal: what they share first, then each with that already there."""
    texts = texts_of(mixed())
    size = megabytes(texts)
    chosen = {signal_name(module): bare(module) for module in SIGNALS}
    signals(chosen)
    rounds: dict[str, list[float]] = {name: [] for name in (*SHARED, *chosen)}
    for number in range(max(1, options.repeats // 2)):
        print(f"… round {number + 1}", file=sys.stderr)
        spent = dict.fromkeys(rounds, 0.0)
        for text in texts:
            batch = Batch(text, pa.nulls(len(text), pa.string()))
            for name in SHARED:
                spent[name] += timed(lambda batch=batch, name=name: getattr(batch, name))[0]
            for name, signal in chosen.items():
                spent[name] += timed(lambda batch=batch, signal=signal: signal.measure(batch))[0]
        for name, seconds in spent.items():
            rounds[name].append(seconds)
    found = {name: statistics.median(seconds) for name, seconds in rounds.items()}
    for title, names in (("heuristic", (*SHARED, *HEURISTIC)), ("others", [n for n in chosen if n not in HEURISTIC])):
        total = sum(found[name] for name in names)
        print(f"\n{title + ', whole file':28} CPU s     MB/s   share")
        for name in names:
            shared = " (shared)" if name in SHARED else ""
            rate = f"{size / found[name]:8.0f}" if found[name] > size / 1e4 else "> 10,000"
            print(f"{name + shared:26} {found[name]:7.3f} {rate} {found[name] / total:7.1%}")
        print(f"{'together':26} {total:7.3f} {size / total:8.1f}")


def stage(options: argparse.Namespace, scratch: Path) -> None:
    """The stage as a user runs it: start of the process, reading, measuring, writing sidecars."""
    recipe = scratch / "recipe.toml"
    off = {"heuristic signals": [signal_name(module) for module in SIGNALS if signal_name(module) not in HEURISTIC],
           "all signals and the signature": []}  # fmt: skip
    work = scratch / "work"
    size = megabytes(texts_of(mixed()))
    for title, disabled in off.items():
        recipe.write_text(
            f'name = "mixed"\n[[source]]\nname = "mixed"\nkind = "parquet"\npaths = ["{mixed()}"]\n'
            + ('[dedup]\nenabled = false\nprefer = "byte_count desc"\n' if disabled else "")
            + "".join(f"[signals.{name}]\nenabled = false\n" for name in disabled)
        )
        command = [sys.executable, "-m", "curation", "run", str(recipe), "--work", str(work), "--workers"]
        subprocess.run([*command, "2", "--until", "pull"], check=True, capture_output=True)
        for workers in (1, 2):
            pairs, inside = [], []
            for _ in range(max(1, options.repeats // 2)):
                shutil.rmtree(work / "signals", ignore_errors=True)
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                began = time.monotonic()
                subprocess.run([*command, str(workers), "--until", "measure"], check=True, capture_output=True)
                wall = time.monotonic() - began
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                pairs.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
                record = json.loads((work / "run.json").read_text())["stages"]["measure"]
                inside.append(record["seconds"])
            cpu, wall = median(pairs)
            seconds = statistics.median(inside)
            print(
                f"\ncurate run --until measure, {title}, {workers} workers: {wall:.1f} s on the clock, {cpu:.1f} s CPU"
            )
            rates = f"{size / seconds:.1f} MB/s, {size / seconds / workers:.1f} a worker"
            print(f"  the stage itself {seconds:.1f} s: {rates}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  largest process so far {peak:.0f} MB")


def linear(options: argparse.Namespace, _: Path) -> None:
    """Nanoseconds a byte: more documents, longer ones, and ever longer ones of two kinds that are hard on repetition.

    The system's time is what it takes to give memory, on a virtual machine most of it to the host.
    """
    chosen = signals(OF_PRESETS)
    text = pq.read_table(mixed(), columns=["text"])["text"]
    every = text.take(pa.array(range(0, len(text), 28))).combine_chunks()
    print("\nnanoseconds a byte, presets, one core    user  system")
    for times in (1, 4, 16):
        told("documents x " + str(times), chosen, batches(pa.concat_arrays([every] * times)), options.repeats)
    lines = prose()[:50_000_000]
    for length in (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000):
        pieces = [lines[at : at + length].decode(errors="ignore") for at in range(0, len(lines), length)]
        told(f"documents of {length / 1e6:g} MB", chosen, batches(pa.array(pieces)), options.repeats)
    for words in (2_000, 200_000, 10_000_000):
        texts = pa.array(["word " * words] * max(1, 1_000_000 // words))
        told(f"{words:,} times one word", chosen, batches(texts), options.repeats)
    for words in (1_000, 100_000, 5_000_000):
        texts = pa.array([" ".join(f"{number:08x}" for number in range(words))] * max(1, 1_000_000 // words))
        told(f"{words:,} distinct words", chosen, batches(texts), options.repeats)
    print(f"  largest memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def told(what: str, chosen: list[Any], texts: list[pa.Array], repeats: int) -> None:
    """Print one line of `linear`."""
    found = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_SELF)
        measure(chosen, texts)
        after = resource.getrusage(resource.RUSAGE_SELF)
        found.append((after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime))
    user, system = (statistics.median(seconds) / megabytes(texts) * 1e3 for seconds in zip(*found, strict=True))
    print(f"  {what:28} {user:7.2f} {system:7.2f}")


_MEASURE = """
import time; began = time.perf_counter()
import pyarrow as pa
from curation.signals import SIGNALS, bare
from curation.signals.batch import Batch
import numba
pa.array([""])  # where pandas is installed, pyarrow imports it now
ready = time.perf_counter()
batch = Batch(pa.array(["One sentence. Another one."]), pa.nulls(1, pa.string()))
for module in SIGNALS:
    if module.__name__.startswith("curation.signals."):
        bare(module).measure(batch)
print(time.perf_counter() - ready)
"""
_ALL_KERNELS = """
import time; import numba; began = time.perf_counter()
from curation import kernels
for name in kernels.GROUPS["texts"]: getattr(kernels, name)
print(time.perf_counter() - began)
"""


_COMPILE = """
from curation import kernels
from curation.compiling import compile_kernels
from curation.engine import LocalEngine
with LocalEngine() as engine:
    for group in {groups}:
        compile_kernels(engine, group)
"""


def start(options: argparse.Namespace, scratch: Path) -> None:
    """What compiling costs once, and a start afterwards. A copy of the sources stands for an installation."""
    place = scratch / "installation"
    for package in ("curation", "classifiers", "recipes", "flows"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(place), "XDG_CACHE_HOME": str(scratch / "cache")}

    def seconds(code: str) -> tuple[float, float, float]:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=place, check=True,
                              capture_output=True, text=True)  # fmt: skip
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime, wall, float(done.stdout or 0)

    seconds("import numba, pyarrow")  # from here on they are in the disk's cache
    first = {}
    for groups in (["texts"], ["texts", "pages"]):
        rounds = []
        for _ in range(options.repeats):
            shutil.rmtree(place / "curation" / "kernels" / "__pycache__", ignore_errors=True)
            rounds.append(seconds(_COMPILE.format(groups=groups)))
        first[f"the first: kernels for {' and '.join(groups)}"] = rounds
    kinds = {
        "python -c 'import numba'": "import numba",
        "with all kernels, compiled before": _ALL_KERNELS,
        "the signals' first batch, compiled before": _MEASURE,
    }
    found = first | {name: [seconds(code) for _ in range(options.repeats)] for name, code in kinds.items()}
    print(f"\n{'start of a process':44}    CPU s  clock s")
    for name, times in found.items():
        print(f"{name:44} {statistics.median(t[0] for t in times):8.2f} {statistics.median(t[1] for t in times):8.2f}")
    for name in ("with all kernels, compiled before", "the signals' first batch, compiled before"):
        added = statistics.median(times[2] for times in found[name])
        print(f"{'  of that, after numba: ' + name.split(',')[0]:44} {'':8} {added:8.2f}")


if __name__ == "__main__":
    main()
