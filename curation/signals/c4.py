"""The lines that C4 removes and what its page rules ask, as the paper states them (Raffel et al. 2020, section 2.2).

A line goes if it ends neither a sentence nor with a quotation mark, has fewer than 5 words, or mentions javascript or
a policy. Sentences are counted line by line in the lines that stay. A citation mark ("[12]", "[edit]", "[citation
needed]") is set aside when a line is tested; it is not removed from what is published. C4's list of bad words is not
applied. The code that made C4 does otherwise, and datatrove after it: that is the signal `datatrove`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import kernels
from curation.schema import SPANS
from curation.signals.batch import spans

if TYPE_CHECKING:
    from curation.signals.batch import Batch

VERSION = 1
COLUMNS = {
    "c4_lines": SPANS,  # each line that is removed, its line break included; an edit
    "c4_sentence_count": pa.int32(),  # sentences in the lines that stay
    "has_lorem_ipsum": pa.bool_(),  # in any case
    "has_curly_bracket": pa.bool_(),  # "{"
}


def measure(batch: Batch) -> dict[str, Any]:
    """What C4 removes of each document, and what is left."""
    found = kernels.c4.removed(batch.data, batch.bounds, batch.line_spans, batch.line_phrases)
    bounds, start, end, sentences = found
    return {
        "c4_lines": spans(bounds, start, end),
        "c4_sentence_count": sentences,
        "has_lorem_ipsum": batch.characters.lorem > 0,
        "has_curly_bracket": batch.characters.curly > 0,
    }
