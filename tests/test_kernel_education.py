"""Educational scoring in machine code: the words that Python's definition finds, the grades that fastText gives."""

# ruff: noqa: RUF001 — full-width marks are meant where they stand

from __future__ import annotations

import gzip
import json
import tarfile
import time

import fasttext
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain import education as plain

from classifiers import model as models
from classifiers.text import WINDOW, words
from curation import kernels
from curation.errors import UsageError

#: Where definitions are easily missed: addresses, contractions, marks that compose or move, what folding makes longer.
PIECES = (
    *"abwWZéßİſﬃ½²ⅣµŉǅⅠ＠：／．ｗ＇ﷺ⅓漢々ー・ｶﾞあ한\u1100\u1161\u11a8ก\u0e35\u0e48ह\u093f\u094d\u093c\u09beა",
    *("\u0301", "\u0323", "\u0344", "\u0345", "\u3099", "\u0f73", "\u0f71", "\u0c4d", "\u1e9e", "\U00010400"),
    *(" ", "\n", "\x1c", "\x85", "\xa0", "\u2003", "\u3000", "\ufeff", "\u200d", "\0", "\U000e0100", "\U0002f800"),
    *("_", "1", "٣", "@", ":", "/", ".", "'", "\u2019", "-", "://", "www.", "www", "//", "x@y", "it's", "word " * 3),
    *("eightlet", "sevenle", "ninelette", "sixteenletterssx", "seventeenlettersx", "é" * 5, "Straße", "a" * 30),
)  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)


def knowing(vocabulary):
    """A model that knows these words and has no matrices."""
    none = np.zeros((0, 1), np.float32)
    return models.Model(*models.vocabulary(vocabulary), none, none, np.zeros(0), -1, 1)


def found(texts, leave_out=()):
    """The words of each text as the kernel finds them, and as Python does: all but those left out."""
    expected = [[word for word in words(text) if word not in leave_out] for text in texts]
    vocabulary = sorted({word for line in expected for word in line})
    answers = [[]] * len(texts)
    for rows, numbers, ends in knowing(vocabulary).known(*models.joined(texts)):
        for row, line in zip(rows, np.split(numbers, ends[:-1]), strict=True):
            answers[row] = [vocabulary[number] for number in line]
    return answers, expected


@settings(max_examples=600, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.data())
@example(["@foo://x a@ @ @@ a@@ www.@x www.www.x wwww.x _www.x 1www.x -www.x 漢www.x ・www.x"], None)
@example(["it'www.x it's1s://x a'b://c ab_1://d ://e :// f://  g:// h:///i ・://j é://k"], None)
@example(["a'a'a 'a a' a''a a'1 1'a 漢'a a'漢 a\u2019é é'a'漢'b ninelette'er eightlet's"], None)
def test_words_are_those_of_the_definition(texts, data):
    """Whatever the text, the kernel finds the words that Python finds, in order."""
    distinct = sorted({word for text in texts for word in words(text)})
    leave_out = set(data.draw(st.lists(st.sampled_from(distinct), max_size=3))) if data and distinct else set()
    answers, expected = found(texts, leave_out)
    assert answers == expected


def test_words_of_every_character():
    """Every character, alone and between letters, gives the words that Python finds; no more than there is room for."""
    points = [*range(0xD800), *range(0xE000, 0x32000), *range(0xE0000, 0xE1000), 0x10FFFF]
    answers, expected = found([f"{chr(point)} a{chr(point)}b" for point in points])
    assert answers == expected
    assert all(len(words(chr(point))) <= 2 * len(chr(point).encode()) for point in points)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "é", "漢", "😀", " ", "b "]), min_size=4), st.integers(0, 40), TEXT, TEXT)
def test_words_of_long_texts(alphabet, more, start, end):
    """Of a text around and beyond three windows, the same three are read."""
    middle = "".join(alphabet) * (3 * WINDOW // len("".join(alphabet)))
    answers, expected = found([start + middle[: len(middle) - 20 + more] + end, start + middle * 3 + end])
    assert answers == expected


@pytest.mark.parametrize("piece", ["@", "a@", "://", "a://", "www.", "'", "a'", "@ ", ":", "w", "a.", "漢'", "é"])
def test_words_take_linear_time(piece):
    """A run of what addresses and contractions are made of costs no more than its length."""
    model = knowing(["a"])
    data, (_, end) = models.joined([piece * 400_000])
    table, _, expansions = kernels.normal.folded()
    began = time.process_time()
    model._known(data, np.array([[0, end, end, end, end, end]]), table, expansions)
    assert time.process_time() - began < 1


# Grades


def texts_of(data):
    """Real documents of many kinds and languages."""
    yield from pq.read_table(data / "textbooks/openstax.parquet", columns=["text"])["text"].to_pylist()
    for name, key in (
        ("internal/code", "text"), ("lowquality/forum-20newsgroups", "text"), ("lowquality/spamassassin", "raw"),
        ("web/gold", "text"),
    ):  # fmt: skip
        with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            yield from (json.loads(line)[key] for line in file)
    with tarfile.open(data / "internal/plain-text.tar.gz") as archive:
        yield from (archive.extractfile(one).read().decode("utf-8", "replace") for one in archive if one.isfile())


@pytest.mark.data
def test_real_documents_score_as_with_the_library(data):
    """Same words, same scores: 0.0001 apart at most, where the mean's last bit turned a rounding."""
    texts = list(texts_of(data))
    assert len(texts) > 5_000
    answers, expected = found(texts)
    assert answers == expected
    mine, theirs = models.scores(models.DEFAULT, texts), plain.scores(models.DEFAULT, texts)
    assert np.abs(mine - theirs).max() < 1.5e-4
    assert (mine != theirs).mean() < 0.005


@pytest.mark.data
def test_the_mixed_file_scores_as_with_the_library(data):
    """Every fifth document of the large file, of every kind that is in it."""
    texts = pq.read_table(data / "bench/text-mixed.parquet", columns=["text"])["text"].to_pylist()[::5]
    mine, theirs = models.scores(models.DEFAULT, texts), plain.scores(models.DEFAULT, texts)
    assert np.abs(mine - theirs).max() < 1.5e-4
    assert (mine != theirs).mean() < 0.005


def trained(path, lines, **settings):
    """A fastText model of these labelled lines."""
    text = path.with_suffix(".txt")
    text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    options = {"dim": 5, "epoch": 20, "lr": 0.5, "bucket": 30, "minCount": 1, "thread": 1, "verbose": 0} | settings
    fasttext.train_supervised(input=str(text), **options).save_model(str(path))
    return path


LINES = [
    f"__label__{(0, 3, 5)[n % 3]} " + " ".join(f"{'klm'[n % 3]}{'abcdeé漢'[m * n % 7]}" for m in range(9))
    for n in range(60)
]


@pytest.mark.parametrize("ngrams", [1, 2, 3, 5])
def test_ngrams_are_those_of_the_library(tmp_path, ngrams):
    """With n-grams of words, their hashes and buckets are fastText's; every unrounded grade agrees to six digits."""
    path = trained(tmp_path / "model.bin", LINES, wordNgrams=ngrams)
    texts = [" ".join(line.split()[1:]) for line in LINES] + ["ka", "la ka", "ka " * 100, "unknown", "kaß mé"]
    model = models.load(str(path))
    assert (model.last >= 0, model.ngrams) == (True, ngrams)
    expected = plain.predicted(path, [plain.prepared(path, text) for text in texts])
    for rows, numbers, ends in model.known(*models.joined(texts)):
        assert len(rows) == len(texts)
        assert model.grades(numbers, ends) == pytest.approx(expected, abs=2e-6)
    assert models.scores(path, texts).tolist() == models.scores(path, texts[::-1]).tolist()[::-1]


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"minn": 2, "maxn": 4}, "parts of words"), ({"loss": "hs"}, "its loss is hs"), ({"loss": "ova"}, "loss is ova")],
)
def test_models_that_scoring_does_not_know_are_refused(tmp_path, settings, told):
    """A fastText model of another build is refused by what it is."""
    path = trained(tmp_path / "model.bin", LINES, **settings)
    with pytest.raises(UsageError, match=told) as caught:
        models.scores(path, ["ka"])
    assert "curate classifier train" in caught.value.remedy


def test_a_quantised_model_is_refused(tmp_path):
    """Quantised matrices are not read."""
    model = fasttext.load_model(str(trained(tmp_path / "model.bin", LINES, dim=4, wordNgrams=2, bucket=300)))
    model.quantize()
    model.save_model(str(tmp_path / "small.ftz"))
    with pytest.raises(UsageError, match="quantised"):
        models.scores(tmp_path / "small.ftz", ["ka"])


@given(st.floats(-750, 0))
@example(0.0)
@example(-700.0)
@example(-0.34657359027997264)
def test_the_exponential_is_right(value):
    """Within a few units of the last place of the C library's."""
    output = np.array([[0.0], [value]], np.float32)
    worth = np.array([0.0, 1.0])
    model = models.Model(*models.vocabulary(["a"]), np.ones((1, 1), np.float32), output, worth, -1, 1)
    (share,) = model.grades(np.zeros(1, np.int32), np.ones(1, np.int64))
    power = float(np.exp(np.float64(np.float32(value))))
    assert share == pytest.approx((power / (1 + power) + 1e-5) / (1 + 2e-5), rel=1e-14)
