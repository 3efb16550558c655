"""The kernels give what the plain versions in tests/plain give: equal, not close."""

# ruff: noqa: RUF001 — full-width marks are meant where they stand

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain import batch as plain_batch
from plain import c4, datatrove, fineweb, gopher_quality, gopher_repetition, length, symbols
from plain import text as plain
from plain.hashing import folded, hashed

from curation import signals
from curation.kernels import blake2b, folding, grouping, positions, unicode
from curation.signals.batch import Batch

#: What the definitions turn on, far more often than chance would have it, and what only some kernels look at.
PIECES = st.sampled_from(
    (
        *"aZ9.!?…'\"()»“- \t\n\r\0_\u0301\u0e01\u0e31漢。！カーあ\u0964\u3000",
        *"\u2028\u200b😀\u212a\u0130{}[]#:/\x85\x1c\v",
        "\n", "\n\n", "\r\n", " ", " ", "...", "http://", "HTTPS://", "lorem ipsum", "[12]", "[edit]",
        "[citation needed]", "javascript", "JavaScript", "use coo\u212aies", "uses cookies", "use of cookies",
        "cookie policy", "Terms of Use", "privacy policy", "• ", "- ", "the ", "To ", "THAT", "word ", "a b c. ",
        "x" * 9, "x" * 1_001, "e\u0301", "ſ", "ẞtraße", "\U000e0100", "\U0002ffff", "अनुच्छेद", "가\u11a8",
        "\u023a", "ΐ", "one two three four five. ",
    )
)  # fmt: skip
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TEXT = st.lists(PIECES | CHARACTERS, max_size=40).map("".join)
#: Few words, so that lines, paragraphs and n-grams repeat.
REPETITIVE = st.lists(
    st.sampled_from(["a", "bb", "ccc", "漢", "\n", "\n\n", " \n", "a bb ccc a bb", "A"]), max_size=80
).map(" ".join)

REFERENCES = {
    "length": length, "symbols": symbols, "gopher_quality": gopher_quality, "gopher_repetition": gopher_repetition,
    "c4": c4, "fineweb": fineweb,
}  # fmt: skip


def measured(name: str, texts: list[str | None], kind: pa.DataType | None = None) -> dict[str, list[Any]]:
    """The columns of a signal, as they would be written."""
    (module,) = [module for module in signals.SIGNALS if signals.signal_name(module) == name]
    answers = signals.bare(module).measure(Batch(pa.array(texts, kind or pa.string())))
    return {column: written(values, module.COLUMNS[column]) for column, values in answers.items()}


def written(values: Any, kind: pa.DataType) -> list[Any]:
    """Values as a column of this type holds them."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return array.cast(kind).to_pylist()


def plainly(name: str, texts: list[str | None]) -> dict[str, list[Any]]:
    """The columns that the plain version gives."""
    answers = REFERENCES[name].measure(plain_batch.Batch(pa.array(texts, pa.string())))
    columns = REFERENCES[name].COLUMNS
    return {name: written(values, columns[name]) for name, values in answers.items() if "datatrove" not in name}


def datatrove_plainly(texts: list[str | None]) -> dict[str, list[Any]]:
    """The columns of `datatrove` that the plain version gives."""
    rows = [datatrove.measured(text or "") for text in texts]
    columns = dict(signals.datatrove.COLUMNS)
    return {name: written([row[name] for row in rows], kind) for name, kind in columns.items()}


def check(texts: list[str | None]) -> None:
    """Every heuristic signal of these texts is that of the plain versions."""
    for name in REFERENCES:
        assert measured(name, texts) == plainly(name, texts), name
    assert measured("datatrove", texts) == datatrove_plainly(texts)


@given(st.lists(TEXT | REPETITIVE | st.none(), max_size=5))
@example(["", None, "\u0301", "\0", "אבג דהו", "👩‍👩‍👧‍👦 👍🏽 🇩🇪", "x" * 8 + " " + "x" * 8 + "\0", "ab\nab\0"])
@settings(max_examples=200, deadline=None)
def test_signals_are_those_of_the_plain_versions(texts: list[str | None]) -> None:
    """On arbitrary Unicode, and on texts made of what the definitions turn on."""
    check(texts)


@given(TEXT)
@settings(max_examples=150, deadline=None)
def test_words_and_lines_are_those_of_the_plain_versions(text: str) -> None:
    """As strings too, in a batch that begins elsewhere, and in large_string."""
    batch = Batch(pa.array(["before", text, None, text])[1:])
    assert batch.words == [plain.words(text), [], plain.words(text)]
    assert batch.lines == [plain.lines(text), [], plain.lines(text)]
    assert Batch(pa.array([text], pa.large_string())).words == [plain.words(text)]


@given(st.lists(TEXT, max_size=4))
@example(["E\u0301\x1c \x1fE\u0301\n", " E\u0301 \u2003\x85E\u0301\t"])  # Python takes U+001C for white space
@example(["A\u0301\u2000ÄE\u0301ẞ\u3000\u0301B", "Straße", "", "İ", "\u1100\u1161\u11a8"])  # words for Python
@example(["\u0587" * 200, "\u1f80" * 99 + " \u0390\u0587", "\ufb03 \u0390"])  # to twice as many bytes, or thrice
@example(["\u0995\u09be \u0995\u09be\u3000\u09be x \u0995\u09be", "\u0995\u09be", "\u0995\u09be\n"])  # in a row
@settings(max_examples=150, deadline=None)
def test_folded_words_and_texts_are_those_of_python(texts: list[str]) -> None:
    """Hashes of folded words, and texts as exact duplicates are compared, whatever Python must be asked for."""
    batch = Batch(pa.array(texts, pa.string()))
    hashes = folding.word_hashes(batch.data, batch.bounds, batch.word_spans)
    assert hashes.tolist() == [hashed(folded(word).encode()) for text in texts for word in plain.words(text)]
    found = [
        bytes(data[start:end]).decode()
        for data, bounds in folding.normalised_texts(batch.data, batch.bounds)
        for start, end in pairwise(bounds.tolist())
    ]
    for text, one in zip(texts, found, strict=True):
        assert one == re.sub(f"[{re.escape(plain.WHITE_SPACE)}]+", " ", folded(text)).strip(" ")


SIZES = st.integers(0, 300) | st.sampled_from([0, 1, 7, 8, 127, 128, 129, 255, 256, 257, 384, 1_000, 5_000])


@given(sizes=st.lists(st.tuples(SIZES, SIZES), max_size=12), before=st.integers(0, 9), seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_digests_are_those_of_hashlib(sizes: list[tuple[int, int]], before: int, seed: int) -> None:
    """Whatever lies side by side: no head, no text, and what ends in the middle of a block or at its end."""
    numbers = np.random.default_rng(seed)
    heads = [numbers.bytes(head) for head, _ in sizes]
    texts = [numbers.bytes(text) for _, text in sizes]
    head_bounds = np.cumsum([0, *map(len, heads)], dtype=np.int64)
    bounds = np.cumsum([before, *map(len, texts)], dtype=np.int64)
    joined, data = (np.frombuffer(b"".join(pieces), np.uint8) for pieces in (heads, [b"b" * before, *texts]))
    found = blake2b.hexadecimal(blake2b.digests(joined, head_bounds, data, bounds))
    assert [bytes(digits).decode() for digits in found] == [
        hashlib.blake2b(head + text, digest_size=blake2b.SIZE).hexdigest()
        for head, text in zip(heads, texts, strict=True)
    ]


NUMBERS = st.integers(-300, 300) | st.integers(-(2**33), 2**33)


@given(st.sets(NUMBERS, max_size=40), st.lists(NUMBERS, max_size=40))
@example({63, 64, 127, 128}, [63, 64, 65, 127, 128, 129])
@settings(max_examples=200, deadline=None)
def test_positions_are_those_of_a_search(among: set[int], others: list[int]) -> None:
    """Of numbers that are there, lie between, come before all or after all."""
    ascending = np.array(sorted(among), np.int64)
    if among and ascending[-1] - ascending[0] > 2**20:  # a bit is held for each number between
        ascending = ascending[:1]
    asked = np.array([*among, *others], np.int64)
    assert positions.Positions(ascending).of(asked).tolist() == np.searchsorted(ascending, asked).tolist()


@given(
    keys=st.lists(st.integers(0, 2**64 - 1) | st.just(0), max_size=60), turns=st.integers(1, 5),
    start=st.integers(0, 99), seed=st.none() | st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_keys_of_all_turns_are_those_of_each(keys: list[int], turns: int, start: int, seed: int | None) -> None:
    """In one pass and in several, with and without rows that are left out, none is lost."""
    given_keys = np.array(keys, np.uint64)
    left_out = None if seed is None else np.random.default_rng(seed).random(len(keys)) < 0.3
    found = grouping.in_turns(given_keys, start, turns, left_out)
    for turn, (mine, rows) in enumerate(found):
        same, their_rows = grouping.chosen(given_keys, start, turn, turns, left_out)
        assert (mine.tolist(), rows.tolist()) == (same.tolist(), their_rows.tolist())
    is_out = [False] * len(keys) if left_out is None else left_out.tolist()
    kept = [start + row for row, (key, out) in enumerate(zip(keys, is_out, strict=True)) if key and not out]
    assert sorted(row for _, rows in found for row in rows.tolist()) == kept


def test_the_table_of_characters_is_unicode_s() -> None:
    """Every bit of every code point, by Python's own classes and the plain version's."""
    table = unicode.properties()
    classes = {
        unicode.WHITE: plain._WHITE, unicode.MARK: plain._MARKS, unicode.SPACELESS: plain._LETTERS,
        unicode.TERMINAL: re.escape(plain._TERMINALS), unicode.CLOSING: re.escape(plain._CLOSING),
        unicode.CLOSING_BEFORE_SPACE: re.escape(plain._CLOSING_BEFORE_SPACE),
        unicode.FULL_WIDTH_TERMINAL: plain.FULL_WIDTH_TERMINALS,
    }  # fmt: skip
    patterns = {bit: re.compile(f"[{body}]") for bit, body in classes.items()}
    majors = {
        unicode.LETTER: "L", unicode.NUMBER: "N", unicode.MARK: "M", unicode.PUNCTUATION: "P", unicode.SYMBOL: "S",
    }  # fmt: skip
    for point in range(unicode.SIZE):
        character, category = chr(point), unicodedata.category(chr(point))
        bits = int(table[point])
        for bit, pattern in patterns.items():
            assert bool(bits & bit) == bool(pattern.match(character)), hex(point)
        for bit, major in majors.items():
            assert bool(bits & bit) == (category[0] == major), hex(point)
        assert bool(bits & unicode.UPPER) == (category == "Lu")
        assert bool(bits & unicode.DIGIT) == (category == "Nd")


def cases() -> list[str]:
    """The texts of all cases."""
    folder = Path(__file__).parent / "cases"
    rows = [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    return [row["text"] for row in rows if "text" in row]


def test_cases() -> None:
    """On every text that any signal's cases have."""
    texts = cases()
    assert len(texts) > 150
    check(list(texts))


@pytest.mark.data
def test_real_documents(data: Path) -> None:
    """On real documents of every source of the mixed file."""
    table = pq.read_table(data / "bench" / "text-mixed.parquet", columns=["text"])
    chosen = np.random.default_rng(4).choice(table.num_rows, 2_000, replace=False)
    check(table["text"].take(pa.array(np.sort(chosen))).to_pylist())


def test_a_repetitive_text_of_many_words_is_worked_through_in_partitions() -> None:
    """Tables that are filled in parts, and grow, give what one table gives."""
    rng = np.random.default_rng(7)
    words = [f"w{number}" for number in rng.zipf(1.3, 120_000) % 5_000]
    check([" ".join(words)])


@pytest.mark.parametrize(
    "text", ["." * 200_000 + "a", ".)" * 100_000 + "a", "[" * 200_000, "\u0e01" + "\u0e31" * 200_000, "a\n" * 100_000]
)
def test_long_runs_of_one_kind(text: str) -> None:
    """What a reading with backtracking would take minutes for."""
    for name in REFERENCES:
        measured(name, [text])


def test_offsets_past_two_gigabytes() -> None:
    """A large_string batch of more than 2^31 bytes: the last text is measured as it is alone."""
    last = "One sentence here. And another one, with #1 and 漢字。\r\n\r\nbut but but but but but but but".encode()
    data = np.zeros(2**31 + 100 + len(last), np.uint8)  # pages of zeros take no memory
    data[-len(last) :] = np.frombuffer(last, np.uint8)
    offsets = np.array([0, 2**30, 2**31 + 100, len(data)], np.int64)
    text = pa.Array.from_buffers(pa.large_string(), 3, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    alone = pa.array([last.decode()])
    for name in (*REFERENCES, "datatrove"):
        module = next(module for module in signals.SIGNALS if signals.signal_name(module) == name)
        found, expected = (signals.bare(module).measure(Batch(one)) for one in (text[2:], alone))
        for column, kind in module.COLUMNS.items():
            assert written(found[column], kind) == written(expected[column], kind), column
