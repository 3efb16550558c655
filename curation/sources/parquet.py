"""Parquet files, one document a row; `offset` is the number of the row from 0."""

from __future__ import annotations

import math
from dataclasses import replace
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.expressions import Expressions, is_path
from curation.sources.decoding import Fault
from curation.sources.jsonl import DEFAULT_FIELDS, clean, to_record, to_utc
from curation.sources.record import DAMAGED, MAX_TEXT_BYTES, Record, Records, as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from curation.recipe import Extract, Source

VERSION = 2
WHOLE_FILES = False

#: A column is read so many bytes at a time: DuckDB, say, writes 122,880 rows as one row group.
_READ_BYTES = 4 * 1024 * 1024
#: Few rows are read at once, since one may hold 256 MB ...
_BATCH_ROWS = 256
#: ... and looked at together as long as they are short.
_HELD_BATCHES = 16
_HELD_BYTES = 2 * 1024 * 1024
_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, UnicodeDecodeError)


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
    """The documents of the rows from number `start` on; InputError where the recipe names a column that is not there.

    A row group that cannot be read is one row from the first of its rows that is missing.
    """
    del extract
    for found in _read(stream, name, start, source, lambda _: None):
        if isinstance(found, Record):
            yield found


def read_columns(stream: BinaryIO, name: str, start: int, source: Source) -> Iterator[Record | Records]:
    """What `read` gives, in columns where that is possible.

    It is not with SQL in `fields`, nor ways into objects, nor where a column does not hold what the document's does.
    """
    return _read(stream, name, start, source, lambda schema: _plain_columns(schema, source))


def _read(
    stream: BinaryIO, name: str, start: int, source: Source, columns: Callable[[pa.Schema], dict[str, str] | None]
) -> Iterator[Record | Records]:
    try:
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_BYTES)
    except _UNREADABLE as error:
        _refuse_trouble(error)
        if start == 0:
            what = f"not a Parquet file that can be read: {_first_line(error)}"
            yield Record(offset=0, end=1, error=what, type=DAMAGED)
        return
    with file:
        _check_columns(file.schema_arrow, name, source)
        expressions = Expressions(source.fields, file.schema_arrow)
        for column, message in expressions.faults():
            raise InputError(
                f"{name}: fields.{column}: {message} (in {source.fields[column]!r}); the columns are "
                f"{_columns(file.schema_arrow)}",
                remedy="correct the expression, or give files whose columns differ sources of their own",
            )
        plain = columns(file.schema_arrow)
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if first + rows > start:
                yield from _read_group(file, group, range(first, first + rows), start, source, expressions, plain)
            first += rows


def _read_group(
    file: pq.ParquetFile, group: int, numbers: range, start: int, source: Source, expressions: Expressions,
    plain: dict[str, str] | None,
) -> Iterator[Record | Records]:  # fmt: skip
    number = numbers.start
    try:
        for batch in _together(file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], use_threads=False)):
            skip = min(max(0, start - number), batch.num_rows)
            rows = batch.slice(skip)
            number += skip
            if plain is not None and (found := _in_columns(rows, number, source, expressions, plain)) is not None:
                number += rows.num_rows
                yield found
                continue
            answers = expressions.evaluate(rows) if expressions and rows.num_rows else []
            for at in range(rows.num_rows):
                record = _read_row(rows, at, number, source, answers[at] if answers else {}, expressions)
                number += 1
                yield record
    except _UNREADABLE as error:
        _refuse_trouble(error)
        what = f"rows {number:,} to {numbers.stop - 1:,} cannot be read: {_first_line(error)}"
        yield Record(offset=number, end=numbers.stop, error=what, type=DAMAGED)
        return
    if number < numbers.stop:
        what = f"rows {number:,} to {numbers.stop - 1:,} are missing from their row group"
        yield Record(offset=number, end=numbers.stop, error=what, type=DAMAGED)


def _together(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, several in one where they are small; all that there is of them before one that cannot be read."""
    held: list[pa.RecordBatch] = []
    size = 0
    error: Exception | None = None
    while True:
        try:
            batch = next(batches, None)
        except _UNREADABLE as damaged:
            batch, error = None, damaged
        if held and (batch is None or size + batch.nbytes > _HELD_BYTES or len(held) == _HELD_BATCHES):
            yield held[0] if len(held) == 1 else pa.concat_batches(held)
            held, size = [], 0
        if error is not None:
            raise error
        if batch is None:
            return
        if batch.nbytes > _HELD_BYTES:
            yield batch
        else:
            held.append(batch)
            size += batch.nbytes


def _refuse_trouble(error: Exception) -> None:
    """Raise what is no fault of the file: a disk or network that failed, memory that ran out."""
    if isinstance(error, pa.ArrowMemoryError) or getattr(error, "errno", None) is not None:
        raise error


def _read_row(
    batch: pa.RecordBatch, at: int, number: int, source: Source, answers: dict[str, Any] | str, expressions: Expressions
) -> Record:
    try:
        row = {name: _value(column[at]) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    except Fault as fault:
        return Record(offset=number, end=number + 1, error=str(fault), type="row")
    return to_record(row, number, source.fields, answers, expressions.uses.get("text", ()), type_="row")


def _plain_columns(schema: pa.Schema, source: Source) -> dict[str, str] | None:
    """Which column each of a document's is taken from as it is; None where that differs from row to row."""
    taken = {}
    for column, names in DEFAULT_FIELDS.items():
        wanted = source.fields.get(column)
        name = next((name for name in ([wanted] if wanted else names) if name in schema.names), None)
        if name is None and wanted is not None:  # SQL, or a way into objects
            return None
        if name is not None:
            if column != "created_at" and not _holds_text(schema.field(name).type):
                return None
            taken[column] = name
    return taken


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )


def _in_columns(
    rows: pa.RecordBatch, number: int, source: Source, expressions: Expressions, taken: dict[str, str]
) -> Records | None:
    """The records of these rows, the first of which has this number; None where each needs a look of its own.

    A row whose text is null or too long, or whose time is none, is looked at by itself.
    """
    try:
        rows.validate(full=True)  # strings are UTF-8
        text = rows[taken["text"]].cast(pa.string())
        uri, title, license_ = (_strings(rows, taken.get(name)) for name in ("uri", "title", "license"))
        times = [_value(time) for time in rows[taken["created_at"]]] if "created_at" in taken else []
        meta = _metas(rows, sorted(set(rows.schema.names) - set(taken.values())))
    except (*_UNREADABLE, Fault, RecursionError) as error:
        _refuse_trouble(error)
        return None
    created_at = list(map(to_utc, times)) or [None] * len(text)
    found = Records(
        offsets=range(number, number + len(text)), text=text, uri=uri, title=title, license=license_,
        created_at=created_at, meta=meta, error=[None] * len(text), type="row",
    )  # fmt: skip
    is_odd = pc.fill_null(pc.greater(pc.binary_length(text), MAX_TEXT_BYTES), True).to_numpy(zero_copy_only=False)
    odd = set(np.flatnonzero(is_odd).tolist())
    odd |= {at for at, (time, made) in enumerate(zip(times, created_at, strict=False)) if time is not None and not made}
    for at in odd:
        record = _read_row(rows, at, number + at, source, {}, expressions)
        found.uri[at], found.title[at], found.license[at] = record.uri, record.title, record.license
        found.created_at[at], found.meta[at], found.error[at] = record.created_at, as_json(record.meta), record.error
        is_odd[at] = record.text is None
    return replace(found, text=pc.if_else(pa.array(is_odd), None, text)) if odd else found


def _strings(rows: pa.RecordBatch, name: str | None) -> list[str | None]:
    """A column of texts, all null where there is none of this name."""
    if name is None:
        return [None] * rows.num_rows
    values: list[str | None] = rows[name].cast(pa.string()).to_pylist()
    return values


def _metas(rows: pa.RecordBatch, names: Sequence[str]) -> list[str]:
    """For each row these columns, whose names ascend, as a JSON object."""
    if not names:
        return ["{}"] * rows.num_rows
    columns = []
    for name in names:
        head = f"{encode_basestring(name)}: "
        columns.append([head + value for value in _as_json(rows[name])])
    return ["{" + ", ".join(values) + "}" for values in zip(*columns, strict=True)]


def _as_json(column: pa.Array) -> list[str]:
    """Each value as `as_json` writes it once `clean` has seen it."""
    kind = column.type
    write: Callable[[Any], str]
    if _holds_text(kind):
        write = encode_basestring
    elif pa.types.is_integer(kind):
        write = str
    elif pa.types.is_boolean(kind):
        write = {True: "true", False: "false"}.__getitem__
    elif pa.types.is_float32(kind) or pa.types.is_float64(kind):
        write = _number
    else:
        return [as_json(clean(_value(value))) for value in column]
    return ["null" if value is None else write(value) for value in column.to_pylist()]


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "null"


def _value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        raise Fault("a string of the row is not UTF-8") from None
    except (ValueError, OverflowError):  # a time that Python cannot hold
        return str(scalar.cast(pa.int64(), safe=False).as_py()) if pa.types.is_temporal(scalar.type) else None


def _check_columns(schema: pa.Schema, name: str, source: Source) -> None:
    """Raise InputError unless names are for one column each, those wanted are there and text is in the one for it."""
    for column in schema.names:
        if (many := len(schema.get_all_field_indices(column))) > 1:
            raise InputError(
                f"{name}: {many} columns are called {column!r}; the columns are {_columns(schema)}",
                remedy="write the file anew with columns of different names",
            )
    wanted = dict(source.fields)
    wanted.setdefault("text", DEFAULT_FIELDS["text"][0])
    used = Expressions(wanted, schema).uses
    for column, value in wanted.items():
        for path in used.get(column, [value]):
            kind = _type_at(schema, path)
            if kind is None:
                key = value if isinstance(path, str) else ".".join(path)
                remedy = f'name the column in the source\'s table: fields = {{ {column} = "..." }}'
                raise InputError(
                    f"{name}: no column {key!r} for {column}; the columns are {_columns(schema)}", remedy=remedy
                )
    if not is_path(wanted["text"]):
        return
    kind = _type_at(schema, wanted["text"])
    if kind is not None and pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        remedy = 'name a column that holds text: fields = { text = "..." }'
        raise InputError(
            f"{name}: column {wanted['text']!r} holds {kind}, not text; the columns are {_columns(schema)}",
            remedy=remedy,
        )


def _type_at(schema: pa.Schema, path: str | tuple[str, ...]) -> pa.DataType | None:
    """The type of a column, or of a field in it; None if there is none."""
    if isinstance(path, str) and path in schema.names:
        return schema.field(path).type
    first, *steps = path.split(".") if isinstance(path, str) else path
    kind = schema.field(first).type if first in schema.names else None
    for step in steps:
        at = kind.get_field_index(step) if kind is not None and pa.types.is_struct(kind) else -1
        kind = kind.field(at).type if kind is not None and at >= 0 else None
    return kind


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} ({column.type})" for column in schema)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
