"""The signal `language`: which language a document is written in, and how sure that is.

The library is py3langid: 140 languages, its model in the wheel, named by ISO 639-1 code, or by ISO 639-3 where
there is none of two letters ("yue", "ary"). It reads a sample: see `sample`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol, cast

import pyarrow as pa

if TYPE_CHECKING:
    from curation.signals.batch import Batch

VERSION = f"1+py3langid-{version('py3langid')}"

COLUMNS = {"language": pa.string(), "language_score": pa.float32()}

#: Characters in each of the three windows that are read of a longer text. On 374 web pages three windows of 100 gave
#: the answer of the whole page each time, one window of 500 did in 99.2 %; docs/classifier.md has the table.
WINDOW = 300

#: Below this probability the answer is "und". A text none of whose byte sequences the model knows gets 0.014.
LEAST = 0.05

#: What the library says of text that is in no language: "no linguistic content".
_NO_LANGUAGE = "zxx"


def measure(batch: Batch) -> dict[str, Any]:
    """For each text its language, "und" where there is none to be found, and its probability, 0 with "und"."""
    answers = [identify(text) for text in batch.texts]
    return {"language": [language for language, _ in answers], "language_score": [score for _, score in answers]}


def identify(text: str) -> tuple[str, float]:
    """The language of a text and its probability, rounded to 1e-4.

    >>> identify("Photosynthese ist der Vorgang, durch den Pflanzen Licht in chemische Energie umwandeln.")[0]
    'de'
    >>> identify("2 + 2 = 4")
    ('und', 0.0)
    """
    part = sample(text)
    if not any(character.isalpha() for character in part):
        return "und", 0.0
    language, probability = _identifier().classify(part)
    score = round(float(probability), 4)
    return ("und", 0.0) if score < LEAST or language == _NO_LANGUAGE else (str(language), score)


def sample(text: str) -> str:
    """The part of a text that is read: all of it up to three windows, else its start, middle and end.

    White space around the text does not count; the middle window begins at half of what lies outside one window.

    >>> len(sample("a" * 900)), len(sample("a" * 901)), len(sample("a" * 10**6))
    (900, 902, 902)
    """
    text = text.strip()
    if len(text) <= 3 * WINDOW:
        return text
    middle = (len(text) - WINDOW) // 2
    return "\n".join((text[:WINDOW], text[middle : middle + WINDOW], text[-WINDOW:]))


class _Identifier(Protocol):
    def classify(self, text: str) -> tuple[str, float]: ...


@cache
def _identifier() -> _Identifier:
    """The model, loaded at the first question of a process: 0.9 s."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415  # see above

    return cast("_Identifier", LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True))
