"""HTML files, one document each; `offset` is 0. Compressed files are read as what they hold.

Encoding and extraction are those of pages in a WARC, without the header of a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from curation.sources.decoding import GZIP, Fault, read_whole
from curation.sources.extract import extract as extract_html
from curation.sources.record import MAX_HTML_BYTES, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.recipe import Extract, Source

VERSION = 2
WHOLE_FILES = True
#: What the names of an archive's members end with that are read.
MEMBERS = (".html", ".htm", ".xhtml")
EXTRACTS = True

#: What other files begin with that lie beside pages, and what those are.
_BEGINNINGS = (
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF"),
    (GZIP, "gzip in a compressed file"),
)
#: What pages begin with that may hold NULs: UTF-16 and UTF-32 with a BOM, and a tag, since real pages have stray ones.
_MAY_HOLD_NULS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"\xef\xbb\xbf<", b"<")


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
    """The one document of a file; `uri` is the address that the page gives itself, None if it gives none."""
    del name, source
    if start > 0:
        return
    try:
        found = extract_html(_read_page(stream), extract.engine, form=extract.format, model=extract.model)
    except Fault as fault:
        yield Record(offset=0, end=1, type="file", error=str(fault))
    else:
        yield Record(
            offset=0, end=1, type="file", text=found.text, title=found.title, uri=found.address, license=found.license,
            created_at=found.published_at, meta=found.meta,
        )  # fmt: skip


def _read_page(stream: BinaryIO) -> bytes:
    """The bytes of a whole file; Fault if it is too large, damaged or no page but something binary."""
    data = read_whole(stream, MAX_HTML_BYTES)
    for beginning, what in _BEGINNINGS:
        if data.startswith(beginning):
            raise Fault(f"not HTML: {what}")
    if b"\0" in data and not data.lstrip(b" \t\r\n\f").startswith(_MAY_HOLD_NULS):
        raise Fault("not HTML: the file is binary: it holds NULs")
    return data
