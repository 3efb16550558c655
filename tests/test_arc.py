"""ARC, what web archives were written in before WARC: as pages of a WARC, and as warcio reads it."""

from __future__ import annotations

import gzip
import io
import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from curation import sources
from curation.sources.record import Record, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable

HTML = b"<html><title>Bees</title><body><main><p>Bees fly from %s to flower.</p></main></body></html>"
HEAD_1 = b"1 0 bees.example\nURL IP-address Archive-date Content-type Archive-length\n"
HEAD_2 = (
    b"2 0 bees.example\nURL IP-address Archive-date Content-type Result-code Checksum Location Offset Filename "
    b"Archive-length\n"
)


def read(data: bytes, start: int = 0) -> list[Record | Skipped]:
    """All that an ARC holds."""
    source = SimpleNamespace(name="s", kind="warc", license=None, fields={})
    module = sources.load("warc")
    return list(
        module.read(
            io.BytesIO(data),
            "a.arc",
            start,
            source,
            SimpleNamespace(engine="resiliparse", format="text", model="default"),
        )
    )


def rows(data: bytes) -> list[Record]:
    """Its rows."""
    return [record for record in read(data) if isinstance(record, Record)]


def record(url: bytes, body: bytes, mime: bytes = b"text/html", date: bytes = b"20080430204825") -> bytes:
    """A record of version 1."""
    return b"%s 10.0.0.1 %s %s %d\n%s\n" % (url, date, mime, len(body), body)


def http(body: bytes, status: bytes = b"200 OK", mime: bytes = b"text/html") -> bytes:
    """A response."""
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\n\r\n%s" % (status, mime, body)


def filedesc(head: bytes = HEAD_1) -> bytes:
    """The first record of a file."""
    return record(b"filedesc://bees.arc", head, b"text/plain")


def crawl() -> list[bytes]:
    """A small crawl."""
    return [
        filedesc(),
        record(b"dns:bees.example", b"20080430204825\nbees.example. 300 IN A 10.0.0.1", b"text/dns"),
        record(b"http://bees.example/", http(HTML % b"flower")),
        record(b"http://bees.example/no", http(b"none", b"404 Not Found")),
        record(b"http://bees.example/pic.gif", http(b"GIF89a", mime=b"image/gif"), b"image/gif"),
        record(b"http://bees.example/a b", http(HTML % b"hive"), b"text/html; charset=utf-8"),
        record(b"ftp://bees.example/notes.txt", b"All about bees.", b"text/plain"),
        record(b"https://bees.example/last", http(HTML % b"home"), date=b"200804302048"),
    ]


LAYOUTS: dict[str, Callable[[list[bytes]], bytes]] = {
    "plain": b"".join,
    "gzip per record": lambda records: b"".join(gzip.compress(record, mtime=0) for record in records),
    "gzip as a whole": lambda records: gzip.compress(b"".join(records), mtime=0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_records_of_an_arc(layout: str) -> None:
    """Pages and texts are documents, what holds none says why, the head of the file is counted and no row."""
    data = LAYOUTS[layout](crawl())
    everything = read(data)
    assert [found.type for found in everything] == ["filedesc", "resource", *["response"] * 4, "resource", "response"]
    found = rows(data)
    assert [row.text if row.error is None else f"! {row.error}" for row in found] == [
        "! content type text/dns: not HTML or plain text",
        "Bees fly from flower to flower.",
        "! HTTP status 404",
        "! content type image/gif: not HTML or plain text",
        "Bees fly from hive to flower.",
        "All about bees.",
        "Bees fly from home to flower.",
    ]
    page = found[1]
    assert (page.uri, page.title) == ("http://bees.example/", "Bees")
    assert page.fetched_at == datetime(2008, 4, 30, 20, 48, 25, tzinfo=UTC)
    assert page.meta == {"content_type": "text/html", "ip": "10.0.0.1"}
    assert (found[4].uri, found[6].fetched_at) == ("http://bees.example/a b", datetime(2008, 4, 30, 20, 48, tzinfo=UTC))
    for at, item in enumerate(everything):
        assert read(data, item.end) == everything[at + 1 :]


@pytest.mark.parametrize("layout", ["plain", "gzip per record"])
def test_records_are_those_of_warcio(layout: str) -> None:
    """URL, time and status of every record, as the library reads them."""
    records = crawl()
    del records[5]  # a type with a space: warcio takes the words of such a line for others
    data = LAYOUTS[layout](records)
    theirs = []
    for one in ArchiveIterator(io.BytesIO(data), arc2warc=False):
        head = one.rec_headers
        status = one.http_headers.get_statuscode() if one.http_headers else None
        theirs.append((head.get_header("uri"), head.get_header("archive-date"), one.rec_type == "arc_header", status))
    ours = read(data)
    assert len(ours) == len(theirs) == 7
    for (uri, date, is_head, status), one in zip(theirs, ours, strict=True):
        assert isinstance(one, Skipped) == is_head
        if isinstance(one, Record):
            assert one.uri == uri
            assert one.fetched_at is not None
            assert date.startswith(f"{one.fetched_at:%Y%m%d%H%M}")
            assert (one.error == f"HTTP status {status}") == (status not in {None, "200"})


def test_version_2() -> None:
    """Records with the five fields more, whatever stands in them."""
    body = http(HTML % b"flower")
    line = b"http://bees.example/ 10.0.0.1 20080430204825 text/html 200 ABC= - 1234 bees.arc %d\n"
    note = b"ftp://bees.example/a.txt 10.0.0.1 20080430204825 text/plain 226 - - 99 bees.arc 5\nBees.\n"
    page, text = rows(filedesc(HEAD_2) + line % len(body) + body + b"\n" + note)
    assert (page.text, page.uri) == ("Bees fly from flower to flower.", "http://bees.example/")
    assert (text.text, text.meta["content_type"]) == ("Bees.", "text/plain")


def test_a_file_that_begins_with_a_page_is_an_arc_too() -> None:
    """One whose head was lost."""
    (page,) = rows(record(b"http://bees.example/", http(HTML % b"flower")))
    assert page.text == "Bees fly from flower to flower."


def test_a_line_that_is_none_is_a_row_and_reading_goes_on() -> None:
    """Garbage between records, and a length that is no number."""
    first, last = crawl()[2], crawl()[7]
    bad = b"http://bees.example/x 10.0.0.1 20080430204825 text/html many\nHTTP/1.1 200 OK\r\n\r\nlost\n"
    one, junk, two = rows(filedesc() + first + b"garbage\n\n" + bad + last)
    assert (one.text, two.text) == ("Bees fly from flower to flower.", "Bees fly from home to flower.")
    assert junk.error == "no ARC record here: it starts with b'garbage\\n\\nhttp://'"
    assert junk.type == "damaged"


def test_a_damaged_member_is_a_row() -> None:
    """Reading goes on with the next member that starts a record."""
    parts = [bytearray(gzip.compress(part, mtime=0)) for part in crawl()]
    parts[3][20] ^= 0xFF
    found = rows(b"".join(parts))
    assert [bool(row.error) for row in found] == [True, False, True, True, False, False, False]
    assert "damaged gzip member" in str(found[2].error)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_arc_that_is_cut(layout: str) -> None:
    """Every whole record, then one row that says where it ends."""
    rng = random.Random(1)  # noqa: S311 - any text that does not compress well
    words = [" ".join(str(rng.random()) for _ in range(100)).encode() for _ in range(5)]
    parts = [filedesc(), *(record(b"http://bees.example/", http(HTML % some)) for some in words)]
    data = LAYOUTS[layout](parts)
    whole = read(data)
    for size in range(200, len(data) - 1, 97):
        found = read(data[:size])
        if layout != "gzip as a whole":
            ends = [sum(len(LAYOUTS[layout]([part])) for part in parts[:n]) for n in range(1, len(parts) + 1)]
            if size in ends or size + 1 in ends:
                continue
        *good, last = found
        assert good == whole[: len(good)]
        assert "ends" in str(getattr(last, "error", None))


@given(data=st.data(), layout=st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=200, deadline=None)
def test_no_damage_makes_it_raise(data: st.DataObject, layout: str) -> None:
    """Bytes changed, taken out or put in become rows."""
    good = LAYOUTS[layout](crawl())
    at = data.draw(st.integers(0, len(good)))
    junk = data.draw(st.binary(max_size=20))
    for row in rows(good[:at] + junk + good[at + data.draw(st.integers(0, 20)) :]):
        assert (row.text is None) != (row.error is None)
        assert row.offset <= row.end
