"""Stack Exchange dumps: `Posts.xml`, plain, gzip or zstd; one document a question, with its answers.

`offset` is the byte of the (decompressed) file at which the question's `<row` starts. Answers stand anywhere after
their question, so a file is read twice: once to index its answers, once to write each question with its own. The index
is a temporary SQLite database that is gone with the process, whatever ends it. It lies where SQLite puts such files
(SQLITE_TMPDIR, TMPDIR, /var/tmp) and takes about a third of the size of the uncompressed file; 64 MB of it are held in
memory. The first document comes when the whole file has been read once, also where reading goes on after a stop.

Each `<row` up to the next one is parsed alone, whatever lines there are: a bad row is one row with `error`, and since
a declaration of entities is never given to the parser, an entity of a dump's own is an error of the row that uses it.
Every `<row` is a document, an answer within one (`meta.answers` of them), or a row with `error`.
"""

from __future__ import annotations

import html
import re
import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.parsers import expat

from resiliparse.extract.html2text import extract_plain_text

from curation.errors import StorageError
from curation.sources.decoding import CHUNK, GZIP, ZSTD, Fault, read_chunks, utf8_safe
from curation.sources.extract import MAX_DEPTH, parse
from curation.sources.jsonl import to_utc
from curation.sources.record import MAX_HTML_BYTES, MAX_TEXT_BYTES, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from curation.recipe import Extract, Source

VERSION = 1
WHOLE_FILES = False
EXTRACTS = True
NAMED_BY_FOLDER = True

#: A longer row is one with `error`, and no more than this is held of it: a body's markup is escaped, `&lt;` for `<`.
MAX_ROW_BYTES = MAX_HTML_BYTES * 2
#: The other tables of a dump, whose rows are no posts: such a file is no document and no row.
OTHER_TABLES = frozenset({"badges", "comments", "posthistory", "postlinks", "tags", "users", "votes"})
#: PostTypeId -> what it is, as Stack Exchange's description of the dump's schema has it.
POST_TYPES = {
    3: "orphaned tag wiki",
    4: "tag wiki excerpt",
    5: "tag wiki",
    6: "moderator nomination",
    7: "wiki placeholder",
    8: "privilege wiki",
}
#: What content is licensed under by when it was contributed, for dumps without ContentLicense: Stack Exchange's rule,
#: https://meta.stackexchange.com/questions/347758. By CreationDate it gives 2,058 of the 2,070 licences that two real
#: dumps state, by LastEditDate 1,937.
LICENSES = (("2018-05-02", "CC-BY-SA-4.0"), ("2011-04-08", "CC-BY-SA-3.0"), ("", "CC-BY-SA-2.5"))

_MARK = re.compile(rb"<row(?=[\s/>])|</posts(?=[\s>])")
_MARK_BYTES = len(b"</posts>")
_ROW_TAG = re.compile(rb"<row\b(?:[^\"'<>]++|\"[^\"<]*+\"|'[^'<]*+')*+>(?:(?<!/>)\s*+</row\s*+>)?")
_CLOSING_TAG = re.compile(rb"</posts\s*+>?")
_ROOT = re.compile(rb"<([A-Za-z][\w.-]*)")
_ENTITY = re.compile(rb"&(?!(?:lt|gt|amp|quot|apos);)([A-Za-z_:][^\s;&\"'<]{0,40});")
_MARKUP = re.compile(r"<!--.*?-->|<[^>]*>", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}", re.IGNORECASE)
_NETWORK = re.compile(
    r"(?:.+\.)?(?:stackexchange\.com|stackoverflow\.com|superuser\.com|serverfault\.com|askubuntu\.com"
    r"|mathoverflow\.net|stackapps\.com)"
)
_FENCE = re.compile(r"`{3,}")
_LANGUAGE = re.compile(r"\blang-([\w+#-]{1,20})")


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
    """The questions whose row starts at `start` or later, in the order of the file, and a row for each error.

    `name` has the folder, after the site of which dumps name it: `beer.stackexchange.com/Posts.xml`. Raises
    StorageError where the disk has no room for the index.
    """
    del extract
    dump = _Dump(_site(name, source.name), source.license)
    try:
        with closing(_open_index()) as index:
            end, fault = _fill(index, stream, dump)
            if fault and not start:
                yield Record(offset=0, end=end + 1, error=fault)
            if fault is not None or start >= end:
                return
            for row in _rows(stream, start):
                if record := _record(row, dump, index):
                    yield record
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"{name}: the index of its answers cannot be written: {error}",
            remedy="set SQLITE_TMPDIR to a folder with more room: about a third of the uncompressed file",
        ) from error


@dataclass(frozen=True, slots=True)
class _Dump:
    """What holds for all posts of a file."""

    site: str
    license: str | None

    def uri(self, number: int) -> str:
        address = f"{self.site}/q/{number}"
        return f"https://{address}" if _HOST.fullmatch(self.site) else address


def _site(name: str, source: str) -> str:
    """The host that the nearest folder is named after, else the nearest folder, else the source.

    >>> _site("dumps/beer.stackexchange.com/Posts.xml", "forum"), _site("Posts.xml", "forum")
    ('beer.stackexchange.com', 'forum')
    """
    folders = [utf8_safe(folder) for folder in name.split("/")[:-1] if folder]
    host = next((folder for folder in reversed(folders) if _HOST.fullmatch(folder)), None)
    return host.lower() if host else folders[-1] if folders else source


# Rows -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """The bytes from a mark (`<row`, `</posts`) to before the next; also those before the first, without a mark."""

    mark: bytes
    offset: int
    end: int
    data: bytes | None  # None: over the limit
    is_last: bool = False
    fault: str | None = None  # why nothing comes after the last piece, if reading failed


@dataclass(frozen=True, slots=True)
class _Row:
    """The attributes of a row, or why there are none."""

    offset: int
    end: int
    attributes: dict[str, str] = field(default_factory=dict)
    error: str | None = None


def _pieces(stream: BinaryIO, start: int) -> Iterator[_Piece]:
    stream.seek(0)
    packed = stream.read(4).startswith((GZIP, ZSTD))
    stream.seek(0 if packed else start)
    chunks = _skip(read_chunks(stream), start) if packed else iter(partial(stream.read, CHUNK), b"")
    buffer = bytearray()
    base = first = start  # where in the file the buffer begins, and the piece
    searched = 0
    mark = b""
    fault = None
    try:
        for chunk in chunks:
            buffer += chunk
            begin = 0
            while found := _MARK.search(buffer, searched):
                end = base + found.start()
                if end > first:
                    held = bytes(buffer[begin : found.start()]) if base + begin == first else None
                    yield _Piece(mark, first, end, held)
                first, begin, mark, searched = end, found.start(), found[0], found.start() + 1
            # A mark may have begun in the last bytes.
            searched = max(searched - begin, len(buffer) - begin - _MARK_BYTES + 1)
            if len(buffer) - begin > MAX_ROW_BYTES:
                begin, searched = len(buffer) - _MARK_BYTES + 1, 0
            del buffer[:begin]
            base += begin
    except Fault as error:
        fault = str(error)
    yield _Piece(mark, first, base + len(buffer), bytes(buffer) if base == first else None, is_last=True, fault=fault)


def _skip(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        if size < len(chunk):
            yield chunk[size:] if size else chunk
        size = max(0, size - len(chunk))


def _rows(stream: BinaryIO, start: int) -> Iterator[_Row]:
    """Each row from `start` on; bytes that are none, and an end where the file should not end, as rows too."""
    closed = False
    for piece in _pieces(stream, start):
        at, rest = piece.offset, piece.data or b""
        if piece.mark == b"<row":
            closed = False
            row, size = _read_row(piece)
            if row:
                yield row
            at, rest = at + size, rest[size:]
        elif piece.mark:
            closed = True
            tag = _CLOSING_TAG.match(rest)
            size = tag.end() if tag else len(rest)
            at, rest = at + size, rest[size:]
        elif not start:  # the head of the file
            closed, rest = rest.rstrip().endswith(b"/>"), b""
        junk = rest.strip()
        at = at + rest.find(junk[:1]) if junk else piece.end
        if piece.is_last and (piece.fault or not closed):
            where = f" in the middle of a row: {len(junk):,} bytes of it are there" if junk else " before </posts>"
            error = piece.fault or f"the file ends{where}"
            yield _Row(at, piece.end + 1, error=error)
        elif junk:
            error = f"{len(junk):,} bytes that are no row: they start with {junk[:16]!r}"
            yield _Row(at, piece.end + piece.is_last, error=error)


def _read_row(piece: _Piece) -> tuple[_Row | None, int]:
    """The row of a piece and how many of its bytes that is; None and 0 if the file ends in the middle of the row."""
    size = piece.end - piece.offset
    if piece.data is None:
        error = f"row of {size:,} bytes: over the limit of {MAX_ROW_BYTES:,}"
        return _Row(piece.offset, piece.end, error=error), size
    try:
        return _Row(piece.offset, piece.end, _parse(piece.data)), size
    except Fault as fault:
        error = str(fault)
    tag = _ROW_TAG.match(piece.data)
    if tag is None and piece.is_last:
        return None, 0
    if tag and piece.data[tag.end() :].strip():
        try:  # what follows the row was the fault
            return _Row(piece.offset, piece.offset + tag.end(), _parse(tag[0])), tag.end()
        except Fault as fault:
            error = str(fault)
    return _Row(piece.offset, piece.end, error=error), size


def _parse(data: bytes) -> dict[str, str]:
    """The attributes of the one element that this is, by a parser that is never shown a declaration."""
    parser = expat.ParserCreate("utf-8")
    attributes: list[dict[str, str]] = []
    parser.StartElementHandler = lambda _name, found: attributes.append(found)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]:
            name = found[1].decode("utf-8", "replace") if (found := _ENTITY.search(data)) else "?"
            raise Fault(f"row with the entity &{name}; which is not resolved") from None
        where = parser.ErrorByteIndex
        raise Fault(f"row that is not XML: {expat.ErrorString(error.code)} at byte {where:,}") from None
    except UnicodeDecodeError:
        raise Fault("row that is not UTF-8") from None
    return attributes[0]


# Posts ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Post:
    """A row as a post; `error` is why it is in no document."""

    id: int | None
    is_question: bool
    parent: int | None
    score: int
    created_at: datetime | None
    license: str | None
    error: str | None


def _post(attributes: Mapping[str, str], dump: _Dump) -> _Post:
    number, kind, parent = (_integer(attributes.get(key)) for key in ("Id", "PostTypeId", "ParentId"))
    created_at = to_utc(attributes.get("CreationDate"))
    return _Post(
        id=number,
        is_question=kind == 1,
        parent=parent,
        score=_integer(attributes.get("Score")) or 0,
        created_at=created_at,
        license=_license(attributes, created_at, dump),
        error=_why_no_post(attributes, number, kind, parent),
    )


def _why_no_post(attributes: Mapping[str, str], number: int | None, kind: int | None, parent: int | None) -> str | None:
    if number is None:
        return f"row without a usable Id: {attributes.get('Id', '')[:40]!r}"
    if kind is None:
        return f"post without a usable PostTypeId: {attributes.get('PostTypeId', '')[:40]!r}"
    if kind not in {1, 2}:
        return f"{POST_TYPES.get(kind, 'post')} (PostTypeId {kind}): neither question nor answer"
    name = "question" if kind == 1 else "answer"
    if deleted := attributes.get("DeletionDate"):
        return f"{name} deleted on {deleted[:10]}"
    if kind == 2 and parent is None:
        return f"answer without a usable ParentId: {attributes.get('ParentId', '')[:40]!r}"
    body = attributes.get("Body", "")
    if not html.unescape(_MARKUP.sub("", body)).strip():
        return f"{name} without a text"
    if len(body) > 8192 or body.count("<") > MAX_DEPTH:  # no shorter one is out of bounds
        try:
            parse(body)
        except Fault as fault:
            return f"{name}: {fault}"
    return None


def _integer(value: str | None) -> int | None:
    return int(value) if value and _INTEGER.fullmatch(value) else None


def _license(attributes: Mapping[str, str], created_at: datetime | None, dump: _Dump) -> str | None:
    """What a post states as an SPDX identifier, else what the source does, else by date for Stack Exchange's sites."""
    if stated := attributes.get("ContentLicense", "").strip()[:100]:
        return stated.replace(" ", "-") if stated.startswith("CC ") else stated
    if dump.license:
        return dump.license
    if created_at is None or not _NETWORK.fullmatch(dump.site):
        return None
    return next(name for day, name in LICENSES if f"{created_at:%Y-%m-%d}" >= day)


def tags(value: str) -> list[str]:
    """The tags of a question in either of the formats of dumps.

    >>> tags("<hops><dry-hopping>"), tags("|hops|dry-hopping|")
    (['hops', 'dry-hopping'], ['hops', 'dry-hopping'])
    """
    return [tag.strip() for tag in re.split(r"[<>|]+", value) if tag.strip()]


# The index ------------------------------------------------------------------------------------------------------------


def _open_index() -> sqlite3.Connection:
    """An empty index: the questions (whose parent is null) and answers that are in documents, by id."""
    index = sqlite3.connect("", isolation_level=None)  # "": a file of SQLite's own that has no name once it is open
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536", "locking_mode = EXCLUSIVE"):
        index.execute(f"PRAGMA {setting}")
    index.execute(
        "CREATE TABLE post (id INTEGER PRIMARY KEY, place INT, parent INT, score INT, license TEXT, body BLOB)"
    )
    return index


def _fill(index: sqlite3.Connection, stream: BinaryIO, dump: _Dump) -> tuple[int, str | None]:
    """Where the last record ends, and why the file holds no posts: "" for another table of a dump."""
    head = next(_pieces(stream, 0))
    fault = _why_no_posts(head)
    if fault is not None:
        return head.end, fault
    index.execute("BEGIN")
    end = 0
    for row in _rows(stream, 0):
        end = row.end
        if row.error:
            continue
        post = _post(row.attributes, dump)
        if post.error:
            continue
        values: tuple[Any, ...] = (post.id, row.offset, None, None, None, None)
        if not post.is_question:
            body = zlib.compress(row.attributes["Body"].encode(), 1)
            values = (post.id, row.offset, post.parent, post.score, post.license, body)
        index.execute("INSERT OR IGNORE INTO post VALUES (?, ?, ?, ?, ?, ?)", values)
    index.execute("COMMIT")
    index.execute("CREATE INDEX answers ON post (parent, score DESC, id) WHERE parent IS NOT NULL")
    return end, None


def _why_no_posts(head: _Piece) -> str | None:
    data = head.data or b""
    if head.mark == b"<row" or not (head.is_last or data.strip()):
        return None  # rows without a head
    root = _ROOT.search(data)
    if root and root[1].lower().decode() in OTHER_TABLES:
        return ""
    if root and root[1] == b"posts":
        return None
    what = f"its root is <{root[1][:40].decode('ascii', 'replace')}>" if root else f"it starts with {data[:16]!r}"
    return head.fault or (f"no table of posts: {what}" if data else "the file is empty")


# Documents ------------------------------------------------------------------------------------------------------------


def _record(row: _Row, dump: _Dump, index: sqlite3.Connection) -> Record | None:
    """The document of a question, a row with `error`, or None for an answer that is part of a document."""
    if row.error:
        return Record(offset=row.offset, end=row.end, error=row.error)
    post = _post(row.attributes, dump)
    error = post.error or _why_not_indexed(row, post, index)
    if not (post.is_question or error):
        return None
    meta: dict[str, Any] = {"site": dump.site, "id": post.id}
    if error is None:
        text, license_, error = _compose(row.attributes, post, index, meta)
    return Record(
        offset=row.offset,
        end=row.end,
        text=None if error else text,
        uri=dump.uri(post.id) if post.is_question and post.id is not None else None,
        title=_title(row.attributes) if post.is_question else None,
        license=post.license if error else license_,
        created_at=post.created_at,
        meta=meta,
        error=error,
    )


def _why_not_indexed(row: _Row, post: _Post, index: sqlite3.Connection) -> str | None:
    """Why a post is in no document although nothing is wrong with its row."""
    ((place,),) = index.execute("SELECT place FROM post WHERE id = ?", (post.id,))
    if place != row.offset:
        return f"post {post.id} stands in the file twice: here and at {place:,}"
    if post.is_question:
        return None
    question = index.execute("SELECT 1 FROM post WHERE id = ? AND parent IS NULL", (post.parent,)).fetchone()
    return None if question else f"answer to question {post.parent}, which is not in the file or has an error"


def _compose(
    attributes: Mapping[str, str], post: _Post, index: sqlite3.Connection, meta: dict[str, Any]
) -> tuple[str | None, str | None, str | None]:
    """The text of a question with its answers, its licence, and why there is none; `meta` is filled."""
    accepted = _integer(attributes.get("AcceptedAnswerId"))
    names = tags(attributes.get("Tags", ""))
    title = _title(attributes)
    parts = [f"# {title}"] if title else []
    parts += [f"Tags: {', '.join(names)}"] if names else []
    parts.append(to_text(attributes["Body"]))
    size = sum(len(part.encode()) for part in parts)
    licenses = {post.license}
    ids, scores = [], []
    for number, score, license_, body in index.execute(
        "SELECT id, score, license, body FROM post WHERE parent = ? ORDER BY id IS NOT ?, score DESC, id",
        (post.id, accepted),
    ):
        ids.append(number)
        scores.append(score)
        licenses.add(license_)
        if size <= MAX_TEXT_BYTES:
            name = "Accepted answer" if number == accepted else "Answer"
            parts.append(f"## {name}\n\n{to_text(zlib.decompress(body).decode())}")
            size += len(parts[-1].encode())
    meta |= {
        "score": post.score,
        "tags": names,
        "answers": len(ids),
        "answer_ids": ids,
        "answer_scores": scores,
        "accepted": accepted is not None and accepted in ids,
        "view_count": _integer(attributes.get("ViewCount")),
    }
    if closed_at := to_utc(attributes.get("ClosedDate")):
        meta["closed_at"] = closed_at.isoformat()
    joined = " AND ".join(sorted(name for name in licenses if name)) or None
    if size > MAX_TEXT_BYTES:
        return None, joined, f"question with {len(ids):,} answers: text over the limit of {MAX_TEXT_BYTES:,} bytes"
    return "\n\n".join(parts), joined, None


def _title(attributes: Mapping[str, str]) -> str | None:
    return " ".join(attributes.get("Title", "").split())[:1000] or None


def to_text(body: str) -> str:
    r"""The text of a post's HTML: all of it, with its line breaks; code blocks are fenced as in Markdown.

    >>> to_text('<p>Try<br>this:</p><pre class="lang-py"><code>if a &lt; b:\n    a += 1\n</code></pre>')
    'Try\nthis:\n\n```py\nif a < b:\n    a += 1\n```'
    """
    _, tree = parse(body)
    for block in tree.body.get_elements_by_tag_name("pre") if tree.body else ():
        code, first = block.text or "", block.first_child
        if first is not None:
            fence = "`" * max([3, *(len(run) + 1 for run in _FENCE.findall(code))])
            language = _LANGUAGE.search(block.getattr("class") or "")
            opening = tree.create_text_node(f"{fence}{language[1] if language else ''}\n")
            closing = tree.create_text_node(fence if code.endswith("\n") else f"\n{fence}")
            if opening is not None and closing is not None:
                block.insert_before(opening, first)
                block.append_child(closing)
    text: str = extract_plain_text(
        tree,
        preserve_formatting=True,
        main_content=False,
        list_bullets=True,
        alt_texts=False,
        links=False,
        form_fields=False,
        noscript=False,
        comments=True,
    )
    return utf8_safe(text).strip()
