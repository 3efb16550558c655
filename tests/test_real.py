"""Whole runs over real input: what was counted by others is what comes out."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest
from warcio.archiveiterator import ArchiveIterator

from curation import pipeline, releases
from curation.explain import explain
from curation.recipe import load
from curation.storage import open_storage

if TYPE_CHECKING:
    from curation.engine import LocalEngine
    from curation.recipe import Recipe
    from curation.run import Run

pytestmark = pytest.mark.data
RECIPE = Path(__file__).parent / "real.toml"


def recipe_in(place: Path, *overrides: str) -> Recipe:
    """The recipe over the real input, with WORK and TO in `place`."""
    return load(RECIPE, (f'release.to="{place / "to"}"', *overrides), work=str(place / "work"))


@pytest.fixture(scope="module")
def unpacked(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Markdown of internal/docs-markdown.tar.gz, and the variables that the recipe wants."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(data / "internal" / "docs-markdown.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    os.environ["UNPACKED"] = str(folder)
    return folder


@pytest.fixture(scope="module")
def ran(unpacked: Path, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """One run over all of it."""
    assert unpacked.is_dir()
    place = tmp_path_factory.mktemp("real")
    return place, pipeline.run(recipe_in(place), engine)


def manifest_of(place: Path) -> dict[str, Any]:
    """The manifest of the latest release."""
    return releases.find(open_storage(str(place / "to")), None).manifest() or {}


def warc_documents(path: Path) -> int:
    """How many records of a WARC are documents, as warcio counts."""
    with path.open("rb") as stream:
        types = Counter(record.rec_type for record in ArchiveIterator(stream, no_record_parse=True))
    return sum(count for kind, count in types.items() if kind not in ("warcinfo", "request", "metadata"))


def jsonl_documents(path: Path) -> int:
    """How many lines of a .jsonl.gz are not blank."""
    with gzip.open(path, "rb") as stream:
        return sum(1 for line in stream if line.strip())


def test_documents_are_the_records_that_others_count(ran: tuple[Path, Run], data: Path, unpacked: Path) -> None:
    """For each source: what warcio, a line count, a file count and Parquet's own footer say."""
    place, _ = ran
    web = data / "web"
    counted = {
        "web": sum(map(warc_documents, web.glob("*.warc.gz"))),
        "crawlers": sum(warc_documents(path) for path in (web / "real-warc").iterdir() if ".warc" in path.name
                        and path.suffix != ".jsonl" and not path.name.endswith((".wet.gz", ".wat.gz"))),
        "docs": sum(1 for path in unpacked.rglob("*.md") if not any(
            part.startswith(".") for part in path.relative_to(unpacked).parts)),
        "openstax": pq.read_metadata(data / "textbooks" / "openstax.parquet").num_rows,
        "python-book": jsonl_documents(data / "textbooks" / "introduction-python-programming.jsonl.gz"),
        "boilerplate": warc_documents(data / "lowquality" / "boilerplate-pages.warc.gz"),
        "low": sum(map(jsonl_documents, (data / "lowquality").glob("*.jsonl.gz"))),
    }  # fmt: skip
    sources = {source["name"]: source for source in manifest_of(place)["sources"]}
    assert {name: source["documents"] for name, source in sources.items()} == counted
    for source in sources.values():
        assert sum(source[key] for key in ("errors", "dropped", "duplicates", "kept")) == source["documents"]
    assert all(sources[name]["kept"] for name in ("web", "crawlers", "docs", "openstax"))


def test_the_records_of_each_type_are_those_of_the_index(ran: tuple[Path, Run], data: Path) -> None:
    """What the run says it read of the crawlers' files, rows or not, is what warcio counted."""
    _, run = ran
    index = [json.loads(line) for line in (data / "web" / "real-warc" / "index.jsonl").read_text().splitlines()]
    expected: Counter[str] = Counter()
    for entry in index:
        if not entry["file"].endswith((".wet.gz", ".wat.gz")):
            expected.update({kind: n for kind, n in entry["warcio_records"].items() if kind != "bad-digest"})
    records = run.figures["pull"]["records"]
    assert records["crawlers"] == dict(expected)
    assert records["openstax"] == {"row": 886}
    assert set(records) == {source.name for source in run.recipe.source}


def test_the_fates_are_those_that_the_verdicts_give_independently(ran: tuple[Path, Run]) -> None:
    """Counted again from the Parquet files by DuckDB, error before rule before duplicate before kept."""
    place, _ = ran
    rows = duckdb.sql(f"""
        SELECT source, count(*), count(*) FILTER (error IS NOT NULL),
            count(*) FILTER (error IS NULL AND len(reasons) > 0),
            count(*) FILTER (error IS NULL AND len(reasons) = 0 AND duplicate_of IS NOT NULL),
            count(*) FILTER (error IS NULL AND len(reasons) = 0 AND duplicate_of IS NULL)
        FROM '{place}/work/documents/*/*.parquet' JOIN '{place}/work/verdicts/*/*.parquet' USING (id) GROUP BY source
    """).fetchall()
    names = ("documents", "errors", "dropped", "duplicates", "kept")
    counted = {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}
    said = {source["name"]: {name: source[name] for name in names} for source in manifest_of(place)["sources"]}
    assert said == counted


def test_every_shard_is_what_the_manifest_says(ran: tuple[Path, Run]) -> None:
    """sha256, rows, tokens and bytes, worked out here; and by `verify`."""
    place, _ = ran
    release = releases.find(open_storage(str(place / "to")), None)
    manifest = manifest_of(place)
    assert len(manifest["shards"]) > 2
    for shard in manifest["shards"]:
        path = Path(release.path) / shard["path"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["sha256"]
        table = pq.read_table(path)
        assert table.num_rows == shard["rows"]
        assert sum(-(-len(text.encode()) // 4) for text in table["text"].to_pylist()) == shard["tokens"]
        assert table["tokens"].to_pylist() == [-(-len(text.encode()) // 4) for text in table["text"].to_pylist()]
        assert path.stat().st_size == shard["bytes"]
    assert releases.verify(release) == []
    copies = duckdb.sql(
        f"SELECT max(n) FROM (SELECT count(*) AS n FROM '{release.path}/data/*.parquet' GROUP BY id)"
    ).fetchall()
    assert copies == [(4,)]


def test_datasets_and_duckdb_read_the_release(
    ran: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load_dataset("parquet", …)` and DuckDB see the same rows and tokens."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    place, _ = ran
    release = releases.find(open_storage(str(place / "to")), None)
    manifest = manifest_of(place)
    files = f"{release.path}/data/*.parquet"
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == manifest["rows"]
    assert sum(loaded["tokens"]) == manifest["tokens"]
    assert duckdb.sql(f"SELECT count(*), sum(tokens)::BIGINT FROM '{files}'").fetchall() == [
        (manifest["rows"], manifest["tokens"])
    ]


def test_a_second_run_and_a_changed_rule_are_quick_and_read_no_text(
    ran: tuple[Path, Run], engine: LocalEngine, tmp_path: Path
) -> None:
    """Nothing is pulled, measured or published again; a changed rule leaves documents and signals as they are."""
    place, first = ran
    again = pipeline.run(recipe_in(place), engine)
    assert again.figures["publish"]["published"] is False
    assert again.figures["pull"]["inputs_read"] == again.figures["measure"]["parts"] == 0
    shutil.copytree(place, tmp_path / "copy")
    changed = pipeline.run(recipe_in(tmp_path / "copy", 'rules.low_value="education_score < 2"'), engine, until="blend")
    assert changed.figures["measure"]["parts"] == 0
    assert changed.figures["judge"] != first.figures["judge"]


def test_explain_tells_the_whole_story(ran: tuple[Path, Run]) -> None:
    """Of a kept, a dropped, a duplicate and an unreadable document, by id and by URI."""
    place, _ = ran
    recipe = recipe_in(place)
    documents = duckdb.sql(f"""
        SELECT id, uri, reasons, duplicate_of, copies
        FROM '{place}/work/documents/*/*.parquet' JOIN '{place}/work/verdicts/*/*.parquet' USING (id)
        JOIN '{place}/work/blend/*/*.parquet' USING (id) WHERE uri IS NOT NULL ORDER BY id
    """).fetchall()
    wanted = {
        "kept": next(row for row in documents if row[4] > 0),
        "dropped": next(row for row in documents if row[2] and row[2] != ["unreadable"]),
        "duplicate": next(row for row in documents if row[3]),
        "error": next(row for row in documents if row[2] == ["unreadable"]),
    }
    for fate, (document, uri, reasons, duplicate_of, copies) in wanted.items():
        (by_id,) = explain(recipe, document)
        assert by_id in explain(recipe, uri)
        assert by_id.fate == fate
        assert by_id.document["origin"]
        assert [hit.rule for hit in by_id.hits] == reasons
        if fate == "kept":
            assert len(by_id.shards) == copies
            for place_in in by_id.shards:
                path = place / "to" / "real" / str(by_id.release) / place_in["shard"]
                assert pq.read_table(path, columns=["id"])["id"][place_in["row"]].as_py() == document
        elif fate == "dropped":
            assert all(hit.predicate and hit.values for hit in by_id.hits)
        elif fate == "duplicate":
            assert by_id.survivor is not None
            assert by_id.survivor["id"] == duplicate_of
            assert by_id.similarity is not None
            assert by_id.similarity >= 0.75
            (survivor,) = explain(recipe, duplicate_of)
            assert document in [copy["id"] for copy in survivor.copies]
        else:
            assert by_id.document["error"]
            assert by_id.signals["length"]["word_count"] == 0


def test_near_duplicates_are_those_of_the_exact_computation(ran: tuple[Path, Run], data: Path) -> None:
    """Of the pairs of textbook sections whose exact Jaccard is 0.85 or more, at most one in twenty was not found."""
    place, _ = ran
    with gzip.open(data / "textbooks" / "near-duplicate-pairs.jsonl.gz", "rt") as stream:
        rows = [json.loads(line) for line in stream]
    documents = dict(
        duckdb.sql(f"""
        SELECT meta->>'id', id FROM '{place}/work/documents/openstax/*.parquet'
    """).fetchall()
    )
    first = dict(duckdb.sql(f"SELECT id_b, id_a FROM '{place}/work/pairs/copies/*.parquet'").fetchall())
    near = duckdb.sql(f"SELECT id_a, id_b FROM '{place}/work/pairs/near/*.parquet'").fetchall()
    found = {frozenset(pair) for pair in near}
    alike = missed = 0
    for row in rows:
        if row["jaccard5"] >= 0.85:
            a, b = documents[row["a"]], documents[row["b"]]
            alike += 1
            groups = frozenset((first.get(a, a), first.get(b, b)))
            missed += len(groups) == 2 and groups not in found
    assert alike > 100
    assert missed <= alike / 20
