"""The lines that C4 removes and what its page rules ask (Raffel et al. 2020, section 2.2).

Two versions of the line rules, because the paper and the code that made C4 differ; datatrove follows the code:

- `c4_…`, the paper's: a line goes if it ends neither a sentence (`kernels.text.ends_sentence`) nor with a quotation
  mark, has fewer than 5 words, or mentions javascript or a policy;
- `c4_datatrove_…`: if it does not end in . ? ! " or ', ends in "...", has fewer than 3 words, has a token of more than
  1,000 characters, or mentions javascript or a policy.

Sentences are counted line by line in the lines that stay. A citation mark ("[12]", "[edit]", "[citation needed]") is
set aside when a line is tested; it is not removed from what is published. C4's list of bad words is not applied.
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
    "c4_lines": SPANS,  # each line that the paper's rules remove, its line break included; an edit
    "c4_sentence_count": pa.int32(),  # sentences in the lines that stay
    "c4_datatrove_lines": SPANS,
    "c4_datatrove_sentence_count": pa.int32(),
    "has_lorem_ipsum": pa.bool_(),  # in any case
    "has_curly_bracket": pa.bool_(),  # "{"
}


def measure(batch: Batch) -> dict[str, Any]:
    """What C4 removes of each document, by the paper's line rules and by datatrove's, and what is left."""
    paper, datatrove = kernels.c4.removed(batch.data, batch.bounds, batch.line_spans)
    return {
        "c4_lines": spans(*paper[:3]),
        "c4_sentence_count": paper[3],
        "c4_datatrove_lines": spans(*datatrove[:3]),
        "c4_datatrove_sentence_count": datatrove[3],
        "has_lorem_ipsum": batch.characters.lorem > 0,
        "has_curly_bracket": batch.characters.curly > 0,
    }
