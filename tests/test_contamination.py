"""The signal `contamination`: cases by hand, its plain version, files of benchmarks, and what a run makes of it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import contamination as plain

from curation import decontamination as trying
from curation.corpus.contamination import rarest
from curation.errors import RecipeError, UsageError
from curation.explain import explain
from curation.kernels import contamination as kernel
from curation.query import open_views
from curation.schema import SPANS
from curation.signals import contamination
from curation.signals.batch import Batch
from curation.signals.contamination import Contamination, Item, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curation.run import Run

ROOT = Path(__file__).parent.parent
CASES = [
    json.loads(line)
    for line in (ROOT / "tests" / "cases" / "contamination.jsonl").read_text(encoding="utf-8").splitlines()
]

#: The benchmark of the cases.
ROBE = "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it take?"
COOKIES = "Where did fortune cookies originate?"
CODE = 'if idx < idx2:\n    distance = abs(elem - elem2)\n    if distance < threshold:\n        return "near"'
METALS = ("Which is true?", ("Iron rusts in dry air", "Copper turns green in damp air"))
ITEMS = (
    Item("b:robe", ROBE, ("It takes 2/2=1 bolt of white fiber",)),
    Item("b:cookies", COOKIES, ("The precise origin of fortune cookies is unclear",)),
    Item("b:code", CODE, ()),
    Item("b:metals", *METALS),
    Item("b:wall", "长城一共有多少公里长", ()),
)


def found(items: Sequence[Item], *texts: str | None) -> dict[str, list[Any]]:
    """The columns for these texts, as lists."""
    answers = contamination.find(contamination.index(items), Batch(pa.array(texts, pa.string())))
    assert list(answers) == list(contamination.COLUMNS)
    arrays = {name: pa.array(values) for name, values in answers.items()}
    assert {name: array.type for name, array in arrays.items()} == contamination.COLUMNS
    assert all(array.null_count == 0 and len(array) == len(texts) for array in arrays.values())
    return {name: array.to_pylist() for name, array in arrays.items()}


def names(items: Sequence[Item], text: str) -> list[str]:
    """The items found in a text."""
    found_in: list[str] = found(items, text)["contamination_items"][0]
    return found_in


def write(path: Path, *rows: Any) -> str:
    """A file of JSONL of these rows; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def loaded(*benchmarks: str, **more: Any) -> Contamination:
    """The signal with these files."""
    return contamination.load(Settings(benchmarks=benchmarks, **more))


# Cases


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case["name"],
            marks=[pytest.mark.xfail(strict=True, raises=AssertionError, reason="known failure")]
            if case["kind"] == "known-failure"
            else [],
        )
        for case in CASES
    ],
)
def test_case(case: dict[str, Any]) -> None:
    """The items are found that were put there by hand, and just their text would be cut."""
    answers = {name: values[0] for name, values in found(ITEMS, case["text"]).items()}
    raw = case["text"].encode()
    assert answers["contamination_items"] == case["items"]
    assert [raw[span["start"] : span["end"]].decode() for span in answers["contamination"]] == case["cut"]
    assert answers["is_contaminated"] == bool(case["items"])
    assert answers["contamination_item_count"] == len(case["items"])
    words = [len(plain.words(text)) for text in (*case["cut"], case["text"])]
    assert answers["contamination_ratio"] == pytest.approx(sum(words[:-1]) / max(1, words[-1]), rel=1e-6)


def test_there_are_cases_enough() -> None:
    """There are cases of each kind."""
    assert len(CASES) >= 18
    assert {case["kind"] for case in CASES} == {"wild", "negative", "synthetic", "known-failure"}
    assert len({case["name"] for case in CASES}) == len(CASES)


def test_the_page_has_every_column() -> None:
    """docs/signals.md names the columns with their types, in order."""
    page = (ROOT / "docs" / "signals.md").read_text(encoding="utf-8")
    (section,) = [text for text in page.split("\n## ") if text.startswith("contamination\n")]
    kinds = {pa.int32(): "int32", pa.float32(): "float32", pa.bool_(): "bool", SPANS: "spans"}
    kinds[pa.list_(pa.string())] = "list of string"
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section, re.MULTILINE)
    wanted = [(name, kinds[kind]) for name, kind in contamination.COLUMNS.items()]
    assert rows == [*wanted, ("contamination_document_count", "int32")]


# The kernel and its plain version

#: Few words, so that seeds are shared; some that are one only without punctuation, and some that are none.
WORDS = st.sampled_from([
    *"one two three four five six seven foot ball foot-ball football don't dont e 漢 字 漢字 ไ 7".split(),  # noqa: SIM905
    *("É", "x\u0301", "\u0301", "\U000e0100", "&lt;", "&amp;quot;", "&#39;", "&", "—", "😀", "\0", "\n"),
])  # fmt: skip
TEXT = st.lists(WORDS, max_size=60).map(" ".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ITEM = st.tuples(TEXT, st.lists(TEXT, max_size=2).map(tuple))


@given(questions=st.lists(ITEM, min_size=1, max_size=12), data=st.data())
@settings(max_examples=300, deadline=None)
def test_kernel_equals_its_plain_version(questions: list[tuple[str, tuple[str, ...]]], data: st.DataObject) -> None:
    """Every column is that of the plain version, for items in texts of the same few words, whole, cut and altered."""
    items = [Item(f"b:{number}", *item) for number, item in enumerate(questions)]
    planted = st.sampled_from([text for item in items for text in (item.question, *item.answers)])
    texts = data.draw(st.lists(st.lists(TEXT | planted, max_size=4).map(" ".join), max_size=4))
    answers = found(items, *texts)
    for row, text in enumerate(texts):
        wanted = plain.columns(items, text, contamination.SHARE)
        ratio = wanted.pop("contamination_ratio")
        assert answers["contamination_ratio"][row] == np.float32(ratio)
        assert {name: answers[name][row] for name in wanted} == wanted


@given(st.lists(TEXT, max_size=5))
@settings(max_examples=200, deadline=None)
def test_words_are_those_of_the_plain_version(texts: list[str]) -> None:
    """As many words in each text, equal where the plain ones are equal, with as many letters."""
    said = contamination._words(texts)
    wanted = [word.text for text in texts for word in plain.words(text)]
    assert said.counts.tolist() == [len(plain.words(text)) for text in texts]
    assert said.sizes.tolist() == [len(word) for word in wanted]
    pairs = set(zip(said.words.tolist(), wanted, strict=True))
    assert len(pairs) == len(set(wanted)) == len(set(said.words.tolist()))


def test_the_numbers_are_those_of_the_plain_version() -> None:
    """The plain version states the rule's numbers for itself."""
    assert (plain.SEED, plain.REACH, plain.JUMP, plain.JOINED) == (
        kernel.SEED, kernel.REACH, kernel.JUMP, kernel.JOINED,
    )  # fmt: skip
    c = contamination
    assert (plain.LONG, plain.LEAST, plain.LEAST_OF_ANSWER, plain.LONGEST) == (
        c.LONG, c.LEAST, c.LEAST_OF_ANSWER, c.LONGEST,
    )  # fmt: skip
    assert (plain.COMMON, plain.REPEATED) == (c.COMMON, c.REPEATED)


@pytest.mark.parametrize("before", [0, 1, 2047, 4080, 4096, 6140, 8180, 8192, 12_280, 30_000])
def test_an_item_anywhere_in_a_long_text(before: int) -> None:
    """The kernel holds some blocks of a long text at a time, and no item falls between two."""
    text = f"{'Something else. ' * (before // 2)}{ROBE} {'And more. ' * 6000}"
    answers = found(ITEMS, "no", text, COOKIES)
    assert answers["contamination_items"] == [[], ["b:robe"], ["b:cookies"]]
    (span,) = answers["contamination"][1]
    assert text[span["start"] : span["end"]] == ROBE
    assert answers["contamination_ratio"][1] == np.float32(22 / (before // 2 * 2 + 22 + 12_000))


def test_a_passage_of_many_words_is_found_across_blocks() -> None:
    """A passage counts up to its first 1,024 words, wherever it lies."""
    long = " ".join(f"w{number}" for number in range(1500))
    items = [Item("b:long", long, ())]
    answers = found(
        items, f"{'filler words ' * 4000}{long} end", " ".join(long.split()[:1024]), " ".join(long.split()[700:])
    )
    assert answers["contamination_items"] == [["b:long"], ["b:long"], []]


def test_an_item_in_many_places_and_many_items_in_one() -> None:
    """Matches beyond the room made at first are found too; the list of items ends at 100, the count does not."""
    many = [Item(f"b:{n}", f"the question number {n} asks about city{n} and river{n}", ()) for n in range(130)]
    text = "\n\n".join(item.question for item in many)
    answers = found(many, text, "\n~ ~ no ~ \n".join([text] * 20))
    assert answers["contamination_item_count"] == [130, 130]
    assert answers["contamination_items"] == [[f"b:{n}" for n in range(100)]] * 2
    assert answers["contamination_ratio"][0] == 1
    assert len(answers["contamination"][1]) == 20


def test_what_many_items_share_is_no_evidence() -> None:
    """Nine items that begin alike are not found by their beginning, nor is what is left when that is too little."""
    start = "Write a function to find the sum of all the numbers in the list that are"
    ends = ["odd", "even", "prime", "square", "negative", "positive", "equal to zero", "perfect", "composite"]
    items = [Item(f"b:{end}", f"{start} {end}", ()) for end in ends]
    assert names(items[:1], items[0].question) == ["b:odd"]
    assert names(items, items[0].question) == []
    told = [*items, Item("b:own", f"{start} larger than the mean of their two neighbours on the left", ())]
    assert names(told, told[-1].question) == ["b:own"]
    assert names(told, f"{start} odd") == []


def test_a_long_answer_is_looked_for_alone() -> None:
    """An answer of 25 words of evidence is a passage; a shorter one is not."""
    answer = "def area(base, height): " + " ".join(f"step{n} = base * {n}" for n in range(12))
    items = [
        Item("b:area", "How large is the area of the given triangle?", (answer, "half of base times height, as always"))
    ]
    assert names(items, answer) == ["b:area"]
    assert names(items, "half of base times height, as always") == []


def test_an_index_of_nothing_finds_nothing() -> None:
    """Without items, or with none that says enough, all is clean."""
    for items in ((), (Item("b:1", "", ()),), (Item("b:2", "Too short?", ()),)):
        assert found(items, "Too short?", None, "")["is_contaminated"] == [False] * 3
        assert contamination.index(items).looked_for == 0
    assert contamination.index(ITEMS).looked_for == len(ITEMS)


def test_a_table_of_numbers_is_no_seed() -> None:
    """Items of few different words, such as grids, do not make every table of numbers worth a look."""
    items = [Item("b:grid", "0 0 0 0 0 1 0 0 0 0 1 1 0 0 0 0 0 0 0 0", ())]
    assert contamination.index(items).looked_for == 0


@given(texts=st.lists(st.none() | TEXT | st.sampled_from([ROBE, COOKIES, CODE]), max_size=6), data=st.data())
@settings(max_examples=50, deadline=None)
def test_any_split_gives_the_same_answer(texts: list[str | None], data: st.DataObject) -> None:
    """A row's values depend on its text alone."""
    cut = data.draw(st.integers(0, len(texts)))
    whole, first, rest = (found(ITEMS, *part) for part in (texts, texts[:cut], texts[cut:]))
    assert whole == {name: first[name] + rest[name] for name in whole}


# Files


def test_every_kind_of_file(tmp_path: Path) -> None:
    """JSONL, Parquet and plain text, packed or not; an item is named after its file and its id, else its line."""
    one = write(tmp_path / "one.jsonl", {"id": "x/1", "text": COOKIES}, {"task_id": 7, "prompt": ROBE})
    (tmp_path / "two.v1.jsonl.gz").write_bytes(gzip.compress(json.dumps({"question": COOKIES}).encode()))
    (tmp_path / "three.txt").write_text(f"\n{COOKIES}\n\n{ROBE}\n", encoding="utf-8")
    pq.write_table(pa.table({"question": [ROBE], "choices": [{"text": ["Three", "Four"], "label": ["A", "B"]}]}),
                   tmp_path / "four.parquet")  # fmt: skip
    signal = loaded(one, str(tmp_path / "t*"), str(tmp_path / "four.parquet"), one)
    assert [item.name for item in signal.items()] == ["one:x/1", "one:7", "three:2", "three:4", "two:1", "four:1"]
    assert signal.items()[-1].answers == ("Three", "Four")
    answers = signal.measure(Batch(pa.array([COOKIES, "none"])))
    assert answers["contamination_items"].to_pylist() == [["one:x/1", "three:2", "two:1"], []]


def test_fields_can_be_named(tmp_path: Path) -> None:
    """A question is looked for in the fields that the settings name."""
    path = write(tmp_path / "b.jsonl", {"frage": COOKIES, "text": "Something else that nobody asks here"})
    signal = loaded(path, question_fields=["frage"], answer_fields=[])
    assert signal.items()[0].question == COOKIES
    assert signal.VERSION != loaded(path).VERSION


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("b.jsonl", '{"text": "a"}\n{"text"', "b.jsonl:2: no JSON"),
        ("b.jsonl", "[1]\n", "expected an object"),
        ("b.jsonl", '{"frage": "a"}\n', "no item has a question in .*there are frage"),
        ("b.csv", "a,b\n", "what is in it"),
        ("b.parquet", "no", "cannot be read as Parquet"),
        ("b.txt.gz", "no", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, name: str, content: str, said: str) -> None:
    """What is wrong with a benchmark is said when it is loaded, with its place."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        loaded(str(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A path or a pattern that names nothing is said."""
    for pattern in ("none.jsonl", "*.jsonl"):
        with pytest.raises(UsageError, match="there is no such benchmark"):
            loaded(str(tmp_path / pattern))


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    """The same files in another folder are the same signal; another item makes another."""
    here, there = (write(tmp_path / folder / "b.jsonl", {"text": COOKIES}) for folder in ("here", "there"))
    assert loaded(here).VERSION == loaded(there).VERSION != "1"
    write(tmp_path / "there" / "b.jsonl", {"text": ROBE})
    assert loaded(here).VERSION != loaded(there).VERSION


# Planting


def test_every_way_changes_what_it_says() -> None:
    """Each way alters a question, and keeps the letters in their order unless it changes words."""
    text = (
        "She said: \u201cDon't e-mail me\u201d, twice a day,\nand a<b was x=1 in line 7 of the long list there, "
        "so the rest is words."
    )
    for way, alter in trying.WAYS.items():
        altered = alter(text)
        assert (altered == text) == (way in ("verbatim", "short")), way
        if way not in ("changed", "escaped"):
            assert "".join(re.findall(r"\w", altered)).lower() == "".join(re.findall(r"\w", text)).lower(), way
    changed = trying.WAYS["changed"](" ".join(f"w{n}" for n in range(100)))
    assert sum(not word.startswith("w") for word in changed.split()) == 4


def test_planting_finds_what_is_there() -> None:
    """Recall is counted by way, and false alarms among items that the signal was not told of."""
    items = [
        Item(f"b:{n}", " ".join(f"word{(n * 31 + k * k * 17) % 997} of" for k in range(10)), ()) for n in range(30)
    ] + [Item(f"s:{n}", f"who was the first king of country{n}", ()) for n in range(8)]  # fmt: skip
    findings = trying.try_out(contamination.index(items), items, ["Some text. " * 50, "Other\n\ntext " * 30], seed=1)
    assert findings.planted == dict.fromkeys(trying.WAYS, 30) | {"short": 8}
    assert findings.found["verbatim"] == findings.found["case"] == findings.found["escaped"] == 30
    assert findings.found["short"] == 8
    assert findings.lookalikes >= 15
    assert findings.false_alarms == 0
    assert findings == trying.try_out(
        contamination.index(items), items, ["Some text. " * 50, "Other\n\ntext " * 30], seed=1
    )
    blind = trying.try_out(contamination.index([]), items, ["Some text."], seed=1)
    assert set(blind.found.values()) == {0}
    assert blind.planted == findings.planted


def test_items_that_share_a_passage_are_no_lookalikes() -> None:
    """Of two halves, the second is told; from the first go those that have 13 words of it."""
    shared = " ".join(f"s{n}" for n in range(20))
    items = [
        Item("b:1", f"{shared} first", ()),
        Item("b:2", "quite another one", ()),
        Item("b:3", f"{shared} last", ()),
    ]
    told, unknown = trying._apart(items, 10)
    assert [item.name for item in told] == ["b:2", "b:3"]
    assert unknown == []
    told, unknown = trying._apart([items[1], *items[::2]], 10)
    assert [item.name for item in unknown] == ["b:2"]


# In a run


def recipe(folder: Path, *more: str) -> str:
    """The part of a recipe that looks for the cases' benchmark."""
    write(
        folder / "b.jsonl",
        *({"id": item.name[2:], "question": item.question, "choices": item.answers} for item in ITEMS),
    )
    return "\n".join(['[signals.contamination]\nbenchmarks = ["b.json*"]', *more])


PLAIN = "The garden lay quiet, and nobody came to see what the bees were doing in the old apple tree that year. "


def test_a_run_drops_cuts_and_says_how_well_it_finds(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Rules and edits use the columns; the figures say what was found; a second run tries nothing."""
    rows = [{"text": f"{PLAIN}{ROBE} {PLAIN}Bees {n} of them rest{n} here. "} for n in range(2)]
    rows += [{"text": f"{PLAIN * 2}And then {n} more{n}."} for n in range(6)]
    rows += [{"text": f"{ROBE} I do not know."}]
    more = recipe(
        tmp_path, '[edit]\nremove = ["contamination"]',
        '[rules]\nleaked = "is_contaminated and contamination_ratio > 0.5"', "[dedup]\nenabled = false",
    )  # fmt: skip
    run = tiny({"web": rows}, more)
    assert run.figures["judge"]["rules"] == {"leaked": 1}
    tried = run.figures["measure"]["decontamination"]
    assert tried["items"] == tried["looked_for"] == 5
    assert tried["documents"] == 6
    assert tried["found"]["verbatim"] == tried["planted"]["verbatim"] == 1
    assert (tried["planted"]["short"], tried["found"]["short"]) == (4, 3)
    texts = pa.concat_tables(
        [
            pq.read_table(path, columns=["text"])
            for path in sorted((tmp_path / "releases").rglob("*.parquet"))
            if "data" in path.parts
        ]
    )["text"].to_pylist()
    assert len(texts) == 8
    assert not any("robe" in text for text in texts)
    assert sum("Bees" in text for text in texts) == 2
    page = run.work.storage.read("report.html")
    assert page is not None
    assert b"5 of the 5 items of the benchmarks" in page
    before = (tmp_path / "work" / "tiny" / "decontamination.json").stat().st_mtime_ns
    again = tiny({"web": rows}, more)
    assert again.figures["measure"]["decontamination"] == tried
    assert (tmp_path / "work" / "tiny" / "decontamination.json").stat().st_mtime_ns == before


def test_the_corpus_column_counts_documents(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """A phrase that stands in many documents is told from one that stands in few; rules, sql and explain know it."""
    rows = [{"text": f"{PLAIN}{COOKIES} Nobody{n} knows{n}."} for n in range(4)]
    rows += [{"text": f"{PLAIN}{COOKIES} {ROBE}"}, {"text": PLAIN}]
    more = recipe(
        tmp_path, '[rules]\nleaked = "is_contaminated and contamination_document_count < 3"', "[dedup]\nenabled = false"
    )
    run = tiny({"web": rows}, more, until="judge")
    assert run.figures["judge"]["rules"] == {"leaked": 1}
    connection = open_views(run.recipe)
    counted = connection.execute(
        "select contamination_document_count, count(*) from corpus group by 1 order by 1"
    ).fetchall()
    assert counted == [(0, 1), (1, 1), (5, 4)]
    (document,) = connection.execute("select id from corpus where contamination_document_count = 1").fetchone() or ()
    (told,) = explain(run.recipe, document)
    assert told.signals["corpus"] == {"contamination_document_count": 1}
    assert told.hits[0].values == {"is_contaminated": True, "contamination_document_count": 1}
    fewer = tiny({"web": rows[:2] + rows[4:]}, more, until="judge")  # other documents change the column of all
    assert fewer.figures["judge"]["rules"] == {"leaked": 1}
    assert open_views(fewer.recipe).execute("select max(contamination_document_count) from corpus").fetchone() == (3,)


def test_the_rarest_item_counts() -> None:
    """An item in none of the lists is in no document; no list is that of no item."""
    counts = pa.table({"item": ["a", "b"], "documents": pa.array([7, 2], pa.int32())})
    lists = pa.array([["a"], [], ["b", "a"], ["a"]], pa.list_(pa.string()))
    assert rarest(lists, counts).to_pylist() == [7, 0, 2, 7]
    assert rarest(lists[1:2], counts.slice(0, 0)).to_pylist() == [0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[rules]\nleaked = "is_contaminated"', "no column 'is_contaminated': the signal contamination is off"),
        ('[rules]\nleaked = "contamination_document_count < 3"', "signals.contamination.benchmarks"),
        ('[edit]\nremove = ["contamination"]', r"remove\[0\]: no edit 'contamination': the signal contam"),
        ("[signals.contamination]\nbenchmarks = []", "signals.contamination.benchmarks: missing"),
        ("[signals.contamination]\nenabled = true", "signals.contamination.benchmarks: missing"),
        ('[signals.contamination]\nquestion_fields = ["q"]', "signals.contamination.benchmarks: missing"),
        ("[signals.contamination]\nbenchmark = []", "signals.contamination.benchmark"),
    ],
)  # fmt: skip
def test_without_benchmarks_nothing_is_done_in_silence(tiny: Callable[..., Run], more: str, said: str) -> None:
    """What would do nothing without benchmarks is said before anything is read."""
    with pytest.raises(RecipeError, match=said):
        tiny({"web": [{"text": PLAIN}]}, more, until="judge")


def test_without_benchmarks_the_signal_costs_nothing(tiny: Callable[..., Run]) -> None:
    """It is not measured, and nothing is planted."""
    run = tiny({"web": [{"text": PLAIN}]}, until="judge")
    assert "contamination" not in run.work.signals
    assert run.figures["measure"]["decontamination"] is None


def test_items_that_cannot_be_found_are_warned_of(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """A benchmark whose items are planted and not found is most likely read from the wrong field."""
    write(tmp_path / "b.jsonl", *({"question": "0 0 0 1 0 " * 5} for _ in range(10)))
    run = tiny({"web": [{"text": PLAIN}]}, '[signals.contamination]\nbenchmarks = ["b.jsonl"]', until="measure")
    assert any("of 10 items planted as they are only 0 are found" in warning for warning in run.warnings)


# Real input


@pytest.mark.data
def test_recall_and_false_alarms_on_real_input(data: Path) -> None:
    """Items planted into textbooks are found, and textbooks, code and the other half of the benchmarks are not."""
    signal = loaded(str(data / "benchmarks" / "*"))
    items = signal.items()
    known = contamination.index(items)
    books = pq.read_table(data / "textbooks" / "openstax.parquet", columns=["text"])["text"].combine_chunks()
    answers = contamination.find(known, Batch(books))
    clean = books.filter(pa.array(~answers["is_contaminated"]))
    findings = trying.try_out(known, items, clean.to_pylist()[:200], seed=0, most=1000)
    recall = {way: findings.found[way] / planted for way, planted in findings.planted.items()}
    for way in ("verbatim", "wrapped", "case", "punctuation", "escaped", "indented"):
        assert recall[way] >= 0.99, way
    assert recall["changed"] >= 0.8
    assert recall["short"] >= 0.8
    assert findings.false_alarms <= 0.005 * findings.lookalikes
    with gzip.open(data / "internal" / "code.jsonl.gz", "rt", encoding="utf-8") as file:
        code = [json.loads(line)["text"] for line in file]
    assert np.sum(contamination.find(known, Batch(pa.array(code)))["is_contaminated"]) <= 0.005 * len(code)


@pytest.mark.data
def test_kernel_equals_its_plain_version_on_real_input(data: Path) -> None:
    """On pages of textbooks with items planted in every way, each column is that of the plain version."""
    items = loaded(str(data / "benchmarks" / "*")).items()[::40]
    books = pq.read_table(data / "textbooks" / "openstax.parquet", columns=["text"])["text"].to_pylist()[:20]
    texts = [
        trying.planted(books[number % 20][:3000], alter(item.question), number)
        for number, item in enumerate(items)
        for alter in trying.WAYS.values()
    ][:400]
    answers = found(items, *texts)
    known = plain.passages(items, contamination.SHARE)
    for row, text in enumerate(texts):
        matches, stream = plain.matches(known, text)
        assert answers["contamination_items"][row] == list(dict.fromkeys(item for item, _, _ in matches))
        covered = {word for _, first, last in matches for word in range(first, last)}
        assert answers["contamination_ratio"][row] == np.float32(len(covered) / len(stream))
