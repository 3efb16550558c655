"""Language in machine code: the sample that the plain definition cuts, the answers that py3langid gives."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain import language as plain

from classifiers import language
from classifiers.model import joined
from curation import kernels

ROOT = Path(__file__).parent.parent
WINDOW = language.WINDOW

#: The library adds up in single precision, in the order of its linear algebra; both sides round to 0.0001.
TOLERANCE = 1.5e-4

CASES = [
    json.loads(line)["text"]
    for name in ("language", "education")
    for line in (ROOT / "tests/cases" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
]
PIECES = (
    *("the ", "und ", "Être ", "É", "e\u0301", "\u0323\u0301", "\u0301\u0323", "Å\u212b", "한국어 ", "\u1112"),
    *("\u1161", "\u11ab", "漢字", "かが", "\u3099", "ที่นี่ ", "हिन्दी ", "क\u093c", "\u0958", "İSTANBUL ", "ΣΟΦΟΣ ", "ǅ"),
    *("ª", "שלום ", "عَرَبِيٌّ ", "Привет ", "THE ", "A", "1", "!", "\0"),
    *(" ", "\n", "\u3000", "\x85", "\x1c", "\ufeff", "\U000e0100", "😀", "\u0344", "\u2126", "ﬁ"),
)  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=150).map("".join)


def assert_alike(texts):
    """The kernel's answers are the library's, on the same samples."""
    languages, scores = language.identified(*joined(texts))
    for text, found, score in zip(texts, languages.to_pylist(), scores.tolist(), strict=True):
        theirs, expected = plain.identify(text)
        assert abs(score - expected) < TOLERANCE, text
        assert found == theirs, text


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=12))
@example(["ISTANBUL", "İ", "ΣΟΦΟΣ", "A1!", "Ǆ", "ǅ", "漢A", "aB", "ª", "É E\u0301"])
def test_answers_are_those_of_the_library(texts):
    """Whatever the text: in capitals, in marks out of order, in parts of Hangul."""
    assert_alike(texts)


def test_cases_are_answered_as_by_the_library():
    """All cases of both classifiers, as they stand, in capitals, and repeated beyond what is read."""
    assert len(CASES) > 60
    assert_alike([*CASES, *map(str.upper, CASES), *(f"{text} " * 30 for text in CASES)])


@settings(max_examples=200, deadline=None)
@given(TEXT, st.integers(0, 3 * WINDOW), st.sampled_from(["a", "é", "漢", "😀", "a漢"]))
@example("", 3 * WINDOW, "a")
@example("", 3 * WINDOW // 2, "é")
def test_the_sample_is_the_defined_one(text, count, filling):
    """Three windows of bytes, without the characters that they would cut."""
    text = text[:20] + filling * count + text[20:]
    data, bounds = joined([text])
    read = np.empty((1, 6), np.int64)
    kernels.language.windows(data, bounds, kernels.normal.composed(), WINDOW, read)
    parts = [data[start:end].tobytes().decode() for start, end in read.reshape(3, 2) if start < end]
    assert "\n".join(parts) == plain.sample(text)


def test_the_sample_of_a_long_text():
    """Start, middle and end, at places that depend on the length alone."""
    text = "".join(chr(97 + place % 26) for place in range(10_000))
    assert plain.sample(f"\n{text} \u3000") == f"{text[:100]}\n{text[4950:5050]}\n{text[-100:]}"
    assert_alike([f"\n{text} \u3000"])


@pytest.mark.data
def test_real_documents_are_answered_as_by_the_library(data):
    """The Declaration of Human Rights in every language, Chinese news, every thirtieth document of the large file."""
    texts = pq.read_table(data / "bench/text-mixed.parquet", columns=["text"])["text"].to_pylist()[::30]
    with gzip.open(data / "rag/zh_refine.json.gz", "rt", encoding="utf-8") as file:
        texts += [line[:2_000] for line in file]
    with tarfile.open(data / "internal/plain-text.tar.gz") as archive:
        texts += [archive.extractfile(one).read().decode() for one in archive if "udhr2/" in one.name and one.isfile()]
    assert len(texts) > 2_000
    assert_alike(texts)


def test_a_split_changes_nothing():
    """Texts are walked side by side, and each answer is that of the text alone."""
    whole = language.identified(*joined(CASES))
    for size in (1, 3, 8, 9):
        parts = [language.identified(*joined(CASES[at : at + size])) for at in range(0, len(CASES), size)]
        assert [name for part, _ in parts for name in part.to_pylist()] == whole[0].to_pylist()
        assert np.concatenate([scores for _, scores in parts]).tolist() == whole[1].tolist()


def test_weights_are_those_of_the_library():
    """The whole numbers that the kernel adds up are the library's weights, to the last bit."""
    model, theirs = language._model(), plain.identifier()
    weights = model.arrays[2].astype(np.float32) * np.float32(kernels.language.STEP)
    assert np.array_equal(weights, theirs.nb_ptc.astype(np.float32))
    assert model.names.to_pylist() == [*theirs.nb_classes, "und"]
    assert [tuple(pair) for pair in model.arrays[4].tolist()] == theirs._alias_pairs


def test_the_model_is_unpacked_once():
    """A second process does not ask the library at all."""
    language.identify("once")
    code = "import sys; from classifiers import language as one; one.identify('Oui'); print('py3langid' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
