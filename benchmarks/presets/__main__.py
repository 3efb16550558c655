"""Our presets with datatrove's filters as oracle: `CURATE_DATA=… python -m benchmarks.presets`.

Of the same documents it prints, rule by rule, how many datatrove drops, how many verdicts are equal, and how many
documents one of the two alone drops:

- `…@datatrove`, the same words: datatrove's filters are given our words and sentences, and nothing else is changed;
- `…@datatrove`, end to end: datatrove splits words and sentences itself (spaCy's blank English pipeline);
- why: for each verdict that differs end to end, which difference between our words and spaCy's changes it (causes.py);
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
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
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

from benchmarks.presets import steps  # noqa: E402  # asks the plain definition of a word

EACH, TOGETHER = "each of several", "only together"
SIGNALS = (length, symbols, gopher_quality, gopher_repetition, c4, fineweb, datatrove)


def main() -> None:
    """Take the documents, ask both sides, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presets", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--documents", type=int, default=200, help="of each source at most (200)")
    parser.add_argument("--sample", help="a Parquet file with a column `text`, instead of the real input")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that ask datatrove")
    parser.add_argument("--keep", help="a folder for the sample, the verdicts and their causes, which are left there")
    peer.add_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(options.keep or folder).absolute()
        scratch.mkdir(parents=True, exist_ok=True)
        sample = Path(options.sample) if options.sample else sample_of(options.documents, scratch)
        texts = pq.read_table(sample, columns=["text"])["text"].combine_chunks()
        executable = peer.python(options, scratch)
        columns = measured(texts)
        print(f"{datetime.now(UTC):%Y-%m-%d}, datatrove 0.10, {len(texts):,} documents, {texts.nbytes / 1e6:.1f} MB")
        given, own, causes = (scratch / f"{name}.parquet" for name in ("given", "own", "causes"))
        for title, target, units in (("the same words", given, PLAIN / "text.py"), ("end to end", own, None)):
            ask(executable, "datatrove_verdicts.py", sample, target, options.workers, *([units] if units else []))
            theirs = pq.read_table(target)
            compare(title, "datatrove", columns, theirs)
            if units:
                compare(title, "paper", columns, theirs)
        ask(executable, "causes.py", sample, given, own, causes, options.workers)
        explain(causes, columns, pq.read_table(own))
        locate(causes, sample)
        others(texts.to_pylist(), columns)


def ask(executable: str, script: str, *arguments: object) -> None:
    """Run a script of this folder under the peer's Python."""
    print(f"… {script}", file=sys.stderr)
    command = [executable, str(HERE / script), *map(str, arguments)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(PLAIN.parent)})


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
            SELECT source, text FROM (
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


def explain(causes: Path, columns: pa.Table, theirs: pa.Table) -> None:
    """Print, rule by rule and for either side, by which step from our words to spaCy's how many verdicts change."""
    rows = pq.read_table(causes).to_pylist()
    for what, known in (
        ("words", ("single marks", "rows of marks", "marks", *steps.WORDS)),
        ("sentences", steps.SENTENCES),
    ):
        asked = [row for row in rows if row["rule"].startswith("c4") == (what == "sentences")]
        found = Counter((row["rule"], row["only_ours"], class_of(row)) for row in asked)
        classes = [name for name in dict.fromkeys((*known, EACH, TOGETHER)) if any(name in key for key in found)]
        print(f"\n{'end to end, why: the step in ' + what:50} only      documents  {'  '.join(classes)}")
        for rule in sorted(theirs.column_names, key=lambda name: name.endswith("/")):  # whole presets last
            for only_ours in (True, False):
                counts = [found[rule, only_ours, name] for name in classes]
                if any(counts):
                    cells = "  ".join(f"{count:{len(name)},}" for count, name in zip(counts, classes, strict=True))
                    preset, _, name = rule.partition("/")
                    side = "ours" if only_ours else "datatrove"
                    print(f"{name.replace(' ', ', ') or preset:50} {side:9} {sum(counts):9,}  {cells}")

    rows = [row for row in rows if not row["rule"].endswith("/")]
    for name in (EACH, TOGETHER):
        sets = Counter(row["steps"] for row in rows if class_of(row) == name).most_common(6)
        print(f"{name}, most often: {', '.join(f'{count} {which}' for which, count in sets)}")
    needed = [row["needed"] for row in rows if row["needed"] is not None]
    print(f"one step {len(needed):,}: with all steps but this one the verdict is ours again in {sum(needed):,}")
    share = columns["alpha_word_ratio"].filter(theirs["gopher-quality/gopher_too_few_alpha_words"])
    many = pc.sum(pc.greater_equal(share, 0.9)).as_py() or 0
    alike = f"{len(share):,}, in {many:,} 0.9 of our words or more hold a letter"
    print(f"gopher_too_few_alpha_words of datatrove: {alike}")
    if as_many := pc.sum(theirs["fineweb@datatrove/fineweb_too_many_newlines"]).as_py():
        bound = sorted(columns["newline_per_word"].to_pylist(), reverse=True)[as_many - 1]
        print(f"fineweb_too_many_newlines of datatrove: {as_many:,}, as many as with our words from {bound:.2f} on")


def locate(causes: Path, sample: Path) -> None:
    """Print of which sources the documents are that datatrove alone drops."""
    names = pq.read_table(sample)
    if "source" not in names.column_names:
        return
    sources = names["source"].to_pylist()
    of_each = Counter(sources)
    for rule in ("gopher-quality/gopher_too_few_alpha_words", "gopher-repetition/"):
        theirs = duckdb.execute(f"SELECT document FROM '{causes}' WHERE rule = $1 AND NOT only_ours", [rule]).fetchall()
        found = Counter(sources[document] for (document,) in theirs).most_common()
        line = ", ".join(f"{source} {count} of {of_each[source]}" for source, count in found)
        print(f"{rule.strip('/').split('/')[-1]}, only datatrove, by source: {line}")


def class_of(row: dict[str, Any]) -> str:
    """The single step that changes a verdict, or that several do: each by itself, or only together."""
    return row["cause"] or (TOGETHER if "+" in row["steps"] else EACH)


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
