"""How much of a document repeats itself: lines, paragraphs, n-grams of words (Rae et al. 2021, table A1).

Every figure is a share of what the document is made of, so that none exceeds 1: lines of all lines, characters of the
characters in all lines (or paragraphs, or words: white space between them is not counted). A duplicate is what occurred
earlier in the same document; first occurrences are not counted. Lines, paragraphs and words are compared as they stand,
case included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import kernels
from curation.signals.batch import ratio

if TYPE_CHECKING:
    from curation.signals.batch import Batch

VERSION = 1
TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
COLUMNS = {
    "duplicate_line_ratio": pa.float32(),
    "duplicate_line_char_ratio": pa.float32(),
    "duplicate_paragraph_ratio": pa.float32(),
    "duplicate_paragraph_char_ratio": pa.float32(),
    # characters in the most frequent n-gram, wherever it occurs
    **{f"top_{n}gram_char_ratio": pa.float32() for n in TOP},
    # characters in any n-gram that occurred earlier
    **{f"duplicate_{n}gram_char_ratio": pa.float32() for n in DUPLICATE},
}


def measure(batch: Batch) -> dict[str, Any]:
    """The repetition of each document; a ratio over nothing is 0."""
    words = batch.word_spans
    figures = kernels.repetition.repeats(batch.data, batch.bounds, batch.line_spans)
    lines, line_chars, all_line_chars, paragraphs, paragraph_chars, all_paragraph_chars = figures
    covered, _ = batch.repeated_grams
    return {
        "duplicate_line_ratio": ratio(lines, batch.line_spans.counts),
        "duplicate_line_char_ratio": ratio(line_chars, all_line_chars),
        "duplicate_paragraph_ratio": ratio(paragraphs, batch.line_spans.paragraph_count),
        "duplicate_paragraph_char_ratio": ratio(paragraph_chars, all_paragraph_chars),
        **{f"top_{n}gram_char_ratio": ratio(covered[n - 2], words.chars) for n in TOP},
        **{f"duplicate_{n}gram_char_ratio": ratio(covered[n - 2], words.chars) for n in DUPLICATE},
    }
