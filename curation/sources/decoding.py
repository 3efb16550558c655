"""Bytes to text: compressed streams, HTTP bodies and charsets, all within bounds; `Fault` is why that cannot be done.

Nothing here knows a kind of input, and nothing here reads or expands more than it is told to.
"""

from __future__ import annotations

import re
import zlib
from functools import cache
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, BinaryIO

import brotli
import zstandard
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Raised when the same bytes give another text.
VERSION = 1
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
CHUNK = 1 << 16
#: A zstd block of 4 bytes may expand to 128 KiB, and zstandard has no limit on output: so it is fed in small pieces.
_ZSTD_CHUNK = 1 << 10
#: Codings after each other that one body may have ("gzip, gzip").
_MAX_CODINGS = 3

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_STARTS = tuple(bom for bom, _ in _BOMS)
#: Charsets whose bytes may be valid UTF-8 and mean something else.
_LOOK_LIKE_ASCII = ("iso2022", "iso-2022", "utf-16")
_META_CHARSET = re.compile(rb"<meta[^>]{0,512}?charset\s{0,8}=\s{0,8}[\"']?\s{0,8}([\w:.-]{1,40})", re.IGNORECASE)
#: Bytes that coded bodies have and text has not.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@cache
def version() -> str:
    """What the text of bytes depends on beside them; part of a fingerprint."""
    return f"{VERSION}-resiliparse-{package_version('resiliparse')}"


class Fault(Exception):  # noqa: N818 - a fault of the input, which becomes a row and is never shown as an exception
    """Why a record cannot be read: the `error` of its row."""


def read_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """What a plain, gzip or zstd stream holds, in pieces of bounded size, whatever the file is called.

    A damaged or unfinished stream raises Fault after all that could be read of it has been yielded.
    """
    head = stream.read(CHUNK)
    if head.startswith(GZIP):
        yield from _gunzip(stream, head)
    elif head.startswith(ZSTD):
        yield from _unzstd(stream, head)
    else:
        while head:
            yield head
            head = stream.read(CHUNK)


def _gunzip(stream: BinaryIO, data: bytes) -> Iterator[bytes]:
    while data:
        member = zlib.decompressobj(31)
        while not member.eof:
            if not data:
                raise Fault("the gzip stream ends too early: its last member is not finished")
            try:
                out = member.decompress(data, CHUNK * 16)
            except zlib.error as error:
                raise Fault(f"the gzip stream is damaged: {error}") from None
            if out:
                yield out
            data = member.unconsumed_tail or (b"" if member.eof else stream.read(CHUNK))
        # NULs after the last member are padding, as gzip itself takes them.
        data = member.unused_data.lstrip(b"\0")
        while len(data) < len(GZIP) and (more := stream.read(CHUNK)):
            data = (data + more).lstrip(b"\0")
        if data and not data.startswith(GZIP):
            raise Fault(f"the gzip stream is followed by bytes that are not gzip: {data[:8]!r}")


def _unzstd(stream: BinaryIO, data: bytes) -> Iterator[bytes]:
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            if not data:
                raise Fault("the zstd stream ends too early: its last frame is not finished")
            piece, data = data[:_ZSTD_CHUNK], data[_ZSTD_CHUNK:]
            try:
                out = frame.decompress(piece)
            except zstandard.ZstdError as error:
                raise Fault(f"the zstd stream is damaged: {error}") from None
            if out:
                yield out
            data = data or (b"" if frame.eof else stream.read(CHUNK))
        data = frame.unused_data + data
        data = data or stream.read(CHUNK)


def read_whole(stream: BinaryIO, limit: int) -> bytes:
    """All that a plain or compressed stream holds; Fault if that is more than `limit` bytes or cannot be read."""
    parts, size = [], 0
    for chunk in read_chunks(stream):
        size += len(chunk)
        if size > limit:
            raise Fault(f"text of more than {limit:,} bytes: over the limit")
        parts.append(chunk)
    return b"".join(parts)


def decode_body(body: bytes, codings: list[str], limit: int) -> bytes:
    """An HTTP body without its Content-Encoding, or Fault if it is damaged or expands to more than `limit` bytes.

    Many crawlers store the decoded body under the header of the coded one: a body that plainly is not coded is
    returned as it is.

    >>> decode_body(zlib.compress(b"<p>text</p>"), ["deflate"], 100)
    b'<p>text</p>'
    >>> decode_body(b"<p>text</p>", ["gzip"], 100)
    b'<p>text</p>'
    """
    codings = [coding for coding in codings if coding not in {"", "identity", "none", "utf-8"}]
    if len(codings) > _MAX_CODINGS:
        raise Fault(f"Content-Encoding of {len(codings)} codings: over the limit of {_MAX_CODINGS}")
    for coding in reversed(codings):
        if not body:
            return body
        try:
            body = _decode_one(body, coding, limit)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            if not _CONTROL.search(body, 0, 1024):
                return body
            raise Fault(f"Content-Encoding {coding}: the body is damaged: {error}") from None
    return body


def _decode_one(body: bytes, coding: str, limit: int) -> bytes:
    if coding in {"gzip", "x-gzip"}:
        return _inflate(body, 31, limit, coding) if body.startswith(GZIP) else body
    if coding == "deflate":
        try:
            return _inflate(body, 15, limit, coding)
        except zlib.error:
            return _inflate(body, -15, limit, coding)
    if coding == "br":
        return _unbrotli(body, limit)
    if coding == "zstd":
        if not body.startswith(ZSTD):
            return body
        with zstandard.ZstdDecompressor().stream_reader(body) as reader:
            out = reader.read(limit + 1)
        return _within(out, limit, coding)
    raise Fault(f"Content-Encoding {coding[:40]!r} is not known")


def _inflate(body: bytes, wbits: int, limit: int, coding: str) -> bytes:
    decoder = zlib.decompressobj(wbits)
    out = _within(decoder.decompress(body, limit + 1), limit, coding)
    if not decoder.eof:
        raise zlib.error(f"it ends after {len(out):,} bytes")
    return out


def _unbrotli(body: bytes, limit: int) -> bytes:
    decoder = brotli.Decompressor()
    out = bytearray(decoder.process(body, output_buffer_limit=CHUNK))
    while not decoder.is_finished() and len(out) <= limit:
        more = decoder.process(b"", output_buffer_limit=1 << 20)
        if not more and decoder.can_accept_more_data():
            raise brotli.error(f"it ends after {len(out):,} bytes")
        out += more
    return _within(bytes(out), limit, "br")


def _within(out: bytes, limit: int, coding: str) -> bytes:
    if len(out) > limit:
        raise Fault(f"Content-Encoding {coding}: the body expands to more than the limit of {limit:,} bytes")
    return out


def decode_text(data: bytes, declared: str | None = None, *, html: bool = False) -> str:
    """The text of `data`: by its BOM, as UTF-8 where it is that, as `declared`, as its `<meta>` says, or as detected.

    Bytes that are valid UTF-8 beyond ASCII are practically never anything else, while headers are often wrong, so
    UTF-8 goes before what was declared (except for ISO-2022 and UTF-16, whose bytes may look like ASCII). Something
    else is taken at its word if it decodes all but one character in a thousand; what cannot be decoded is U+FFFD.

    >>> decode_text("naïve".encode(), declared="iso-8859-1"), decode_text("naïve".encode("latin-1"))
    ('naïve', 'naïve')
    """
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(codec, "replace")
    stated = _charset(declared)
    if stated is None or not stated.startswith(_LOOK_LIKE_ASCII):
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    meta = _META_CHARSET.search(data, 0, 4096) if html else None
    said = [stated, _charset(meta[1].decode("ascii", "replace")) if meta else None]
    for charset in (*said, _charset(detect_encoding(data))):
        if charset and (text := _decode_nearly(data, charset)) is not None:
            return text
    return data.decode(next((charset for charset in said if charset), "cp1252"), "replace")


def decode_page(data: bytes, declared: str | None = None) -> bytes:
    """What `decode_text` makes of a page, as UTF-8; most pages are that already and are not written anew.

    >>> decode_page("naïve".encode("latin-1")).decode()
    'naïve'
    """
    stated = _charset(declared)
    if not data.startswith(_STARTS) and (stated is None or not stated.startswith(_LOOK_LIKE_ASCII)):
        try:
            data.decode()
        except UnicodeDecodeError:
            pass
        else:
            return data
    return utf8_safe(decode_text(data, declared, html=True)).encode()


def _charset(label: str | None) -> str | None:
    """The codec of a charset label as browsers take it, None where there is none ("iso-8859-1" is cp1252 to them)."""
    if not label:
        return None
    codec: str | None = map_encoding_to_html5(label.strip().strip("\"'"), fallback_utf8=False)
    return codec


def _decode_nearly(data: bytes, charset: str) -> str | None:
    try:
        text = data.decode(charset, "replace")
    except (LookupError, UnicodeError):
        return None
    return text if text.count("\ufffd") * 1000 <= len(text) else None


def is_binary(text: str) -> bool:
    """Whether decoded bytes are no text at all: they hold NULs."""
    return "\0" in text


def utf8_safe(text: str) -> str:
    r"""`text` with U+FFFD for each lone surrogate, which UTF-8 cannot hold.

    >>> utf8_safe("a\ud800b")
    'a\ufffdb'
    """
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
