"""WARC 1.0 and 1.1, and ARC before it, plain or gzip: web pages, and texts of WET files; `offset` is the record's.

The reader is our own because fastwarc and warcio end silently where a file is cut or a gzip member is damaged, hand
out the half record as if it were whole, and lose what follows; here each of these is a row, and reading goes on.

In a file with one gzip member for each record, as crawlers write them, `offset` is where the member starts. In a plain
file it is where the record starts. In a file compressed as a whole nothing can be found by its place in the file, so
there it is the place in the decompressed stream.

What a record of an ARC says on its one line becomes the fields that a WARC's header has, so both are read alike.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from isal import isal_zlib

from curation.sources.decoding import CHUNK, GZIP, Fault, decode_body, decode_text, is_binary, read_chunks
from curation.sources.extract import extract as extract_html
from curation.sources.jsonl import to_utc
from curation.sources.record import DAMAGED, MAX_HTML_BYTES, MAX_TEXT_BYTES, Record, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from curation.recipe import Extract, Source

VERSION = 2
WHOLE_FILES = False
EXTRACTS = True

MAX_HEADER_BYTES = 64 * 1024
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"})
TEXT_TYPES = frozenset({"text/plain", "text/markdown"})
#: Types by which servers say that they do not know: what the body looks like decides.
UNSURE_TYPES = frozenset({"", "application/octet-stream", "unknown/unknown", "application/x-unknown", "text/plain"})
#: They describe other records, so they are no documents and no rows; the last is the head of an ARC.
DESCRIBING_TYPES = frozenset({"warcinfo", "request", "metadata", "filedesc"})

_VERSION_LINE = re.compile(rb"WARC/\d+\.\d+\s*$")
_MAX_ARC_LINE = 8 * 1024
_ARC_TIME = re.compile(rb"\d{12}(?:\d\d)?")
_TYPE = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_LOOKS_LIKE_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?"
    rb"(?:<!--(?:(?!-->).)*+-->\s*+)*+"  # possessive: else each comment doubles the ways to fail
    rb"<(?:!doctype\s+html|html|head|body|title)\b",
    re.IGNORECASE | re.DOTALL,
)
_DIGEST_NAMES = {"sha1": "sha1", "sha-1": "sha1", "sha256": "sha256", "sha-256": "sha256", "md5": "md5"}
_STEP = CHUNK * 4


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record | Skipped]:
    """The documents of a WARC or ARC from `start` on, and a row with `error` for each response that holds none."""
    del name, source
    yield from read_types(stream, start, extract, ("response", "resource", "conversion"))


def read_types(stream: BinaryIO, start: int, extract: Extract, types: tuple[str, ...]) -> Iterator[Record | Skipped]:
    """As `read`, where only records of these types hold documents."""
    readers = {name: reader for name, reader in _READERS.items() if name in types}

    def make(head: _Head, body: _Body) -> Record | Skipped:
        return _record(head, body, extract, readers)

    yield from _read(stream, start, make)


def pages(stream: BinaryIO) -> Iterator[tuple[str, bytes, str | None]]:
    """The address, the HTML and the charset in the HTTP header of each page in a WARC; what is none is passed over."""
    found: list[tuple[str, bytes, str | None]] = []

    def make(head: _Head, body: _Body) -> Skipped:
        if head.type == "response":
            with suppress(Fault):
                content = _content(body, _http(body))
                if content.kind in HTML_TYPES:
                    found.append((_uri(head) or "", content.data, content.charset))
        return Skipped(offset=0, end=0, type=head.type)

    for _ in _read(stream, 0, make):
        yield from found
        found.clear()


def _read(stream: BinaryIO, start: int, make: _Maker) -> Iterator[Record | Skipped]:
    packed = stream.read(len(GZIP)) == GZIP
    stream.seek(0)
    first = _Bytes(_member_chunks(_File(stream, 0)) if packed else _file_chunks(stream), 0).peek(_MAX_ARC_LINE)
    form = _ARC if _starts_arc(first) else _WARC
    if not packed:
        stream.seek(start)
        yield from _read_plain(_Bytes(_file_chunks(stream), start), 0, form, make)
    elif _has_many_records(stream, form):
        stream.seek(0)
        yield from _read_plain(_Bytes(read_chunks(stream), 0), start, form, make)
    else:
        yield from _read_members(stream, start, form, make)


# Bytes ----------------------------------------------------------------------------------------------------------------


def _file_chunks(stream: BinaryIO) -> Iterator[bytes]:
    while data := stream.read(_STEP):
        yield data


class _Bytes:
    """A stream of pieces that is read from its front; `position` counts what has been taken.

    `fault` is why the stream ended, if it did not end where it should.
    """

    def __init__(self, pieces: Iterator[bytes], position: int) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._at = 0  # what was taken of the buffer, which is cut only when it is filled: a cut copies it
        self.position = position
        self.fault: Fault | None = None

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes from the front, fewer only at the end; nothing is taken."""
        if (held := len(self._buffer) - self._at) < size:
            parts = [self._buffer[self._at :]]
            while held < size and (piece := self._next()):
                parts.append(piece)
                held += len(piece)
            self._buffer, self._at = b"".join(parts), 0
        return self._buffer[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """As `peek`, but taken."""
        data = self.peek(size)
        self._at += len(data)
        if self._at == len(self._buffer):
            self._buffer, self._at = b"", 0
        self.position += len(data)
        return data

    def skip(self, size: int, see: Callable[[bytes], object] | None = None) -> int:
        """How many of `size` bytes there were; they are taken, shown to `see` and not held."""
        left = size
        while left and (piece := self.take(min(left, _STEP))):
            left -= len(piece)
            if see:
                see(piece)
        return size - left

    def skip_blank(self) -> bool:
        """Whether anything follows the line ends between records, which are taken."""
        while piece := self.peek(64):
            rest = piece.lstrip(b"\r\n")
            self.take(len(piece) - len(rest))
            if rest:
                return True
        return False

    def skip_to_record(self, form: _Format) -> int:
        """How many bytes were taken to come to the next line that starts a record, or to the end."""
        begin = self.position
        while len(data := self.peek(_STEP)) > form.longest and (at := _next_record(data, form)) < 0:
            self.take(len(data) - form.longest)
        if len(data) <= form.longest:
            at = _next_record(data, form)
        self.take(at if at >= 0 else len(data))
        return self.position - begin

    def is_at_fault(self) -> bool:
        """Whether all that could be read has been taken, and the stream ended where it should not."""
        return self.fault is not None and not self._buffer

    def _next(self) -> bytes:
        try:
            return next(self._pieces, b"")
        except Fault as fault:
            self.fault = fault
            self._pieces = iter(())
            return b""


class _File:
    """The bytes of the file in front of the next gzip member; what a member did not use is put back."""

    def __init__(self, stream: BinaryIO, position: int) -> None:
        stream.seek(position)
        self._stream = stream
        self._back = b""
        self.position = position

    def take(self) -> bytes:
        data = self._back or self._stream.read(CHUNK)
        self._back = b""
        self.position += len(data)
        return data

    def put_back(self, data: bytes) -> None:
        self._back = data + self._back
        self.position -= len(data)

    def move(self, position: int) -> None:
        self._stream.seek(position)
        self._back = b""
        self.position = position


def _member_chunks(file: _File) -> Iterator[bytes]:
    """What one gzip member holds; Fault if it is damaged or the file ends in it."""
    member = isal_zlib.decompressobj(31)
    data = file.take()
    while not member.eof:
        if not data:
            raise Fault("ends in the middle of a gzip member")
        try:
            out = member.decompress(data, _STEP)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stubs do not say that it is one
            raise Fault(f"damaged gzip member: {error}") from None
        if out:
            yield out
        if not member.eof:
            data = member.unconsumed_tail or file.take()
    file.put_back(member.unused_data)


# Files ----------------------------------------------------------------------------------------------------------------


def _has_many_records(stream: BinaryIO, form: _Format) -> bool:
    """Whether the first gzip member goes on after its first record: the file was compressed as a whole."""
    data = _Bytes(_member_chunks(_File(stream, 0)), 0)
    try:
        head = form.read_head(data)
    except Fault:
        return False
    data.skip(head.length)
    return data.skip_blank() and form.starts(data.peek(form.longest))


def _read_plain(data: _Bytes, start: int, form: _Format, make: _Maker) -> Iterator[Record | Skipped]:
    if data.skip(start) < start:
        return
    told = False
    while data.skip_blank():
        offset = data.position
        record: Record | Skipped
        try:
            head = form.read_head(data)
            body = _Body(data, head)
            record = make(head, body)
            if (got := body.finish()) < head.length:
                record, told = _cut(head, got, data.fault), True
        except Fault as fault:
            data.skip_to_record(form)
            told = data.is_at_fault()
            record = Record(offset=offset, end=offset, error=str(data.fault if told else fault), type=DAMAGED)
        yield replace(record, offset=offset, end=data.position)
    if data.fault and not told:
        yield Record(offset=data.position, end=data.position, error=str(data.fault), type=DAMAGED)


def _read_members(stream: BinaryIO, start: int, form: _Format, make: _Maker) -> Iterator[Record | Skipped]:
    file = _File(stream, start)
    while True:
        offset = file.position
        first = file.take()
        file.put_back(first)
        if not first:
            return
        if not first.startswith(GZIP[: len(first)]):
            file.move(_next_member(stream, offset + 1, form))
            error = f"{file.position - offset:,} bytes that are no gzip member: they start with {first[:8]!r}"
            yield Record(offset=offset, end=file.position, error=error, type=DAMAGED)
            continue
        record, damaged = _read_member(file, offset, form, make)
        if damaged:
            file.move(_next_member(stream, offset + 1, form))
        if record:
            yield replace(record, offset=offset, end=file.position)


def _read_member(file: _File, offset: int, form: _Format, make: _Maker) -> tuple[Record | Skipped | None, bool]:
    """What the gzip member at the front of the file holds, None for nothing, and whether the member is damaged."""
    data = _Bytes(_member_chunks(file), 0)
    record: Record | Skipped | None = None
    is_cut = False
    if data.skip_blank():
        try:
            head = form.read_head(data)
            body = _Body(data, head)
            record = make(head, body)
            if (got := body.finish()) < head.length:
                record, is_cut = _cut(head, got, data.fault), True
            elif data.skip_blank():
                record = _failed(head, f"followed by more in the same gzip member: {data.peek(16)!r}; not read")
        except Fault as fault:
            record = Record(offset=offset, end=offset, error=str(fault), type=DAMAGED)
    # To its end, where its checksum is: only then is what was read known to be what was written.
    data.skip(1 << 62)
    if data.fault and not is_cut:
        uri = record.uri if isinstance(record, Record) else None
        kind = record.type if record else DAMAGED
        record = Record(offset=offset, end=offset, uri=uri, error=str(data.fault), type=kind)
    return record, data.fault is not None


def _next_member(stream: BinaryIO, position: int, form: _Format) -> int:
    """Where the next gzip member that starts a record begins, or the end of the file."""
    keep = len(GZIP)
    tail = b""
    stream.seek(position)
    while data := stream.read(_STEP):
        block = tail + data
        base = position - len(tail)
        found = block.find(GZIP + b"\x08")
        while found >= 0:
            if _starts_record(stream, base + found, form):
                return base + found
            found = block.find(GZIP + b"\x08", found + 1)
        tail = block[-keep:]
        position += len(data)
        stream.seek(position)
    return position


def _starts_record(stream: BinaryIO, position: int, form: _Format) -> bool:
    stream.seek(position)
    try:
        start = zlib.decompressobj(31).decompress(stream.read(max(1024, form.longest)), form.longest)
    except zlib.error:
        return False
    return form.starts(start.lstrip(b"\r\n"))


# Records --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Format:
    """How records are told apart: `longest` bytes are enough to see whether one `starts` there."""

    longest: int
    starts: Callable[[bytes], bool]
    read_head: Callable[[_Bytes], _Head]


def _next_record(data: bytes, form: _Format) -> int:
    """Where the first line after this one that starts a record begins, -1 if none does."""
    at = data.find(b"\n") + 1
    while at:
        if form.starts(data[at : at + form.longest]):
            return at
        at = data.find(b"\n", at) + 1
    return -1


@dataclass(slots=True)
class _Head:
    """The header of a WARC record; names in lower case. That of an ARC's record has the same names."""

    fields: dict[str, str]
    length: int
    raw_size: int

    @property
    def type(self) -> str:
        return self.fields.get("warc-type", "").lower()


def _read_head(data: _Bytes) -> _Head:
    """The header at the front, taken; Fault if there is none."""
    raw = data.peek(4096)
    if not raw.startswith(b"WARC/"):
        raise Fault(f"no WARC record here: it starts with {raw[:16]!r}")
    if _header_end(raw) is None:
        raw = data.peek(MAX_HEADER_BYTES)
    end = _header_end(raw)
    if end is None and len(raw) < MAX_HEADER_BYTES:
        data.take(len(raw))
        raise Fault("ends in the middle of a record's header")
    if end is None or not _VERSION_LINE.match(raw[: raw.find(b"\n")]):
        data.take(5)
        raise Fault("a WARC record whose header is not one")
    fields = _fields(data.take(end))
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 19):
        raise Fault(f"a WARC record without a usable Content-Length: {length[:40]!r}")
    return _Head(fields, int(length), end)


def _starts_warc(data: bytes) -> bool:
    return _VERSION_LINE.match(data[:16].partition(b"\n")[0]) is not None


def _starts_arc(data: bytes) -> bool:
    line, newline, _ = data[:_MAX_ARC_LINE].partition(b"\n")
    return bool(newline) and _arc_fields(line) is not None


def _read_arc_head(data: _Bytes) -> _Head:
    """The line at the front, taken; Fault if it is none of an ARC's record."""
    raw = data.peek(_MAX_ARC_LINE)
    line, newline, _ = raw.partition(b"\n")
    if not newline and len(raw) < _MAX_ARC_LINE:
        data.take(len(raw))
        raise Fault("ends in the middle of a record's header")
    fields = _arc_fields(line) if newline else None
    if fields is None:
        raise Fault(f"no ARC record here: it starts with {raw[:16]!r}")
    data.take(len(line) + 1)
    return _Head(fields, int(fields["content-length"]), len(line) + 1)


def _arc_fields(line: bytes) -> dict[str, str] | None:
    """What the line before a record says, under the names of WARC's fields; None if it is not such a line.

    Version 1 has URL, address, time, type and length, version 2 five more before the length. A URL or type may hold
    spaces, as some crawlers wrote them: the time is found from the right.

    >>> _arc_fields(b"http://a.example/ 10.0.0.1 20080430204825 text/html 120")["warc-date"]
    '2008-04-30T20:48:25'
    """
    url, colon, _ = line.partition(b":")
    if not colon or not url.isalnum() or not line.rstrip()[-1:].isdigit():
        return None
    words = line.strip().split(b" ")
    at = next((at for at in range(len(words) - 2, 1, -1) if _ARC_TIME.fullmatch(words[at])), 0)
    length = words[-1]
    if not at or not length.isdigit() or len(length) > 18:
        return None
    scheme = url.lower()
    is_http = scheme in {b"http", b"https"}
    kind = "filedesc" if scheme == b"filedesc" else "response" if is_http else "resource"
    kinds = words[at + 1 : at + 2] if words[at + 2].isdigit() and len(words) - at == 8 else words[at + 1 : -1]
    year, rest = words[at][:4], words[at][4:].ljust(10, b"0")
    month, day, hour, minute, second = (rest[place : place + 2].decode() for place in range(0, 10, 2))
    return {
        "warc-type": kind,
        "warc-target-uri": _text(b" ".join(words[: at - 1])),
        "warc-ip-address": _text(words[at - 1]),
        "warc-date": f"{year.decode()}-{month}-{day}T{hour}:{minute}:{second}",
        "content-type": "application/http; msgtype=response" if is_http else _text(b" ".join(kinds)),
        "content-length": length.decode(),
    }


_WARC = _Format(64, _starts_warc, _read_head)
_ARC = _Format(_MAX_ARC_LINE, _starts_arc, _read_arc_head)


def _header_end(raw: bytes) -> int | None:
    ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := raw.find(mark)) >= 0]
    return min(ends, default=None)


def _fields(raw: bytes) -> dict[str, str]:
    """The header fields of a WARC or HTTP header, names in lower case; the first of equal names counts."""
    fields: dict[str, str] = {}
    last = ""
    for line in raw.splitlines()[1:]:
        if line[:1] in {b" ", b"\t"} and last:
            fields[last] += " " + _text(line)
            continue
        name, colon, value = line.partition(b":")
        last = _text(name).lower() if colon else ""
        if last and last not in fields:
            fields[last] = _text(value)
        elif last:
            last = ""
    return fields


def _text(raw: bytes) -> str:
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


@dataclass(slots=True)
class _Body:
    """The block of one record: taken from the front of `data` as far as it is wanted, hashed if a digest is given."""

    data: _Bytes
    head: _Head
    taken: int = 0
    _hash: Any = None
    _expected: str = ""
    digest: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        name, _, value = self.head.fields.get("warc-block-digest", "").partition(":")
        if self.head.type not in DESCRIBING_TYPES and (known := _DIGEST_NAMES.get(name.lower())):
            self._hash, self._expected = hashlib.new(known, usedforsecurity=False), value.strip()

    def take(self, size: int) -> bytes:
        data = self.data.take(min(size, self.head.length - self.taken))
        self.taken += len(data)
        if self._hash:
            self._hash.update(data)
        return data

    def peek(self, size: int) -> bytes:
        return self.data.peek(min(size, self.head.length - self.taken))

    @property
    def left(self) -> int:
        return self.head.length - self.taken

    def is_as_written(self) -> bool:
        """Whether the bytes taken are those that the digest was made of; True where no digest is given."""
        if not self._hash or self.left:
            return True
        expected = self._expected
        if len(expected) == self._hash.digest_size * 2:
            return bool(self._hash.hexdigest() == expected.lower())
        return bool(base64.b32encode(self._hash.digest()).rstrip(b"=").decode() == expected.upper().rstrip("="))

    def finish(self) -> int:
        """How many bytes the block has, which is less than its header says where the file ends too early."""
        self.taken += self.data.skip(self.left)
        return self.taken


class _Reader(Protocol):
    def __call__(self, head: _Head, body: _Body, extract: Extract) -> Record: ...


class _Maker(Protocol):
    def __call__(self, head: _Head, body: _Body) -> Record | Skipped: ...


def _record(head: _Head, body: _Body, extract: Extract, readers: Mapping[str, _Reader]) -> Record | Skipped:
    """The row of a record, if it does not describe others. The block is not always taken to its end."""
    kind = head.type
    if kind in DESCRIBING_TYPES:
        return Skipped(offset=0, end=0, type=kind)
    if kind not in readers:
        if kind == "revisit":
            refers = head.fields.get("warc-refers-to-target-uri") or head.fields.get("warc-refers-to") or "not named"
            return _failed(head, f"revisit: the page was stored before, with {refers[:500].strip('<>')}")
        return _failed(head, f"WARC record of type {kind[:80]!r}: not one that holds a document")
    try:
        record = readers[kind](head, body, extract)
    except Fault as fault:
        return _failed(head, str(fault))
    if not body.is_as_written():
        record.meta["digest"] = "mismatch"
    return record


def _response(head: _Head, body: _Body, extract: Extract) -> Record:
    warc_type = head.fields.get("content-type", "")
    if warc_type and not warc_type.lower().replace(" ", "").startswith("application/http"):
        raise Fault(f"response of type {warc_type[:80]}: not HTTP")
    return _document(head, body, _http(body), extract)


def _http(body: _Body) -> dict[str, str]:
    """The fields of the HTTP header at the front, taken; Fault if there is none or its status is not 200."""
    raw = body.peek(MAX_HEADER_BYTES)
    if not raw.startswith(b"HTTP/"):
        raise Fault(f"response without an HTTP header: it starts with {raw[:16]!r}")
    end = _header_end(raw)
    if end is None and len(raw) == MAX_HEADER_BYTES:
        raise Fault(f"HTTP header of more than {MAX_HEADER_BYTES:,} bytes: over the limit")
    http = body.take(end if end is not None else len(raw))
    status = http.split(b"\n", 1)[0].split(None, 2)[1:2]
    if status != [b"200"]:
        raise Fault(f"HTTP status {_text(status[0])[:20] if status else 'missing'}")
    return _fields(http)


def _resource(head: _Head, body: _Body, extract: Extract) -> Record:
    return _document(head, body, {"content-type": head.fields.get("content-type", "")}, extract)


_READERS: dict[str, _Reader] = {"response": _response, "resource": _resource, "conversion": _resource}


def _document(head: _Head, body: _Body, http: dict[str, str], extract: Extract) -> Record:
    content = _content(body, http)
    meta = _meta(head, http.get("content-type", ""))
    if content.kind in HTML_TYPES:
        page = extract_html(content.data, extract.engine, content.charset, extract.format, extract.model)
        row = _row(head, text=page.text, title=page.title, meta=meta | page.meta)
        return replace(row, license=page.license, created_at=page.published_at)
    text = decode_text(content.data, content.charset)
    if is_binary(text):
        raise Fault(f"content type {content.kind or 'missing'}: the body is binary, not text")
    return _row(head, text=text, meta=meta)


class _Content(NamedTuple):
    """A body without its codings, its type, and the charset that the header names."""

    data: bytes
    kind: str
    charset: str | None


def _content(body: _Body, http: dict[str, str]) -> _Content:
    """What the HTTP header says the body is; Fault if that is neither HTML nor text, or out of bounds."""
    content_type = http.get("content-type", "")
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    codings = [coding.strip().lower() for coding in http.get("content-encoding", "").split(",")]
    chunked = "chunked" in http.get("transfer-encoding", "").lower()
    if not (kind in HTML_TYPES or kind in TEXT_TYPES or kind in UNSURE_TYPES):
        raise Fault(f"content type {kind[:80]}: not HTML or plain text")
    limit = MAX_TEXT_BYTES if kind in TEXT_TYPES else MAX_HTML_BYTES
    if body.left > limit:
        raise Fault(f"{'text' if kind in TEXT_TYPES else 'HTML'} of {body.left:,} bytes: over the limit of {limit:,}")
    expected = body.left
    content = body.take(expected)
    if len(content) < expected:
        raise Fault("ends in the middle of a record")  # the caller knows where
    if chunked:
        content = _dechunk(content)
    content = decode_body(content, codings, limit)
    if kind in UNSURE_TYPES:
        if _LOOKS_LIKE_HTML.match(content[:4096]):
            kind = "text/html"
        elif kind not in TEXT_TYPES and content:
            raise Fault(f"content type {kind or 'missing'}: not HTML or plain text")
    charset = re.search(r"charset\s*=\s*[\"']?([^\s;\"',]+)", parameters, re.IGNORECASE)
    return _Content(content, kind, charset[1] if charset else None)


def _dechunk(body: bytes) -> bytes:
    """A chunked body put together; one that does not start with a chunk was put together before it was stored."""
    view = memoryview(body)
    parts: list[memoryview] = []
    at = 0
    while True:
        line_end = body.find(b"\n", at, at + 1024)
        size = body[at:line_end].split(b";")[0].strip() if line_end >= 0 else b""
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size):
            if at == 0:
                return body
            raise Fault(f"the chunked body is damaged after {at:,} bytes")
        length = int(size, 16)
        if length == 0:
            return b"".join(parts)
        at = line_end + 1
        if at + length > len(body):
            raise Fault(f"the chunked body ends in the middle of a chunk: {len(body) - at:,} of {length:,} bytes")
        parts.append(view[at : at + length])
        at += length
        at += 2 if body[at : at + 2] == b"\r\n" else 1 if body[at : at + 1] == b"\n" else 0


# Rows -----------------------------------------------------------------------------------------------------------------


def _row(
    head: _Head,
    *,
    meta: dict[str, Any],
    text: str | None = None,
    title: str | None = None,
    error: str | None = None,
) -> Record:
    """A row whose place the caller still has to say."""
    return Record(
        offset=0,
        end=0,
        text=text,
        uri=_uri(head),
        title=title,
        fetched_at=to_utc(head.fields.get("warc-date", "")),
        meta=meta,
        error=error,
        type=head.type if _TYPE.fullmatch(head.type) else "other",
    )


def _uri(head: _Head) -> str | None:
    return head.fields.get("warc-target-uri", "").strip("<> ") or None


def _failed(head: _Head, error: str) -> Record:
    return _row(head, meta=_meta(head, None), error=error)


def _cut(head: _Head, got: int, fault: Fault | None) -> Record:
    where = f"ends in the middle of a record: {got:,} of {head.length:,} bytes"
    return _failed(head, f"{where} ({fault})" if fault and "ends" not in str(fault) else where)


def _meta(head: _Head, content_type: str | None) -> dict[str, Any]:
    given = {
        "content_type": content_type,
        "record_id": head.fields.get("warc-record-id", "").strip("<> "),
        "ip": head.fields.get("warc-ip-address"),
        "language": head.fields.get("warc-identified-content-language"),
        "truncated": head.fields.get("warc-truncated"),
    }
    return {key: value[:1000] for key, value in given.items() if value}
