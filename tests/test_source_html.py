"""HTML files, one document each, and WET files, whose conversion records are documents."""

from __future__ import annotations

import gzip
import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import pipeline, sources
from curation.recipe import load
from curation.sources.extract import extract
from curation.sources.record import MAX_HTML_BYTES, Record

if TYPE_CHECKING:
    from pathlib import Path

    from curation.engine import LocalEngine

PAGE = "<html><head><title> Naïve \n bees</title>{}</head><main><p>Bees fly to naïve flowers.</p></main></html>"


def read(kind: str, data: bytes, start: int = 0, engine: str = "resiliparse") -> list[Record]:
    """All records of these bytes that are rows."""
    source = SimpleNamespace(name="s", kind=kind, license=None)
    found = sources.load(kind).read(
        io.BytesIO(data), "a/page.html", start, source, SimpleNamespace(engine=engine, format="text", model="default")
    )
    return [record for record in found if isinstance(record, Record)]


# HTML -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_a_document(encoding: str, engine: str, packed: bool) -> None:
    """Its main text and title, in whatever encoding and compression it is."""
    data = PAGE.format("").encode(encoding)
    (record,) = read("html", gzip.compress(data) if packed else data, engine=engine)
    assert (record.text, record.title, record.uri) == ("Bees fly to naïve flowers.", "Naïve bees", None)
    assert (record.offset, record.end) == (0, 1)
    assert read("html", data, record.end) == []


def test_the_charset_that_a_page_states() -> None:
    """As in a WARC, but there is no header of a server."""
    data = PAGE.format('<meta charset="iso-8859-2">').replace("naïve", "žluté").encode("iso-8859-2", "replace")
    assert read("html", data)[0].text == "Bees fly to žluté flowers."


@pytest.mark.parametrize(
    ("head", "uri"),
    [
        ('<link rel="canonical" href="https://bees.example/1?a=1&amp;b=2">', "https://bees.example/1?a=1&b=2"),
        ('<link href=" HTTP://bees.example/1\n" rel="Canonical nofollow">', "HTTP://bees.example/1"),
        ('<meta property="og:url" content="https://bees.example/2">', "https://bees.example/2"),
        (
            '<meta property="og:url" content="https://bees.example/2"><link rel="canonical" href="https://bees.example/1">',
            "https://bees.example/1",
        ),
        (
            '<link rel="canonical" href="/1"><meta property="og:url" content="http://bees.example">',
            "http://bees.example",
        ),
        ('<link rel="canonical" href="javascript:alert(1)">', None),
        ('<link rel="canonical" href="file:///etc/passwd">', None),
        ('<link rel="canonical" href="https://[bees">', None),
        ('<link rel="canonical" href="https:///1">', None),
        (f'<link rel="canonical" href="https://bees.example/{"a" * 2000}">', None),
        ('<link rel="canonical"><link rel="stylesheet" href="https://bees.example/style.css">', None),
    ],
)
def test_the_address_that_a_page_gives_itself(head: str, uri: str | None) -> None:
    """Its canonical link, else og:url, if that is an http(s) address with a host."""
    assert read("html", PAGE.format(head).encode())[0].uri == uri


def test_files_that_are_no_documents() -> None:
    """Too large, damaged, too deep: one row each. An empty file is a document without text."""
    bomb = gzip.compress(bytes(MAX_HTML_BYTES + 1))
    assert read("html", bomb)[0].error == "text of more than 20,971,520 bytes: over the limit"
    assert str(read("html", gzip.compress(b"<p>text")[:-9])[0].error).startswith("the gzip stream ends too early")
    assert read("html", b"<div>" * 300)[0].error == "HTML nested 256 deep or deeper: over the limit"
    assert read("html", b"")[0].text == ""


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"PK\x03\x04\x14rest of a .docx", "not HTML: a zip archive or office document"),
        (b"\x89PNG\r\n\x1a\n", "not HTML: a PNG image"),
        (b"GIF89a", "not HTML: a GIF image"),
        (b"\xff\xd8\xff\xe0JFIF", "not HTML: a JPEG image"),
        (b"%PDF-1.7", "not HTML: a PDF"),
        (gzip.compress(gzip.compress(b"<p>text", mtime=0), mtime=0), "not HTML: gzip in a compressed file"),
        (b"text\0<p>more", "not HTML: the file is binary: it holds NULs"),
    ],
)
def test_other_files_beside_pages_are_no_documents(data: bytes, error: str) -> None:
    """A source that names a folder meets them: each is a row with error."""
    (record,) = read("html", data)
    assert (record.text, record.error) == (None, error)


@pytest.mark.parametrize(
    "data", [b" \n<p>Bees\0 fly.", "<p>Bees fly.".encode("utf-16"), "<p>Bees fly.".encode("utf-32")]
)
def test_a_page_may_hold_nuls(data: bytes) -> None:
    """Stray ones in a page are left out, as browsers do; in UTF-16 and UTF-32 they are half of the letters."""
    assert read("html", data)[0].text == "Bees fly."


@given(
    data=st.binary(max_size=500) | st.text().map(str.encode), head=st.sampled_from([b"", b"<link rel=canonical href="])
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_one_row(data: bytes, head: bytes) -> None:
    """Whatever a file holds, it has either a text or an error."""
    (record,) = read("html", head + data)
    assert (record.text is None) != (record.error is None)
    (record.text or record.error or "").encode()
    (record.uri or "").encode()


def test_the_engine_counts_where_html_is_read(tmp_path: Path, engine: LocalEngine) -> None:
    """Another engine pulls HTML files anew, and no others."""
    (tmp_path / "page.html").write_text(PAGE.format(""))
    (tmp_path / "note.txt").write_text("Bees fly.")
    (tmp_path / "recipe.toml").write_text(
        'name = "t"\n[[source]]\nname = "pages"\nkind = "html"\npaths = ["*.html"]\n'
        '[[source]]\nname = "notes"\nkind = "text"\npaths = ["*.txt"]\n'
    )
    read_by = [
        pipeline.run(load(tmp_path / "recipe.toml", (f"extract.engine={name}",)), engine, until="pull")
        for name in ("resiliparse", "resiliparse", "trafilatura")
    ]
    assert [run.figures["pull"]["inputs_read"] for run in read_by] == [2, 0, 1]


@pytest.mark.data
def test_real_html(data: Path) -> None:
    """Each of 24 pages has the text that its bytes have in a WARC, a title, and no address but one on its own host."""
    index = {row["file"]: row["url"] for row in map(json.loads, (data / "web/html/index.jsonl").open())}
    given = 0
    for file, url in index.items():
        raw = (data / "web/html" / file).read_bytes()
        (record,) = read("html", raw)
        expected = extract(raw, "resiliparse")
        assert (record.error, record.text, record.title) == (None, expected.text, expected.title)
        assert record.text
        assert record.title
        if record.uri:
            given += 1
            assert record.uri.split("/")[2] == url.split("/")[2]
    assert (len(index), given) == (24, 12)


# WET ------------------------------------------------------------------------------------------------------------------


def wet_record(kind: str, block: bytes, **fields: str) -> bytes:
    """One record of a WET file."""
    head = {"WARC-Type": kind, "WARC-Target-URI": "https://bees.example/", "WARC-Date": "2024-05-01T10:00:00Z"}
    head |= {"Content-Type": "text/plain", "Content-Length": str(len(block))}
    head |= {name.replace("_", "-"): value for name, value in fields.items()}
    return (
        f"WARC/1.0\r\n{''.join(f'{name}: {value}' + chr(13) + chr(10) for name, value in head.items())}\r\n".encode()
        + (block + b"\r\n\r\n")
    )


WET = [
    wet_record("warcinfo", b"Software: bees\r\n", Content_Type="application/warc-fields"),
    wet_record("conversion", b"Bees fly.", WARC_Identified_Content_Language="eng,fra"),
    wet_record("response", b"HTTP/1.1 200 OK\r\n\r\n<p>text", Content_Type="application/http"),
    wet_record("resource", b"text"),
    wet_record("conversion", b"Las abejas vuelan."),
]


@pytest.mark.parametrize("packed", [False, True])
def test_only_conversions_are_documents(packed: bool) -> None:
    """Other records that hold something are rows with `error`; reading resumes after any of them."""
    data = b"".join(gzip.compress(record) for record in WET) if packed else b"".join(WET)
    records = read("wet", data)
    assert [record.error or record.text for record in records] == [
        "Bees fly.",
        "WARC record of type 'response': not one that holds a document",
        "WARC record of type 'resource': not one that holds a document",
        "Las abejas vuelan.",
    ]
    assert records[0].meta["language"] == "eng,fra"
    assert "language" not in records[3].meta
    for at, record in enumerate(records):
        assert read("wet", data, record.end) == records[at + 1 :]


@given(data=st.binary(max_size=60), at=st.integers(0, 1200), cut=st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_no_damage_makes_it_raise(data: bytes, at: int, cut: int) -> None:
    """Bytes changed, taken out or put in become rows."""
    good = b"".join(WET)
    for record in read("wet", good[:at] + data + good[at + cut :]):
        assert (record.text is None) != (record.error is None)


@pytest.mark.data
def test_real_wet(data: Path) -> None:
    """A file of Common Crawl's: what `warc` makes of it, with the language."""
    raw = (data / "web/real-warc/whirlwind-python--whirlwind.warc.wet.gz").read_bytes()
    records = read("wet", raw)
    assert records == read("warc", raw)
    (record,) = records
    assert record.uri == "https://an.wikipedia.org/wiki/Escopete"
    assert record.meta["language"] == "spa"
    assert str(record.text).startswith("Escopete - Biquipedia")
