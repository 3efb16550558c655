"""WET files, the text of web pages as Common Crawl made it: `warc`, where only conversion records hold documents.

`meta.language` is what the crawler found (WARC-Identified-Content-Language: ISO 639-3, the most of the page first).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from curation.sources import warc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.recipe import Extract, Source
    from curation.sources.record import Record, Skipped

VERSION = warc.VERSION
WHOLE_FILES = False
EXTRACTS = True


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record | Skipped]:
    """The documents of a WET file from `start` on; a response or resource is a row with `error`."""
    del name, source
    yield from warc.read_types(stream, start, extract, ("conversion",))
