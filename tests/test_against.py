"""Documents that stand elsewhere already go: in other releases, in foreign corpora."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dedup import changed, chosen, corpora, jaccard, rows, words

from curation import against, kernels, pipeline
from curation.cli import cli
from curation.clusters import cluster
from curation.dataset import Part
from curation.dedup import candidates
from curation.doctor import examine
from curation.engine import LocalEngine
from curation.errors import CurationError, InputError, RecipeError, ReleaseError, StorageError, WipeOutError
from curation.explain import explain, is_judged
from curation.inputs import find_inputs
from curation.kernels.grouping import Groups
from curation.plan import plan
from curation.recipe import load
from curation.storage import open_storage
from curation.whatif import what_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_servers import S3Server

    from curation.run import Run

LOSING = "dedup.max_loss=1"


def entries(*paths: str) -> str:
    """The override that compares with these."""
    return f"dedup.against={json.dumps(paths)}"


def write(path: Path, texts: list[str | None], row_group_size: int | None = None, **columns: list[Any]) -> None:
    """A Parquet file of texts, old enough for its hash to be remembered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"text": pa.array(texts, pa.string()), **columns})
    pq.write_table(table, path, row_group_size=row_group_size)
    os.utime(path, (1_700_000_000, 1_700_000_000))


def verdicts(run: Run) -> dict[int, dict[str, Any]]:
    """The verdict of each document by its number."""
    found = {}
    for part in run.parts:
        uris = run.work.documents.read(part, ["uri"])["uri"].to_pylist()
        for uri, row in zip(uris, run.work.verdicts.read(part).to_pylist(), strict=True):
            found[int(uri)] = row
    return found


def matches(run: Run) -> dict[int, tuple[str, str | None]]:
    """Of each document that went as a copy what it is a copy of, and in which entry that is."""
    return {number: (row["duplicate_of"], row["duplicate_in"]) for number, row in verdicts(run).items()
            if row["duplicate_of"] is not None}  # fmt: skip


def another(tmp_path: Path, engine: LocalEngine, *overrides: str, name: str = "other") -> Run:
    """A run, to a release, of another recipe over the documents of the last `tiny` one."""
    path = tmp_path / f"{name}.toml"
    path.write_text((tmp_path / "recipe.toml").read_text().replace('name = "tiny"', f'name = "{name}"'))
    return pipeline.run(load(path, overrides), engine)


def made(run: Run) -> dict[str, tuple[int, int]]:
    """Every part of WORK/against with its inode and time: they change when it is written again."""
    folder = Path(run.work.storage.path("against"))
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in folder.rglob("*.parquet")}  # fmt: skip


# what goes


@pytest.mark.parametrize("verify", ["signature", "exact"])
def test_copies_of_what_stands_elsewhere_go_and_name_it(tiny: Callable[..., Run], tmp_path: Path, verify: str) -> None:
    """Exact and near ones, however good; named are the entry as written and what the corpus calls its document."""
    random.seed(1)
    old = [words(120) for _ in range(6)]
    texts = [old[0].upper(), f"{old[1]} and a word or two more", words(120), words(30), old[2], f"{old[2]} extended"]
    texts += [f"{texts[2]} with an end"]
    write(tmp_path / "old/corpus.parquet", old[:2], id=["first", "second"], url=["https://a.example/1", None])
    write(tmp_path / "more.parquet", [*old[2:4], None, ""])
    named = entries("old", "more.parquet")
    run = tiny({"s": rows(*texts)}, "", named, f'dedup.verify="{verify}"', LOSING, until="judge")
    found = verdicts(run)
    assert matches(run) == {
        0: ("first", "old"), 1: ("second", "old"), 2: (found[6]["id"], None), 4: ("more.parquet#0", "more.parquet"),
        5: ("more.parquet#0", "more.parquet"),
    }  # fmt: skip
    assert (found[0]["similarity"], found[4]["similarity"]) == (1, 1)
    for number, text in ((1, old[1]), (5, old[2])):
        truth = jaccard(texts[number], text)
        assert found[number]["similarity"] == pytest.approx(truth, abs=1e-6 if verify == "exact" else 0.15)
        assert truth < 1
    judged = run.figures["judge"]
    assert judged["against"] == {"old": {"s": 2}, "more.parquet": {"s": 2}}
    assert (judged["sources"]["s"]["duplicates"], judged["sources"]["s"]["kept"]) == (5, 2)
    assert {entry: figures["documents"] for entry, figures in run.figures["measure"]["against"].items()} == {
        "old": 2, "more.parquet": 4,
    }  # fmt: skip
    pairs = [row for part in run.work.pairs.parts() for row in run.work.pairs.read(part).to_pylist()]
    assert {row["against"] for row in pairs} == {None, "old", "more.parquet"}
    assert all(row["id_b"] in {row["id"] for row in found.values()} for row in pairs)


def test_a_rule_goes_first_and_what_it_drops_is_no_duplicate(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """A document that a rule hits is dropped, copy or not."""
    random.seed(2)
    text = words(50)
    write(tmp_path / "old.parquet", [text])
    run = tiny(
        {"s": rows(text, words(60))}, '[rules]\nshort = "word_count < 55"\n', entries("old.parquet"), until="judge"
    )
    assert (verdicts(run)[0]["reasons"], matches(run)) == (["short"], {})
    assert run.figures["judge"]["against"] == {"old.parquet": {}}


def test_the_first_entry_is_named_then_the_smallest_id(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Of several with the same text, however often each holds it; of near ones the most similar."""
    random.seed(3)
    text, other = words(100), words(100)
    far = f"{other} x"  # twice: one of them is compared
    write(tmp_path / "one.parquet", [far, far, text, text, text], id=["other far", "far", "z", "b", "b"])
    write(tmp_path / "two.parquet", [text, f"{other} x y z", other], id=["a", "farther", "near"])
    documents = {"s": rows(text, f"{other} w", words(10))}
    for order, expected in ((("one.parquet", "two.parquet"), ("b", "one.parquet")),
                            (("two.parquet", "one.parquet"), ("a", "two.parquet"))):  # fmt: skip
        run = tiny(documents, "", entries(*order), 'dedup.verify="exact"', LOSING, until="judge")
        assert matches(run) == {0: expected, 1: ("near", "two.parquet")}
    near = [
        row for row in run.work.pairs.read(Part("near", "00000")).to_pylist() if row["id_b"] == verdicts(run)[1]["id"]
    ]
    assert {(row["against"], row["id_a"]) for row in near} == {
        ("one.parquet", "far"), ("two.parquet", "farther"), ("two.parquet", "near"),
    }  # fmt: skip


def test_own_documents_are_judged_among_themselves_as_without(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """What is like nothing elsewhere has the pairs and verdicts that it has without `against`."""
    random.seed(4)
    bases = [words(80) for _ in range(12)]
    texts = [text for base in bases for text in (base, changed(base, 0.01), changed(base, 0.01))]
    alone = matches(tiny({"s": rows(*texts)}, "", LOSING, until="judge"))
    write(tmp_path / "old.parquet", [words(80) for _ in range(50)])
    assert len(alone) > 12
    assert matches(tiny({"s": rows(*texts)}, "", LOSING, entries("old.parquet"), until="judge")) == alone


def test_a_document_of_another_release_is_itself(tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine) -> None:
    """By its id, whatever was made of its text there; so its copies go too, exact ones and near ones."""
    random.seed(5)
    text, far = words(100), words(100)
    documents = {"s": rows(text, text.upper(), f"{text} w", far, words(100))}
    run = tiny(documents, until="judge")
    ids = {number: row["id"] for number, row in verdicts(run).items()}
    write(tmp_path / "edited.parquet", [words(100), words(100), words(9)], id=[ids[0], ids[3], "else"])
    run = tiny(documents, "", entries("edited.parquet"), LOSING, until="judge")
    found = verdicts(run)
    assert matches(run) == {0: (ids[0], "edited.parquet"), 1: (ids[0], "edited.parquet"), 2: (ids[0], "edited.parquet"),
                            3: (ids[3], "edited.parquet")}  # fmt: skip
    assert (found[0]["similarity"], found[1]["similarity"], found[3]["similarity"]) == (1, 1, 1)
    assert 0.75 < found[2]["similarity"] < 1
    another(tmp_path, engine)
    run = tiny(documents, "", entries("releases/other"), LOSING, until="judge")
    assert {number: match for number, match in matches(run).items() if match[0] == ids[number]} == {
        number: (ids[number], "releases/other") for number in (2, 3, 4)
    }, "the longest of the four copies was released, and all that were are there"
    assert len(matches(run)) == 5
    assert run.figures["measure"]["against"]["releases/other"]["name"].startswith("other/2")


def test_losing_a_source_to_what_stands_elsewhere_is_refused(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """`max_loss` counts these copies too, and the message says where they are."""
    random.seed(6)
    texts = [words(40) for _ in range(4)]
    write(tmp_path / "old.parquet", texts[:3])
    with pytest.raises(
        WipeOutError, match=re.escape("(75%) are copies of kept ones, 3 of them of documents in old.parquet")
    ):
        tiny({"s": rows(*texts)}, "", entries("old.parquet"), until="judge")
    assert tiny({"s": rows(*texts)}, "", entries("old.parquet"), "dedup.max_loss=0.75", until="judge")


def test_large_buckets_are_bounded_and_miss_nothing(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Hundreds of versions of a page here and there: few comparisons each, of two from outside none, and all go."""
    random.seed(7)
    page = words(200).split()

    def version(number: int) -> str:
        place = number % len(page)
        return " ".join([*page[:place], f"x{number}", *page[place + 1 :]])

    write(tmp_path / "old.parquet", [version(number) for number in range(400)])
    texts = [version(number) for number in range(1_000, 1_100)] + [words(200) for _ in range(3)]
    run = tiny({"s": rows(*texts)}, "", entries("old.parquet"), 'dedup.verify="exact"', LOSING, until="judge")
    assert set(matches(run)) == set(range(100))
    figures = run.figures["compare"]
    a_document = 2 * candidates.FULL_BUCKET + candidates.HUBS + 2 * candidates.NEIGHBOURS
    assert 0 < figures["candidates"] <= 18 * 100 * a_document
    assert figures["not_compared"] > 0
    write(tmp_path / "old.parquet", [version(number) for number in range(60)] * 5)
    run = tiny({"s": rows(*texts)}, "", entries("old.parquet"), 'dedup.verify="exact"', LOSING, until="judge")
    assert set(matches(run)) == set(range(100))
    outside = [
        row for part in run.work.pairs.parts() for row in run.work.pairs.read(part).to_pylist() if row["against"]
    ]
    assert len(outside) == len({(row["id_a"], row["id_b"]) for row in outside}), "a text that stands five times is one"
    run = tiny({"s": rows(*texts[100:])}, "", entries("old.parquet"), until="judge")
    assert (run.figures["compare"]["candidates"], run.figures["compare"]["not_compared"]) == (0, 0)


# the index


def test_the_order_and_size_of_files_and_parts_make_no_difference(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """One file or several, of any row groups, read by one worker or two: the same matches of the same similarity."""
    random.seed(8)
    old = [words(60) for _ in range(40)]
    ids = [f"d{number:02d}" for number in range(40)]
    texts = [changed(text, 0.01 * (number % 4)) for number, text in enumerate(old[:30])] + [words(60) for _ in range(9)]
    found = []
    for number, (files, groups) in enumerate(((1, None), (3, 2), (40, 1))):
        for file in range(files):
            write(tmp_path / f"old{number}/{file}.parquet", old[file::files], groups, id=ids[file::files])
        tiny({"s": rows(*texts)}, "", entries(f"old{number}"), LOSING, until="judge")
        with LocalEngine(1 + number % 2) as engine:
            loaded = load(
                tmp_path / "recipe.toml", (entries(f"old{number}"), LOSING), work=str(tmp_path / f"w{number}")
            )
            run = pipeline.run(loaded, engine, until="judge")
        found.append({number: (row["duplicate_of"], row["similarity"]) for number, row in verdicts(run).items()})
    assert found[0] == found[1] == found[2]
    assert sum(match is not None for match, _ in found[0].values()) > 20


def test_keys_that_take_more_turns_for_those_from_outside(
    tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same matches where there is room for all keys of the run, but not for those from outside that it has too."""
    random.seed(13)
    old = [words(60) for _ in range(40)]
    for number in range(4):
        write(tmp_path / f"old/{number}.parquet", [changed(text, 0.01 * number) for text in old])
    texts = [changed(text, 0.01) for text in old] + [words(60) for _ in range(20)]
    run = tiny({"s": rows(*texts)}, "", entries("old"), LOSING, until="judge")
    before = matches(run)
    assert len(before) >= 30
    for folder in ("pairs", "compared", "candidates"):
        run.work.storage.remove(folder)
    in_turns, turns = kernels.grouping.in_turns, list[int]()
    monkeypatch.setattr(kernels.grouping, "in_turns", lambda *given: turns.append(given[2]) or in_turns(*given))
    monkeypatch.setattr(LocalEngine, "map", lambda _, function, items, **__: [function(item) for item in items])
    monkeypatch.setattr(candidates, "_HELD_BYTES", 1_600)  # of 60 keys 57 have room, or 31 beside all of them
    assert matches(tiny({"s": rows(*texts)}, "", entries("old"), LOSING, until="judge")) == before
    assert {2, 4} <= set(turns), "two turns would do for the run's own"


def test_files_are_cut_like_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bounds of row groups, when a part has its rows or its bytes; texts are read again by their row in it."""
    monkeypatch.setattr(against, "PART_ROWS", 5)
    texts = [f"text {number}" for number in range(17)]
    write(tmp_path / "old.parquet", texts, 2)
    (file,) = find_inputs(["old.parquet"], tmp_path)
    pieces = [groups for groups, _ in against._cut(against.Cut(_entry(file), against.Shard(file), ""))]
    assert pieces == [(0, 3), (3, 6), (6, 9)]
    outside = against.Outside(0, file, (3, 6), 6, "")
    found = [text for some in against.texts(outside, np.array([0, 1, 5])) for text in some.to_pylist()]
    assert found == [texts[6], texts[7], texts[11]]
    write(tmp_path / "none.parquet", [])
    (file,) = find_inputs(["none.parquet"], tmp_path)
    assert len(against._cut(against.Cut(_entry(file), against.Shard(file), ""))) == 1


def _entry(file: Any) -> against.Entry:
    return against.Entry(0, "old.parquet", (against.Shard(file),))


def test_what_did_not_change_is_not_read_again(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Neither its texts nor its hash; other signatures are measured anew, another similarity is none."""
    random.seed(9)
    texts = [words(60) for _ in range(4)]
    write(tmp_path / "old.parquet", texts[:2], id=["a", "b"])
    documents = {"s": rows(*texts)}
    run = tiny(documents, "", entries("old.parquet"), LOSING, until="judge")
    before, path = made(run), tmp_path / "old.parquet"
    assert run.figures["measure"]["against"]["old.parquet"]["measured"] == 2
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56  # the texts; the size and the time stay
    path.write_bytes(data)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    run = tiny(documents, "", entries("old.parquet"), LOSING, "dedup.similarity=0.9", until="judge")
    assert run.figures["measure"]["against"]["old.parquet"]["measured"] == 0
    assert (made(run), set(matches(run))) == (before, {0, 1})
    with pytest.raises(InputError, match="row group 0 cannot be read"):
        tiny(documents, "", entries("old.parquet"), LOSING, "dedup.bands=17", until="judge")
    write(path, texts[:2], id=["a", "b"])
    run = tiny(documents, "", entries("old.parquet"), LOSING, "dedup.bands=17", until="judge")
    assert run.figures["measure"]["against"]["old.parquet"]["measured"] == 2
    assert made(run) != before


def test_what_is_no_longer_there_brings_its_copies_back(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """A file removed, one replaced, the entry removed: what counts is what is there; WORK holds nothing else."""
    random.seed(10)
    texts = [words(60) for _ in range(4)]
    for number in range(3):
        write(tmp_path / f"old/{number}.parquet", [texts[number], words(60)])
    documents = {"s": rows(*texts)}
    run = tiny(documents, "", entries("old"), LOSING, until="judge")
    assert set(matches(run)) == {0, 1, 2}
    assert len(made(run)) == 3
    (tmp_path / "old/1.parquet").unlink()
    before = made(run)
    run = tiny(documents, "", entries("old"), LOSING, until="judge")
    assert set(matches(run)) == {0, 2}
    assert made(run).items() < before.items()
    write(tmp_path / "old/2.parquet", [texts[3]])
    run = tiny(documents, "", entries("old"), LOSING, until="judge")
    assert set(matches(run)) == {0, 3}
    assert run.figures["measure"]["against"]["old"]["measured"] == 1
    run = tiny(documents, until="judge")
    assert (matches(run), made(run)) == ({}, {})


def test_a_document_that_left_the_inputs_brings_its_copies_back(tiny: Callable[..., Run]) -> None:
    """Of the run's own: the source that held the better copy is gone, or that document in it."""
    random.seed(11)
    text, others = words(60), rows(words(60), words(60), words(60))
    sources = {"s": [{"text": text, "uri": "9"}, *others], "t": [{"text": f"{text} longer", "uri": "10"}, *others[:0]]}
    assert set(matches(tiny(sources, until="judge"))) == {9}
    assert matches(tiny({"s": sources["s"]}, until="judge")) == {}
    assert set(matches(tiny(sources, until="judge"))) == {9}
    assert matches(tiny({"s": sources["s"], "t": [{"text": words(60), "uri": "11"}]}, until="judge")) == {}


def test_a_release_counts_as_its_manifest_and_pointer_say(
    tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine
) -> None:
    """NAME is its latest version, NAME/VERSION that one; shards are known by the manifest's sums and read once."""
    random.seed(12)
    texts = [words(60) for _ in range(3)]
    tiny({"s": rows(texts[0], words(60))}, until="pull")
    another(tmp_path, engine, 'release.version="2026.01.01"')
    tiny({"s": rows(texts[1], words(60))}, until="pull")
    another(tmp_path, engine, 'release.version="2026.01.02"')
    documents = {"s": rows(*texts)}
    run = tiny(documents, "", entries("releases/other"), LOSING, until="judge")
    assert set(matches(run)) == {1}
    run = tiny(documents, "", entries("releases/other/2026.01.01"), LOSING, until="judge")
    assert set(matches(run)) == {0}
    shard = tmp_path / "releases/other/2026.01.01/data/train-00000.parquet"
    shard.write_bytes(b"\0" * shard.stat().st_size)
    run = tiny(documents, "", entries("releases/other/2026.01.01"), LOSING, until="judge")
    assert set(matches(run)) == {0}
    run = tiny(documents, "", entries("releases/other", "releases/other/2026.01.02"), LOSING)
    assert {entry for _, entry in matches(run).values()} == {"releases/other"}
    manifest = json.loads((Path(run.figures["publish"]["release"]) / "manifest.json").read_text())
    assert [(one["name"], one["documents"], one["duplicates"]) for one in manifest["against"]] == [
        ("other/2026.01.02", 2, 1), ("other/2026.01.02", 2, 0),
    ]  # fmt: skip
    assert "against" not in manifest["recipe"]["dedup"]


def test_what_a_column_may_hold(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Texts of any type of string; ids that are numbers, missing or too long; what is not UTF-8 is passed over."""
    random.seed(13)
    texts = [words(40) for _ in range(4)]
    for number, kind in enumerate((pa.large_string(), pa.dictionary(pa.int32(), pa.string()))):
        column = pa.array([texts[number], None]).cast(kind)
        pq.write_table(pa.table({"id": [7, None], "text": column, "uri": [b"x", b"y"]}), tmp_path / f"{number}.parquet")
    broken = pa.array([b"\xff\xfe", texts[2].encode()]).view(pa.string())
    pq.write_table(pa.table({"text": broken, "id": ["x", "y" * 3_000]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"text": [texts[3]], "id": pa.array([[1]])}), tmp_path / "3.parquet")
    run = tiny({"s": rows(*texts)}, "", entries("[0-9].parquet"), LOSING, until="judge")
    assert {number: match for number, (match, _) in matches(run).items()} == {
        0: "7", 1: "7", 2: "2.parquet#1", 3: "3.parquet#0",
    }  # fmt: skip


# what is wrong


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ("none.parquet", InputError, "none.parquet: there is no such file"),
        ("none/*.parquet", InputError, "none/*.parquet: no file matches"),
        ("$NOWHERE/x", InputError, "the environment variable NOWHERE is not set"),
        ("notext.parquet", InputError, "notext.parquet: no column `text`; the columns are body (string), n (int64)"),
        ("numbers.parquet", InputError, "numbers.parquet: the column `text` holds int64, not text"),
        ("s.jsonl", InputError, "s.jsonl: not a Parquet file that can be read"),
        ("empty", InputError, "empty: holds no file that ends in .parquet"),
        ("work/tiny", InputError, "work/tiny: what matches is of the run's own making"),
        ("releases/begun", ReleaseError, "releases/begun/2026.01.01: this release is not finished"),
        ("releases/begun/2026.01.01", ReleaseError, "this release is not finished, it has no manifest.json"),
        ("releases/torn", ReleaseError, "its data/train-00000.parquet is missing"),
        ("releases/cut", ReleaseError, "its data/train-00000.parquet has 3 bytes instead of "),
        ("releases", ReleaseError, "releases: holds releases of cut, tiny, torn"),
        ("releases/tiny", RecipeError, "releases/tiny holds this recipe's own releases"),
        ("releases/tiny/2026.01.01", RecipeError, "releases/tiny/2026.01.01 holds this recipe's own releases"),
        ("releases/../releases/tiny/2026.01.01/data", RecipeError, "holds this recipe's own releases"),
    ],
)
def test_an_entry_that_is_wrong_is_one_message(
    tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine, entry: str, kind: type[CurationError], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Before anything is read: its place in the recipe, what is there instead, and a remedy."""
    monkeypatch.delenv("NOWHERE", raising=False)
    version = 'release.version="2026.01.01"'
    tiny({"s": rows("some words in a row", "and some others")}, "", version)
    if "releases" in entry:
        for name in ("torn", "cut"):
            another(tmp_path, engine, version, name=name)
        (tmp_path / "releases/torn/2026.01.01/data/train-00000.parquet").unlink()
        (tmp_path / "releases/cut/2026.01.01/data/train-00000.parquet").write_bytes(b"PAR")
        open_storage(str(tmp_path / "releases")).write("begun/2026.01.01/claim.json", b"{}")
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "notext.parquet")
    pq.write_table(pa.table({"text": [1]}), tmp_path / "numbers.parquet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/readme.txt").write_text("nothing")
    write(tmp_path / "good.parquet", ["x"])
    with pytest.raises(kind) as caught:
        tiny({"s": rows("new words in a row")}, "", entries("good.parquet", entry))
    assert re.search(rf"dedup\.against\[1\]: .*{re.escape(message)}", caught.value.message)
    assert caught.value.remedy
    assert ("stable = true" in caught.value.remedy) == (kind is RecipeError)
    recipe = load(tmp_path / "recipe.toml", (entries("good.parquet", entry),))
    with pytest.raises(kind):
        against.check(recipe)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ('["a", "b", "a"]', 'dedup.against[2]: "a" stands in it twice'),
        ('[""]', 'dedup.against[0]: expected a path, got ""'),
        ('["a\\nb"]', 'dedup.against[0]: expected a path, got "a\\nb"'),
        ('"a"', 'dedup.against: expected a list of paths of releases, or of folders or files of Parquet, got "a"'),
    ],
)
def test_a_list_that_is_wrong_is_a_fault_of_the_recipe(tmp_path: Path, value: str, fault: str) -> None:
    """Each entry once, and a path."""
    head = 'name = "x"\n[[source]]\nname = "s"\nkind = "text"\npaths = ["."]\n'
    (tmp_path / "recipe.toml").write_text(f"{head}[dedup]\nagainst = {value}\n")
    with pytest.raises(RecipeError, match=re.escape(fault)):
        load(tmp_path / "recipe.toml")


def test_nothing_is_compared_where_deduplication_is_off(tiny: Callable[..., Run]) -> None:
    """Not even looked for."""
    run = tiny({"s": rows("a b c")}, "", entries("none"), "dedup.enabled=false")
    assert run.figures["judge"]["against"] == run.figures["measure"]["against"] == {}


# who looks at it


def test_a_match_from_outside_is_shown(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """By explain, dedup show, the summary and the report; the text it stands beside is that of the corpus."""
    random.seed(14)
    old = words(40)
    texts = [f"{old} more", f"{old} again", words(40), words(40)]
    write(
        tmp_path / "old/corpus.parquet", ["x", old], id=["x", "the one"], uri=["https://x.example", "https://o.example"]
    )
    run = tiny({"s": rows(*texts)}, "", entries("old"), LOSING)
    loaded = load(tmp_path / "recipe.toml", (entries("old"), LOSING))
    assert is_judged(loaded)
    (told,) = explain(loaded, "0")
    assert told.survivor == {
        "id": "the one", "source": None, "uri": "https://o.example", "origin": None, "against": "old",
    }  # fmt: skip
    arguments = [str(tmp_path / "recipe.toml"), "--set", entries("old"), "--set", LOSING]

    def said(*command: str) -> str:
        result = CliRunner().invoke(cli, [*command, *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert (
        "copy of       the one in old (https://o.example), similarity 0."
        in CliRunner().invoke(cli, ["explain", arguments[0], "0", *arguments[1:]]).stdout
    )
    found = cluster(loaded, "0")
    assert (found.centre, found.centre_in) == ("the one", "old")
    assert found.fates == {"duplicate": 2, "outside": 1}
    assert [(one.id, one.fate, one.source, one.uri) for one in found.members[:1]] == [
        ("the one", "outside", "old", "https://o.example")
    ]
    assert found.pair is not None
    assert found.pair.difference is not None
    went = [part.text for change in found.pair.difference.changes for part in change if part.kind == "-"]
    assert [text.strip() for text in went] == ["more"]
    shown = CliRunner().invoke(cli, ["dedup", "show", arguments[0], "0", *arguments[1:]]).stdout
    assert "duplicate of the one in old, similarity 0." in shown
    assert "cluster of 3 documents: 2 duplicates, 1 outside" in shown
    assert "+++ the one https://o.example (outside)" in shown
    assert "2 are copies of the 2 documents in old" in said("run")
    page = Path(run.work.storage.path("report.html")).read_text()
    assert "Copies of documents from outside" in page
    (tmp_path / "old/corpus.parquet").unlink()
    assert not is_judged(loaded)
    (told,) = explain(loaded, "0")
    assert told.survivor is not None
    assert (told.survivor["id"], told.survivor["uri"]) == ("the one", None)


def test_plan_and_doctor_tell_of_the_entries(tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine) -> None:
    """What is there of them and still to read; one that is wrong is a check that fails."""
    random.seed(18)
    tiny({"s": rows(words(30), words(40))}, until="pull")
    another(tmp_path, engine, 'release.version="2026.01.01"')
    write(tmp_path / "old.parquet", [words(30)] * 2)
    size = (tmp_path / "old.parquet").stat().st_size
    named = entries("releases/other", "old.parquet")
    recipe = load(tmp_path / "recipe.toml", (named,))
    before = plan(recipe)
    assert [(one.entry, one.files, one.bytes, one.bytes_to_read == one.bytes) for one in before.against[1:]] == [
        ("old.parquet", 1, size, True)
    ]
    assert before.against[0].bytes_to_read > 0
    tiny({"s": rows(words(30))}, "", named, LOSING, until="measure")
    assert [one.bytes_to_read for one in plan(recipe).against] == [0, 0]
    shown = CliRunner().invoke(cli, ["plan", str(tmp_path / "recipe.toml"), "--set", named]).stdout
    assert re.search(r"compared with +files +size +to read\nreleases/other +1 .*\nold.parquet +1 ", shown)
    checks = {check.name: check for check in examine(tmp_path / "recipe.toml", (named,))}
    assert checks["against releases/other"].found.startswith("release other/2026.01.01, 1 file, ")
    assert checks["against old.parquet"].found == f"1 file, {size:,} bytes"
    (tmp_path / "old.parquet").unlink()
    checks = {check.name: check for check in examine(tmp_path / "recipe.toml", (named,))}
    assert checks["against"].state == "fail"
    assert "dedup.against[1]: old.parquet: there is no such file" in checks["against"].found


def test_what_another_rule_would_do_counts_them(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """`curate plan --rule` chooses again as judge does: copies of what stands elsewhere go whatever the rule."""
    random.seed(15)
    old = words(40)
    write(tmp_path / "old.parquet", [old])
    tiny(
        {"s": rows(old, words(30), words(50))},
        '[rules]\nlong = "word_count > 45"\n',
        entries("old.parquet"),
        until="blend",
    )
    loaded = load(tmp_path / "recipe.toml", (entries("old.parquet"),))
    answer = what_if(loaded, {"long": "word_count > 20"})
    assert [(move["before"], move["after"], move["documents"]) for move in answer.moves] == [
        ("duplicate", "dropped", 1), ("kept", "dropped", 1),
    ]  # fmt: skip


# in S3


def test_releases_and_corpora_in_s3_are_compared_with(
    moto: S3Server, tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same matches as on a disk, from a release, a folder, a pattern and a file; with their texts read too."""
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"s3://{moto.bucket}"
    random.seed(16)
    texts = [words(60) for _ in range(5)]
    tiny({"s": rows(texts[0], words(60))}, until="pull")
    with LocalEngine(1) as engine:
        another(tmp_path, engine, f'release.to="{bucket}/to"')
        for number in (1, 2, 3):
            write(tmp_path / f"{number}.parquet", [f"{texts[number]} x"])
            open_storage(bucket).write(f"corpora/{number}/c.parquet", (tmp_path / f"{number}.parquet").read_bytes())
        named = [
            f"{bucket}/to/other",
            f"{bucket}/corpora/1",
            f"{bucket}/corpora/2*/*.parquet",
            f"{bucket}/corpora/3/c.parquet",
        ]
        tiny({"s": rows(*texts)}, until="pull")
        for verify in ("signature", "exact"):
            overrides = (entries(*named), LOSING, f'dedup.verify="{verify}"', f'work="{bucket}/work-{verify}"')
            run = pipeline.run(load(tmp_path / "recipe.toml", overrides), engine, until="judge")
            assert {number: entry for number, (_, entry) in matches(run).items()} == dict(enumerate(named))
            assert run.work.storage.files("against")
        again = pipeline.run(load(tmp_path / "recipe.toml", overrides), engine, until="judge")
        assert {one["measured"] for one in again.figures["measure"]["against"].values()} == {0}
        with pytest.raises(ReleaseError, match=re.escape(f"{bucket}/to: holds releases of other")):
            pipeline.run(load(tmp_path / "recipe.toml", (entries(f"{bucket}/to"),)), engine)
        own = (entries(f"{bucket}/to/tiny"), f'release.to="{bucket}/to"')
        with pytest.raises(RecipeError, match="own releases"):
            pipeline.run(load(tmp_path / "recipe.toml", own), engine)
        with pytest.raises((InputError, StorageError), match=re.escape("dedup.against[0]: cannot list s3://no-such")):
            pipeline.run(load(tmp_path / "recipe.toml", (entries("s3://no-such-bucket-here/x"),)), engine)


# kernels and choosing


@given(
    st.lists(st.lists(st.integers(0, 30), unique=True, min_size=2), max_size=5), st.integers(0, 30), st.integers(1, 6)
)
@settings(max_examples=200, deadline=None)
def test_no_two_from_outside_are_paired(members: list[list[int]], own: int, most: int) -> None:
    """As every pair of every group, one by one."""
    ordered = [sorted(group) for group in members]
    bounds = np.cumsum([0, *map(len, ordered)])
    groups = Groups(bounds, np.array([row for group in ordered for row in group], np.int64))
    found = [divmod(int(pair), 2**32) for pair in kernels.grouping.pairs(groups, own, most)]
    expected = []
    for group in ordered:
        mine = [row for row in group if row < own]
        others = [row for row in group if row >= own]
        expected += list(itertools.combinations(mine, 2)) if len(mine) <= most else []
        expected += list(itertools.product(mine, others)) if len(others) <= most else []
    assert sorted(found) == sorted(expected)
    assert groups.below(own).tolist() == [sum(row < own for row in group) for group in ordered]
    some = groups.of_some(own)
    kept = [some.rows[low:high].tolist() for low, high in itertools.pairwise(some.bounds)]
    assert kept == [group for group in ordered if group[0] < own]


@given(st.lists(st.lists(st.integers(1, 2**64 - 1))), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_marked_keys_are_known(marked: list[list[int]], seed: int) -> None:
    """All of them; of others few are taken for one."""
    bits = kernels.grouping.marks(np.array(keys, np.uint64) for keys in marked)
    every = np.array([key for keys in marked for key in keys], np.uint64)
    assert known(bits, every) == len(every)
    others = np.random.default_rng(seed).integers(1, 2**63, 2_000, dtype=np.uint64)
    assert known(bits, others) < 0.3 * len(others)


def known(bits: Any, keys: Any) -> int:
    """How many of the keys are chosen as among those that are marked."""
    return len(kernels.grouping.chosen(keys, bits=bits)[0])


@settings(max_examples=300, deadline=None)
@given(corpora(), st.integers(0, 4))
def test_what_stays_stays_and_the_rest_goes_for_it_first(
    corpus: tuple[list[tuple[str, str]], list[tuple[str, str, float]], dict[str, int]], count: int
) -> None:
    """The first of the ranked stay, alike or not; others go if they are like one of them, and name one that stays."""
    exact, near, rank = corpus
    gone = chosen(exact, near, rank, stay=count)
    stay = {name for name, place in rank.items() if place < count}
    first = {name: name for name in rank} | {copy: group for group, copy in exact}
    firsts = {first[name] for name in stay}
    assert not {name for name in gone if name in stay and first[name] == name and len(firsts) == len(stay)}
    for name in rank:
        group = first.get(name, name)
        beside = {b if a == group else a for a, b, _ in near if group in (a, b)}
        if name not in stay and (group in firsts or beside & firsts):
            assert name in gone
    assert {other for other, _ in gone.values()} <= set(rank) - set(gone)


@settings(max_examples=300, deadline=None)
@given(corpora(), st.data())
def test_a_pair_of_any_members_holds_for_their_groups(
    corpus: tuple[list[tuple[str, str]], list[tuple[str, str, float]], dict[str, int]], data: st.DataObject
) -> None:
    """Whichever of a group was compared, and where two of one group were, the same documents go for the same ones."""
    exact, near, rank = corpus
    groups = {name: [name] for pair in near for name in pair[:2]} | {first: [first] for first, _ in exact}
    for first, copy in exact:
        groups[first].append(copy)
    others = [
        (data.draw(st.sampled_from(groups[a])), data.draw(st.sampled_from(groups[b])), value) for a, b, value in near
    ]
    inside = [(group[0], group[-1], 0.9) for group in groups.values() if len(group) > 1]
    moved = chosen(exact, [*inside, *others], rank)
    assert {name: (other, value.expected) for name, (other, value) in moved.items()} == chosen(exact, near, rank)


def test_itself_is_looked_up_by_the_whole_id(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Ids that begin alike are two documents."""
    random.seed(17)
    run = tiny({"s": rows(words(30))}, until="judge")
    document = verdicts(run)[0]["id"]
    write(tmp_path / "old.parquet", [words(30), words(30)], id=[f"{document}0", f"{document[:16]}{'0' * 16}"])
    run = tiny({"s": rows(words(30))}, "", entries("old.parquet"), until="judge")
    assert matches(run) == {}
