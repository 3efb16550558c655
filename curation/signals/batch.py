"""`Batch`: the text that signals measure, and what several of them need of it, made once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import kernels
from curation.schema import SPANS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from curation.kernels.characters import Characters
    from curation.kernels.lines import Lines
    from curation.kernels.words import Words


class Batch:
    """Consecutive rows of `documents`.

    `text` and `uri` are Arrow string arrays (or large_string) of the same length; a null text (a row with `error`)
    measures as "". Kernels read the bytes: `data` and `bounds`. What several signals ask of them (`characters`,
    `word_spans`, `line_spans`) is made when it is first asked for. For a signal in plain Python there are lists:
    `texts`, `words`, `lines`.
    """

    def __init__(self, text: pa.Array, uri: pa.Array | None = None) -> None:
        self.text = text
        self.uri = uri

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.text)

    def pieces(self, size: int) -> Iterator[Batch]:
        """The rows in batches of at most so many bytes of text, or of one row that is larger; one at least."""
        ends = self.bounds[1:] - self.bounds[0] if len(self) else self.bounds
        start = 0
        while start < max(1, len(self)):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + size, side="right")))
            yield self._slice(start, min(stop, len(self)))
            start = stop

    def _slice(self, start: int, stop: int) -> Batch:
        """These rows, with their bytes alone: some kernels make room for all that they are given."""
        uri = None if self.uri is None else self.uri.slice(start, stop - start)
        if (start, stop) == (0, len(self)):
            return self
        text = self._filled.slice(start, stop - start)
        kind = np.int64 if pa.types.is_large_string(text.type) else np.int32
        first, last = self.bounds[start], self.bounds[stop]
        offsets = pa.py_buffer((self.bounds[start : stop + 1] - first).astype(kind))
        data = (text.buffers()[2] or pa.py_buffer(b"")).slice(int(first), int(last - first))
        return Batch(pa.Array.from_buffers(text.type, stop - start, [None, offsets, data]), uri)

    @cached_property
    def data(self) -> NDArray[np.uint8]:
        """The bytes of all texts in UTF-8, without a copy: those of row i from `bounds[i]` to `bounds[i + 1]`.

        Where there are fewer than 64 it is a copy with zeros behind, since kernels read as many at a time.
        """
        buffer = self._filled.buffers()[2]
        return kernels.masks.readable(np.frombuffer(buffer or b"", np.uint8))

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """Where each text begins and ends in `data`: int64, one more than there are rows."""
        text = self._filled
        kind = np.int64 if pa.types.is_large_string(text.type) else np.int32
        buffer = text.buffers()[1]
        if buffer is None:  # an array of no rows need have none
            return np.zeros(1, np.int64)
        return np.frombuffer(buffer, kind)[text.offset : text.offset + len(text) + 1].astype(np.int64)

    @cached_property
    def _filled(self) -> pa.Array:
        """The texts with "" for null, whose slots may hold anything."""
        return pc.fill_null(self.text, "") if self.text.null_count else self.text

    @cached_property
    def characters(self) -> Characters:
        """How many characters of each kind each document holds."""
        return kernels.characters.characters(self.data, self.bounds)

    @cached_property
    def code_points(self) -> NDArray[np.int64]:
        """How many characters each document holds, of whatever kind."""
        return np.asarray(kernels.characters.code_points(self.data, self.bounds), np.int64)

    @cached_property
    def word_spans(self) -> Words:
        """Where the words of each document stand. docs/text.md says what a word is, and a line."""
        return kernels.words.words(self.data, self.bounds)

    @cached_property
    def stop_words(self) -> NDArray[np.int64]:
        """Which stop words each document holds, as `kernels.words.stop_words` gives them."""
        return np.asarray(kernels.words.stop_words(self.data, self.bounds, self.word_spans), np.int64)

    @cached_property
    def word_hashes(self) -> NDArray[np.uint64]:
        """A hash of each word of `word_spans`, without case; the same in every process."""
        return np.asarray(kernels.folding.word_hashes(self.data, self.bounds, self.word_spans), np.uint64)

    @cached_property
    def line_spans(self) -> Lines:
        """Where the lines of each document that are not blank stand, how they begin and end, and their sentences."""
        return kernels.lines.lines(self.data, self.bounds)

    @cached_property
    def line_phrases(self) -> NDArray[np.int32]:
        """What C4 looks for in each line, as `kernels.lines.phrases` gives it."""
        return np.asarray(kernels.lines.phrases(self.data, self.bounds, self.line_spans), np.int32)

    @cached_property
    def repeated_grams(self) -> Any:
        """The code points in n-grams that repeat, as `kernels.repetition.grams` gives them."""
        return kernels.repetition.grams(self.data, self.bounds, self.word_spans)

    @cached_property
    def texts(self) -> list[str]:
        """The text of each document as a Python string, "" for null."""
        return [value or "" for value in self.text.to_pylist()]

    @cached_property
    def uris(self) -> list[str]:
        """The URI of each document as a Python string, "" for null."""
        return [""] * len(self) if self.uri is None else [value or "" for value in self.uri.to_pylist()]

    @cached_property
    def words(self) -> list[list[str]]:
        """The words of each document as Python strings."""
        return self._strings(self.word_spans)

    @cached_property
    def lines(self) -> list[list[str]]:
        """The lines of each document that are not blank, as Python strings."""
        return self._strings(self.line_spans)

    def _strings(self, spans: Words | Lines) -> list[list[str]]:
        found: list[list[bytes]] = []
        known: dict[bytes, bytes] = {}
        for row in range(len(self)):
            raw = self.data[self.bounds[row] : self.bounds[row + 1]].tobytes()
            first, last = spans.bounds[row : row + 2]
            pieces = zip(spans.start[first:last].tolist(), spans.end[first:last].tolist(), strict=True)
            found.append([known.setdefault(piece := raw[start:end], piece) for start, end in pieces])
        strings = {piece: piece.decode() for piece in known}  # equal ones are one object
        return [[strings[piece] for piece in pieces] for pieces in found]


def ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much of the whole each part is; 0 of nothing.

    >>> ratio(np.array([1, 0]), np.array([4, 0])).tolist()
    [0.25, 0.0]
    """
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def spans(bounds: NDArray[np.int64], start: NDArray[np.int32], end: NDArray[np.int32]) -> pa.Array:
    """A column of spans: those of row i are `bounds[i]` to `bounds[i + 1]`."""
    places = [pa.array(np.ascontiguousarray(column), pa.int32()) for column in (start, end)]
    pairs = pa.StructArray.from_arrays(places, fields=list(SPANS.value_type))
    return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pairs, type=SPANS)
