"""JSON lines, plain, gzip or zstd, one document a line; `offset` is the number of the line from 0.

What a row of fields becomes is decided here for Parquet too.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, BinaryIO

from curation.expressions import BATCH_BYTES, BATCH_ROWS, Expressions, is_path, lookup
from curation.sources.decoding import Fault, read_chunks, utf8_safe
from curation.sources.record import MAX_TEXT_BYTES, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from curation.recipe import Extract, Source

VERSION = 2
WHOLE_FILES = False
#: What the names of an archive's members end with that are read.
MEMBERS = (".jsonl", ".ndjson")

#: A longer line is a row with `error`, and no more than this is held of it: its text would be over the limit, or the
#: line mostly escapes and other fields. A line, its string and its values must fit a worker's 2 GiB together.
MAX_LINE_BYTES = MAX_TEXT_BYTES * 3 // 2

#: Document column -> the keys it is taken from where the recipe's `fields` names none, the first present.
DEFAULT_FIELDS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "uri": ("uri", "url"),
    "title": ("title",),
    "license": ("license",),
    "created_at": ("created_at",),
}
_NONE: dict[str, Any] = {}


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
    """The documents of the lines from number `start` on; blank lines are none."""
    del name, extract
    expressions = Expressions(source.fields)
    batch: list[Record | tuple[int, dict[str, Any]]] = []
    held = 0
    ended: Record | None = None
    try:
        for number, line in _lines(stream, start):
            if line is None:
                error = f"line of more than {MAX_LINE_BYTES:,} bytes: over the limit"
                batch.append(Record(offset=number, end=number + 1, error=error, type="line"))
            elif line.strip():
                held += len(line)
                batch.append(_read_line(line, number))
            del line  # it may be of hundreds of MB, and so is what is made of it
            if held >= BATCH_BYTES or len(batch) >= BATCH_ROWS or not expressions:
                yield from _records(batch, source.fields, expressions)
                batch, held = [], 0
    except _Ended as end:
        if end.line >= start:
            ended = Record(offset=end.line, end=end.line + 1, error=str(end), type="line")
    yield from _records(batch, source.fields, expressions)
    if ended:
        yield ended


class _Ended(Fault):
    """The stream cannot be read on from this line."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def _lines(stream: BinaryIO, start: int) -> Iterator[tuple[int, bytes | None]]:
    """Each line from `start` on with its number; None for one over the limit."""
    number = held = 0
    parts: list[bytes] = []
    try:
        for chunk in read_chunks(stream):
            at = 0
            if number < start and (newlines := chunk.count(b"\n")) and number + newlines < start:
                # A whole piece before the first line wanted.
                number += newlines
                held, parts = 0, []
                continue
            while (end := chunk.find(b"\n", at)) >= 0:
                held += end - at
                line = b"".join((*parts, chunk[at:end])) if held <= MAX_LINE_BYTES else None
                held, parts, at = 0, [], end + 1
                if number >= start:
                    yield number, line
                number += 1
            held += len(chunk) - at
            if held > MAX_LINE_BYTES or number < start:
                parts = []
            elif at < len(chunk):
                parts.append(chunk[at:] if at else chunk)
    except Fault as fault:
        unfinished = f"; {held:,} bytes of a line are not finished" if held else ""
        raise _Ended(number, f"{fault}{unfinished}") from None
    if held and number >= start:
        yield number, b"".join(parts) if held <= MAX_LINE_BYTES else None


def _records(
    batch: list[Record | tuple[int, dict[str, Any]]], fields: Mapping[str, str], expressions: Expressions
) -> Iterator[Record]:
    rows = [row for item in batch if not isinstance(item, Record) for row in [item[1]]] if expressions else []
    answers = iter(expressions.evaluate(rows)) if rows else iter(())
    for item in batch:
        if isinstance(item, Record):
            yield item
        else:
            yield to_record(item[1], item[0], fields, next(answers, {}), expressions.uses.get("text", ()))


def _read_line(line: bytes, number: int) -> Record | tuple[int, dict[str, Any]]:
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 0 else "utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as fault:
        error = f"not UTF-8: byte {fault.start:,} of the line is {line[fault.start : fault.start + 1]!r}"
    except json.JSONDecodeError as fault:
        error = f"not JSON: {fault.msg} at character {fault.pos:,}"
    except (ValueError, RecursionError) as fault:
        error = f"not JSON that can be read: {type(fault).__name__}: {str(fault)[:100]}"
    else:
        if isinstance(row, dict):
            return number, row
        error = f"expected an object, got {_name_of(row)}"
    return Record(offset=number, end=number + 1, error=error, type="line")


def to_record(
    row: dict[str, Any],
    number: int,
    fields: Mapping[str, str],
    answers: Mapping[str, Any] | str = _NONE,
    used: Sequence[tuple[str, ...]] = (),
    *,
    type_: str = "line",
) -> Record:
    """The document of a row of fields: what `fields` and DEFAULT_FIELDS name, the rest in `meta`.

    A value that does not fit its column stays in `meta` under its own name; a row without a text is one with `error`.
    `answers` are those of expressions, or why there are none. Of the fields `used` by the text's, those whose value
    stands in the text are not repeated in `meta`.

    >>> record = to_record({"body": "Bees fly.", "url": "https://a.example", "n": 1}, 0, {"text": "body"})
    >>> record.text, record.uri, record.meta
    ('Bees fly.', 'https://a.example', {'n': 1})
    """
    rest = dict(row)
    taken: dict[str, Any] = {}
    faults = [answers] if isinstance(answers, str) else []
    for column, names in DEFAULT_FIELDS.items():
        wanted = fields.get(column)
        if wanted is not None and not is_path(wanted):
            value, fault = _answer(column, wanted, answers)
        else:
            value, fault = _field(row, rest, column, [wanted] if wanted else names)
        if value is not None:
            taken[column] = utf8_safe(value) if isinstance(value, str) else value
        if fault:
            faults.append(fault)
    text = taken.get("text")
    if text is not None and len(text) > MAX_TEXT_BYTES // 4 and (size := len(text.encode())) > MAX_TEXT_BYTES:
        faults.append(f"text of {size:,} bytes: over the limit of {MAX_TEXT_BYTES:,}")
    for first, *others in used:
        value = rest.get(first)
        if text is not None and not others and isinstance(value, str) and value in text:
            del rest[first]
    try:
        meta = clean(rest)
    except RecursionError:
        meta, faults = {}, ["nested too deeply"]
    error = faults[0] if faults else None
    if error:
        taken["text"] = None
    return Record(offset=number, end=number + 1, error=error, meta=meta, type=type_, **taken)


def _field(row: dict[str, Any], rest: dict[str, Any], column: str, names: Sequence[str]) -> tuple[Any, str | None]:
    """What the first of these fields that is there says, taken out of `rest`, and what is wrong with it for a text."""
    key = next((name for name in names if lookup(row, name)[0]), None)
    value = None if key is None else lookup(row, key)[1]
    fitting = to_utc(value) if column == "created_at" else value if isinstance(value, str) else None
    if fitting is not None or value is None or column == "text":
        rest.pop(str(key), None)
    return fitting, _fault_of_text(row, names[0], key, value) if column == "text" else None


def _answer(column: str, sql: str, answers: Mapping[str, Any] | str) -> tuple[Any, str | None]:
    """What an expression said, and what is wrong with it."""
    value = None if isinstance(answers, str) else answers.get(column)
    if column == "text" and value is None:
        return None, f"fields.text: {sql[:80]!r} is null"
    fitting = to_utc(value) if column == "created_at" else value
    if value is not None and fitting is None:
        return None, f"fields.created_at: expected a time, got {str(value)[:80]!r}"
    return fitting, None


def _fault_of_text(row: dict[str, Any], wanted: str, key: str | None, value: object) -> str | None:
    if key is None:
        keys = ", ".join(sorted(utf8_safe(str(name))[:40] for name in row)[:20])
        return f"no field {wanted!r}: the fields are {keys or 'none'}"
    if not isinstance(value, str):
        return f"{wanted!r}: expected a string, got {_name_of(value)}"
    return None


def _name_of(value: object) -> str:
    """What JSON calls a value of this type."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else type(value).__name__)


def _no_number(_: str) -> None:
    """None for NaN and the infinities, which JSON does not know."""


def clean(value: Any) -> Any:
    """`value` as JSON and UTF-8 can hold it: times in ISO 8601, bytes in hex, U+FFFD for lone surrogates.

    >>> clean({"on": date(2024, 2, 29), 1: [float("nan")]})
    {'on': '2024-02-29', '1': [None]}
    """
    if isinstance(value, str):
        return utf8_safe(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, dict):
        return {utf8_safe(key if isinstance(key, str) else str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item) for item in value]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return utf8_safe(str(value))


def to_utc(value: object) -> datetime | None:
    """A time in ISO 8601, in seconds since 1970, or as Python has it, in UTC; None for anything else.

    >>> to_utc("2024-05-01T10:00:00+02:00"), to_utc(0), to_utc("yesterday")
    (datetime.datetime(2024, 5, 1, 8, 0, tzinfo=datetime.timezone.utc), \
datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), None)
    """
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
