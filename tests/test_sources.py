"""The kinds of input: what their records are, that nothing of a damaged file vanishes, and that reading can resume."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import re
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import sources
from curation.errors import InputError
from curation.sources import decoding, jsonl, text
from curation.sources.record import Record, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = "<html><title>Bees</title><body><main><p>Bees fly from {} to flower.</p></main></body></html>"
DOCUMENT_TYPES = {"response", "resource", "conversion", "revisit"}


def read_all(kind: str, data: bytes, start: int = 0, **fields: str) -> list[Record | Skipped]:
    """All that these bytes hold."""
    source = SimpleNamespace(name="s", kind=kind, license=None, fields=fields)
    module = sources.load(kind)
    return list(
        module.read(
            io.BytesIO(data),
            "input",
            start,
            source,
            SimpleNamespace(engine="resiliparse", format="text", model="default"),
        )
    )


def read(kind: str, data: bytes, start: int = 0, **fields: str) -> list[Record]:
    """The records of these bytes that are rows."""
    return [record for record in read_all(kind, data, start, **fields) if isinstance(record, Record)]


def warc_record(block: bytes, kind: str = "response", **fields: str) -> bytes:
    """One WARC record."""
    types = {"response": "application/http; msgtype=response", "warcinfo": "application/warc-fields"}
    head = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{hashlib.md5(block).hexdigest()}>",  # noqa: S324 - a name, not a secret
        "WARC-Date": "2024-05-01T10:00:00Z",
        "WARC-Target-URI": "https://bees.example/",
        "Content-Type": types.get(kind, "text/plain"),
        "Content-Length": str(len(block)),
    }
    head |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
    return f"WARC/1.0\r\n{lines}\r\n".encode() + block + b"\r\n\r\n"


def response(body: bytes, content_type: str = "text/html", status: str = "200 OK", **headers: str) -> bytes:
    """The block of a response record."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{lines}\r\n".encode() + body


def page(n: object) -> bytes:
    """A response with a small page about bees."""
    return warc_record(response(PAGE.format(n).encode()))


def members(records: list[bytes]) -> bytes:
    """A file with one gzip member for each record."""
    return b"".join(gzip.compress(record, mtime=0) for record in records)


LAYOUTS: dict[str, Callable[[list[bytes]], bytes]] = {
    "plain": b"".join,
    "gzip per record": members,
    "gzip as a whole": lambda records: gzip.compress(b"".join(records), mtime=0),
}


def outcomes(records: list[Record]) -> list[str]:
    """The text of each record, or its error after "! "."""
    return [record.text if record.error is None else f"! {record.error}" for record in records]


# Every kind -----------------------------------------------------------------------------------------------------------


def parquet_bytes(rows: int, group: int = 7) -> bytes:
    """A Parquet file of this many rows."""
    out = io.BytesIO()
    table = pa.table({"text": [f"row {n}" for n in range(rows)], "n": list(range(rows))})
    pq.write_table(table, out, row_group_size=group)
    return out.getvalue()


def mixed_warc() -> list[bytes]:
    """Records of every type, three of them pages."""
    return [
        warc_record(b"software: bees\r\n", "warcinfo"),
        page(1),
        warc_record(b"GET / HTTP/1.1\r\n\r\n", "request"),
        warc_record(response(b"", status="404 Not Found")),
        warc_record(b"", "revisit"),
        page(2),
        warc_record(response(b"GIF89a", "image/gif")),
        warc_record(b"All about bees.", "conversion"),
        page(3),
    ]


LINES = [b'{"text": "a"}', b"", b"[1]", b'{"text": "b", "n": 1}', b"\xff", b'{"text": "c"}', b"{"]
INPUTS = {
    **{f"warc, {name}": ("warc", layout(mixed_warc())) for name, layout in LAYOUTS.items()},
    "warc, gzip, damaged": ("warc", members(mixed_warc()[:3]) + b"garbage" + members(mixed_warc()[3:])[:-30]),
    "warc, plain, damaged": ("warc", b"".join(mixed_warc()[:3]) + b"garbage\r\n" + b"".join(mixed_warc()[3:])[:-30]),
    "jsonl": ("jsonl", b"\n".join(LINES)),
    "jsonl, gzip": ("jsonl", gzip.compress(b"\n".join(LINES), mtime=0)),
    "jsonl, gzip, cut": ("jsonl", gzip.compress(b"\n".join(LINES * 3), mtime=0)[:-12]),
    "jsonl, zstd": ("jsonl", zstandard.compress(b"\r\n".join(LINES))),
    "parquet": ("parquet", parquet_bytes(30)),
    "markdown": ("markdown", b"# Bees\n\nThey fly."),
    "text": ("text", b"Bees fly."),
}


@pytest.mark.parametrize("name", INPUTS)
def test_reading_resumes_after_any_record(name: str) -> None:
    """Reading from the end of a record gives exactly the records that follow it, and every record has its own place."""
    kind, data = INPUTS[name]
    records = read_all(kind, data)
    assert records
    for at, record in enumerate(records):
        assert read_all(kind, data, record.end) == records[at + 1 :]
    assert len({record.offset for record in records}) == len(records)
    assert all(a.end <= b.offset for a, b in pairwise(records))


@pytest.mark.parametrize("kind", sources.KINDS)
def test_kind_offers_what_a_source_offers(kind: str) -> None:
    """Each kind that a recipe may name is a module with the interface of a source."""
    module = sources.load(kind)
    assert isinstance(module.VERSION, int)
    assert isinstance(module.WHOLE_FILES, bool)
    assert list(read(kind, b"")) or not module.WHOLE_FILES


@given(data=st.binary(max_size=2000), kind=st.sampled_from(sources.KINDS))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_a_source_raise(data: bytes, kind: str) -> None:
    """Whatever an input holds, it becomes rows that have either a text, which is UTF-8, or an error."""
    check(read(kind, data))


@given(data=st.data(), name=st.sampled_from(sorted(INPUTS)))
@settings(max_examples=300, deadline=None)
def test_no_damage_makes_a_source_raise(data: st.DataObject, name: str) -> None:
    """The same where bytes of a good input are changed, taken out or put in."""
    kind, good = INPUTS[name]
    at = data.draw(st.integers(0, len(good)))
    cut = data.draw(st.integers(0, 20))
    junk = data.draw(st.binary(max_size=20))
    try:
        check(read(kind, good[:at] + junk + good[at + cut :]))
    except InputError:
        assert kind == "parquet"  # the name of a column was hit


def check(records: list[Record]) -> None:
    """What holds for every record of every kind."""
    for record in records:
        assert (record.text is None) != (record.error is None)
        assert record.offset <= record.end
        (record.text or record.error or "").encode()
        (record.title or "").encode()
        json.dumps(record.meta, allow_nan=False).encode()
        for time in (record.created_at, record.fetched_at):
            assert time is None or time.tzinfo is UTC


@given(lines=st.lists(st.text() | st.binary(), max_size=6), start=st.sampled_from(["---\n", "```\n", "# ", ""]))
@settings(max_examples=200, deadline=None)
def test_no_markdown_is_refused(lines: list[str | bytes], start: str) -> None:
    """Front matter may hold anything."""
    data = b"\n".join(line if isinstance(line, bytes) else line.encode("utf-8", "replace") for line in lines)
    check(read("markdown", start.encode() + data + b"\n---\ntext"))


# WARC -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_records_of_a_warc(layout: str) -> None:
    """Pages and text records are documents; what holds none is a row that says why; what describes others is no row."""
    data = LAYOUTS[layout](mixed_warc())
    records = read("warc", data)
    assert outcomes(records) == [
        "Bees fly from 1 to flower.",
        "! HTTP status 404",
        "! revisit: the page was stored before, with not named",
        "Bees fly from 2 to flower.",
        "! content type image/gif: not HTML or plain text",
        "All about bees.",
        "Bees fly from 3 to flower.",
    ]
    first = records[0]
    assert first.uri == "https://bees.example/"
    assert first.title == "Bees"
    assert first.fetched_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert first.meta["content_type"] == "text/html"
    assert first.meta["record_id"].startswith("urn:uuid:")
    if layout != "gzip as a whole":
        place = data[first.offset : first.end]
        assert (gzip.decompress(place) if layout == "gzip per record" else place).startswith(b"WARC/1.0\r\n")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_warc_cut_in_the_middle(layout: str, share: float) -> None:
    """A cut WARC gives every whole record and one row that says where it ends, never half a record as if whole."""
    rng = random.Random(1)  # noqa: S311 - any text that does not compress well
    pages = [page(" ".join(str(rng.random()) for _ in range(200))) for _ in range(20)]
    whole = LAYOUTS[layout](pages)
    data = whole[: int(len(whole) * share)]
    expected = read("warc", whole)
    records = read("warc", data)
    assert records[:-1] == expected[: len(records) - 1]
    assert len(records) > 1
    assert "ends" in str(records[-1].error)
    if layout == "plain" and share == 0.9:
        assert re.match(r"ends in the middle of a record: [\d,]+ of [\d,]+ bytes$", str(records[-1].error))


def test_whole_gzip_cut_at_every_byte() -> None:
    """Wherever a file compressed as a whole is cut, what was read is right and one row says that it ends."""
    data = gzip.compress(b"".join(mixed_warc() * 2), mtime=0)
    whole = read("warc", data)
    for size in range(300, len(data) - 1):
        *records, last = read("warc", data[:size])
        assert records == whole[: len(records)]
        assert "ends" in str(last.error)
    assert len(records) >= len(whole) - 1


def test_warc_cut_at_every_byte() -> None:
    """Wherever a file with one member for each record is cut, the whole records are there and the cut is one row."""
    parts = [gzip.compress(record, mtime=0) for record in (page(1), page(2))]
    data = b"".join(parts)
    whole = read("warc", data)
    for size in range(1, len(data)):
        records = read("warc", data[:size])
        complete = 0 if size < len(parts[0]) else 1
        assert records[:complete] == whole[:complete]
        at_border = size == len(parts[0])
        assert [bool(record.error) for record in records[complete:]] == ([] if at_border else [True])


@pytest.mark.parametrize("where", ["head", "data", "checksum"])
def test_damaged_gzip_member(where: str) -> None:
    """A damaged gzip member is one row, and reading goes on with the next member."""
    parts = [bytearray(gzip.compress(page(n), mtime=0)) for n in range(5)]
    at = {"head": 0, "data": 60, "checksum": -6}[where]
    parts[2][at] ^= 0xFF
    records = read("warc", b"".join(parts))
    assert [bool(record.error) for record in records] == [False, False, True, False, False]
    assert [record.offset for record in records] == [sum(map(len, parts[:n])) for n in range(5)]


def test_garbage_between_and_after_members() -> None:
    """Bytes that are no gzip member are a row of their own, wherever they stand."""
    data = members([page(1)]) + b"oops" * 1000 + members([page(2)]) + b"the end"
    first, junk, second, end = read("warc", data)
    assert (first.text, second.text) == ("Bees fly from 1 to flower.", "Bees fly from 2 to flower.")
    assert junk.error == "4,000 bytes that are no gzip member: they start with b'oopsoops'"
    assert end.end == len(data)


def test_member_with_more_than_its_record() -> None:
    """What follows a record in its gzip member is said to be there where the file is not compressed as a whole."""
    data = members([page(1)]) + gzip.compress(page(2) + page(3)) + members([page(4)])
    assert [bool(record.error) for record in read("warc", data)] == [False, True, False]


def test_unusable_header_in_a_plain_file() -> None:
    """A record without a length is a row, and reading goes on at the next line that starts a record."""
    broken = warc_record(response(b"<p>lost"), Content_Length="many")
    records = read("warc", page(1) + broken + page(2))
    assert outcomes(records)[1] == "! a WARC record without a usable Content-Length: 'many'"
    assert records[2].text == "Bees fly from 2 to flower."


def test_gzip_bomb_is_a_row_in_bounded_memory(tmp_path: Path) -> None:
    """A member, and a body, that expand to 1 GB are rows; the others of the file are there; memory stays small."""
    big = zlib.compressobj(1, zlib.DEFLATED, 31)
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n"
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    member = big.compress(head % ((1 << 30) + len(http)) + http)
    for _ in range(1 << 10):
        member += big.compress(bytes(1 << 20))
    member += big.compress(b"\r\n\r\n") + big.flush()
    body = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(body.compress(bytes(1 << 20)) for _ in range(1 << 10)) + body.flush()
    coded = [gzip.compress(warc_record(response(bomb, Content_Encoding="gzip")))]
    small = brotli.compress(bytes(1 << 25), quality=5)
    coded.append(gzip.compress(warc_record(response(small, Content_Encoding="br"))))
    path = tmp_path / "bomb.warc.gz"
    path.write_bytes(members([page(1)]) + member + members([page(2)]) + b"".join(coded) + members([page(3)]))
    script = (
        "import sys; from types import SimpleNamespace as N; from curation.sources import warc\n"
        "engine = N(engine='resiliparse', format='text', model='default')\n"
        "for r in warc.read(open(sys.argv[1], 'rb'), 'x', 0, N(fields={}), engine):\n"
        "    print(r.error or r.text)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0] if sys.platform == 'linux' else 0)\n"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script, path], cwd=root, check=True, capture_output=True, text=True, timeout=120
    )
    *lines, kilobytes = done.stdout.splitlines()
    assert lines == [
        "Bees fly from 1 to flower.",
        "HTML of 1,073,741,824 bytes: over the limit of 20,971,520",
        "Bees fly from 2 to flower.",
        "Content-Encoding gzip: the body expands to more than the limit of 20,971,520 bytes",
        "Content-Encoding br: the body expands to more than the limit of 20,971,520 bytes",
        "Bees fly from 3 to flower.",
    ]
    assert int(kilobytes) < 300_000


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": lambda body: zlib.compress(body)[2:-4],
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("stored", ["as sent", "decoded"])
def test_coded_bodies(coding: str, chunked: bool, stored: str) -> None:
    """A body is read whether it was stored as it was sent or decoded, under the same headers."""
    body = PAGE.format("flower").encode()
    if stored == "as sent":
        body = CODINGS[coding](body)
    headers = {"Content_Encoding": coding.rpartition(" ")[2]}
    if chunked:
        headers["Transfer_Encoding"] = "chunked"
        if stored == "as sent":
            body = b"%x;a=b\r\n%b\r\n%X\r\n%b\r\n0\r\n\r\n" % (9, body[:9], len(body) - 9, body[9:])
    (record,) = read("warc", warc_record(response(body, **headers)))
    assert record.text == "Bees fly from flower to flower."


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_half_a_coded_body_is_no_document(coding: str) -> None:
    """A coded body that ends too early is a row that says so."""
    body = CODINGS[coding](random.Random(1).randbytes(5000).hex().encode())[:-100]  # noqa: S311
    (record,) = read("warc", warc_record(response(body, Content_Encoding=coding)))
    assert str(record.error).startswith(f"Content-Encoding {coding}: the body is damaged: ")


def test_half_a_chunked_body_is_no_document() -> None:
    """A chunk that is not all there is a row that says how much is."""
    (record,) = read("warc", warc_record(response(b"ff\r\n<p>half", Transfer_Encoding="chunked")))
    assert record.error == "the chunked body ends in the middle of a chunk: 7 of 255 bytes"


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("", PAGE, "Bees fly from {} to flower."),
        ("text/plain", PAGE, "Bees fly from {} to flower."),
        ("text/plain", "a < b\n", "a < b\n"),
        ("TEXT/HTML; charset=x", PAGE, "Bees fly from {} to flower."),
        ("text/plain", "a\0b", "! content type text/plain: the body is binary, not text"),
        ("", "abc", "! content type missing: not HTML or plain text"),
        ("application/pdf", "%PDF-1.4", "! content type application/pdf: not HTML or plain text"),
        ("text/html", "", ""),
    ],
)
def test_content_types(content_type: str, body: str, expected: str) -> None:
    """What the server calls HTML or text is read as that; where it does not know, what looks like HTML is."""
    assert outcomes(read("warc", warc_record(response(body.encode(), content_type)))) == [expected]


@pytest.mark.parametrize(("end", "expected"), [(PAGE, "Bees fly from {} to flower."), ("bees", None)])
def test_many_comments_before_a_page(end: str, expected: str | None) -> None:
    """Whether a body looks like HTML is known at once, whatever stands before the page."""
    body = "<!---->" * 500 + end
    assert outcomes(read("warc", warc_record(response(body.encode(), "text/plain")))) == [expected or body]


def test_digest_that_does_not_match_keeps_the_document() -> None:
    """A wrong digest is noted, and loses nothing."""
    block = response(PAGE.encode())
    right = base64.b32encode(hashlib.sha1(block).digest()).decode()  # noqa: S324
    (good,) = read("warc", warc_record(block, WARC_Block_Digest=f"sha1:{right}"))
    (bad,) = read("warc", warc_record(block, WARC_Block_Digest=f"sha1:{'A' * 32}"))
    assert "digest" not in good.meta
    assert bad.meta["digest"] == "mismatch"
    assert bad.text == good.text


@pytest.mark.data
def test_every_record_of_real_crawlers_is_accounted_for(data: Path) -> None:
    """Of each of 27 files: the records of each type that the index lists, and a row for all that describe no other.

    Its 29 "bad-digest" are no records: WARC-Payload-Digest of 29 responses is that of their blocks. Their block digests
    are right, and they are documents.
    """
    folder = data / "web" / "real-warc"
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert len(index) == 27 == sum(".warc" in path.name for path in folder.iterdir())
    total: Counter[str] = Counter()
    for entry in index:
        expected = Counter(entry["warcio_records"])
        wrong = expected.pop("bad-digest", 0)
        kind = "wet" if ".wet." in entry["file"] else "warc"
        found = read_all(kind, (folder / entry["file"]).read_bytes())
        counted = Counter(record.type for record in found)
        assert (entry["file"], counted) == (entry["file"], expected)
        skipped = Counter(record.type for record in found if isinstance(record, Skipped))
        assert set(skipped) <= {"warcinfo", "request", "metadata"}
        rows = Counter(record.type for record in found if isinstance(record, Record))
        assert rows == {name: n for name, n in expected.items() if name not in {"warcinfo", "request", "metadata"}}
        documents = {record.type for record in found if isinstance(record, Record) and record.error is None}
        assert documents <= {"response", "resource", "conversion"}
        whole = [record for record in found if isinstance(record, Record) and "digest" not in record.meta]
        assert wrong in {0, len([record for record in whole if record.text])}
        total += counted
    assert total["revisit"] > 100
    assert (total["unknown"], total["conversion"]) == (3, 1)


@pytest.mark.data
def test_real_warcs_have_as_many_rows_as_warcio_counts(data: Path) -> None:
    """Rows are the responses, resources, conversions, revisits and records of unknown type that warcio reads."""
    from warcio.archiveiterator import ArchiveIterator  # noqa: PLC0415 - only here

    paths = [*data.glob("web/*.warc.gz"), *data.glob("web/real-warc/*.warc*"), *data.glob("lowquality/*.warc.gz")]
    assert len(paths) > 30
    for path in paths:
        with path.open("rb") as stream:
            counted = Counter(record.rec_type for record in ArchiveIterator(stream))
        expected = sum(n for kind, n in counted.items() if kind not in {"warcinfo", "request", "metadata"})
        records = read("warc", path.read_bytes())
        assert (path.name, len(records)) == (path.name, expected)
        check(records)
        middle = len(records) // 2
        if records:
            assert read("warc", path.read_bytes(), records[middle].end) == records[middle + 1 :]


# JSON lines -----------------------------------------------------------------------------------------------------------


def test_fields_of_json_lines() -> None:
    """Known keys become columns, the others meta; a recipe may name other keys; what does not fit stays in meta."""
    row = {
        "body": "Bees.",
        "link": "https://a.example",
        "title": 7,
        "created_at": "2024-05-01",
        "tags": ["x", {"y": 1}],
    }
    (record,) = read("jsonl", json.dumps(row).encode(), text="body", uri="link")
    assert (record.text, record.uri, record.title) == ("Bees.", "https://a.example", None)
    assert record.created_at == datetime(2024, 5, 1, tzinfo=UTC)
    assert record.meta == {"title": 7, "tags": ["x", {"y": 1}]}
    (record,) = read("jsonl", b'{"text": "", "url": "u", "license": "MIT", "created_at": "last year"}')
    assert (record.text, record.uri, record.license) == ("", "u", "MIT")
    assert record.meta == {"created_at": "last year"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes at character 1"),
        (b"[1]", "expected an object, got an array"),
        (b'{"txt": "a"}', "no field 'text': the fields are txt"),
        (b'{"text": null}', "'text': expected a string, got null"),
        (b'{"text": 1}', "'text': expected a string, got a number"),
        (b'{"text": "\xff"}', "not UTF-8: byte 10 of the line is b'\\xff'"),
        (b'{"text": ' + b"[" * 100_000, "not JSON that can be read: RecursionError"),
        (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "not JSON that can be read: ValueError"),
    ],
)
def test_bad_line_is_a_row_that_says_why(line: bytes, error: str) -> None:
    """A line that is no document is a row with its reason, and the next line is read."""
    bad, good = read("jsonl", line + b'\n{"text": "next"}\n')
    assert str(bad.error).startswith(error)
    assert (good.text, good.offset, good.end) == ("next", 1, 2)


def test_lone_surrogates_become_replacement_characters() -> None:
    """JSON can say what UTF-8 cannot; such characters are replaced, in keys too, and pairs are kept."""
    (record,) = read("jsonl", rb'{"text": "a\ud800b \ud83d\udc1d", "m\udc00": ["\ud800"]}')
    assert record.text == "a\ufffdb \N{HONEYBEE}"
    assert record.meta == {"m\ufffd": ["\ufffd"]}


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_cut_compressed_lines(compress: Callable[[bytes], bytes]) -> None:
    """A compressed file that is cut gives its whole lines, then one row that says it ends too early."""
    lines = [json.dumps({"text": random.Random(n).randbytes(300).hex()}).encode() for n in range(3000)]  # noqa: S311
    data = compress(b"\n".join(lines))
    *whole, last = read("jsonl", data[: len(data) // 2])
    assert [record.text for record in whole] == [json.loads(line)["text"] for line in lines[: len(whole)]]
    assert len(whole) > 500
    assert "ends too early" in str(last.error)
    assert last.offset == len(whole)


def test_long_line_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line over the limit is a row, whatever its length, and its neighbours are read."""
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    pieces = iter([b'{"text": "a"}\n{"text": "', *[b"x" * 70_000] * 50, b'"}\n{"text": "b"}\n'])
    stream = SimpleNamespace(read=lambda _: next(pieces, b""))
    source: Any = SimpleNamespace(fields={})
    records = list(jsonl.read(stream, "x", 0, source, source))
    assert outcomes(records) == ["a", "! line of more than 1,000 bytes: over the limit", "b"]


@given(lines=st.lists(st.sampled_from([b"", b" ", b'{"text": "a"}', b"x" * 70_000, b"\r"]), max_size=8))
def test_line_numbers_are_those_of_the_file(lines: list[bytes]) -> None:
    """An offset is the line's number among all lines, blank ones too, which are no records."""
    expected = [number for number, line in enumerate(lines) if line.strip()]
    assert [record.offset for record in read("jsonl", b"\n".join(lines))] == expected


# Parquet --------------------------------------------------------------------------------------------------------------


def test_rows_of_parquet() -> None:
    """Columns become what keys of JSON lines become; values that JSON cannot hold are written as text."""
    out = io.BytesIO()
    table = pa.table(
        {
            "body": ["Bees.", None],
            "url": ["u", None],
            "created_at": [datetime(2024, 5, 1, 10), None],  # noqa: DTZ001 - Parquet files have such
            "raw": [b"\x01", None],
            "tags": [["a"], None],
        }
    )
    pq.write_table(table, out)
    first, second = read("parquet", out.getvalue(), text="body")
    assert (first.text, first.uri, first.created_at) == ("Bees.", "u", datetime(2024, 5, 1, 10, tzinfo=UTC))
    assert first.meta == {"raw": "01", "tags": ["a"]}
    assert second.error == "'body': expected a string, got null"


def test_parquet_without_the_column_stops_with_the_remedy() -> None:
    """A column that the recipe names and the file has not is the recipe's fault."""
    with pytest.raises(
        InputError, match=r"input: no column 'body' for text; the columns are text \(string\), n"
    ) as hit:
        read("parquet", parquet_bytes(3), text="body")
    assert "fields = { text" in str(hit.value.remedy)
    with pytest.raises(InputError, match="column 'n' holds int64, not text"):
        read("parquet", parquet_bytes(3), text="n")


@pytest.mark.parametrize("fields", [{}, {"title": "x"}, {"title": "upper(x)"}, {"title": "x.y"}])
def test_parquet_with_two_columns_of_one_name_stops(fields: dict[str, str]) -> None:
    """Which of them is meant cannot be said, and `meta` holds but one."""
    out = io.BytesIO()
    pq.write_table(pa.table([["a"], ["b"], ["c"]], names=["text", "x", "x"]), out)
    what = r"^input: 2 columns are called 'x'; the columns are text \(string\), x \(string\), x \(string\)"
    with pytest.raises(InputError, match=what):
        read("parquet", out.getvalue(), **fields)


def test_damaged_parquet_is_a_row() -> None:
    """A file that is no Parquet is one row; a damaged row group is one row and the other groups are read."""
    data = bytearray(parquet_bytes(30, group=10))
    assert str(read("parquet", bytes(data[:-9]))[0].error).startswith("not a Parquet file that can be read: ")
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    for at in range(group.dictionary_page_offset, group.dictionary_page_offset + 12):
        data[at] ^= 0xFF
    records = read("parquet", bytes(data))
    assert [record.text for record in records if record.text] == [f"row {n}" for n in (*range(10), *range(20, 30))]
    (bad,) = [record for record in records if record.error]
    assert (bad.offset, bad.end) == (10, 20)
    assert str(bad.error).startswith("rows 10 to 19 cannot be read: ")


@pytest.mark.data
def test_real_parquet_and_lines(data: Path) -> None:
    """Every row of a book and every line of real JSON is a document."""
    path = data / "textbooks/openstax.parquet"
    assert len(read("parquet", path.read_bytes())) == pq.ParquetFile(path).metadata.num_rows
    for path in data.glob("textbooks/intro*.jsonl.gz"):
        records = read("jsonl", path.read_bytes())
        assert len(records) == len(gzip.decompress(path.read_bytes()).splitlines())
        assert all(record.text for record in records)


# Markdown and text ----------------------------------------------------------------------------------------------------


def test_front_matter_and_code_fences() -> None:
    """Front matter goes to columns and meta; the rest stays as it is written."""
    body = "# About *bees*\n\n```python\n# no heading\n```\n"
    front = "---\ntitle: Bees\nlicense: CC-BY-4.0\ndate: 2024-05-01\ntags: [a, b]\n1: x\n---\n\n"
    (record,) = read("markdown", (front + body).encode())
    assert record.text == body
    assert (record.title, record.license) == ("Bees", "CC-BY-4.0")
    assert record.created_at == datetime(2024, 5, 1, tzinfo=UTC)
    assert record.meta == {"tags": ["a", "b"], "1": "x"}
    (record,) = read("markdown", body.encode())
    assert record.title == "About *bees*"


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("title: [", "not read: not valid YAML"),
        ("a: &a [1]\nb: [*a, *a]", "not read: YAML aliases"),
        ("x: !!python/object/apply:os.system [ls]", "not read: not valid YAML"),
        ("date: 2024-99-99", "not read: not valid YAML"),
        ("[" * 5000, "not read: not valid YAML"),
        ("just a line between rules", None),
    ],
)
def test_bad_front_matter_stays_in_the_text(front: str, reason: str | None) -> None:
    """Front matter that cannot be read is text, and meta says why."""
    whole = f"---\n{front}\n---\nBees.\n"
    (record,) = read("markdown", whole.encode())
    assert record.text == whole
    assert record.meta.get("front_matter") == reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_encodings_of_text(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A text file is read in the encoding it is in, compressed or not."""
    words = "Die Bienen fliegen über die Blüten, süß und schön. Größe, Mühe, Käse, Öl.\r\n" * 5
    (record,) = read("text", compress(words.encode(encoding)))
    assert record.text == words


def test_binary_and_empty_and_large_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binary file is a row with error, an empty one a document without text, a large one is not read to its end."""
    assert outcomes(read("text", b"\x7fELF\x02\x01\x01" + bytes(50))) == [
        "! the file is binary, not text: it holds NULs"
    ]
    assert outcomes(read("text", b"")) == [""]
    monkeypatch.setattr(text, "MAX_TEXT_BYTES", 1000)
    assert outcomes(read("text", gzip.compress(bytes(10**7)))) == ["! text of more than 1,000 bytes: over the limit"]
    assert outcomes(read("text", gzip.compress(b"bees")[:-9])) == [
        "! the gzip stream ends too early: its last member is not finished"
    ]


@pytest.mark.data
def test_real_markdown(data: Path) -> None:
    """Every handbook page is a document with a title, and its front matter is gone from the text."""
    titles = 0
    with tarfile.open(data / "internal/docs-markdown.tar.gz") as tar:
        files = [tar.extractfile(member).read() for member in tar if member.name.endswith(".md")]
    for content in files:
        (record,) = read("markdown", content)
        assert record.error is None
        assert "front_matter" not in record.meta
        assert content.decode().endswith(str(record.text))
        titles += record.title is not None
    assert titles > 0.95 * len(files) > 500


def test_charsets() -> None:
    """The BOM goes first, then valid UTF-8, the header, the page's own word, and what the bytes look like."""
    russian = "Слово было в начале, и слово было Бог, и было слово для людей. " * 10
    assert decoding.decode_text(russian.encode("cp1251"), "windows-1251") == russian
    assert decoding.decode_text(russian.encode("cp1251"), "utf-8") == russian
    assert decoding.decode_text(russian.encode(), "windows-1251") == russian
    assert decoding.decode_text(russian.encode("utf-16"), "utf-8") == russian
    japanese = "蜂は花から花へ飛ぶ。"
    for charset in ("shift_jis", "euc-jp", "iso-2022-jp"):
        head = f'<meta charset="{charset}">'
        assert decoding.decode_text(japanese.encode(charset), charset) == japanese
        if charset != "iso-2022-jp":
            assert decoding.decode_text((head + japanese).encode(charset), html=True) == head + japanese
    nearly = "é".encode() * 2000 + b"\xff"
    assert decoding.decode_text(nearly, "utf-8") == "é" * 2000 + "\ufffd"
