"""`Batch`: the text that signals measure, and what several of them need of it, made once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from curation.kernels import text as units

if TYPE_CHECKING:
    import pyarrow as pa


class Batch:
    """Consecutive rows of `documents`.

    `text` and `uri` are Arrow string arrays of the same length; a null text (a row with `error`) measures as "".
    The properties are lists with one item for each row and are made when they are first asked for.
    """

    def __init__(self, text: pa.Array, uri: pa.Array | None = None) -> None:
        self.text = text
        self.uri = uri

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def texts(self) -> list[str]:
        """The text of each document as a Python string, "" for null."""
        return [value or "" for value in self.text.to_pylist()]

    @cached_property
    def words(self) -> list[list[str]]:
        """The words of each document, as `kernels.text.words` defines them."""
        return [units.words(text) for text in self.texts]

    @cached_property
    def lines(self) -> list[list[str]]:
        """The lines of each document that are not blank, as `kernels.text.lines` defines them."""
        return [units.lines(text) for text in self.texts]
