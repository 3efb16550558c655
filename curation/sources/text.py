"""Plain text files, one document each; `offset` is 0. Compressed files are read as what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from curation.sources.decoding import Fault, decode_text, is_binary, read_whole
from curation.sources.record import MAX_TEXT_BYTES, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.recipe import Extract, Source

VERSION = 1
WHOLE_FILES = True
#: What the names of an archive's members end with that are read.
MEMBERS = (".txt", ".text", ".rst", ".asc", ".adoc", ".asciidoc", ".org")


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
    """The one document of a file; an empty file is a document without text."""
    del name, source, extract
    if start > 0:
        return
    try:
        yield Record(offset=0, end=1, type="file", text=read_text(stream))
    except Fault as fault:
        yield Record(offset=0, end=1, type="file", error=str(fault))


def read_text(stream: BinaryIO) -> str:
    """The text of a whole file in whatever encoding it is; Fault if it is too large, damaged or binary."""
    text = decode_text(read_whole(stream, MAX_TEXT_BYTES))
    if is_binary(text):
        raise Fault("the file is binary, not text: it holds NULs")
    return text
