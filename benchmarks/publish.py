"""How fast a release of so many bytes of text is published, and how much memory that takes, beside reading and writing.

    python -m benchmarks.publish --size 10GB --folder /mnt/bench

makes the text, pulls it and decides on it, then measures: `publish`, whose shuffle reads the text twice and writes it
twice; and reading the same parts with pyarrow and writing them anew as Parquet compressed alike, onto the disk, nothing
else. Both by one process; the processor's time of publishing is without
that of a run that publishes nothing. The folder is made and, unless --keep, removed; it takes about 1.5 times the size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
#: Bytes of text in each input, and in a document on average.
INPUT, DOCUMENT = 200_000_000, 4_000
RECIPE = """
name = "bench"
work = "work"

[[source]]
name = "text"
kind = "parquet"
paths = ["input/*.parquet"]

[dedup]
enabled = false

[release]
to = "releases"
shard_bytes = "256MB"
"""
SWITCHED_OFF = (
    "symbols", "gopher_quality", "gopher_repetition", "c4", "fineweb", "pii", "mojibake", "lines", "language",
    "education",
)  # fmt: skip


def main() -> None:
    """Measure, and print what was measured."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", default="1GB", help="bytes of text, like 300MB or 10GB")
    options.add_argument("--folder", type=Path, default=Path("bench-publish"), help="where; made new")
    options.add_argument("--repeats", type=int, default=1, help="how often both are measured, in turn")
    options.add_argument("--keep", action="store_true", help="leave the folder there")
    options.add_argument("--step", choices=["generate", "prepare", "publish", "plain"], help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.step:
        step(asked.step, asked.folder, int(float(asked.size[:-2]) * UNITS[asked.size[-2:].upper()]))
        return
    if asked.folder.exists():
        raise SystemExit(f"{asked.folder} is there already: name a folder that can be made and removed")
    asked.folder.mkdir(parents=True)
    try:
        measure(asked.folder, asked.size, asked.repeats)
    finally:
        if not asked.keep:
            shutil.rmtree(asked.folder)


def measure(folder: Path, size: str, repeats: int) -> None:
    """Make the text and measure both, each in a process of its own, so that its memory is its own."""
    made = asked_of("generate", folder, size)["bytes"]
    off = "".join(f"[signals.{name}]\nenabled = false\n" for name in SWITCHED_OFF)
    (folder / "recipe.toml").write_text(RECIPE + off, encoding="utf-8")
    asked_of("prepare", folder, size)
    idle = asked_of("prepare", folder, size)["processor"]  # of a run that finds everything made
    print(f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; one process each")
    for _ in range(repeats):
        shutil.rmtree(folder / "releases", ignore_errors=True)
        answers = {name: asked_of(name, folder, size) for name in ("publish", "plain")}
        answers["publish"]["processor"] -= idle
        for name, answer in answers.items():
            print(
                f"{name:8} {answer['seconds']:7.1f} s, {made / answer['seconds'] / 1e6:6.1f} MB/s; "
                f"{answer['processor']:7.1f} s of processor; {answer['memory'] / 2**20:6.0f} MiB at most"
            )
        wall, processor = (answers["plain"][key] / answers["publish"][key] for key in ("seconds", "processor"))
        print(f"share    {wall:.2f} of the rate of plain reading and writing, {processor:.2f} by processor")
    told = answers["publish"]
    print(f"text     {made / 1e9:.2f} GB, {told['rows']:,} documents")
    print(f"release  {told['bytes'] / 1e9:.2f} GB, {told['shards']} shards")


def generate(folder: Path, size: int) -> int:
    """Parquet with so many bytes of text, in words drawn by how often words occur; the same each time."""
    folder.mkdir()
    draw = np.random.default_rng(7)
    letters = np.frombuffer(b"etaoinshrdlcumwfgypbvkjxqz", np.uint8)
    words = [letters[draw.integers(0, 26, length)].tobytes().decode() for length in draw.integers(2, 12, 40_000)]
    spaced = np.array([word + " " for word in words], object)
    weights = np.cumsum(1 / np.arange(10, 10 + len(words)))
    weights /= weights[-1]
    made = number = 0
    while made < size:
        texts = []
        most = min(INPUT, size - made)
        of_file = 0
        while of_file < most:
            picked = np.searchsorted(weights, draw.random(int(draw.integers(100, 2 * DOCUMENT // 7))))
            texts.append("".join(spaced[picked]))
            of_file += len(texts[-1])
        ids = [f"{number}-{row}" for row in range(len(texts))]
        pq.write_table(pa.table({"uri": ids, "text": texts}), folder / f"{number:05}.parquet", compression="zstd")
        made, number = made + of_file, number + 1
    return made


def asked_of(name: str, folder: Path, size: str) -> dict[str, float]:
    """What a step says."""
    command = [sys.executable, "-m", "benchmarks.publish", "--step", name, "--folder", str(folder), "--size", size]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def step(name: str, folder: Path, size: int) -> None:
    """Do one step and print what it took, as JSON."""
    answer: dict[str, float] = {}
    began = time.monotonic()
    if name == "generate":
        answer["bytes"] = generate(folder / "input", size)
    elif name == "plain":
        plain(folder)
    else:
        from curation import pipeline  # noqa: PLC0415  # not in the process that only waits, nor in the plain one
        from curation.engine import LocalEngine  # noqa: PLC0415
        from curation.recipe import load  # noqa: PLC0415

        with LocalEngine(1) as engine:
            state = pipeline.run(load(folder / "recipe.toml"), engine, until="report" if name == "prepare" else None)
            figures = state.figures.get("publish", {})
            answer |= {key: figures[key] for key in ("rows", "shards", "bytes") if key in figures}
            answer["seconds"] = state.stages.get("publish", {}).get("seconds", 0)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    answer.setdefault("seconds", time.monotonic() - began)
    answer["processor"] = sum(one.ru_utime + one.ru_stime for one in used)
    print(json.dumps({**answer, "memory": 1024 * max(one.ru_maxrss for one in used)}))


def plain(folder: Path) -> None:
    """Read the documents' parts, a row group at a time, and write them anew as Parquet, compressed as shards are."""
    columns = ["id", "text", "source", "uri", "title", "license", "created_at"]
    (folder / "plain").mkdir()
    for path in sorted((folder / "work/documents").rglob("*.parquet")):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            schema = pa.schema([file.schema_arrow.field(name) for name in columns])
            short = [column for column in columns if column != "text"]
            with (folder / "plain" / path.name).open("wb") as stream:
                with pq.ParquetWriter(
                    stream,
                    schema,
                    compression="zstd",
                    compression_level=1,
                    write_statistics=short,
                    use_dictionary=short,
                ) as writer:
                    for group in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(group, columns=columns, use_threads=False))
                os.fsync(stream.fileno())
    shutil.rmtree(folder / "plain")


if __name__ == "__main__":
    main()
