"""What FineWeb's own rules ask of lines (Penedo et al. 2024, section 3.6).

Its share of characters in duplicated lines is `duplicate_line_char_ratio` of `gopher_repetition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import kernels
from curation.signals.batch import ratio

if TYPE_CHECKING:
    from curation.signals.batch import Batch

VERSION = 1
COLUMNS = {
    "terminal_punctuation_line_ratio": pa.float32(),  # lines that end a sentence
    "short_line_ratio": pa.float32(),  # lines of at most 30 characters
    "newline_per_word": pa.float32(),  # line breaks for each word, those around blank lines included; may exceed 1
}

_SHORT = 30


def measure(batch: Batch) -> dict[str, Any]:
    """The shape of each document's lines; a ratio over nothing is 0."""
    lines = batch.line_spans
    return {
        "terminal_punctuation_line_ratio": ratio(lines.of_kind(kernels.lines.ENDS_SENTENCE), lines.counts),
        "short_line_ratio": ratio(lines.among(lines.chars <= _SHORT), lines.counts),
        "newline_per_word": ratio(lines.newline_count, batch.word_spans.counts),
    }
