"""The lines of a document, each as a hash, so that `compare` can tell which of them many documents have.

Two lines are the same if their words are, in Unicode form NFC and case-folded, as in `signature`: punctuation and white
space do not count. A line of fewer than three words is too little to tell boilerplate from a heading, and not hashed.
What is made of it, `shared_line_ratio` and `shared_lines`, is in `curation.corpus.lines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from curation import kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from curation.signals.batch import Batch

COLUMNS = {
    "line_hashes": pa.list_(pa.uint64()),  # of each line of three words or more, in order
    "line_gaps": pa.list_(pa.int32()),  # bytes between the line before, or the beginning of the text, and the line
    "line_sizes": pa.list_(pa.int32()),  # its bytes, with the white space around it and its line break
    "line_margins": pa.list_(pa.int32()),  # how many more these are than its code points without white space around it
    "line_char_count": pa.int32(),  # code points of all lines, also shorter ones
}


class Settings(BaseModel):
    """The keys of `[signals.lines]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    documents: int = Field(10, ge=1, description="a whole number of documents from 1 up")
    hosts: int = Field(5, ge=1, le=100, description="a whole number of hosts from 1 to 100")


@dataclass(frozen=True)
class LineHashes:
    """The signal, and how many documents of how many hosts share a line; what it measures depends on neither."""

    documents: int
    hosts: int

    VERSION: ClassVar[int] = 1
    COLUMNS: ClassVar[Mapping[str, pa.DataType]] = COLUMNS

    def measure(self, batch: Batch) -> dict[str, Any]:
        """The columns for each text. Gaps and margins are small and alike, so that they take little room."""
        found = kernels.shared_lines.hashed_lines(
            batch.data, batch.bounds, batch.line_spans, batch.word_spans, batch.word_hashes
        )
        before = np.concatenate([np.zeros(1, np.int32), found.end])[:-1]
        before[found.bounds[:-1][np.diff(found.bounds) > 0]] = 0
        sizes = found.end - found.start
        return {
            "line_hashes": _lists(found.bounds, found.hashes),
            "line_gaps": _lists(found.bounds, found.start - before),
            "line_sizes": _lists(found.bounds, sizes),
            "line_margins": _lists(found.bounds, sizes - found.chars),
            "line_char_count": found.total,
        }


def _lists(bounds: NDArray[np.int64], values: NDArray[Any]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(values))


def load(settings: Settings) -> LineHashes:
    """The signal for these settings."""
    return LineHashes(settings.documents, settings.hosts)
