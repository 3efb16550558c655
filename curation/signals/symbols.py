"""What a document is written with: hashes, ellipses, letters, digits, capitals, punctuation, URLs.

The first three are Gopher's symbol-to-word ratios and its share of words with a letter (Rae et al. 2021, section
A.1.1). Characters are counted in code points; the categories are Unicode's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation.signals.batch import ratio

if TYPE_CHECKING:
    from curation.signals.batch import Batch

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


def measure(batch: Batch) -> dict[str, Any]:
    """The symbols of each document; a ratio over nothing is 0."""
    characters, words = batch.characters, batch.word_spans
    shown = characters.all - characters.white
    return {
        "hash_per_word": ratio(characters.hash, words.counts),
        "ellipsis_per_word": ratio(characters.ellipsis, words.counts),
        "alpha_word_ratio": ratio(words.alpha, words.counts),
        "digit_ratio": ratio(characters.digit, shown),
        "punctuation_ratio": ratio(characters.punctuation, shown),
        "symbol_ratio": ratio(characters.symbol, shown),
        "uppercase_ratio": ratio(characters.upper, characters.letter),
        "url_count": characters.url,
    }
