"""How long a document is, in every unit; Gopher judges its words by it (Rae et al. 2021, section A.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation.signals.batch import ratio

if TYPE_CHECKING:
    from curation.signals.batch import Batch

VERSION = 1
COLUMNS = {
    "byte_count": pa.int32(),  # of UTF-8
    "char_count": pa.int32(),  # code points
    "word_count": pa.int32(),
    "line_count": pa.int32(),
    "paragraph_count": pa.int32(),
    "sentence_count": pa.int32(),
    "mean_word_length": pa.float32(),  # characters a word
}


def measure(batch: Batch) -> dict[str, Any]:
    """The length of each document; a document without words has words of length 0."""
    words, lines = batch.word_spans, batch.line_spans
    return {
        "byte_count": np.diff(batch.bounds),
        "char_count": batch.code_points,
        "word_count": words.counts,
        "line_count": lines.counts,
        "paragraph_count": lines.paragraph_count,
        "sentence_count": lines.sentence_count,
        "mean_word_length": ratio(words.chars, words.counts),
    }
