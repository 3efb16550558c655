"""Archives read in place: tar (plain, gzip or zstd) and zip; each member that a kind reads is as a file of its own.

Nothing is written to disk, and a member's name is never opened: it is only what the document is called. The readers are
our own because tarfile and zipfile hold the list of all members, read extended headers of any size, and stop at the
first fault; here a damaged member is a row, and reading goes on where the next one can be found.

A position is the number of a member, times 2^40, and a position in it.
"""

from __future__ import annotations

import re
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import numpy as np

from curation.sources.decoding import CHUNK, Fault, read_chunks
from curation.sources.record import DAMAGED, Record, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curation.recipe import Extract, Source

VERSION = 2
#: What a name ends with that stands for many files.
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".zip")

#: Eight bytes of each name are held, so that one that comes again is seen: about 400 MB for so many.
MAX_MEMBERS = 5_000_000
#: The longest name, and the longest header that says more of a member (it may hold owners and times, too).
MAX_NAME = 4096
MAX_EXTENDED = 1024 * 1024
_SHIFT = 40
_FULL = f"more than {MAX_MEMBERS:,} members: those that follow are not read"

_BLOCK = 512
_TAR_TYPES = {
    b"0": "file", b"S": "file", b"1": "link", b"2": "link", b"3": "device", b"4": "device", b"5": "directory",
    b"6": "device",
}  # fmt: skip
#: Headers that say more of the member after them: its long name, its link's, pax fields, pax fields for all.
_EXTENDED = (b"L", b"K", b"x", b"g")
_PAX_RECORD = re.compile(rb"(\d{1,7}) ([^=\n]+)=")
_ESCAPED = re.compile("[\udc80-\udcff]")
_DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])")

_ZIP_LOCAL = struct.Struct("<4s5H3L2H")
_ZIP_ENTRY = struct.Struct("<4s6H3L5H2L")
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ZIP_METHODS = {9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd"}
_MAX_32, _MAX_16 = 0xFFFFFFFF, 0xFFFF


def is_archive(name: str) -> bool:
    """Whether a file is one of the archives that can be read.

    >>> is_archive("docs.tar.gz"), is_archive("docs.txt.gz")
    (True, False)
    """
    return name.lower().endswith(SUFFIXES)


class Files(Protocol):
    """A kind of source whose files an archive may hold."""

    WHOLE_FILES: bool
    MEMBERS: tuple[str, ...]

    def read(self, stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
        """The records of one file from `start` on."""


def read(
    stream: BinaryIO, name: str, start: int, source: Source, extract: Extract, module: Files
) -> Iterator[Record | Skipped]:
    """The documents of the members that `module` reads, from `start` on; other members are skipped, and counted."""
    reading = _Reading(module, start, source, extract)
    if name.lower().endswith(".zip"):
        yield from _read_zip(stream, reading)
    else:
        yield from _read_tar(_Tape(read_chunks(stream)), reading)


# Members --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Member:
    """What an archive says of a member; `fault` is why it cannot be read."""

    name: bytes
    kind: str = "file"
    fault: str | None = None
    is_dos: bool = False


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Reading:
    """Makes records of members, from a position on."""

    def __init__(self, module: Files, start: int, source: Source, extract: Extract) -> None:
        self.number = 0
        self._module = module
        self._first, self._inside = start >> _SHIFT, start & ((1 << _SHIFT) - 1)
        self._source, self._extract = source, extract
        self._names: set[bytes] = set()

    def member(self, member: _Member, opened: Callable[[], _Stream]) -> Iterator[Record | Skipped]:
        """What the next member makes; it is opened only where it is read, for in S3 that is a request."""
        number, self.number = self.number, self.number + 1
        label, fault = _label(member)
        kind = _kind(label, member.kind, self._module.MEMBERS)
        label = self._only(label, number)
        if number < self._first:
            return
        offset, end = number << _SHIFT, (number + 1) << _SHIFT
        fault = member.fault or fault
        if kind == "archive":
            fault = fault or "an archive in an archive: not read"
        elif kind != "file":
            yield Skipped(offset=offset, end=end, type=kind)
            return
        stream = None
        try:
            stream = None if fault else opened()
        except Fault as why:
            fault = str(why)
        if stream is None:
            yield Record(offset=offset, end=end, error=fault, type=kind, place=label)
            return
        inside = self._inside if number == self._first else 0
        for record in self._module.read(cast("BinaryIO", stream), label, inside, self._source, self._extract):
            if self._module.WHOLE_FILES:
                yield replace(record, offset=offset, end=end, place=label)
            else:
                place = f"{label}#{record.offset}"
                yield replace(record, offset=offset + record.offset, end=offset + record.end, place=place)

    def damaged(self, error: str) -> Iterator[Record]:
        """A row for a place where no member can be read."""
        number, self.number = self.number, self.number + 1
        if number >= self._first:
            yield Record(offset=number << _SHIFT, end=(number + 1) << _SHIFT, error=error, type=DAMAGED)

    def is_full(self) -> bool:
        """Whether no more members are read."""
        return self.number >= MAX_MEMBERS

    def _only(self, label: str, number: int) -> str:
        """The label, with the member's number where the same was there before."""
        digest = blake2b(label.encode(), digest_size=8).digest()
        if digest in self._names:
            return f"{label}#{number}"
        self._names.add(digest)
        return label


def _label(member: _Member) -> tuple[str, str | None]:
    """What a member is called, a path below the archive, and why it cannot be: as Python's filter `data` has it.

    >>> _label(_Member(b"./a//b.md")), _label(_Member(b"/etc/motd")), _label(_Member(b"a/../../b.md"))
    (('a/b.md', None), ('etc/motd', None), ('a/../../b.md', "the name 'a/../../b.md' leads out of the archive"))
    """
    name = _ESCAPED.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", member.name.decode("utf-8", "surrogateescape"))
    if len(member.name) > MAX_NAME:
        return f"{name[:100]}…{name[-20:]}", f"a name of {len(member.name):,} bytes: over the limit of {MAX_NAME:,}"
    path = _DRIVE.sub("", name)
    if member.is_dos and "/" not in path:
        path = path.replace("\\", "/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and not parts:
            return name, f"the name {name[:200]!r} leads out of the archive"
        if part == "..":
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts), None


def _kind(label: str, kind: str, suffixes: tuple[str, ...]) -> str:
    """`file` or `archive` for what is a document or an error, else what it is skipped as."""
    if kind != "file":
        return kind
    if any(part.startswith(".") and part != ".." for part in label.split("/")):
        return "hidden"
    lower = label.lower()
    if is_archive(lower):
        return "archive"
    return "file" if lower.removesuffix(".gz").removesuffix(".zst").endswith(suffixes) else "other"


# Tar ------------------------------------------------------------------------------------------------------------------


class _Tape:
    """Pieces read from the front; `fault` is why they ended, if they did not end where they should."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._at = 0
        self.fault: Fault | None = None

    def take(self, size: int) -> bytes:
        """So many bytes, fewer only at the end."""
        while len(self._buffer) - self._at < size and (piece := self._next()):
            self._buffer, self._at = self._buffer[self._at :] + piece, 0
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        return data

    def skip(self, size: int) -> int:
        """How many of so many bytes there were; they are taken and not held."""
        left = size
        while left and (piece := self.take(min(left, CHUNK))):
            left -= len(piece)
        return size - left

    def _next(self) -> bytes:
        try:
            return next(self._pieces, b"")
        except Fault as fault:
            self.fault = fault
            self._pieces = iter(())
            return b""


class _TarStream:
    """The bytes of one member."""

    def __init__(self, tape: _Tape, size: int) -> None:
        self._tape = tape
        self._size = self._left = size

    def read(self, size: int) -> bytes:
        """Some bytes; Fault where the archive ends in the middle of them."""
        data = self._tape.take(min(size, self._left))
        self._left -= len(data)
        if not data and self._left:
            there = f"{self._size - self._left:,} of {self._size:,} bytes"
            why = f" ({self._tape.fault})" if self._tape.fault else ""
            raise Fault(f"the archive ends in the middle of this member: {there}{why}")
        return data

    def finish(self) -> bool:
        """Whether the rest was there; it is taken, to the end of its block."""
        rest = self._left + -self._size % _BLOCK
        return self._tape.skip(rest) >= self._left


def _read_tar(tape: _Tape, reading: _Reading) -> Iterator[Record | Skipped]:
    said: dict[str, bytes] = {}  # by headers before the next member
    while not reading.is_full():
        block = tape.take(_BLOCK)
        if len(block) < _BLOCK or not any(block):
            yield from _end_of_tar(tape, block, reading)
            return
        header = _tar_header(block)
        if header is None:
            lost, block = _next_header(tape, block)
            yield from reading.damaged(f"{lost:,} bytes that are no member of the archive")
            header = _tar_header(block)
            if header is None:
                return
        name, size, flag = header
        if flag in _EXTENDED:
            said |= _extended(tape, size, flag)
            continue
        member, size = _tar_member(name, size, flag, said)
        said = {}
        stream = _TarStream(tape, size)
        yield from reading.member(member, lambda: stream)  # noqa: B023 - asked at once
        if not stream.finish():  # a row also where the member has said so: a run that goes on after it cannot know
            why = f": {tape.fault}" if tape.fault else ""
            yield from reading.damaged(f"the archive ends in the middle of a member{why}")
            return
    yield from reading.damaged(_FULL)


def _tar_member(name: bytes, size: int, flag: bytes, said: dict[str, bytes]) -> tuple[_Member, int]:
    """A member and its size, by its header and what was said before it."""
    stated = said.get("size", b"")
    if stated.isdigit() and len(stated) < 19:
        size = int(stated)
    member = _Member(said.get("path", name), _TAR_TYPES.get(flag, "other"))
    if flag in _TAR_TYPES and member.kind != "file":
        size = 0  # what a link's size says is that of what it leads to
    if flag == b"0" and member.name.endswith(b"/"):
        member.kind = "directory"
    if flag == b"S" or any(key.startswith("GNU.sparse") for key in said):
        member.fault = "a sparse file: not read"
    if "too long" in said:
        member.fault = f"a header of more than {MAX_EXTENDED:,} bytes: over the limit"
    return member, size


def _end_of_tar(tape: _Tape, block: bytes, reading: _Reading) -> Iterator[Record]:
    """A row unless the archive ends where and as it should."""
    if tape.fault:
        yield from reading.damaged(f"the archive ends too early: {tape.fault}")
    elif len(block) < _BLOCK:
        what = "in the middle of a header" if block else "without the mark of its end: members may be missing"
        yield from reading.damaged(f"the archive ends {what}" if reading.number else "not a tar archive")
    else:
        more = False
        while piece := tape.take(CHUNK):
            more = more or any(piece)
        if tape.fault or more:
            yield from reading.damaged(str(tape.fault or "more follows the mark of the archive's end: not read"))


def _tar_header(block: bytes) -> tuple[bytes, int, bytes] | None:
    """Name, size and type of a member; None if this is no header."""
    if len(block) < _BLOCK:
        return None
    checksum, size = _tar_number(block[148:156]), _tar_number(block[124:136])
    if checksum is None or size is None:
        return None
    counted = block[:148] + b" " * 8 + block[156:]
    # Some wrote the sum of signed bytes.
    if checksum not in {sum(counted), sum(byte - 256 if byte > 127 else byte for byte in counted)}:
        return None
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    flag = block[156:157]
    return (prefix + b"/" + name if prefix else name), size, b"0" if flag in {b"\0", b"7"} else flag


def _tar_number(field: bytes) -> int | None:
    """An octal number, or a binary one after a byte 0x80; None for anything else."""
    if field[0] == 0x80:
        number = int.from_bytes(field[1:], "big")
        return number if number < 1 << 62 else None
    digits = field.strip(b" \0")
    return None if digits.strip(b"01234567") else int(digits or b"0", 8)


def _next_header(tape: _Tape, block: bytes) -> tuple[int, bytes]:
    """How many bytes there were up to the next block that is a header, and that block; nothing at the end."""
    lost = 0
    while len(block) == _BLOCK:
        lost += _BLOCK
        block = tape.take(_BLOCK)
        if block[257:262] == b"ustar" and _tar_header(block):
            return lost, block
    return lost + len(block), b""


def _extended(tape: _Tape, size: int, flag: bytes) -> dict[str, bytes]:
    """What an extended header, which is taken, says of the member after it."""
    if flag not in {b"L", b"x"} or size > MAX_EXTENDED:
        tape.skip(size + -size % _BLOCK)
        return {"too long": b""} if flag in {b"L", b"x"} else {}
    data = tape.take(size)
    tape.skip(-size % _BLOCK)
    if flag == b"L":
        return {"path": data.partition(b"\0")[0]}
    said = {}
    at = 0
    while found := _PAX_RECORD.match(data, at):
        end = at + int(found[1])
        if end <= found.end() or end > len(data):
            break
        said[found[2].decode("utf-8", "replace")] = data[found.end() : end - 1]
        at = end
    return said


# Zip ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a member of a zip lies: `at` is its own header, `size` what its bytes become; None: not known."""

    at: int
    method: int
    packed: int
    size: int | None
    checksum: int | None


class _ZipStream:
    """The bytes of one member, from `at` to `stop` of the file."""

    def __init__(self, file: BinaryIO, at: int, stop: int, entry: _Entry) -> None:
        self._file, self.at, self._stop, self._entry = file, at, stop, entry
        self._inflate = zlib.decompressobj(-15) if entry.method == 8 else None
        self._waiting = b""
        self._size = self._checksum = 0
        self._is_done = False

    def read(self, size: int) -> bytes:
        """Some bytes; Fault where they are damaged or not all there."""
        if self._is_done:
            return b""
        data = self._stored(size) if self._inflate is None else self._inflated(size, self._inflate)
        self._size += len(data)
        self._checksum = zlib.crc32(data, self._checksum)
        stated = self._entry.size
        if stated is not None and self._size > stated:
            raise Fault(f"damaged member: more than the {stated:,} bytes that the archive says it has")
        if not data:
            self._is_done = True
            if stated is not None and self._size != stated:
                raise Fault(f"damaged member: {self._size:,} of {stated:,} bytes")
            if self._entry.checksum not in {None, self._checksum}:
                raise Fault("damaged member: its checksum does not match")
        return data

    def _stored(self, size: int) -> bytes:
        self._file.seek(self.at)
        data = self._file.read(max(0, min(size, self._stop - self.at)))
        self.at += len(data)
        if not data and self.at < self._stop:
            raise Fault(f"the archive ends in the middle of this member, after {self._size:,} bytes")
        return data

    def _inflated(self, size: int, inflate: zlib._Decompress) -> bytes:
        while not inflate.eof:
            data = self._waiting or self._stored(CHUNK)
            if not data:
                raise Fault(f"damaged member: its data ends too early, after {self._size:,} bytes")
            try:
                out = inflate.decompress(data, size)
            except zlib.error as error:
                raise Fault(f"damaged member: {error}") from None
            self._waiting = inflate.unconsumed_tail
            if inflate.eof:
                self.at -= len(inflate.unused_data)
            if out:
                return out
        return b""


def _read_zip(file: BinaryIO, reading: _Reading) -> Iterator[Record | Skipped]:
    length = file.seek(0, 2)
    try:
        end = _end_record(file, length)
    except Fault as fault:
        yield from reading.damaged(str(fault))
        return
    if end is None:
        yield from _read_cut_zip(file, length, reading)
        return
    stop, said, size, offset = end
    begin = max(0, stop - size)
    shift = begin - offset  # what was put before the archive
    listed = islice(_entries(file, begin, stop, shift), MAX_MEMBERS + 1)
    offsets = array("Q", (entry.at for _, entry in listed))
    np.asarray(offsets).sort()
    for member, entry in _entries(file, begin, stop, shift):
        if reading.is_full():
            yield from reading.damaged(_FULL)
            return
        yield from reading.member(member, partial(_open, file, entry, offsets, begin))
    if not said and not offsets and stop:
        yield from reading.damaged("the archive's directory lists no members, yet something stands before it")
    elif len(offsets) != said:
        yield from reading.damaged(f"the archive's directory is damaged: it lists {len(offsets):,} of {said:,} members")


def _open(file: BinaryIO, entry: _Entry, offsets: array[int], begin: int) -> _ZipStream:
    """The bytes of a member that the directory lists, which begins at `begin`; Fault where they are not its own."""
    at = _data_at(file, entry.at)
    after = bisect_right(offsets, entry.at)
    bound = offsets[after] if after < len(offsets) else begin
    if at is None:
        raise Fault("damaged member: its header is not where the archive says")
    if after - bisect_left(offsets, entry.at) > 1 or at + entry.packed > bound:
        raise Fault("its bytes are those of another member, too")
    return _ZipStream(file, at, at + entry.packed, entry)


def _end_record(file: BinaryIO, length: int) -> tuple[int, int, int, int] | None:
    """What the end of a zip says: where its directory ends, members, size and offset of that; None if there is none."""
    base = max(0, length - _MAX_16 - _ZIP_END.size)
    file.seek(base)
    tail = file.read(length - base)
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and at + _ZIP_END.size + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0:
        return None
    _, disk, _, _, count, size, offset, _ = _ZIP_END.unpack_from(tail, at)
    end = base + at
    if _MAX_16 in {count, disk} or _MAX_32 in {size, offset}:
        file.seek(max(0, end - 20))
        locator = file.read(20)
        said = int.from_bytes(locator[8:16], "little") if locator.startswith(b"PK\6\7") else length
        for place in (said, end - 20 - _ZIP64_END.size):  # right before, where bytes were put before the archive
            file.seek(min(max(0, place), length))
            record = file.read(_ZIP64_END.size)
            if record.startswith(b"PK\6\6") and len(record) == _ZIP64_END.size:
                *_, count, size, offset = _ZIP64_END.unpack(record)
                end, disk = place, 0
                break
    if disk not in {0, _MAX_16}:
        raise Fault("an archive of several files: put them together")
    return end, count, size, offset


def _entries(file: BinaryIO, begin: int, stop: int, shift: int) -> Iterator[tuple[_Member, _Entry]]:
    """The members that the directory lists, up to where it is damaged."""
    next_ = begin  # where what is not held yet begins
    held = b""
    at = 0  # in `held`, which is cut only when it is filled: a cut copies it
    while next_ - len(held) + at < stop:
        if len(held) - at < 4 * CHUNK and next_ < stop:
            file.seek(next_)
            more = file.read(min(8 * CHUNK, stop - next_))
            held, at, next_ = held[at:] + more, 0, next_ + len(more)
        if len(held) - at < _ZIP_ENTRY.size or not held.startswith(b"PK\1\2", at):
            return
        _, made_by, _, flags, method, _, _, checksum, packed, size, *lengths = _ZIP_ENTRY.unpack_from(held, at)
        names, extras, comments, _, _, attributes, offset = lengths
        end = at + _ZIP_ENTRY.size + names + extras
        name, extra = held[at + _ZIP_ENTRY.size : end - extras], held[end - extras : end]
        size, packed, offset = _zip64(extra, size, packed, offset)
        member = _zip_member(name, flags, method)
        member.is_dos = made_by >> 8 == 0
        mode = attributes >> 16 & 0o170000 if made_by >> 8 in {3, 19} else 0
        if member.kind == "file" and mode not in {0, 0o100000}:
            member.kind = {0o120000: "link", 0o40000: "directory"}.get(mode, "device")
        yield member, _Entry(min(max(0, offset + shift), stop), method, packed, size, checksum)
        at = end + comments


def _zip_member(name: bytes, flags: int, method: int) -> _Member:
    """A member by its name and how it is stored.

    Names are in code page 437 where no flag says UTF-8; many write UTF-8 all the same.
    """
    try:
        name.decode()
    except UnicodeDecodeError:
        name = name if flags & 0x800 else name.decode("cp437").encode()
    member = _Member(name, "directory" if name.endswith(b"/") else "file")
    if flags & 0x41:
        member.fault = "encrypted: not read"
    elif method not in {0, 8}:
        member.fault = f"compressed with {_ZIP_METHODS.get(method, f'method {method}')}: not read"
    return member


def _zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Size, packed size and offset, those that do not fit their fields from the extra field for them."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        values = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == 1:
            numbers = [int.from_bytes(values[place : place + 8], "little") for place in range(0, len(values) - 7, 8)]
            size, packed, offset = (
                numbers.pop(0) if value == _MAX_32 and numbers else value for value in (size, packed, offset)
            )
            break
    return size, packed, offset


def _data_at(file: BinaryIO, at: int) -> int | None:
    """Where a member's bytes begin, None if there is no header of one."""
    file.seek(at)
    header = file.read(_ZIP_LOCAL.size)
    if len(header) < _ZIP_LOCAL.size or not header.startswith(b"PK\3\4"):
        return None
    *_, names, extras = _ZIP_LOCAL.unpack(header)
    return at + _ZIP_LOCAL.size + int(names) + int(extras)


def _read_cut_zip(file: BinaryIO, length: int, reading: _Reading) -> Iterator[Record | Skipped]:
    """The members of a zip without a directory, which stands at its end, by the headers before each; then a row."""
    at: int | None = 0
    while at is not None and (begin := _data_at(file, at)) is not None and not reading.is_full():
        file.seek(at)
        _, _, flags, method, _, _, checksum, packed, size, names, extras = _ZIP_LOCAL.unpack(file.read(_ZIP_LOCAL.size))
        name, extra = file.read(names), file.read(extras)
        size, packed, _ = _zip64(extra, size, packed, 0)
        member = _zip_member(name, flags, method)
        follows = bool(flags & 8)  # its sizes stand after it
        if follows and method == 0:
            member.fault = "of a size that is not known: not read"
        entry = _Entry(at, method, packed, None if follows else size, None if follows else checksum)
        stop = length if follows else begin + packed  # it may say 2^64; the stream says what is not there
        yield from reading.member(member, partial(_ZipStream, file, begin, stop, entry))
        at = min(stop, length)
        if follows:
            at = None if member.fault else _after_sizes(file, begin, length, entry)
    cut = "the archive is cut: its directory, which stands at its end, is missing"
    yield from reading.damaged(cut if reading.number else "not a zip archive")


def _after_sizes(file: BinaryIO, begin: int, length: int, entry: _Entry) -> int | None:
    """Where the header after a member stands whose size is only known by reading it, None if it is not all there."""
    stream = _ZipStream(file, begin, length, entry)
    try:
        while stream.read(4 * CHUNK):
            pass
    except Fault:
        return None
    file.seek(stream.at)
    found = file.read(28).find(b"PK\3\4")
    return stream.at + found if found >= 0 else None
