"""The signal `language`: which language a document is written in, and how sure that is.

The model is py3langid's: 140 languages, in its wheel, named by ISO 639-1 code, or by ISO 639-3 where there is none of
two letters ("yue", "ary"). curation/kernels/language.py runs it, on a sample of each text.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation import kernels
from curation.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation.signals.batch import Batch

VERSION = f"2+py3langid-{version('py3langid')}"

COLUMNS = {"language": pa.string(), "language_score": pa.float32()}

#: Bytes in each of the three windows that are read of a longer text; docs/classifier.md has what other sizes do.
WINDOW = 100

#: Below this probability the answer is "und". A text none of whose byte sequences the model knows gets 0.014.
LEAST = 0.05

#: What the library says of text that is in no language: "no linguistic content".
_NO_LANGUAGE = "zxx"


def measure(batch: Batch) -> dict[str, Any]:
    """For each text its language, "und" where there is none to be found, and its probability, 0 with "und"."""
    languages, scores = identified(batch.data, batch.bounds)
    return {"language": languages, "language_score": scores}


def known() -> frozenset[str]:
    """The languages that an answer can name, "und" included."""
    return frozenset(_model().names.to_pylist()) - {_NO_LANGUAGE}


def identify(text: str, window: int = WINDOW) -> tuple[str, float]:
    """The language of a text and its probability, rounded to 1e-4, from windows of this size.

    >>> identify("Photosynthese ist der Vorgang, durch den Pflanzen Licht in chemische Energie umwandeln.")[0]
    'de'
    >>> identify("2 + 2 = 4")
    ('und', 0.0)
    """
    raw = np.frombuffer(text.encode(errors="replace"), np.uint8)
    languages, scores = identified(raw, np.array([0, len(raw)]), window)
    return languages[0].as_py(), round(float(scores[0]), 4)


def identified(
    data: NDArray[np.uint8], bounds: NDArray[np.int64], window: int = WINDOW
) -> tuple[pa.Array, NDArray[np.float32]]:
    """The languages of texts and their probabilities, rounded to 1e-4.

    Text i is the UTF-8 in `data` from `bounds[i]` to `bounds[i + 1]`. White space around it does not count. Of a text
    of more than three windows only these are read: its first bytes, its last, and those in the middle, each without a
    character that it would cut; a line break stands between them.
    """
    model, table = _model(), kernels.normal.composed()
    read = np.empty((len(bounds) - 1, 6), np.int64)
    kernels.language.windows(data, bounds, table, window, read)
    languages, scores = _classified(data, read, False)
    if (again := np.flatnonzero(languages == kernels.language.CHANGES)).size:
        data, whole = _prepared(data, read[again])
        languages[again], scores[again] = _classified(data, whole, True)
    scores = np.round(scores, 4)
    none = (languages < 0) | (languages == model.no_language) | (scores < LEAST)
    languages[none], scores[none] = len(model.names) - 1, 0.0
    return model.names.take(pa.array(languages)), scores.astype(np.float32)


def _classified(
    data: NDArray[np.uint8], read: NDArray[np.int64], prepared: bool
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """What the kernel answers for these windows of texts."""
    arrays = _model().arrays
    features, languages = arrays[2].shape
    most = int((read[:, 1::2] - read[:, ::2]).sum(axis=1).max(initial=0)) + 2
    lanes = kernels.language.LANES
    answers, scores = np.empty(len(read), np.int32), np.empty(len(read))
    kernels.language.classify(
        data, read, prepared, kernels.normal.composed(), *arrays,
        np.empty((lanes, most), np.uint8), np.empty((lanes, most), np.int32), np.empty((lanes, 4), np.int32),
        np.zeros(features, np.int32), np.empty(most, np.int32), np.empty(languages, np.int32), np.empty(languages),
        answers, scores,
    )  # fmt: skip
    return answers, scores


def _prepared(data: NDArray[np.uint8], read: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Samples as the library reads them, one after another: in NFC, and in small letters if all are capitals."""
    raw = []
    for row in read:
        text = "\n".join(data[a:b].tobytes().decode() for a, b in row.reshape(3, 2) if a < b)
        raw.append(unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode())
    sizes = [len(one) for one in raw]
    whole = np.repeat(np.cumsum(sizes)[:, None], 6, axis=1)
    whole[:, 0] -= sizes
    return np.frombuffer(b"".join(raw), np.uint8), whole


@dataclass(frozen=True, eq=False)
class _Model:
    """What the library's file holds, as the kernel reads it."""

    names: pa.Array  #: the language of each number; the last is "und"
    no_language: int
    arrays: tuple[NDArray[Any], ...]


@cache
def _model() -> _Model:
    """The model: mapped into memory from a file that is unpacked once for an installation, which takes a second."""
    names, *arrays = kernels.compiled.kept("language", _unpacked, VERSION)
    languages = names.tolist()
    return _Model(pa.array([*languages, "und"]), languages.index(_NO_LANGUAGE), tuple(arrays))


def _unpacked() -> tuple[NDArray[Any], ...]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415  # needed once for an installation

    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    weights = np.asarray(model.nb_ptc, np.float32) / np.float32(kernels.language.STEP)
    whole = weights.astype(np.int16)
    if not np.array_equal(weights, whole):
        raise UsageError(
            f"py3langid {version('py3langid')}: its weights are not those of half precision that curate reads",
            remedy="install the version of py3langid that curate was released with",
        )
    first = {name: model.nb_classes.index(name) for name in model.nb_classes}
    return (
        np.array(model.nb_classes),
        np.asarray(model.tk_nextmove, np.int32),
        np.stack([np.asarray(model.tk_row, np.int32) << 8, np.asarray(model.tk_output, np.int32)], axis=1),
        whole,
        np.asarray(model.nb_pc, np.float32),
        np.array([(first[name], at) for at, name in enumerate(model.nb_classes) if first[name] != at], np.int64),
        np.array([math.log1p(count) for count in range(3 * WINDOW + 3)]),
    )
