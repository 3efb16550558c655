"""What a document is written with: hashes, ellipses, letters, digits, capitals, punctuation, URLs.

The first three are Gopher's symbol-to-word ratios and its share of words with a letter (Rae et al. 2021, section
A.1.1). Characters are counted in code points; the categories are Unicode's.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from plain import text as units

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from plain.batch import Batch

VERSION = 1
COLUMNS = {
    "hash_per_word": pa.float32(),  # "#" for each word; may exceed 1
    "ellipsis_per_word": pa.float32(),  # "..." and "…" for each word; may exceed 1
    "alpha_word_ratio": pa.float32(),  # words that hold a letter (L*), of all words
    "digit_ratio": pa.float32(),  # decimal digits (Nd), of the characters that are not white space
    "punctuation_ratio": pa.float32(),  # punctuation (P*), of the same
    "symbol_ratio": pa.float32(),  # symbols (S*: currency, arithmetic, emoji), of the same
    "uppercase_ratio": pa.float32(),  # upper-case letters (Lu), of all letters (L*)
    "url_count": pa.int32(),  # "http://" and "https://" in any case
}

_LETTER = re.compile(r"[^\W\d_]")
_URL = re.compile(r"https?://", re.IGNORECASE | re.ASCII)

_category = lru_cache(maxsize=1 << 16)(unicodedata.category)


def measure(batch: Batch) -> dict[str, Any]:
    """The symbols of each document; a ratio over nothing is 0."""
    rows = [_measure(text, *words) for text, words in zip(batch.texts, batch.numbered_words, strict=True)]
    return {name: [row[name] for row in rows] for name in COLUMNS}


def _measure(text: str, distinct: list[str], numbers: NDArray[np.int32]) -> dict[str, float]:
    words = len(numbers)
    with_letter = np.fromiter((_has_letter(word) for word in distinct), np.bool_, len(distinct))
    kinds: Counter[str] = Counter()
    for character, number in Counter(text).items():
        if character not in units.WHITE_SPACE:
            kinds[_category(character)] += number
    shown = kinds.total()
    letters = _total(kinds, "L")
    return {
        "hash_per_word": text.count("#") / words if words else 0.0,
        "ellipsis_per_word": (text.count("...") + text.count("…")) / words if words else 0.0,
        "alpha_word_ratio": float(with_letter[numbers].sum() / words) if words else 0.0,
        "digit_ratio": kinds["Nd"] / shown if shown else 0.0,
        "punctuation_ratio": _total(kinds, "P") / shown if shown else 0.0,
        "symbol_ratio": _total(kinds, "S") / shown if shown else 0.0,
        "uppercase_ratio": kinds["Lu"] / letters if letters else 0.0,
        "url_count": len(_URL.findall(text)),
    }


def _total(kinds: Counter[str], major: str) -> int:
    return sum(number for category, number in kinds.items() if category[0] == major)


def _has_letter(word: str) -> bool:
    return word.isalpha() or any(_category(character)[0] == "L" for character in word)
