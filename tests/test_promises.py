"""The promises of the design, each shown on whole runs over the sample."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest

from curation import pipeline
from curation.errors import RecipeError, RuleError, StorageError, UsageError, WipeOutError
from curation.pull import _bucket
from curation.recipe import load
from curation.storage import open_storage

if TYPE_CHECKING:
    from curation.engine import LocalEngine
    from curation.run import Run

VERSION = 'release.version="2026.01.01"'


def run(recipe: Path, place: Path, engine: LocalEngine, *overrides: str, until: str | None = None) -> Run:
    """One run of a recipe with WORK and TO in `place`."""
    loaded = load(recipe, (f'release.to="{place / "to"}"', VERSION, *overrides), work=str(place / "work"))
    return pipeline.run(loaded, engine, until=until)


def release_bytes(place: Path, version: str = "2026.01.01") -> dict[str, str]:
    """A hash of every shard, and of the manifest without `created_at`."""
    (folder,) = (place / "to").glob(f"*/{version}")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["created_at"]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "data").iterdir()}
    return {**hashes, "manifest": hashlib.sha256(json.dumps(manifest).encode()).hexdigest()}


def parts(place: Path, dataset: str) -> dict[str, tuple[int, int]]:
    """Every part of a dataset with its inode and time: they change when it is written again."""
    folder = place / "work" / dataset
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.parquet")
    }


@pytest.fixture(scope="module")
def done(sample: Path, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the sample."""
    place = tmp_path_factory.mktemp("done")
    run(sample, place, engine)
    return place


def copy_of(done: Path, tmp_path: Path) -> Path:
    """A finished run to work on, times kept."""
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy"


def test_1_every_record_is_a_row_with_one_fate(done: Path, sample: Path) -> None:
    """Records in the files = documents = errors + dropped + duplicates + kept, and each document has a verdict."""
    (manifest,) = (done / "to").glob("*/*/manifest.json")
    sources = {source["name"]: source for source in json.loads(manifest.read_text())["sources"]}
    folder = sample.parent / "sample"
    lines = [line for line in (folder / "textbook.jsonl").read_text().splitlines() if line.strip()]
    web = gzip.decompress((folder / "web.warc.gz").read_bytes())
    records = sum(web.count(b"WARC-Type: " + kind) for kind in (b"response", b"resource", b"conversion", b"revisit"))
    counted = {"textbook": len(lines), "handbook": len(list((folder / "handbook").glob("*.md"))), "web": records}
    assert {name: source["documents"] for name, source in sources.items()} == counted
    for source in sources.values():
        fates = [source[key] for key in ("errors", "dropped", "duplicates", "kept")]
        assert sum(fates) == source["documents"]
        assert all(source["rules"].values())
    verdicts = duckdb.sql(f"SELECT * FROM '{done}/work/verdicts/*/*.parquet'").to_arrow_table().to_pylist()
    assert len(verdicts) == sum(counted.values())
    for verdict in verdicts:
        assert verdict["keep"] == (not verdict["reasons"] and verdict["duplicate_of"] is None)


def test_2_a_changed_rule_reads_no_text_to_judge_and_blend(
    done: Path, sample: Path, engine: LocalEngine, tmp_path: Path
) -> None:
    """With every byte of the text columns overwritten, another rule is judged and blended all the same.

    The report reads the texts of the few documents that it shows; a test of it says how few.
    """
    place = copy_of(done, tmp_path)
    for path in (place / "work" / "documents").rglob("*.parquet"):
        metadata = pq.read_metadata(path)
        data = bytearray(path.read_bytes())
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                column = metadata.row_group(group).column(index)
                if column.path_in_schema == "text":
                    start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
                    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
        path.write_bytes(data)
    changed = "rules.low_value=\"source = 'web' and education_score < 2\""
    state = run(sample, place, engine, changed, until="blend")
    fresh = run(sample, tmp_path / "fresh", engine, changed, until="blend")
    assert state.figures["judge"] == fresh.figures["judge"]
    assert state.figures["blend"] == fresh.figures["blend"]
    with pytest.raises(StorageError, match="this part is damaged"):
        run(sample, place, engine, changed, 'release.version="2026.01.02"')


def test_3_a_second_run_makes_nothing(done: Path, sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """No part is written again and no release is published when nothing has changed."""
    place = copy_of(done, tmp_path)
    names = ("documents", "signals", "pairs", "hits", "verdicts", "groups", "blend")
    before = {name: parts(place, name) for name in names}
    state = run(sample, place, engine)
    assert {name: parts(place, name) for name in names} == before
    assert all(before.values())
    assert state.figures["publish"]["published"] is False
    assert state.figures["pull"]["inputs_read"] == 0
    assert state.figures["measure"]["parts"] == 0


def test_3_a_missing_torn_or_foreign_part_is_made_again(
    done: Path, sample: Path, engine: LocalEngine, tmp_path: Path
) -> None:
    """Only the parts that are gone, cut short or made from something else are made again; the release is the same."""
    place = copy_of(done, tmp_path)
    files = sorted((place / "work" / "signals" / "c4").rglob("*.parquet"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-100])
    documents = sorted((place / "work" / "documents" / "textbook").iterdir())
    documents[0].unlink()
    (place / "work" / "inputs.json").unlink()
    before = parts(place, "signals")
    shutil.rmtree(place / "to")
    run(sample, place, engine)
    after = parts(place, "signals")
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {str(path.relative_to(place / "work" / "signals")) for path in files[:2]}
    assert release_bytes(place) == release_bytes(done)


@pytest.mark.parametrize("name", ["hits", "verdicts", "groups", "blend"])
def test_3_of_what_all_documents_decide_one_part_is_made_again(
    done: Path, sample: Path, engine: LocalEngine, tmp_path: Path, name: str
) -> None:
    """A run that was killed while it wrote them has the others already."""
    place = copy_of(done, tmp_path)
    files = sorted((place / "work" / name).rglob("*.parquet"))
    assert len(files) >= 3
    files[1].unlink()
    before = parts(place, name)
    run(sample, place, engine)
    after = parts(place, name)
    changed = {part for part in after if after[part] != before.get(part)}
    assert changed == {str(files[1].relative_to(place / "work" / name))}


def test_4_one_more_input_leaves_the_others_alone(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """A second WARC adds its parts; documents and signals of the first, and of the other sources, are not touched."""
    folder = tmp_path / "textbook"
    shutil.copytree(sample.parent, folder, ignore=shutil.ignore_patterns("work", "releases"))
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("sample/web.warc.gz", "sample/*.warc.gz"))
    run(recipe, tmp_path, engine, until="measure")
    before = {name: parts(tmp_path, name) for name in ("documents", "signals")}
    shutil.copy(folder / "sample" / "web.warc.gz", folder / "sample" / "tomorrow.warc.gz")
    (folder / "sample" / "handbook" / "new.md").write_text("# New\n\nOne more page of the handbook.\n")
    state = run(recipe, tmp_path, engine, until="measure")
    after = {name: parts(tmp_path, name) for name in ("documents", "signals")}
    for name, parts_before in before.items():
        changed = {part for part, when in parts_before.items() if after[name][part] != when}
        assert all("files-" in part for part in changed)  # the bucket that the new page came into, if it was one
        assert any("tomorrow" in part for part in after[name])
    assert state.figures["measure"]["parts"] == 2
    (folder / "sample" / "tomorrow.warc.gz").unlink()
    run(recipe, tmp_path, engine, until="measure")
    assert not any("tomorrow" in part for part in (*parts(tmp_path, "documents"), *parts(tmp_path, "signals")))


def test_4_a_large_input_is_cut_and_resumed(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """An input of more text than a part holds is several parts; with the last ones gone, reading goes on from there."""
    folder = tmp_path / "textbook"
    (folder / "sample").mkdir(parents=True)
    shutil.copy(sample, folder / "recipe.toml")
    shutil.copytree(sample.parent / "sample" / "handbook", folder / "sample" / "handbook")
    shutil.copy(sample.parent / "sample" / "web.warc.gz", folder / "sample")
    with (folder / "sample" / "textbook.jsonl").open("w") as stream:
        for number in range(30):
            stream.write(json.dumps({"text": f"{number} " + "word " * 2_000_000}) + "\n")
    run(folder / "recipe.toml", tmp_path, engine, until="pull")
    names = sorted((tmp_path / "work" / "documents" / "textbook").iterdir())
    assert [path.name.rsplit(".", 2)[1] for path in names] == ["00000", "00001", "00002"]
    rows = [pq.read_metadata(path).num_rows for path in names]
    assert sum(rows) == 30
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in names]
    first = names[0].stat().st_mtime_ns
    for path in names[1:]:
        path.unlink()
    run(folder / "recipe.toml", tmp_path, engine, until="pull")
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in names] == before
    assert names[0].stat().st_mtime_ns == first


def test_5_the_same_bytes_whatever_the_workers(done: Path, sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """One worker in another process and another folder publishes the same shards, manifest, report and card."""
    curate(sample, tmp_path, "--workers", "1")
    assert release_bytes(tmp_path) == release_bytes(done)
    for name in ("report.html", "README.md"):
        (here,), (there,) = ((place / "to").glob(f"*/*/{name}") for place in (tmp_path, done))
        assert here.read_bytes() == there.read_bytes()
    run(sample, tmp_path / "two", engine)
    assert release_bytes(tmp_path / "two") == release_bytes(done)


def test_5_the_seed_changes_the_order(done: Path, sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """Another seed gives another sample and order, so the sameness above is no accident."""
    run(sample, tmp_path, engine, "seed=1")
    assert release_bytes(tmp_path) != release_bytes(done)


STAGES = [stage.__name__ for stage in pipeline.STAGES]


#: Of each stage the folder or file that it is killed over: as it is about to get its name where the stage writes it in
#: its own process, as soon as it is there where the workers do.
KILLED_OVER = {
    "pull": "/documents/", "measure": "/signals/", "compare": "/candidates/", "judge": "/hits/", "blend": "/groups/",
    "report": "/report.html", "publish": "/manifest.json",
}  # fmt: skip

#: A run that kills itself and its workers inside one stage, and leaves a file that says in which.
_KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from curation import pipeline
from curation.engine import LocalEngine
from curation.recipe import load

recipe, work, to, version, wanted, over, witness = sys.argv[1:]
inside = False

def kill():
    Path(witness).write_text(wanted)
    os.killpg(0, signal.SIGKILL)

def watch():
    while not any((Path(work) / over.strip("/")).rglob("*.parquet")):
        time.sleep(0.001)
    if inside:
        kill()

def kills(gives_name):
    def gives(source, target):
        if inside and over in str(target):
            kill()
        gives_name(source, target)
    return gives

def call(stage, run):
    global inside
    inside = stage.__name__ == wanted
    if inside and over.endswith("/"):
        threading.Thread(target=watch, daemon=True).start()
    figures = stage(run)
    inside = False
    return figures

if __name__ == "__main__":
    os.replace, os.link = kills(os.replace), kills(os.link)
    with LocalEngine(2) as engine:
        pipeline.run(load(recipe, (f'release.to="{to}"', version), work=work), engine, call=call)
"""


@pytest.mark.parametrize("stage", STAGES)
def test_5_killed_in_any_stage_the_rerun_gives_the_same_bytes(
    stage: str, done: Path, sample: Path, tmp_path: Path
) -> None:
    """`kill -9` inside a stage leaves no release to see; the rerun ends with the same bytes, nothing half written."""
    script, witness = tmp_path / "killed.py", tmp_path / "witness"
    script.write_text(_KILLED)
    places = (sample, tmp_path / "work", tmp_path / "to", VERSION, stage, KILLED_OVER[stage], witness)
    process = subprocess.run(
        [sys.executable, str(script), *map(str, places)], start_new_session=True, capture_output=True, check=False
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert witness.read_text() == stage
    assert not list((tmp_path / "to").glob("*/latest.json"))
    assert not list((tmp_path / "to").glob("*/*/manifest.json"))
    curate(sample, tmp_path)
    assert release_bytes(tmp_path) == release_bytes(done)
    assert not list(tmp_path.rglob("*.tmp"))


#: By stage what it calls in the run's own process, late.
_STOPPED_IN = {"measure": "compile_kernels", "publish": "_manifest"}


@pytest.mark.parametrize("stage", _STOPPED_IN)
def test_3_a_run_that_is_stopped_leaves_nothing_half_written(
    stage: str, sample: Path, engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What killed workers were writing is removed before the run lets go of its folders, in the release's too."""
    loaded = load(sample, (f'release.to="{tmp_path / "to"}"', VERSION), work=str(tmp_path / "work"))
    folder = tmp_path / {"measure": "work/documents", "publish": f"to/{loaded.name}/2026.01.01/data"}[stage]

    def stopped(*_: object) -> None:
        (folder / "train-00000.parquet.0123456789abcdef.tmp").write_bytes(b"PAR1")
        raise KeyboardInterrupt

    monkeypatch.setattr(f"curation.{stage}.{_STOPPED_IN[stage]}", stopped)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(loaded, engine)
    assert folder.is_dir()
    assert not list(tmp_path.rglob("*.tmp"))


def test_5_killed_at_any_moment_nothing_finished_is_made_again(sample: Path) -> None:
    """The short form of `make torture`: same bytes, no stray file, no finished part made twice."""
    command = [sys.executable, "-m", "benchmarks.torture", "--kills", "3", "--recipe", str(sample)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills" in done.stdout
    assert done.stdout.endswith(" 0 faults\n")


def test_6_a_rule_that_is_null_stops_the_run(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """The message names the rule, the document, the column that is null, and a remedy."""
    with pytest.raises(
        RuleError, match=r"rules\.too_old: no answer for document [0-9a-f]{32}.*created_at is null"
    ) as caught:
        run(sample, tmp_path, engine, "rules.too_old=\"created_at < timestamp '2000-01-01'\"", until="judge")
    assert "coalesce(created_at" in (caught.value.remedy or "")


def test_6_a_rule_over_a_missing_column_stops_before_the_first_byte(
    sample: Path, engine: LocalEngine, tmp_path: Path
) -> None:
    """Nothing is written, and the message names the nearest column."""
    with pytest.raises(RecipeError, match="there is no column 'word_cout'; nearest are word_count"):
        run(sample, tmp_path, engine, 'rules.short="word_cout < 5"')
    assert not (tmp_path / "work").exists()


def test_6_rules_that_hit_nothing_or_nearly_all_are_said(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """Both stand in the warnings and in the report."""
    overrides = ('rules.never="word_count > 1000000"', 'rules.always="word_count >= 0"')
    state = run(sample, tmp_path, engine, *overrides, until="report")  # nothing is left to publish
    said = " ".join(state.warnings)
    assert "rule always hit 60 of 62 documents" in said
    assert "hit nothing: " in said
    assert "never" in said
    report = (tmp_path / "work" / "report.html").read_text()
    assert "rule always hit 60 of 62 documents" in report


def test_7_every_duplicate_names_a_kept_document_it_was_verified_similar_to(done: Path) -> None:
    """The survivor is kept, and the pair stands among the verified ones, directly or through equal texts."""
    work = done / "work"
    connection = duckdb.connect()
    verdicts = {
        row[0]: row for row in connection.execute(
            f"SELECT id, keep, duplicate_of, similarity FROM '{work}/verdicts/*/*.parquet'").fetchall()
    }  # fmt: skip
    copies = connection.execute(f"SELECT id_a, id_b, similarity FROM '{work}/pairs/copies/*.parquet'").fetchall()
    pairs = connection.execute(f"SELECT id_a, id_b, similarity FROM '{work}/pairs/near/*.parquet'").fetchall()
    first = {b: a for a, b, _ in copies}
    near = {frozenset((a, b)): similarity for a, b, similarity in pairs}
    gone = [row for row in verdicts.values() if row[2]]
    assert len(gone) == 8
    for document, keep, survivor, similarity in gone:
        assert not keep
        assert verdicts[survivor][1]
        groups = frozenset((first.get(document, document), first.get(survivor, survivor)))
        assert similarity == (1.0 if len(groups) == 1 else near[groups])
        assert similarity >= 0.75


def test_7_a_wiped_out_source_stops_the_run(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """Until the recipe allows it, for that source or for all."""
    with pytest.raises(WipeOutError, match="source web: 6 of the 27") as caught:
        run(sample, tmp_path, engine, "dedup.max_loss=0.2")
    assert "max_loss = 0.25 in [[source]] web" in (caught.value.remedy or "")
    assert not (tmp_path / "to").exists()
    run(sample, tmp_path, engine, "dedup.max_loss=0.2", "source.web.max_loss=0.25", until="judge")


def test_8_a_release_is_never_changed(done: Path, sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """A changed recipe that asks for the same version is refused; without one it gets the next."""
    place = copy_of(done, tmp_path)
    before = release_bytes(place)
    with pytest.raises(Exception, match=r"this version is taken, and a release is never changed"):
        run(sample, place, engine, "seed=2")
    assert release_bytes(place) == before
    run(sample, place, engine, "seed=2", 'release.version="2026.01.02"')
    manifest = json.loads((place / "to" / "quickstart" / "2026.01.02" / "manifest.json").read_text())
    assert manifest["previous"] == "2026.01.01"
    pointer = json.loads((place / "to" / "quickstart" / "latest.json").read_text())
    assert pointer["version"] == "2026.01.02"
    assert release_bytes(place) == before


def test_9_text_stays_text(engine: LocalEngine, tmp_path: Path) -> None:
    """Names, titles, URIs and text that look like SQL, HTML or paths are published as they came, and do nothing."""
    hostile = "'; DROP TABLE documents; --\n<script>alert(1)</script> ../../etc/passwd {{ 7 * 7 }} $HOME \x00 \u202e"
    folder = tmp_path / "in"
    folder.mkdir()
    said = dict.fromkeys(("title", "uri", "license", hostile), hostile)
    rows = [{"text": f"{hostile} {number} " + "plain words " * number, **said} for number in range(20)]
    (folder / "'; drop -- <b>.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "hostile"\n[[source]]\nname = "a"\nkind = "jsonl"\npaths = ["in/*.jsonl"]\n[dedup]\nmax_loss = 1.0\n'
    )
    state = run(recipe, tmp_path, engine)
    shard = pq.read_table(next((tmp_path / "to").rglob("*.parquet")))
    kept = state.figures["judge"]["sources"]["a"]["kept"]
    assert shard.num_rows == kept > 0
    assert set(shard["title"].to_pylist()) == {hostile}
    assert set(shard["text"].to_pylist()) <= {row["text"] for row in rows}
    report = (tmp_path / "work" / "report.html").read_text()
    assert "<script>alert" not in report


def test_a_workspace_serves_one_recipe_and_one_run(
    done: Path, sample: Path, engine: LocalEngine, tmp_path: Path
) -> None:
    """Another recipe, and a second run at the same time, are told to use a folder of their own."""
    place = copy_of(done, tmp_path)
    with pytest.raises(StorageError, match="belongs to the recipe quickstart"):
        run(sample, place, engine, 'name="other"')
    using = pytest.raises(StorageError, match="another run is using this folder")
    with open_storage(str(place / "work")).lock(), using:
        run(sample, place, engine)


def test_a_workspace_holds_nothing_else(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """A folder with files of someone else is refused and left as it is; so is one that holds the releases."""
    (tmp_path / "work" / "scratch").mkdir(parents=True)
    (tmp_path / "work" / "scratch" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="is no workspace of curate's"):
        run(sample, tmp_path, engine)
    assert (tmp_path / "work" / "scratch" / "thesis.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="lie in each other"):
        run(sample, tmp_path / "new", engine, f'release.to="{tmp_path / "new" / "work" / "to"}"')


def test_a_stage_that_is_called_again_changes_nothing(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """As an orchestrator does after a failure: each stage twice, and the next run publishes nothing."""
    twice = load(sample, (f'release.to="{tmp_path / "to"}"',), work=str(tmp_path / "work"))

    def again(stage: pipeline.Stage, run: Run) -> dict[str, Any]:
        if stage.__name__ != "publish":
            stage(run)
        return stage(run)

    assert pipeline.run(twice, engine, call=again).figures["publish"]["published"] is True
    assert pipeline.run(twice, engine).figures["publish"]["published"] is False


def test_a_recipe_reached_through_a_link_does_not_read_what_it_made(engine: LocalEngine, tmp_path: Path) -> None:
    """The folder is the same by whatever name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "page.md").write_text("# Page\n\nA page of the handbook, with a sentence or two.\n")
    (tmp_path / "link").symlink_to("real")
    recipe = tmp_path / "link" / "recipe.toml"
    recipe.write_text('name = "self"\n[[source]]\nname = "a"\nkind = "text"\npaths = ["**/*.*"]\n')
    for _ in range(2):
        assert pipeline.run(load(recipe), engine).documents == 2  # the page and the recipe


def test_a_run_does_not_read_what_it_made(engine: LocalEngine, tmp_path: Path) -> None:
    """A pattern over the recipe's own folder finds neither WORK nor the releases."""
    (tmp_path / "page.md").write_text("# Page\n\nA page of the handbook, with a sentence or two.\n")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "self"\n[[source]]\nname = "a"\nkind = "markdown"\npaths = ["."]\n')
    for _ in range(2):
        state = run(recipe, tmp_path, engine, 'source.a.paths=["."]')
        assert state.figures["judge"]["sources"]["a"]["documents"] == 2  # the page and the recipe
    assert state.figures["publish"]["published"] is False


def test_small_files_of_much_text_are_several_parts(engine: LocalEngine, tmp_path: Path) -> None:
    """One bucket with more text than a part holds: nothing is lost, and a part that is gone is made again alone."""
    (tmp_path / "in").mkdir()
    names = [f"in/{number}.txt" for number in range(5_000) if _bucket(f"{number}.txt") == "files-000"][:3]
    for name in names:
        (tmp_path / name).write_text("word " * 14_000_000)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "big"\n[[source]]\nname = "a"\nkind = "text"\npaths = ["in"]\n')
    state = run(recipe, tmp_path, engine, until="pull")
    assert [footer.rows for footer in state.parts.values()] == [2, 1]
    first, last = sorted((tmp_path / "work" / "documents" / "a").iterdir())
    before = (first.stat().st_mtime_ns, last.read_bytes())
    last.unlink()
    assert run(recipe, tmp_path, engine, until="pull").documents == 3
    assert (first.stat().st_mtime_ns, last.read_bytes()) == before


def test_pairs_that_are_not_all_there_are_made_again(
    done: Path, sample: Path, engine: LocalEngine, tmp_path: Path
) -> None:
    """With the near ones gone, as after a kill while they were removed, another rule finds every duplicate."""
    place = copy_of(done, tmp_path)
    for path in (place / "work" / "pairs" / "near").iterdir():
        path.unlink()
    changed = 'rules.short="word_count < 60"'
    state = run(sample, place, engine, changed, until="judge")
    fresh = run(sample, tmp_path / "fresh", engine, changed, until="judge")
    assert state.figures["judge"] == fresh.figures["judge"]


def test_pairs_that_were_written_before_a_kill_stay(
    done: Path, sample: Path, engine: LocalEngine, tmp_path: Path
) -> None:
    """What says that all pairs are there is written last; without it the others are there, and what was compared."""
    place = copy_of(done, tmp_path)
    (copies,) = (place / "work" / "pairs").glob("copies/*.parquet")
    copies.unlink()
    before = {name: parts(place, name) for name in ("pairs", "compared")}
    assert all(before.values())
    run(sample, place, engine)
    after = {name: parts(place, name) for name in before}
    assert after["compared"] == before["compared"]
    assert before["pairs"].items() < after["pairs"].items()
    assert len(after["pairs"]) == len(before["pairs"]) + 1


def test_what_prefer_reads_is_part_of_the_verdicts(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """A signal that only `prefer` uses, measured anew, chooses other survivors."""
    folder = tmp_path / "textbook"
    shutil.copytree(sample.parent, folder, ignore=shutil.ignore_patterns("work", "releases"))
    signal_module = folder / "liking_for_tests.py"
    text = (
        "import pyarrow as pa\nCOLUMNS = {'liking_score': pa.float32()}\nVERSION = 1\n"
        "def measure(batch):\n    return {'liking_score': [float(SIGN * len(text)) for text in batch.texts]}\n"
    )
    options = ('signals.liking.module="liking_for_tests"', 'dedup.prefer="liking_score desc"')
    survivors = []
    for sign, version in ((1, 1), (-1, 2)):
        signal_module.write_text(text.replace("SIGN", str(sign)).replace("VERSION = 1", f"VERSION = {version}"))
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        options_given = [part for option in options for part in ("--set", option)]
        subprocess.run(command(folder / "recipe.toml", tmp_path, "--until", "judge", *options_given),
                       check=True, capture_output=True, env=environment)  # fmt: skip
        rows = duckdb.sql(f"SELECT id FROM '{tmp_path}/work/verdicts/web/*.parquet' WHERE keep ORDER BY id").fetchall()
        survivors.append(rows)
    assert survivors[0] != survivors[1]


def test_a_signal_that_breaks_its_word_stops_the_run(sample: Path, tmp_path: Path) -> None:
    """A null, too few values, no values, another type: the signal, the column and the document are named."""
    folder = tmp_path / "textbook"
    shutil.copytree(sample.parent, folder, ignore=shutil.ignore_patterns("work", "releases"))
    wrong = {
        "{'odd_score': [None] * len(batch)}": r"signal odd: odd_score of document [0-9a-f]{32} is None",
        "{'odd_score': [1.0]}": r"signal odd: 1 values of odd_score for \d+ documents",
        "{}": r"signal odd: measure\(\) gave no column 'odd_score'",
        "{'odd_score': ['high'] * len(batch)}": r"signal odd: odd_score is not all float",
    }
    for answer, message in wrong.items():
        (folder / "odd.py").write_text(
            "import pyarrow as pa\nVERSION = 1\nCOLUMNS = {'odd_score': pa.float32()}\n"
            f"def measure(batch):\n    return {answer}\n"
        )
        process = subprocess.run(
            command(folder / "recipe.toml", tmp_path / str(len(answer)), "--set", 'signals.odd.module="odd"'),
            check=False, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert process.returncode == 1
        assert re.search(message, process.stderr), process.stderr
        assert "Traceback" not in process.stderr


def command(recipe: Path, place: Path, *options: str) -> list[str]:
    """`curate run` as a user types it."""
    return [
        sys.executable, "-m", "curation", "run", str(recipe), "--work", str(place / "work"),
        "--set", f'release.to="{place / "to"}"', "--set", VERSION, *options,
    ]  # fmt: skip


def start(recipe: Path, place: Path, *options: str) -> subprocess.Popen[bytes]:
    """A run in a process group of its own."""
    return subprocess.Popen(command(recipe, place, *options), start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def curate(recipe: Path, place: Path, *options: str) -> Any:
    """A run to its end, which must be a good one."""
    done = subprocess.run(command(recipe, place, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done
