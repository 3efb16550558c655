"""The signal `mojibake` against a slow version, by making mojibake, and on real text; its cases are data."""

# ruff: noqa: RUF001 — quotation marks are meant where they stand

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import mojibake as plain

from curation.publish import edited
from curation.signals import mojibake
from curation.signals.batch import Batch

CASES = [
    json.loads(line)["text"]
    for line in (Path(__file__).parent / "cases" / "mojibake.jsonl").read_text(encoding="utf-8").splitlines()
]


def runs(texts: list[str]) -> list[list[tuple[int, int]]]:
    """What the kernel finds in each text."""
    batch = Batch(pa.array(texts, pa.string()))
    found: list[list[tuple[int, int]]] = [[] for _ in texts]
    for row, start, end in mojibake._candidates(batch, np.zeros(len(texts), np.int32)):
        found[row].append((start - int(batch.bounds[row]), end - int(batch.bounds[row])))
    return found


def repaired(text: str) -> str:
    """A text with its spans replaced by their repairs, as publish does it."""
    raw = text.encode()
    (spans,) = mojibake.measure(Batch(pa.array([text], pa.string())))["mojibake"].to_pylist()
    names = mojibake.stand_ins([raw[span["start"] : span["end"]].decode() for span in spans], b"")
    pieces = [(span["start"], span["end"], name.encode()) for span, name in zip(spans, names, strict=True)]
    return edited(raw, [], pieces).decode()


SIGNS = st.text(st.sampled_from("a ÃÂâ€™é©\x80\x93\x9d\xad\xa0ð漢😀\ufffdŸœžǼ"), max_size=40)


@given(texts=st.lists(SIGNS | st.text(max_size=40), max_size=4))
@settings(max_examples=400, deadline=None)
def test_runs_are_those_of_the_slow_version(texts: list[str]) -> None:
    """And every U+FFFD is counted."""
    assert runs(texts) == [plain.runs(text) for text in texts]
    lost = mojibake.measure(Batch(pa.array(texts, pa.string())))["replacement_char_count"]
    assert lost.tolist() == [text.count("\ufffd") for text in texts]


def test_runs_of_the_cases() -> None:
    """In one batch."""
    assert runs(CASES) == [plain.runs(text) for text in CASES]


@given(text=st.text(st.sampled_from("abc é ü ñ ’ “ ” — … Б я 中 😀 ."), max_size=40), twice=st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_was_broken_is_whole_again(text: str, twice: bool) -> None:
    """A text whose words were read as Latin-1, once or twice, is repaired."""
    broken = text
    for _ in range(1 + twice):
        broken = broken.encode().decode("latin-1")
    assert repaired(broken) == text


@pytest.mark.parametrize("text", CASES)
def test_a_repaired_text_needs_no_repair(text: str) -> None:
    """Measuring it again finds nothing."""
    assert mojibake.measure(Batch(pa.array([repaired(text)], pa.string())))["mojibake_count"].tolist() == [0]


def test_long_runs_are_cut_between_characters() -> None:
    """A text that is nothing else is repaired in pieces, in linear time."""
    assert repaired("Ã©â€™" * 20_000) == "é’" * 20_000


def test_candidates_are_taken_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few the kernel may write at once, the answers are the same."""
    batch = Batch(pa.array([*CASES, *CASES], pa.string()))
    whole = mojibake.measure(batch)
    monkeypatch.setattr(mojibake, "_CANDIDATES", 1)
    again = mojibake.measure(batch)
    assert again["mojibake"].equals(whole["mojibake"])
    assert again["replacement_char_count"].tolist() == whole["replacement_char_count"].tolist()


@pytest.mark.data
def test_runs_in_real_documents(data: Path) -> None:
    """The kernel and the slow version agree on web pages, most of them without any."""
    for rows in pq.ParquetFile(data / "bench" / "text-mixed.parquet").iter_batches(2000, columns=["text", "source"]):
        texts = [row["text"] for row in rows.to_pylist() if not row["text"].isascii() and len(row["text"]) < 1000]
        assert runs(texts) == [plain.runs(text) for text in texts]
