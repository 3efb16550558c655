"""What Gopher's quality rules ask of lines and words beyond `length` and `symbols` (Rae et al. 2021, A.1.1).

The rules themselves are the preset gopher-quality. The stop words are English: a text in another language has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation import kernels
from curation.signals.batch import ratio

if TYPE_CHECKING:
    from curation.signals.batch import Batch

VERSION = 1
COLUMNS = {
    "bullet_line_ratio": pa.float32(),  # lines that begin with a bullet
    "ellipsis_line_ratio": pa.float32(),  # lines that end with "..." or "…"
    "stop_word_count": pa.int32(),  # how many of the eight stop words occur, in any case
}


def measure(batch: Batch) -> dict[str, Any]:
    """Bullets, ellipses and stop words of each document; a ratio over no lines is 0."""
    lines = batch.line_spans
    return {
        "bullet_line_ratio": ratio(lines.of_kind(kernels.lines.BULLET), lines.counts),
        "ellipsis_line_ratio": ratio(lines.of_kind(kernels.lines.ENDS_ELLIPSIS), lines.counts),
        "stop_word_count": np.bitwise_count(batch.stop_words & 0xFF),
    }
