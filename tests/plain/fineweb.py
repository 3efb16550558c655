"""What FineWeb's own rules ask of lines (Penedo et al. 2024, section 3.6).

Its share of characters in duplicated lines is `duplicate_line_char_ratio` of `gopher_repetition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from plain import text as units

if TYPE_CHECKING:
    from plain.batch import Batch

VERSION = 1
COLUMNS = {
    "terminal_punctuation_line_ratio": pa.float32(),  # lines that end a sentence
    "short_line_ratio": pa.float32(),  # lines of at most 30 characters
    "newline_per_word": pa.float32(),  # line breaks for each word, those around blank lines included; may exceed 1
}

_SHORT = 30


def measure(batch: Batch) -> dict[str, Any]:
    """The shape of each document's lines; a ratio over nothing is 0."""
    return {
        "terminal_punctuation_line_ratio": [
            sum(map(units.ends_sentence, lines)) / len(lines) if lines else 0.0 for lines in batch.lines
        ],
        "short_line_ratio": [
            sum(len(line) <= _SHORT for line in lines) / len(lines) if lines else 0.0 for lines in batch.lines
        ],
        "newline_per_word": [
            _newlines(text) / len(numbers) if len(numbers) else 0.0
            for text, (_, numbers) in zip(batch.texts, batch.numbered_words, strict=True)
        ],
    }


def _newlines(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")
