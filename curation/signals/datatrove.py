"""The figures that datatrove's filters judge by, where it takes them in another way than this project.

They are for the presets `…@datatrove`, whose verdicts are then datatrove's (0.10, its filters' defaults, the same words
and sentences given); docs/peers.md says what differs. Where no rule asks for them, `[signals.datatrove] enabled =
false` saves their cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation import kernels
from curation.schema import SPANS
from curation.signals.batch import ratio, spans
from curation.signals.gopher_repetition import DUPLICATE, TOP

if TYPE_CHECKING:
    from curation.signals.batch import Batch

VERSION = 1
COLUMNS = {
    "datatrove_bullet_line_ratio": pa.float32(),  # of all lines, blank ones too
    "datatrove_ellipsis_line_ratio": pa.float32(),
    "datatrove_stop_word_count": pa.int32(),  # in lower case only
    "datatrove_duplicate_line_ratio": pa.float32(),
    "datatrove_duplicate_line_char_ratio": pa.float32(),  # of all characters, white space too; also below
    "datatrove_duplicate_paragraph_ratio": pa.float32(),
    "datatrove_duplicate_paragraph_char_ratio": pa.float32(),
    **{f"datatrove_top_{n}gram_per_char": pa.float32() for n in TOP},  # may exceed 1: occurrences overlap
    **{f"datatrove_duplicate_{n}gram_char_ratio": pa.float32() for n in DUPLICATE},
    "datatrove_c4_lines": SPANS,  # each line that C4QualityFilter removes, its line break included; an edit
    "datatrove_c4_sentence_count": pa.int32(),  # in the lines that stay, at least one each
    "has_datatrove_lorem_ipsum": pa.bool_(),  # in a line that no rule before had removed
    "has_datatrove_curly_bracket": pa.bool_(),
    "datatrove_terminal_punctuation_line_ratio": pa.float32(),  # closing quotes and brackets not set aside
    "datatrove_short_line_ratio": pa.float32(),
    "datatrove_filled_duplicate_char_ratio": pa.float32(),  # characters in lines seen before, of all but line feeds
}


def measure(batch: Batch) -> dict[str, Any]:
    """Datatrove's figures of each document; a share of nothing is 0."""
    pages = kernels.datatrove.pages(batch.data, batch.bounds, batch.line_spans, batch.line_phrases, batch.characters)
    repeats = kernels.datatrove.repeats(batch.data, batch.bounds, batch.line_spans.newline_count)
    _, grams = batch.repeated_grams
    size = batch.characters.all
    return {
        "datatrove_bullet_line_ratio": ratio(pages.bullet, pages.line),
        "datatrove_ellipsis_line_ratio": ratio(pages.ellipsis, pages.line),
        "datatrove_stop_word_count": np.bitwise_count(batch.stop_words >> 8),
        "datatrove_duplicate_line_ratio": ratio(repeats.repeated_line, repeats.line),
        "datatrove_duplicate_line_char_ratio": ratio(repeats.repeated_line_chars, size),
        "datatrove_duplicate_paragraph_ratio": ratio(repeats.repeated_paragraph, repeats.paragraph),
        "datatrove_duplicate_paragraph_char_ratio": ratio(repeats.repeated_paragraph_chars, size),
        **{f"datatrove_top_{n}gram_per_char": ratio(grams[n - 2], size) for n in TOP},
        **{f"datatrove_duplicate_{n}gram_char_ratio": ratio(grams[n - 2], size) for n in DUPLICATE},
        "datatrove_c4_lines": spans(pages.bounds, pages.start, pages.end),
        "datatrove_c4_sentence_count": pages.sentence,
        "has_datatrove_lorem_ipsum": pages.lorem > 0,
        "has_datatrove_curly_bracket": pages.curly > 0,
        "datatrove_terminal_punctuation_line_ratio": ratio(repeats.terminal, repeats.filled),
        "datatrove_short_line_ratio": ratio(repeats.short, repeats.filled),
        "datatrove_filled_duplicate_char_ratio": ratio(repeats.filled_repeated_chars, size - repeats.feed),
    }
