"""The lines that C4 removes and what its page rules ask (Raffel et al. 2020, section 2.2).

Two versions of the line rules, because the paper and the code that made C4 differ; datatrove follows the code:

- `c4_…`, the paper's: a line goes if it ends neither a sentence (`plain.text.ends_sentence`) nor with a quotation
  mark, has fewer than 5 words, or mentions javascript or a policy;
- `c4_datatrove_…`: if it does not end in . ? ! " or ', ends in "...", has fewer than 3 words, has a token of more than
  1,000 characters, or mentions javascript or a policy.

Sentences are counted line by line in the lines that stay. A citation mark ("[12]", "[edit]", "[citation needed]") is
set aside when a line is tested; it is not removed from what is published. C4's list of bad words is not applied.
"""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from plain import text as units

from curation.schema import SPANS

if TYPE_CHECKING:
    from plain.batch import Batch

VERSION = 1
COLUMNS = {
    "c4_lines": SPANS,  # each line that the paper's rules remove, its line break included; an edit
    "c4_sentence_count": pa.int32(),  # sentences in the lines that stay
    "c4_datatrove_lines": SPANS,
    "c4_datatrove_sentence_count": pa.int32(),
    "has_lorem_ipsum": pa.bool_(),  # in any case
    "has_curly_bracket": pa.bool_(),  # "{"
}

_MENTIONS = (
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")
_QUOTATION_MARKS = ('"', "\u201c", "\u201d", "\u00bb", "\u300d", "\u300f")  # " “ ” » 」 』
_LONG = 1_000  # characters


def measure(batch: Batch) -> dict[str, Any]:
    """What C4 removes of each document, by the paper's line rules and by datatrove's, and what is left."""
    paper, datatrove = _Removed(), _Removed()
    for text in batch.texts:
        for raw, start, end in units.line_spans(text):
            line = _CITATION.sub("", raw).strip(units.WHITE_SPACE) if "[" in raw else raw
            paper_keeps, datatrove_keeps = _kept(line)
            sentences = len(units.sentences(line)) if paper_keeps or datatrove_keeps else 0
            paper.add(start, end, sentences if paper_keeps else None)
            datatrove.add(start, end, sentences if datatrove_keeps else None)
        paper.end_document()
        datatrove.end_document()
    return {
        "c4_lines": paper.spans(),
        "c4_sentence_count": paper.sentences,
        "c4_datatrove_lines": datatrove.spans(),
        "c4_datatrove_sentence_count": datatrove.sentences,
        "has_lorem_ipsum": ["lorem ipsum" in text.lower() for text in batch.texts],
        "has_curly_bracket": ["{" in text for text in batch.texts],
    }


def _kept(line: str) -> tuple[bool, bool]:
    """Whether the line stays by the paper's rules, and whether by datatrove's."""
    paper = units.ends_sentence(line) or line.endswith(_QUOTATION_MARKS)
    datatrove = line.endswith((".", "?", "!", '"', "'")) and not line.endswith("...") and not _has_long_token(line)
    if not (paper or datatrove):
        return False, False
    folded = line.lower()
    if any(phrase in folded for phrase in _MENTIONS):
        return False, False
    words = len(units.words(line))
    return paper and words >= 5, datatrove and words >= 3


def _has_long_token(line: str) -> bool:
    return len(line) > _LONG and any(len(token) > _LONG for token in units.tokens(line))


class _Removed:
    """Spans and sentence counts, gathered document by document in flat arrays: a text can have millions of lines."""

    def __init__(self) -> None:
        self.starts, self.ends, self.offsets = array("i"), array("i"), array("i", [0])
        self.sentences: list[int] = []
        self._sentences = 0

    def add(self, start: int, end: int, sentences: int | None) -> None:
        """One line of the document: None sentences where it is removed."""
        if sentences is None:
            self.starts.append(start)
            self.ends.append(end)
        else:
            self._sentences += sentences

    def end_document(self) -> None:
        self.offsets.append(len(self.starts))
        self.sentences.append(self._sentences)
        self._sentences = 0

    def spans(self) -> pa.Array:
        """One list of spans for each document."""
        columns = [pa.array(np.frombuffer(values, np.int32), pa.int32()) for values in (self.starts, self.ends)]
        offsets = pa.array(np.frombuffer(self.offsets, np.int32), pa.int32())
        spans = pa.StructArray.from_arrays(columns, fields=list(SPANS.value_type))
        return pa.ListArray.from_arrays(offsets, spans, type=SPANS)
