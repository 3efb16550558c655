"""Shared lines: cases by hand, the plain version, bounded passes, and what a run makes of them."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import lines as plain
from plain import text as units
from test_kernels import REPETITIVE, TEXT

from curation import dataset, kernels, pipeline
from curation.corpus import lines as shared_lines
from curation.dataset import Footer, Part
from curation.engine import LocalEngine
from curation.errors import RecipeError
from curation.explain import explain
from curation.plan import plan
from curation.progress import Silent
from curation.query import open_views
from curation.recipe import load
from curation.run import Run, workspace
from curation.schema import CORPUS, DOCUMENTS, SPANS
from curation.signals import lines
from curation.signals.batch import Batch
from curation.whatif import what_if

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
CASES = [json.loads(line) for line in (ROOT / "tests" / "cases" / "lines.jsonl").read_text("utf-8").splitlines()]
BANNER = "We use cookies to make this site work. Accept all cookies?"
#: What shared lines need not.
OFF = ("symbols", "gopher_quality", "gopher_repetition", "c4", "fineweb", "datatrove", "pii", "mojibake", "url",
       "language", "education")  # fmt: skip

Answers = list[tuple[float, list[tuple[int, int]]]]


def document(place: str, text: str | None) -> plain.Document:
    """A document of a case: `place` is a URI, `source:NAME`, or `copy:URI` for one that is a copy."""
    kind, _, rest = place.partition(":")
    if kind == "source":
        return plain.Document(rest, None, text)
    return plain.Document("web", rest if kind == "copy" else place, text, kind == "copy")


def found(corpus: list[plain.Document], documents: int, hosts: int, parts: int = 1, seed: int = 0) -> Answers:
    """The corpus columns of these documents, which are dealt to so many parts in an order that `seed` decides."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.toml"
        recipe.write_text(
            f"name = 'lines'\n[signals.lines]\ndocuments = {documents}\nhosts = {hosts}\n"
            "[[source]]\nname = 'web'\nkind = 'jsonl'\npaths = ['none']\n"
        )
        work, signals = workspace(load(recipe))
        dealt: dict[Part, list[int]] = {}
        chance = np.random.default_rng(seed)
        for number in chance.permutation(len(corpus)).tolist():
            dealt.setdefault(Part(corpus[number].source, f"{chance.integers(parts)}"), []).append(number)
        names = [hashlib.sha256(f"{number}".encode()).hexdigest()[:32] for number in range(len(corpus))]
        for part, numbers in dealt.items():
            empty = dict.fromkeys(DOCUMENTS.names)
            rows = [{**empty, "id": names[n], "uri": corpus[n].uri, "text": corpus[n].text, "source": part.source,
                     "origin": "", "meta": "{}"} for n in numbers]  # fmt: skip
            table = pa.Table.from_pylist(rows, DOCUMENTS)
            work.documents.write(part, table, "made up")
            answers = signals["lines"].measure(Batch(table["text"].combine_chunks()))
            work.signal("lines").write(part, pa.table({"id": table["id"], **answers}), "made up")
        copies = [name for name, one in zip(names, corpus, strict=True) if one.is_copy]
        pair = {"id_a": "", "similarity": 1.0, "kind": "exact", "against": None, "row_a": 0, "row_b": 0}
        pairs = [{**pair, "id_b": copy} for copy in copies]
        work.pairs.write(Part("copies", "00000"), pa.Table.from_pylist(pairs, work.pairs.schema), "made up")
        footers = {part: Footer("", len(numbers), {}) for part, numbers in dealt.items()}
        run = Run(load(recipe), work, signals, LocalEngine(1), Silent(), lambda: None, parts=footers)
        shared_lines.make(run, list(dealt), "made up")
        assert work.line_counts.parts() == work.line_sets.parts() == []
        by_id: dict[str, dict[str, Any]] = {}
        for part in dealt:
            by_id |= {row["id"]: row for row in work.corpus["lines"].read(part).to_pylist()}
    return [
        (by_id[name]["shared_line_ratio"], [(span["start"], span["end"]) for span in by_id[name]["shared_lines"]])
        for name in names
    ]


def plainly(corpus: list[plain.Document], documents: int, hosts: int) -> Answers:
    """The same by the plain version."""
    answers = plain.shared(corpus, documents, hosts)
    return [(float(np.float32(some / whole if whole else 0)), places) for (some, whole), places in answers]


# Cases by hand


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=case["name"],
            marks=[pytest.mark.xfail(strict=True, raises=AssertionError)] if case["kind"] == "known-failure" else [],
        )
        for case in CASES
    ],
)  # fmt: skip
def test_case(case: dict[str, Any]) -> None:
    """The lines are shared that were said to be by hand, and just they would be cut."""
    corpus = [document(place, text) for place, text in case["corpus"]]
    answers = found(corpus, case["documents"], case["hosts"])
    assert [ratio for ratio, _ in answers] == [pytest.approx(float(Fraction(one)), rel=1e-6) for one in case["ratios"]]
    cut = [[(one.text or "").encode()[start:end].decode() for start, end in places]
           for one, (_, places) in zip(corpus, answers, strict=True)]  # fmt: skip
    assert cut == case["cut"]


def test_there_are_cases_enough() -> None:
    """There are cases of each kind."""
    assert len(CASES) >= 20
    assert {case["kind"] for case in CASES} == {"wild", "negative", "synthetic", "known-failure"}
    assert len({case["name"] for case in CASES}) == len(CASES)


def test_the_page_has_every_column() -> None:
    """docs/signals.md names the columns with their types, in order."""
    page = (ROOT / "docs" / "signals.md").read_text(encoding="utf-8")
    (section,) = [text for text in page.split("\n## ") if text.startswith("lines\n")]
    kinds = {pa.int32(): "int32", pa.float32(): "float32", SPANS: "spans"}
    kinds |= {pa.list_(pa.uint64()): "list of uint64", pa.list_(pa.int32()): "list of int32"}
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section, re.MULTILINE)
    columns = {**lines.COLUMNS, **CORPUS["lines"]}
    assert sorted(rows) == sorted((name, kinds[kind]) for name, kind in columns.items())


# The signal


@given(st.lists(TEXT | REPETITIVE | st.none(), max_size=5))
@settings(max_examples=150, deadline=None)
def test_the_signal_is_its_plain_version(texts: list[str | None]) -> None:
    """The hashes of lines of three words and more, where they stand, and how many code points there are."""
    answers = lines.load(lines.Settings()).measure(Batch(pa.array(texts, pa.string())))
    for row, text in enumerate(texts):
        known = [one for one in units.line_spans(text or "") if plain.key(one[0])]
        assert answers["line_hashes"][row].as_py() == [plain.hash_of(line) for line, _, _ in known]
        ends = [0, *(end for _, _, end in known)]
        assert answers["line_gaps"][row].as_py() == [one[1] - end for one, end in zip(known, ends, strict=False)]
        assert answers["line_sizes"][row].as_py() == [end - start for _, start, end in known]
        assert answers["line_margins"][row].as_py() == [end - start - len(line) for line, start, end in known]
        assert answers["line_char_count"][row] == sum(map(len, units.lines(text or "")))


# The corpus columns


LINES = (
    "Skip to content", "skip  to content!", BANNER, "Back to top", "Home", "About us", "", " \t", "a b c", "A-B c d",
    "版权所有", "Zur Übersicht hier", "ZUR U\u0308BERSICHT HIER", "---", "one two three\rfour five six",
    "\u2003x y z\u2003",
)  # fmt: skip
CORPORA = st.lists(
    st.builds(
        plain.Document,
        st.sampled_from(["web", "wiki"]),
        st.none() | st.sampled_from([f"https://{host}.example/{page}" for host in "abc" for page in "12"]),
        st.none() | st.lists(st.sampled_from(LINES), max_size=6).map("\n".join),
        st.booleans(),
    ),
    max_size=12,
)


@given(CORPORA, st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 9), st.sampled_from([1, 3, 99]))
@settings(max_examples=60, deadline=None)
def test_shared_lines_are_those_of_the_plain_version(
    corpus: list[plain.Document], documents: int, hosts: int, parts: int, seed: int, together: int
) -> None:
    """Whatever parts the documents are in, in whatever order, and however few lines are held at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_lines, "TOGETHER", together)
        patch.setattr(shared_lines, "SIFTED", 64 if together == 3 else 0)  # other lines get past it, or all
        for module in (shared_lines, dataset):
            patch.setattr(module, "ROW_GROUP_ROWS", 1 + together // 2)
        assert found(corpus, documents, hosts, parts, seed) == plainly(corpus, documents, hosts)


def test_no_pass_holds_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lines there are, and however many documents of however many hosts have one of them."""
    chance = np.random.default_rng(0)
    corpus = [
        plain.Document(
            "web", f"https://{number}.example/",
            "\n".join([BANNER, *(f"line number {chance.integers(4000)}" for _ in range(30))]),
        )
        for number in range(600)
    ]  # fmt: skip
    most, tally, read = 512, kernels.shared_lines.tally, dataset.Dataset.read_groups
    held, chosen_from = [], []

    def watched(rows: Any, hosts: int) -> Any:
        held.append(len(rows.place))
        return tally(rows, hosts)

    def reading(self: Any, part: Part, wanted: list[int], columns: Any = None) -> pa.Table:
        table = read(self, part, wanted, columns)
        chosen_from.append(len(table))
        return table

    monkeypatch.setattr(kernels.shared_lines, "tally", watched)
    monkeypatch.setattr(dataset.Dataset, "read_groups", reading)
    monkeypatch.setattr(shared_lines, "TOGETHER", most)
    for module in (shared_lines, dataset):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 8)
    assert found(corpus, 5, 3, parts=7) == plainly(corpus, 5, 3)
    assert sum(held) > 30 * most  # of 18,600 lines those that sifting leaves are counted, then chosen from
    assert max(held) <= 2 * most
    assert sum(chosen_from) < 2 * sum(held)  # each range reads its own, not all


def test_sifting_leaves_what_may_be_shared_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands of lines that one document has, few are counted, and the answer is the same."""
    texts = ["\n".join([BANNER, *(f"only here {number} {line}" for line in range(100))]) for number in range(40)]
    corpus = [plain.Document("web", f"https://{number}.example/", text) for number, text in enumerate(texts)]
    counted: list[int] = []
    tally = kernels.shared_lines.tally
    monkeypatch.setattr(
        kernels.shared_lines, "tally", lambda rows, most: (counted.append(len(rows.place)), tally(rows, most))[1]
    )
    assert found(corpus, 10, 5) == plainly(corpus, 10, 5)
    assert 40 <= counted[0] < 100


# In a run


def pages(banner: int, footer: int) -> list[dict[str, str]]:
    """Pages with a cookie banner, each of another host, and pages of one host with its footer."""
    body = "Number {} of these pages tells about {} in words of its own, {} at least."
    chance = np.random.default_rng(1)
    rows = []
    for number in range(banner + footer):
        words = [f"word{one}" for one in chance.integers(10**6, size=60)]
        text = body.format(number, " ".join(words[:30]), " ".join(words[30:]))
        if number < banner:
            rows.append({"uri": f"https://h{number}.example/", "text": f"{BANNER}\n\n{text}"})
        else:
            rows.append(
                {"uri": f"https://one.example/{number}", "text": f"{text}\nOne Example Ltd, all rights reserved"}
            )
    return rows


#: SQL for the shared lines, each as often as it stands in the corpus.
SHARED = """
    SELECT decode(encode(text)[s.start + 1 : s.end]) AS line FROM (SELECT text, unnest(shared_lines) AS s FROM corpus)
"""
#: What a bare recipe has switched off.
ON = "signals.lines.enabled=true"


def ratios(run: Run) -> dict[str, float]:
    """The ratio of each document by its URI."""
    rows = open_views(run.recipe).execute("SELECT uri, shared_line_ratio FROM corpus").fetchall()
    return {uri: round(ratio, 4) for uri, ratio in rows}


def written(folder: Path) -> dict[str, int]:
    """When each part below a folder was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_a_banner_of_many_hosts_goes_and_a_footer_of_one_stays(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Rules, edits, sql, explain, and what another rule would do: they all know the columns."""
    rows = [*pages(11, 14), {"uri": "https://wall.example/", "text": f"{BANNER}\nPlease wait."}]
    more = '[rules]\nboilerplate = "shared_line_ratio > 0.5"\n[edit]\nremove = ["shared_lines"]'
    run = tiny({"web": rows}, more, ON)
    assert run.figures["judge"]["rules"] == {"boilerplate": 1}
    connection = open_views(run.recipe)
    counts = connection.execute(
        "SELECT host, count(*), sum(len(shared_lines))::INTEGER, sum(len(line_hashes))::INTEGER FROM corpus "
        "GROUP BY ALL HAVING host IN ('one.example', 'h0.example', 'wall.example') ORDER BY ALL"
    ).fetchall()
    assert counts == [("h0.example", 1, 1, 2), ("one.example", 14, 0, 28), ("wall.example", 1, 1, 1)]
    assert connection.execute(f"SELECT DISTINCT line FROM ({SHARED})").fetchall() == [(f"{BANNER}\n",)]
    assert connection.execute("SELECT count(*) FROM corpus_lines").fetchall() == [(26,)]
    (told,) = explain(run.recipe, "https://wall.example/")
    ratio = len(BANNER) / len(f"{BANNER}Please wait.")
    place = {"start": 0, "end": len(BANNER) + 1}
    assert told.signals["corpus"] == {"shared_line_ratio": pytest.approx(ratio), "shared_lines": [place]}
    assert told.hits[0].values == {"shared_line_ratio": pytest.approx(ratio)}
    texts = [
        text
        for path in sorted((tmp_path / "releases").rglob("data/*.parquet"))
        for text in pq.read_table(path, columns=["text"])["text"].to_pylist()
    ]
    assert len(texts) == 25
    assert not any(BANNER in text for text in texts)
    assert sum("One Example Ltd, all rights reserved" in text for text in texts) == 14
    assert connection.execute("SELECT sum(bytes)::INTEGER FROM blend").fetchall() == [(sum(map(len, texts)),)]
    answer = what_if(run.recipe, {"boilerplate": "shared_line_ratio > 0.05"})
    assert answer.changes[0].newly_hit == {"kept": 11}
    assert answer.changes[0].spared[0].values == {"shared_line_ratio": 0.0}


def test_a_plan_takes_it_that_nothing_is_shared(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """A sample cannot tell what the corpus has in common, and a rule about it is no reason to fail."""
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": "who lived in the house by the old sea wall"}))
    more = (
        '[signals.contamination]\nbenchmarks = ["b.jsonl"]\n[edit]\nremove = ["shared_lines"]\n[rules]\n'
        'boilerplate = "shared_line_ratio > 0.5"\nleaked = "is_contaminated and contamination_document_count < 20"'
    )
    run = tiny({"web": [{"text": f"{BANNER} {number}"} for number in range(3)]}, more, ON, until="pull")
    assert [source.kept for source in plan(run.recipe).sources] == [3]


def test_other_settings_measure_nothing_anew(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Another threshold makes its own columns anew and no others, one document more the columns of all."""
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": "who lived in the house by the old sea wall"}))
    more = '[signals.contamination]\nbenchmarks = ["b.jsonl"]'
    rows, work = pages(11, 14), tmp_path / "work" / "tiny"
    first = tiny({"web": rows}, more, ON, until="compare")
    assert max(ratios(first).values()) > 0
    before = {name: written(work / name) for name in ("signals", "corpus/contamination", "corpus/lines")}
    again = tiny({"web": rows}, more, ON, until="compare")
    assert {name: written(work / name) for name in before} == before
    assert ratios(again) == ratios(first)
    other = tiny({"web": rows}, more, ON, "signals.lines.hosts=12", until="compare")
    assert set(ratios(other).values()) == {0.0}
    assert written(work / "signals") == before["signals"]
    assert written(work / "corpus/contamination") == before["corpus/contamination"]
    assert written(work / "corpus/lines") != before["corpus/lines"]
    lined = written(work / "corpus/lines")
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": "who lived in the hut by the old sea wall"}))
    tiny({"web": rows}, more, ON, "signals.lines.hosts=12", until="compare")
    assert written(work / "corpus/contamination") != before["corpus/contamination"]
    assert written(work / "corpus/lines") == lined
    more_hosts = tiny({"web": rows, "more": pages(12, 0)[11:]}, more, ON, "signals.lines.hosts=12", until="compare")
    assert sum(ratio > 0 for ratio in ratios(more_hosts).values()) == 12
    measured = {name: time for name, time in before["signals"].items() if name.startswith("lines/web/")}
    assert measured.items() <= written(work / "signals").items()


def test_order_parts_and_workers_change_nothing(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """The same documents in another order, in several sources, by one process or by two."""
    rows = pages(12, 9)
    one = ratios(tiny({"web": rows}, "", ON, until="compare"))
    several = tiny({"z": rows[::-2], "b": rows[-2::-2]}, "", ON, until="compare")
    assert ratios(several) == one
    before = {part: several.work.corpus["lines"].read(part) for part in several.parts}
    several.work.storage.remove("corpus")
    alone = pipeline.run(several.recipe, LocalEngine(1), until="compare")
    assert {part: alone.work.corpus["lines"].read(part) for part in alone.parts} == before
    assert not list((tmp_path / "work").glob("*/line_*"))


def test_a_text_that_many_hosts_print_is_not_wiped_out(tiny: Callable[..., Run]) -> None:
    """One of its copies stays, whatever the rule: copies count for no line, unless they are not looked for."""
    (page,) = pages(0, 1)
    rows = [{"uri": f"https://n{number}.example/", "text": f"{page['text']}{number}"} for number in range(12)]
    more = '[rules]\nboilerplate = "shared_line_ratio > 0.5"'
    run = tiny({"web": rows}, more, ON, "dedup.max_loss=1", until="judge")
    assert run.figures["judge"]["sources"]["web"]["kept"] == 1
    assert set(ratios(run).values()) == {0.0}
    run = tiny({"web": rows}, more, ON, "dedup.enabled=false", until="judge")
    assert run.figures["judge"]["rules"] == {"boilerplate": 12}


def test_what_stands_elsewhere_still_counts_once(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """What goes as a copy of an earlier release shares its lines with what is new, once for each text."""
    rows = pages(11, 0)
    page = pages(0, 12)[-1]  # like none of the others
    rows += [{"uri": f"https://n{number}.example/", "text": f"{page['text']} {number}"} for number in range(12)]
    old = pa.table({"text": [row["text"] for row in [*rows[:10], rows[11]]]})
    pq.write_table(old, tmp_path / "old.parquet")
    run = tiny({"web": rows}, "", ON, 'dedup.against=["old.parquet"]', "dedup.max_loss=1", until="judge")
    assert run.figures["judge"]["sources"]["web"]["duplicates"] == 22
    found = ratios(run)
    assert {uri for uri, ratio in found.items() if ratio > 0} == {row["uri"] for row in rows[:11]}


def test_a_document_of_shared_lines_alone_is_empty_after_the_edit(tiny: Callable[..., Run]) -> None:
    """It is dropped for that, and says so."""
    more = '[edit]\nremove = ["shared_lines"]'
    rows = [*pages(12, 0), {"uri": "https://wall.example/", "text": BANNER}]
    run = tiny({"web": rows}, more, ON, until="judge")
    (told,) = explain(run.recipe, "https://wall.example/")
    assert [hit.rule for hit in told.hits] == ["empty_after_edit"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[rules]\nb = "shared_line_ratio > 0.5"', "no column 'shared_line_ratio': the signal lines is off"),
        ('[edit]\nremove = ["shared_lines"]', r"remove\[0\]: no edit 'shared_lines': the signal lines is off"),
    ],
)
def test_without_the_signal_its_columns_are_refused(tiny: Callable[..., Run], more: str, said: str) -> None:
    """Before anything is read."""
    with pytest.raises(RecipeError, match=said):
        tiny({"web": pages(1, 0)}, more, until="judge")


@pytest.mark.parametrize(("key", "value"), [("documents", "0"), ("hosts", "0"), ("hosts", "101"), ("host", "3")])
def test_settings_that_mean_nothing_are_refused(tiny: Callable[..., Run], key: str, value: str) -> None:
    """The key is named."""
    with pytest.raises(RecipeError, match=f"signals.lines.{key}"):
        tiny({"web": pages(1, 0)}, "", ON, f"signals.lines.{key}={value}", until="judge")


# Real input


@pytest.mark.data
def test_on_real_pages_it_finds_what_pages_say_of_themselves(data: Path, tmp_path: Path, engine: LocalEngine) -> None:
    """Of what stands on eleven pages of five hosts, nearly all is what a reader skips; `blocks` leaves none of it."""
    (tmp_path / "recipe.toml").write_text(
        'name = "real"\n[extract]\nengine = "resiliparse"\n[dedup]\nprefer = "word_count desc"\n'
        '[[source]]\nname = "web"\nkind = "warc"\n'
        f'paths = ["{data}/web/*.warc.gz"]\n' + "".join(f"[signals.{name}]\nenabled = false\n" for name in OFF)
    )
    run = pipeline.run(load(tmp_path / "recipe.toml"), engine, until="compare")
    rows = open_views(run.recipe).execute(f"SELECT DISTINCT line FROM ({SHARED})").fetchall()
    found = {" ".join(units.words(line)).lower() for (line,) in rows}
    assert found >= {"skip to main content", "frequently asked questions", "back to top", "table of contents"}
    assert len(found) < 60
