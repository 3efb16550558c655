"""How long a document is, in every unit; Gopher judges its words by it (Rae et al. 2021, section A.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from plain import text as units

if TYPE_CHECKING:
    from plain.batch import Batch

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
    return {
        "byte_count": pc.fill_null(pc.binary_length(batch.text), 0),
        "char_count": pc.fill_null(pc.utf8_length(batch.text), 0),
        "word_count": [len(numbers) for _, numbers in batch.numbered_words],
        "line_count": [len(lines) for lines in batch.lines],
        "paragraph_count": [len(paragraphs) for paragraphs in batch.paragraphs],
        "sentence_count": [len(units.sentences(text)) for text in batch.texts],
        "mean_word_length": [_mean_length(*words) for words in batch.numbered_words],
    }


def _mean_length(distinct: list[str], numbers: np.ndarray[Any, Any]) -> float:
    if not distinct:
        return 0.0
    lengths = np.fromiter(map(len, distinct), np.int64, len(distinct))
    return float(lengths[numbers].sum() / len(numbers))
