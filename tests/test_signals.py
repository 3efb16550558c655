"""What every signal promises, the cases of tests/cases, and the presets as pairs of rows and reasons."""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import text as units

from curation.kernels import masks, repetition
from curation.schema import SPANS
from curation.signals import SIGNALS, c4, contamination, datatrove, gopher_repetition, length, lines, signal_name, url
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from curation.signals import Signal

#: The signals of a text in curation/signals. Those of classifiers/ have cases of their own form in
#: tests/test_classifiers.py, `url`, which reads no text, in tests/test_url.py, those of `contamination`, which needs
#: benchmarks, in tests/test_contamination.py, those of `lines`, which a corpus decides, in tests/test_lines.py.
HEURISTIC = tuple(
    module
    for module in SIGNALS
    if module.__name__.startswith("curation.signals.") and module not in (url, contamination, lines)
)
CASES = Path(__file__).parent / "cases"
PRESETS = Path(__file__).parent.parent / "curation" / "rules" / "presets"
PAGE = Path(__file__).parent.parent / "docs" / "signals.md"
LEAST_CASES = 8

TEXT = st.text(
    st.one_of(
        st.sampled_from("ab \n\r.…!\"'#{[1]-•\0\u0301\u0e01\u0e31漢。😀"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=120,
)
#: Few words, so that n-grams repeat.
REPETITIVE = st.lists(st.sampled_from(["a", "bb", "ccc", "漢", "\n", "\n\n"]), max_size=60).map(" ".join)


def loaded(module: Any) -> Signal:
    """The signal of a module, with the settings it has by default."""
    return module.load(module.Settings()) if hasattr(module, "Settings") else module


def measured(signal: Any, texts: list[str | None]) -> dict[str, pa.Array]:
    """The columns of a signal as measure.py would write them."""
    answers = signal.measure(Batch(pa.array(texts, pa.string())))
    assert list(answers) == list(signal.COLUMNS)
    return {
        name: values if isinstance(values, pa.Array) else pa.array(values, signal.COLUMNS[name])
        for name, values in answers.items()
    }


def cases() -> list[Any]:
    """Every case of every heuristic signal; a known failure must fail."""
    found = []
    for module in HEURISTIC:
        name = signal_name(module)
        for line in (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            failing = pytest.mark.xfail(strict=True, raises=AssertionError, reason="known failure")
            marks = [failing] if case["kind"] == "known-failure" else []
            found.append(pytest.param(module, case, id=f"{name}: {case['name']}", marks=marks))
    return found


def expected(value: Any) -> Any:
    """A case's value: fractions such as "3/10" are easier to work out by hand than decimals."""
    if isinstance(value, list):
        return [{"start": start, "end": end} for start, end in value]
    return pytest.approx(float(Fraction(value)), rel=1e-6) if isinstance(value, str) else value


@pytest.mark.parametrize(("module", "case"), cases())
def test_case(module: Any, case: dict[str, Any]) -> None:
    """The signal gives the values that were worked out by hand."""
    answers = measured(module, [case["text"]])
    assert {name: answers[name][0].as_py() for name in case["expect"]} == {
        name: expected(value) for name, value in case["expect"].items()
    }


@pytest.mark.parametrize("module", HEURISTIC, ids=signal_name)
def test_there_are_cases_enough(module: Any) -> None:
    """Each signal has cases of every kind, each column is expected somewhere, and some case is not zero."""
    lines = (CASES / f"{signal_name(module)}.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) >= LEAST_CASES
    assert len({case["name"] for case in found}) == len(found)
    assert {case["kind"] for case in found} >= {"wild", "negative", "synthetic"}
    for column in module.COLUMNS:
        values = [case["expect"][column] for case in found if column in case["expect"]]
        assert any(values), column
        assert not all(values), column


def test_every_column_has_one_signal() -> None:
    """Column names are unique over all signals, and their endings say their type."""
    columns = [(name, kind) for module in SIGNALS for name, kind in loaded(module).COLUMNS.items()]
    assert max(Counter(name for name, _ in columns).values()) == 1
    endings = {"_count": pa.int32(), "_ratio": pa.float32(), "_score": pa.float32(), "_lines": SPANS}
    for name, kind in columns:
        for ending, wanted in endings.items():
            assert not name.endswith(ending) or kind == wanted, name
        assert not name.startswith(("is_", "has_")) or kind == pa.bool_(), name


@pytest.mark.parametrize("module", SIGNALS, ids=signal_name)
def test_columns_and_types(module: Any) -> None:
    """A signal gives exactly its columns, of their types, never null, for no rows, null text and empty text too."""
    signal = loaded(module)
    for texts in ([], [None], [""], ["One line.", None, "", "\0", "漢字。\r\nสวัสดี"]):
        for name, values in measured(signal, texts).items():
            assert values.type == signal.COLUMNS[name], name
            assert len(values) == len(texts), name
            assert values.null_count == 0, name


@pytest.mark.parametrize("module", HEURISTIC, ids=signal_name)
def test_the_page_has_every_column(module: Any) -> None:
    """docs/signals.md has a heading for each signal, and below it each column with its type, in order."""
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    (section,) = [text for text in sections if text.startswith(f"{signal_name(module)}\n")]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE)
    types = {pa.int32(): "int32", pa.float32(): "float32", pa.bool_(): "bool", SPANS: "spans"}
    assert rows == [(name, types[kind]) for name, kind in module.COLUMNS.items()]


@pytest.mark.parametrize("module", SIGNALS, ids=signal_name)
def test_null_measures_as_empty(module: Any) -> None:
    """A row without text has the values of an empty text."""
    signal = loaded(module)
    assert {k: v.to_pylist() for k, v in measured(signal, [None]).items()} == {
        k: v.to_pylist() for k, v in measured(signal, [""]).items()
    }


@pytest.mark.parametrize("module", SIGNALS, ids=signal_name)
@given(texts=st.lists(st.none() | TEXT, max_size=6), data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_split_gives_the_same_answer(module: Any, texts: list[str | None], data: st.DataObject) -> None:
    """A row's values depend on its text alone."""
    signal = loaded(module)
    cut = data.draw(st.integers(0, len(texts)))
    whole, first, rest = (measured(signal, part) for part in (texts, texts[:cut], texts[cut:]))
    for name, values in whole.items():
        assert values.to_pylist() == first[name].to_pylist() + rest[name].to_pylist(), name


@given(
    texts=st.lists(st.none() | TEXT, max_size=8),
    size=st.integers(1, 40),
    kind=st.sampled_from(["string", "large_string"]),
)
@settings(max_examples=200, deadline=None)
def test_pieces_are_the_batch(texts: list[str | None], size: int, kind: str) -> None:
    """They hold its rows in order, each as many as the size has room for, and no bytes but their own."""
    given = pa.array(["before", *texts], getattr(pa, kind)())[1:]
    pieces = list(Batch(given, pa.array(map(str, range(len(texts))))).pieces(size))
    assert [text for piece in pieces for text in piece.texts] == [text or "" for text in texts]
    assert [uri for piece in pieces for uri in piece.uris] == [str(row) for row in range(len(texts))]
    sizes = [[len(text.encode()) for text in piece.texts] for piece in pieces]
    assert all(len(piece) == 1 or sum(piece) <= size for piece in sizes)
    assert all(sum(piece) + following[0] > size for piece, following in pairwise(sizes))
    if len(pieces) > 1:
        assert all(
            (piece.bounds[0], piece.bounds[-1]) == (0, sum(own)) for piece, own in zip(pieces, sizes, strict=True)
        )
        assert all(len(piece.data) == max(sum(own), masks.SIZE) for piece, own in zip(pieces, sizes, strict=True))


@pytest.mark.parametrize("module", HEURISTIC, ids=signal_name)
@given(text=TEXT | REPETITIVE)
@settings(max_examples=100, deadline=None)
def test_invariants(module: Any, text: str) -> None:
    """Ratios lie within 0 and 1, counts and rates are not negative, spans are sorted and cut whole characters."""
    raw = text.encode()
    for name, values in measured(module, [text]).items():
        value = values[0].as_py()
        if values.type == SPANS:
            end_before = 0
            for span in value:
                assert end_before <= span["start"] < span["end"] <= len(raw), name
                raw[span["start"] : span["end"]].decode()
                end_before = span["end"]
        elif name.endswith("_ratio"):
            assert 0 <= value <= 1, name
        else:
            assert value >= 0, name


@given(text=TEXT)
@settings(max_examples=50, deadline=None)
def test_length_agrees_with_the_units(text: str) -> None:
    """Counts are those of the units that plain.text defines."""
    answers = {name: values[0].as_py() for name, values in measured(length, [text]).items()}
    assert answers["byte_count"] == len(text.encode())
    assert answers["char_count"] == len(text)
    assert answers["word_count"] == len(units.words(text))
    assert answers["line_count"] == len(units.lines(text))
    assert answers["paragraph_count"] == len(units.paragraphs(text))
    assert answers["sentence_count"] == len(units.sentences(text))


def slow_grams(words: list[str]) -> dict[str, float]:
    """The n-gram columns of `gopher_repetition` by their definition, with tuples of words."""
    ratios = {}
    total = sum(map(len, words))
    for n in range(2, 11):
        grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
        times = Counter(grams)
        if n <= 4:
            ranked = sorted(times, key=lambda gram: (-times[gram], -sum(map(len, gram)), grams.index(gram)))
            starts = [i for i, gram in enumerate(grams) if gram == ranked[0] and times[gram] > 1]
            name = f"top_{n}gram_char_ratio"
        else:
            starts = [i for i, gram in enumerate(grams) if gram in grams[:i]]
            name = f"duplicate_{n}gram_char_ratio"
        covered = {place for start in starts for place in range(start, start + n)}
        ratios[name] = sum(len(words[place]) for place in covered) / total if total else 0.0
    return ratios


@pytest.mark.parametrize("long", [1, repetition.LONG])
@given(text=REPETITIVE)
@settings(max_examples=200, deadline=None)
def test_ngrams_are_those_of_the_slow_definition(long: int, text: str) -> None:
    """Numbering n-grams step by step finds what comparing tuples finds, and so does the way of long texts."""
    with patch.object(repetition, "LONG", long):
        answers = measured(gopher_repetition, [text])
    for name, value in slow_grams(units.words(text)).items():
        assert answers[name][0].as_py() == pytest.approx(value, rel=1e-6), name


def long_texts() -> dict[str, str]:
    """Texts of 50,000 words and more that are hard on n-grams, each in its own way."""
    chosen = random.Random(7)  # noqa: S311  # the same texts each time
    phrases = [" ".join(chosen.choices("abcdefghij", k=12)) for _ in range(40)]
    return {
        "one word": "word " * 50_000,
        "two in turns, and then another": "a b " * 25_000 + "c",
        "every 5-gram often, few longer ones": " ".join(chosen.choices("abcde", k=60_000)),
        "more n-grams than are told apart": " ".join(map(str, chosen.choices(range(500), k=60_000))),
        "each word once": " ".join(map(str, range(50_000))),
        "nothing twice in a row": " ".join(f"{place} {place % 7}" for place in range(30_000)),
        "as frequent as others, but longer": "aa bb cc dd " * 7_000 + "x " + "é ûû ccc dddd " * 7_000,
        "phrases that end in the middle": " ".join(chosen.choices(phrases, k=6_000)) + " a b c d e f",
        "words of any length": " ".join(chosen.choices(["ab", "é", "a" * 9, "a" * 8 + "b", "漢", "ü" * 30], k=60_000)),
    }


@pytest.mark.parametrize("kind", long_texts())
def test_long_texts_are_as_repetitive_as_short_ones(kind: str) -> None:
    """What a long text's n-grams are found by gives what going from each length to the next gives."""
    batch = Batch(pa.array([long_texts()[kind]]))
    found = []
    for long in (1, 10**9):
        with patch.object(repetition, "LONG", long):
            found.append(repetition.grams(batch.data, batch.bounds, batch.word_spans))
    assert batch.word_spans.counts[0] >= 50_000
    for one, other in zip(*found, strict=True):
        assert one.tolist() == other.tolist()


def test_what_c4_leaves_is_what_it_keeps() -> None:
    """Cutting the spans leaves the lines that stay, and measuring those again removes nothing."""
    text = "Menu\r\n\r\nBirds sing in the morning.\r\n\tLogin\nThey rest at night, mostly.[3]\nFoot"
    for signal, column in ((c4, "c4_lines"), (datatrove, "datatrove_c4_lines")):
        raw = text.encode()
        for span in reversed(measured(signal, [text])[column][0].as_py()):
            raw = raw[: span["start"]] + raw[span["end"] :]
        assert raw == b"\r\nBirds sing in the morning.\r\nThey rest at night, mostly.[3]\n"
        assert measured(signal, [raw.decode()])[column][0].as_py() == []


# The presets: for each rule the column, the last value that is kept and the first that is dropped.
BOUNDS: dict[str, dict[str, tuple[str, Any, Any]]] = {
    "gopher-quality@paper": {
        "gopher_too_short": ("word_count", 50, 49),
        "gopher_too_long": ("word_count", 100_000, 100_001),
        "gopher_words_too_short": ("mean_word_length", 3.0, 2.99),
        "gopher_words_too_long": ("mean_word_length", 10.0, 10.01),
        "gopher_too_many_hashes": ("hash_per_word", 0.1, 0.101),
        "gopher_too_many_ellipses": ("ellipsis_per_word", 0.1, 0.101),
        "gopher_bullet_lines": ("bullet_line_ratio", 0.9, 0.901),
        "gopher_ellipsis_lines": ("ellipsis_line_ratio", 0.3, 0.301),
        "gopher_too_few_alpha_words": ("alpha_word_ratio", 0.8, 0.799),
        "gopher_too_few_stop_words": ("stop_word_count", 2, 1),
    },
    "gopher-quality@datatrove": {
        "gopher_too_short": ("word_count", 50, 49),
        "gopher_too_long": ("word_count", 100_000, 100_001),
        "gopher_words_too_short": ("mean_word_length", 3.0, 2.99),
        "gopher_words_too_long": ("mean_word_length", 10.0, 10.01),
        "gopher_too_many_hashes": ("hash_per_word", 0.1, 0.101),
        "gopher_too_many_ellipses": ("ellipsis_per_word", 0.1, 0.101),
        "gopher_bullet_lines": ("datatrove_bullet_line_ratio", 0.9, 0.901),
        "gopher_ellipsis_lines": ("datatrove_ellipsis_line_ratio", 0.3, 0.301),
        "gopher_too_few_alpha_words": ("alpha_word_ratio", 0.8, 0.799),
        "gopher_too_few_stop_words": ("datatrove_stop_word_count", 2, 1),
    },
    "gopher-repetition@paper": {
        "gopher_duplicate_lines": ("duplicate_line_ratio", 0.3, 0.301),
        "gopher_duplicate_paragraphs": ("duplicate_paragraph_ratio", 0.3, 0.301),
        "gopher_duplicate_line_chars": ("duplicate_line_char_ratio", 0.2, 0.201),
        "gopher_duplicate_paragraph_chars": ("duplicate_paragraph_char_ratio", 0.2, 0.201),
        "gopher_top_2gram": ("top_2gram_char_ratio", 0.2, 0.201),
        "gopher_top_3gram": ("top_3gram_char_ratio", 0.18, 0.181),
        "gopher_top_4gram": ("top_4gram_char_ratio", 0.16, 0.161),
        "gopher_duplicate_5grams": ("duplicate_5gram_char_ratio", 0.15, 0.151),
        "gopher_duplicate_6grams": ("duplicate_6gram_char_ratio", 0.14, 0.141),
        "gopher_duplicate_7grams": ("duplicate_7gram_char_ratio", 0.13, 0.131),
        "gopher_duplicate_8grams": ("duplicate_8gram_char_ratio", 0.12, 0.121),
        "gopher_duplicate_9grams": ("duplicate_9gram_char_ratio", 0.11, 0.111),
        "gopher_duplicate_10grams": ("duplicate_10gram_char_ratio", 0.1, 0.101),
    },
    "gopher-repetition@datatrove": {
        "gopher_duplicate_lines": ("datatrove_duplicate_line_ratio", 0.3, 0.301),
        "gopher_duplicate_paragraphs": ("datatrove_duplicate_paragraph_ratio", 0.3, 0.301),
        "gopher_duplicate_line_chars": ("datatrove_duplicate_line_char_ratio", 0.2, 0.201),
        "gopher_duplicate_paragraph_chars": ("datatrove_duplicate_paragraph_char_ratio", 0.2, 0.201),
        "gopher_top_2gram": ("datatrove_top_2gram_per_char", 0.2, 0.201),
        "gopher_top_3gram": ("datatrove_top_3gram_per_char", 0.18, 0.181),
        "gopher_top_4gram": ("datatrove_top_4gram_per_char", 0.16, 0.161),
        "gopher_duplicate_5grams": ("datatrove_duplicate_5gram_char_ratio", 0.15, 0.151),
        "gopher_duplicate_6grams": ("datatrove_duplicate_6gram_char_ratio", 0.14, 0.141),
        "gopher_duplicate_7grams": ("datatrove_duplicate_7gram_char_ratio", 0.13, 0.131),
        "gopher_duplicate_8grams": ("datatrove_duplicate_8gram_char_ratio", 0.12, 0.121),
        "gopher_duplicate_9grams": ("datatrove_duplicate_9gram_char_ratio", 0.11, 0.111),
        "gopher_duplicate_10grams": ("datatrove_duplicate_10gram_char_ratio", 0.1, 0.101),
    },
    "c4@paper": {
        "c4_too_few_sentences": ("c4_sentence_count", 3, 2),
        "c4_lorem_ipsum": ("has_lorem_ipsum", False, True),
        "c4_curly_bracket": ("has_curly_bracket", False, True),
    },
    "c4@datatrove": {
        "c4_too_few_sentences": ("datatrove_c4_sentence_count", 5, 4),
        "c4_lorem_ipsum": ("has_datatrove_lorem_ipsum", False, True),
        "c4_curly_bracket": ("has_datatrove_curly_bracket", False, True),
    },
    "fineweb@paper": {
        "fineweb_too_few_terminal_lines": ("terminal_punctuation_line_ratio", 0.121, 0.12),
        "fineweb_duplicate_line_chars": ("duplicate_line_char_ratio", 0.099, 0.1),
        "fineweb_short_lines": ("short_line_ratio", 0.669, 0.67),
    },
    "fineweb@datatrove": {
        "fineweb_too_few_terminal_lines": ("datatrove_terminal_punctuation_line_ratio", 0.12, 0.119),
        "fineweb_duplicate_line_chars": ("datatrove_filled_duplicate_char_ratio", 0.01, 0.011),
        "fineweb_short_lines": ("datatrove_short_line_ratio", 0.67, 0.671),
        "fineweb_too_many_newlines": ("newline_per_word", 0.3, 0.301),
    },
}

#: A document that no rule of any preset drops.
GOOD = {
    "word_count": 500,
    "mean_word_length": 4.5,
    "alpha_word_ratio": 1.0,
    "stop_word_count": 8,
    "c4_sentence_count": 20,
    "terminal_punctuation_line_ratio": 1.0,
    "datatrove_stop_word_count": 8,
    "datatrove_c4_sentence_count": 20,
    "datatrove_terminal_punctuation_line_ratio": 1.0,
}


def preset(label: str) -> dict[str, Any]:
    """A preset as its file has it."""
    return tomllib.loads((PRESETS / f"{label}.toml").read_text(encoding="utf-8"))


def reasons(label: str, **changed: Any) -> list[str]:
    """The rules of a preset that drop the good document with these values changed, as DuckDB answers on real types."""
    kinds = {name: kind for module in HEURISTIC for name, kind in module.COLUMNS.items() if kind != SPANS}
    row = {name: [(GOOD | changed).get(name, 0)] for name in kinds}
    con = duckdb.connect()
    con.register("row", pa.table({name: pa.array(row[name]).cast(kind) for name, kind in kinds.items()}))
    rules = preset(label)["rules"]
    hits = con.execute(f"SELECT {', '.join(f'({rule})' for rule in rules.values())} FROM row").fetchone()
    assert hits is not None
    assert set(map(type, hits)) == {bool}
    return [name for name, hit in zip(rules, hits, strict=True) if hit]


def test_every_rule_of_every_preset_has_its_bounds() -> None:
    """A rule that is added to a preset needs a pair here."""
    assert {file.name.removesuffix(".toml") for file in PRESETS.glob("*.toml")} == set(BOUNDS)
    for label, bounds in BOUNDS.items():
        table = preset(label)
        assert f"{table['name']}@{table['version']}" == label
        assert table["source"]
        assert list(table["rules"]) == list(bounds)


@pytest.mark.parametrize("label", BOUNDS)
def test_a_good_document_is_kept(label: str) -> None:
    """No rule hits a document that has nothing wrong."""
    assert reasons(label) == []


@pytest.mark.parametrize(
    ("label", "rule", "column", "kept", "dropped"),
    [(label, rule, *bound) for label, bounds in BOUNDS.items() for rule, bound in bounds.items()],
)
def test_bound(label: str, rule: str, column: str, kept: Any, dropped: Any) -> None:
    """A rule keeps what lies on the right side of its bound, drops what lies on the other, and says so by name."""
    assert reasons(label, **{column: kept}) == []
    assert reasons(label, **{column: dropped}) == [rule]


@pytest.mark.parametrize(
    ("duplicates", "rules"),
    [(3, ["gopher_duplicate_line_chars"]), (4, ["gopher_duplicate_lines", "gopher_duplicate_line_chars"])],
)
def test_a_measured_ratio_on_the_bound(duplicates: int, rules: list[str]) -> None:
    """Three duplicates in ten lines are 0.3 in float32 too, which is not more than 0.30."""
    text = "\n".join(["same"] * (duplicates + 1) + [f"{digit} no" for digit in range(9 - duplicates)])
    answers = measured(gopher_repetition, [text])
    values = {name: answers[name][0].as_py() for name in ("duplicate_line_ratio", "duplicate_line_char_ratio")}
    assert reasons("gopher-repetition@paper", **values) == rules


def test_presets_of_one_version_share_no_rule_name() -> None:
    """All presets of a version can stand in one recipe."""
    for version in ("paper", "datatrove"):
        names = [rule for label in BOUNDS if label.endswith(f"@{version}") for rule in preset(label)["rules"]]
        assert len(names) == len(set(names))
