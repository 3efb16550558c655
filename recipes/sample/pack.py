"""Packs the pages of `web/` into `web.warc.gz`, the same bytes each time: `python -m recipes.sample.pack`.

`web/pages.toml` says what is packed and in which order. The records are written by hand, so that the archive depends on
nothing but zlib and brotli, and so that the readers of WARC files are tested on bytes that none of them wrote.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import brotli

HERE = Path(__file__).parent
#: When the first page was fetched; each record is seven seconds later than the one before.
BEGIN = datetime(2026, 11, 9, 6, 0, 0, tzinfo=UTC)
STEP = timedelta(seconds=7)
#: Names the records: a record's id is the uuid5 of its number, type and URL in it.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "sample.curate.example")


def pack(web: Path = HERE / "web") -> bytes:
    """The archive as bytes: a warcinfo record, then what `pages.toml` lists, each record a gzip member of its own."""
    records = tomllib.loads((web / "pages.toml").read_text(encoding="utf-8"))["record"]
    info = b"software: recipes/sample/pack.py of curate\r\nformat: WARC File Format 1.1\r\nlicense: Apache-2.0\r\n"
    members = [
        _member(0, "warcinfo", None, when=BEGIN, headers={"Content-Type": "application/warc-fields"}, block=info)
    ]
    digests: dict[str, str] = {}  # of the payload at each URL, for the revisits
    for number, record in enumerate(records, start=1):
        url, when = record["url"], BEGIN + number * STEP
        if record.get("request"):
            headers = {"Content-Type": _HTTP + "request"}
            members.append(_member(number, "request", url, when=when, headers=headers, block=_request(url)))
        if record.get("revisit"):
            headers = {
                "WARC-Profile": "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest",
                "WARC-Refers-To-Target-URI": url,
                "WARC-Payload-Digest": digests[url],
                "Content-Type": _HTTP + "response",
            }
            when += timedelta(days=7)
            members.append(_member(number, "revisit", url, when=when, headers=headers, block=_head(record, when, b"")))
            continue
        payload = _encoded(record, (web / record["file"]).read_bytes())
        body = _chunked(payload) if record.get("chunked") else payload
        digests[url] = _digest(body)  # of the chunks, not of what they hold: readers check it so
        headers = {"WARC-Payload-Digest": digests[url], "Content-Type": _HTTP + "response"}
        block = _head(record, when, payload) + body
        members.append(_member(number, "response", url, when=when, headers=headers, block=block))
    return b"".join(members)


_HTTP = "application/http; msgtype="


def _member(number: int, kind: str, url: str | None, *, when: datetime, headers: dict[str, str], block: bytes) -> bytes:
    """One record, compressed."""
    fields = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(NAMESPACE, f'{number} {kind} {url}')}>",
        "WARC-Date": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **({"WARC-Target-URI": url} if url else {"WARC-Filename": "web.warc.gz"}),
        **headers,
        "WARC-Block-Digest": _digest(block),
        "Content-Length": str(len(block)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return _gzip(b"WARC/1.1\r\n" + head.encode() + b"\r\n" + block + b"\r\n\r\n")


def _request(url: str) -> bytes:
    """What the crawler sent."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: sample/1\r\n\r\n".encode()


def _head(record: dict[str, Any], when: datetime, payload: bytes) -> bytes:
    """The status line and the headers of an HTTP response."""
    status = HTTPStatus(record.get("status", 200))
    fields = {
        "Date": when.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Content-Type": record.get("content_type", "text/html; charset=utf-8"),
        **({"Location": record["location"]} if "location" in record else {}),
        **({"Content-Encoding": record["content_encoding"]} if "content_encoding" in record else {}),
        **({"Transfer-Encoding": "chunked"} if record.get("chunked") else {"Content-Length": str(len(payload))}),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _encoded(record: dict[str, Any], content: bytes) -> bytes:
    """The content as the record's `content_encoding` says."""
    match record.get("content_encoding"):
        case "gzip":
            return _gzip(content)
        case "br":
            return bytes(brotli.compress(content, quality=11))
        case _:
            return content


def _gzip(content: bytes) -> bytes:
    """One gzip member; `gzip.compress` names an operating system in its header, another one in each Python."""
    deflate = zlib.compressobj(level=9, wbits=-15)
    header = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x02\xff"
    trailer = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    return header + deflate.compress(content) + deflate.flush() + trailer


def _chunked(payload: bytes, size: int = 700) -> bytes:
    """The payload in HTTP chunks; small ones, so that there are several."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _digest(content: bytes) -> str:
    """The digest as WARC files write it: SHA-1 in base32."""
    return "sha1:" + base64.b32encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()


if __name__ == "__main__":
    (HERE / "web.warc.gz").write_bytes(pack())
