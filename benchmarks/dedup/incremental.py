"""What one input more costs: a run over twenty, then one over twenty-one, beside a run over the new one alone.

What a later run cannot spare is to look for candidates among all documents. That is measured by itself: as what a run
takes longer in which nothing changed but that the pairs were removed, all of which were compared before.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import zlib
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks.dedup.commands import bare, cost, until_judge
from benchmarks.signals.measuring import mixed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

#: Inputs that are there before, all of one size; the new one is the last.
BEFORE = 20


def incremental(options: argparse.Namespace, scratch: Path) -> None:
    """Both kinds of input: slices of the mixed texts without any other signal, and WARC files with all of them."""
    slices = (
        f'kind = "parquet"\nfields = {{ uri = "id" }}\nmax_loss = 1.0\n[dedup]\nprefer = "byte_count desc"\n{bare()}'
    )
    warcs = 'kind = "warc"\nmax_loss = 1.0\n[extract]\nengine = "resiliparse"\n'
    for kind, write, settings in (("parquet", write_slices, slices), ("warc", write_warcs, warcs)):
        place = scratch / f"incremental-{kind}"
        (place / "inputs").mkdir(parents=True)
        write(place / "inputs")
        for file in (place / "inputs").iterdir():  # what was changed just now is hashed again
            os.utime(file, (1_700_000_000, 1_700_000_000))
        show(kind, place, settings, options.repeats)


def write_slices(folder: Path) -> None:
    """Twenty-one Parquet files of documents of the mixed file, at random, so that copies lie in different ones."""
    connection = duckdb.connect()
    connection.execute(f"""
        CREATE TABLE parted AS
        SELECT id, text, (row_number() OVER (ORDER BY md5(id)) - 1) % {BEFORE + 1} AS part FROM '{mixed()}'
    """)
    for number in range(BEFORE + 1):
        connection.execute(f"""
            COPY (SELECT id, text FROM parted WHERE part = {number} ORDER BY md5(id))
            TO '{folder}/{number:02d}.parquet' (FORMAT parquet)
        """)


def write_warcs(folder: Path) -> None:
    """Twenty-one WARC files of a twenty-first of the pages of the real one each, which are in random order there."""
    info, *records = members((mixed().parent / "web-00000.warc.gz").read_bytes())
    for number in range(BEFORE + 1):
        (folder / f"{number:02d}.warc.gz").write_bytes(b"".join([info, *records[number :: BEFORE + 1]]))


def members(data: bytes) -> Iterator[bytes]:
    """The gzip members of a file: a record each."""
    start = 0
    while start < len(data):
        stream = zlib.decompressobj(31)
        at = start
        while not stream.eof:
            stream.decompress(data[at : at + 65_536])
            at += 65_536
        end = min(at, len(data)) - len(stream.unused_data)
        yield data[start:end]
        start = end


def show(kind: str, place: Path, settings: str, repeats: int) -> None:
    """Run over the inputs of one kind, and print what that costs."""
    inputs = sorted((place / "inputs").iterdir())
    for name, some in (("compiled", inputs[:1]), ("before", inputs[:-1]), ("all", inputs)):
        cost(command(place, settings, name, some))
    rounds = [runs(place, settings, inputs) for _ in range(repeats)]
    documents, gone = _row(f"SELECT count(*), count(duplicate_of) FROM {verdicts(place, 'all')}")
    print(f"\n{kind}: {len(inputs)} files, {documents:,} documents, {gone:,} duplicates; medians of {repeats}")
    print(f"{'':34} CPU s  clock s  stages, clock s (the last time)")
    found: dict[str, list[float]] = {}
    for name, (_, stages) in rounds[-1].items():
        found[name] = [statistics.median(one[name][0][column] for one in rounds) for column in (0, 1)]
        said = ", ".join(f"{stage} {figures['seconds']:.2f}" for stage, figures in stages.items())
        print(f"{name:32} {found[name][0]:7.2f} {found[name][1]:8.2f}  {said}")
    alone, more, same, bare = found.values()
    for column, what in ((0, "CPU"), (1, "clock")):
        scan = bare[column] - same[column]
        print(
            f"{what}: candidates among all {scan:.2f} s; after twenty = {more[column] / (alone[column] + scan):.2f} x "
            f"(alone + candidates) = {more[column] / alone[column]:.2f} x alone"
        )
    one, other = verdicts(place, "all"), verdicts(place, "more")
    differ = _row(f"SELECT count(*) FROM ((FROM {one} EXCEPT FROM {other}) UNION ALL (FROM {other} EXCEPT FROM {one}))")
    print(f"verdicts that differ from those of a run from nothing: {differ[0]}")


def runs(
    place: Path, settings: str, inputs: list[Path]
) -> dict[str, tuple[tuple[float, float, float], dict[str, Any]]]:
    """What each of the runs costs, and its stages."""
    for name in ("alone", "more"):
        shutil.rmtree(place / name, ignore_errors=True)
    shutil.copytree(place / "before", place / "more")
    found = {}
    for title, name, some in (
        ("the new input alone", "alone", inputs[-1:]),
        ("the new input, after twenty", "more", inputs),
        ("nothing changed", "more", inputs),
        ("nothing changed, no pairs there", "more", inputs),
    ):
        if title == "nothing changed, no pairs there":
            shutil.rmtree(place / "more" / "pairs")
        costs = cost(command(place, settings, name, some))
        found[title] = costs, json.loads((place / name / "run.json").read_text())["stages"]
    return found


def command(place: Path, settings: str, name: str, inputs: list[Path]) -> list[str]:
    """The command that runs up to the verdicts over these inputs, in the workspace of this name."""
    paths = json.dumps([str(path) for path in inputs])
    source = f'[[source]]\nname = "s"\npaths = {paths}\nroot = "{place / "inputs"}"\n'
    recipe = place / f"{name}.toml"
    recipe.write_text(f'name = "x"\n{source}{settings}')
    return until_judge(recipe, place / name)


def verdicts(place: Path, name: str) -> str:
    """The verdicts in a workspace, as SQL."""
    return f"(SELECT * FROM '{place}/{name}/verdicts/**/*.parquet')"


def _row(sql: str) -> tuple[Any, ...]:
    return duckdb.execute(sql).fetchall()[0]
