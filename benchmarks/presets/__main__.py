"""Our presets with datatrove's filters as oracle: `CURATE_DATA=… python -m benchmarks.presets`.

Of the same documents it prints, rule by rule, how many datatrove drops, how many verdicts are equal, and how many
documents one of the two alone drops:

- `…@datatrove`, the same words: datatrove's filters are given our words and sentences, and nothing else is changed;
- `…@datatrove`, end to end: datatrove splits words and sentences itself (spaCy's blank English pipeline);
- `…@paper`, the same words: what the paper's definitions, as we read them, change;
- other peers: a rule of ours as another peer defines it, computed here from what its source does.

The documents: some of each source of bench/text-mixed.parquet and of what `tests/real.toml` pulls.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import peer
from curation import rules as ruling
from curation.schema import SPANS
from curation.signals import c4, datatrove, fineweb, gopher_quality, gopher_repetition, length, symbols
from curation.signals.batch import Batch

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLAIN = ROOT / "tests" / "plain"
sys.path.insert(0, str(PLAIN.parent))

from plain import variants  # noqa: E402  # the plain definitions, which the tests hold the signals against

SIGNALS = (length, symbols, gopher_quality, gopher_repetition, c4, fineweb, datatrove)


def main() -> None:
    """Take the documents, ask both sides, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presets", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--documents", type=int, default=200, help="of each source at most (200)")
    parser.add_argument("--sample", help="a Parquet file with a column `text`, instead of the real input")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that ask datatrove")
    peer.add_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        sample = Path(options.sample) if options.sample else sample_of(options.documents, scratch)
        texts = pq.read_table(sample, columns=["text"])["text"].combine_chunks()
        executable = peer.python(options, scratch)
        columns = measured(texts)
        print(f"{datetime.now(UTC):%Y-%m-%d}, datatrove 0.10, {len(texts):,} documents, {texts.nbytes / 1e6:.1f} MB")
        for title, units in (("the same words", PLAIN / "text.py"), ("end to end", None)):
            print(f"… datatrove, {title}", file=sys.stderr)
            target = scratch / "verdicts.parquet"
            command = [executable, str(HERE / "datatrove_verdicts.py"), str(sample), str(target), str(options.workers)]
            subprocess.run([*command, *([str(units)] if units else [])], check=True)
            theirs = pq.read_table(target)
            compare(title, "datatrove", columns, theirs)
            if units:
                compare(title, "paper", columns, theirs)
        others(texts.to_pylist(), columns)


def sample_of(documents: int, scratch: Path) -> Path:
    """Documents of every source, those with the least hash of their ids, in a Parquet file."""
    data = Path(os.environ["CURATE_DATA"]).expanduser().resolve()
    with tarfile.open(data / "internal" / "docs-markdown.tar.gz") as archive:
        archive.extractall(scratch / "unpacked", filter="data")
    command = [
        sys.executable,
        "-m",
        "curation",
        "run",
        str(ROOT / "tests" / "real.toml"),
        "--work",
        str(scratch / "work"),
    ]
    subprocess.run([*command, "--until", "pull"], check=True, capture_output=True,
                   env={**os.environ, "UNPACKED": str(scratch / "unpacked")})  # fmt: skip
    target = scratch / "sample.parquet"
    duckdb.execute(f"""
        COPY (
            SELECT text FROM (
                SELECT id, 'mixed ' || source AS source, text FROM '{data / "bench" / "text-mixed.parquet"}'
                UNION ALL SELECT id, source, text FROM '{scratch / "work" / "documents" / "*" / "*.parquet"}'
            )
            WHERE text <> '' QUALIFY row_number() OVER (PARTITION BY source ORDER BY md5(id)) <= {documents}
            ORDER BY source, md5(id)
        ) TO '{target}' (FORMAT parquet)
    """)
    return target


def measured(texts: pa.Array) -> pa.Table:
    """All columns that presets ask for."""
    batch = Batch(texts)
    columns: dict[str, pa.Array] = {}
    for signal in SIGNALS:
        kinds = {name: kind for name, kind in signal.COLUMNS.items() if kind != SPANS}
        answers = signal.measure(batch)
        columns |= {name: pa.array(answers[name]).cast(kind) for name, kind in kinds.items()}
    return pa.table(columns)


def compare(title: str, version: str, columns: pa.Table, theirs: pa.Table) -> None:
    """Print one line for each rule of each preset, and one for the preset as a whole."""
    connection = duckdb.connect()
    names = {f"theirs {name}": theirs[name] for name in theirs.column_names}
    connection.register("rows", pa.table({**dict(zip(columns.column_names, columns.columns, strict=True)), **names}))
    print(f"\n{'@' + version + ', ' + title:58} datatrove   equal  only ours  only datatrove")
    for name in ("gopher-quality", "gopher-repetition", "c4", "fineweb"):
        rules = ruling.presets()[f"{name}@{version}"].rules
        oracle = f"{name}@{version}" if f"{name}@{version}/" in theirs.column_names else name
        for asked in theirs.column_names:
            label, rule = asked.split("/")
            if label != oracle:
                continue
            ours = " OR ".join(f"({sql})" for key, sql in rules.items() if not rule or key in rule.split())
            line = rule.replace(" ", ", ") or f"{name}@{version}"
            print(f"{line:58} {counted(connection, ours, 'theirs ' + asked)}")


def counted(connection: duckdb.DuckDBPyConnection, ours: str, column: str) -> str:
    """The four numbers of a line; what an exception kept from having a verdict is counted behind them."""
    theirs = f'"{column}"'
    dropped, equal, only_ours, only_theirs, failed = connection.execute(f"""
        SELECT count(*) FILTER ({theirs}), avg((({ours}) = {theirs})::INT), count(*) FILTER (({ours}) AND NOT {theirs}),
            count(*) FILTER (NOT ({ours}) AND {theirs}), count(*) FILTER ({theirs} IS NULL)
        FROM rows
    """).fetchone()  # type: ignore[misc]
    more = f"  ({failed} raise an exception)" if failed else ""
    return f"{dropped:9,} {equal:8.3%} {only_ours:9,} {only_theirs:15,}{more}"


def others(texts: list[str], columns: pa.Table) -> None:
    """Print what a rule does as other peers define it."""
    found: dict[str, list[bool]] = {}
    for text in texts:
        for what, verdict in variants.verdicts(text).items():
            found.setdefault(what, []).append(verdict)
    connection = duckdb.connect()
    table: dict[str, Any] = {name: columns[name] for name in columns.column_names}
    connection.register("rows", pa.table({**table, **{name: pa.array(values) for name, values in found.items()}}))
    print(f"\n{'other definitions, our words':58}      peer   equal  only ours       only peer")
    for what in found:
        rule = what.split(": ")[1]
        rules = {
            key: sql
            for name in ("gopher-quality", "gopher-repetition", "c4")
            for key, sql in ruling.presets()[f"{name}@paper"].rules.items()
        }
        print(f"{what:58} {counted(connection, rules[rule], what)}")


if __name__ == "__main__":
    main()
