"""The batch that the plain signals measure: lists of Python strings."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from plain import text as units

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class Batch:
    """Consecutive rows of `documents`.

    `text` and `uri` are Arrow string arrays of the same length; a null text (a row with `error`) measures as "".
    The properties are lists with one item for each row and are made when they are first asked for.
    """

    def __init__(self, text: pa.Array, uri: pa.Array | None = None) -> None:
        self.text = text
        self.uri = uri

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.text)

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
        """The words of each document, as `plain.text.words` defines them."""
        return [[distinct[number] for number in numbers.tolist()] for distinct, numbers in self.numbered_words]

    @cached_property
    def numbered_words(self) -> list[tuple[list[str], NDArray[np.int32]]]:
        """The distinct words of each document, and for each of its words the place in that list (int32).

        Ten million times the same word costs 40 MB here, and a figure about words is worked out once for each
        distinct word.
        """
        return [units.numbered_words(text) for text in self.texts]

    @cached_property
    def lines(self) -> list[list[str]]:
        """The lines of each document that are not blank, as `plain.text.lines` defines them."""
        return [units.lines(text) for text in self.texts]

    @cached_property
    def paragraphs(self) -> list[list[str]]:
        """The paragraphs of each document, as `plain.text.paragraphs` defines them."""
        return [units.paragraphs(text) for text in self.texts]
