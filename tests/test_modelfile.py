"""Reading fastText model files: the library's own values, and an error in a line for whatever else a file holds."""

from __future__ import annotations

import gzip
import pickle
import struct
import tracemalloc
import zipfile

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import model as models
from classifiers.modelfile import ModelFileError, parse
from curation.errors import CurationError, UsageError


def made(folder, **options):
    """The bytes of a small model."""
    lines = [f"__label__{(0, 5)[n % 2]} " + " ".join(f"{'kl'[n % 2]}{'abcdeé漢'[m * n % 7]}" for m in range(9))
             for n in range(40)]  # fmt: skip
    (folder / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = {"dim": 3, "epoch": 3, "bucket": 20, "minCount": 1, "thread": 1, "verbose": 0} | options
    fasttext.train_supervised(input=str(folder / "train.txt"), **asked).save_model(str(folder / "model.bin"))
    return (folder / "model.bin").read_bytes()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A model's bytes, with pairs of words."""
    return made(tmp_path_factory.mktemp("small"), wordNgrams=2)


@pytest.mark.parametrize("ngrams", [1, 3])
def test_values_are_those_of_the_library(tmp_path, ngrams):
    """Words, labels and both matrices, bit for bit."""
    found = parse(made(tmp_path, wordNgrams=ngrams))
    theirs = fasttext.load_model(str(tmp_path / "model.bin"))
    assert found.words == theirs.get_words()
    assert found.labels == theirs.get_labels()
    assert np.array_equal(found.rows, theirs.get_input_matrix())
    assert np.array_equal(found.output, theirs.get_output_matrix())
    assert found.ngrams == ngrams


class Trap:
    """Executed if anything unpickles it."""

    def __reduce__(self):
        """What unpickling would do."""
        return (pytest.fail, ("it was unpickled",))


def wrong_files(folder, small):
    """Files that are no models, and what is said of each."""
    archive = folder / "archive"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", b"x")
    (folder / "words.txt").write_text("one two three four\n" * 50)
    options = {"dim": 3, "minCount": 1, "thread": 1, "verbose": 0}
    vectors = folder / "vectors"
    fasttext.train_unsupervised(input=str(folder / "words.txt"), **options).save_model(str(vectors))
    return {
        "empty": (b"", "it is empty"),
        "pickle": (pickle.dumps(Trap()), "a Python pickle"),
        "zip": (archive.read_bytes(), "a zip archive"),
        "gzip": (gzip.compress(small), "compressed by gzip"),
        "text": (b"not a model", "something else, which begins with 6e 6f 74"),
        "vectors": (vectors.read_bytes(), "but one of word vectors"),
        "version": (small[:4] + struct.pack("<i", 11) + small[8:], "of version 11; expected 12"),
        "longer": (small + b"\0", "1 bytes follow its end"),
        "half": (small[: len(small) // 2], "cut off"),
        "header": (small[:30], "cut off"),
    }


def test_other_files_are_refused_by_what_they_are(tmp_path, small):
    """One line with a remedy; nothing is unpickled."""
    for name, (data, said) in wrong_files(tmp_path, small).items():
        path = tmp_path / f"{name}.bin"
        path.write_bytes(data)
        with pytest.raises(UsageError, match=said) as caught:
            models.scores(path, ["text"])
        assert "\n" not in caught.value.message
        assert "curate classifier train" in caught.value.remedy


def test_a_lying_header_takes_no_memory(small):
    """Counts and sizes that the file has no bytes for are refused before anything is made for them."""
    header = 8 + 12 * 4 + 8
    dictionary = struct.pack("<3i2q", 2**31 - 1, 2**31 - 3, 2, 5, -1)
    lies = {"words": small[:header] + dictionary + small[header + 28 :]}
    matrix = small.index(struct.pack("<Bqq", 0, len(parse(small).rows), 3))
    lies["rows"] = small[:matrix] + struct.pack("<Bqq", 0, 2**40, 3) + small[matrix + 17 :]
    lies["columns"] = small[:matrix] + struct.pack("<Bqq", 0, 1, 2**62) + small[matrix + 17 :]
    lies["negative"] = small[:matrix] + struct.pack("<Bqq", 0, -1, 3) + small[matrix + 17 :]
    tracemalloc.start()
    for data in lies.values():
        with pytest.raises(ModelFileError, match="damaged"):
            parse(data)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_numbers_that_are_none_are_refused(small):
    """A matrix with NaN would give every text no score."""
    with pytest.raises(ModelFileError, match="no finite number"):
        parse(small[:-4] + struct.pack("<f", float("nan")))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_an_error_or_a_model(small, data):
    """Whatever is cut off or changed: a model or a `ModelFileError`, never another exception."""
    changed = bytearray(small[: data.draw(st.integers(0, len(small)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if changed:
            changed[data.draw(st.integers(0, min(len(changed), 400) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse(bytes(changed))
    except ModelFileError as error:
        assert str(error)  # noqa: PT017  # either is right
    else:
        assert len(found.rows) >= len(found.words)


def test_a_folder_or_nothing_is_said_so(tmp_path):
    """What is no file has its own message."""
    for path in (tmp_path, tmp_path / "none.bin"):
        with pytest.raises(CurationError, match=r"is a folder|no such model"):
            models.scores(path, ["text"])
