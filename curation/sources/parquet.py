"""Parquet files, one document a row; `offset` is the number of the row from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.expressions import Expressions, is_path
from curation.sources.decoding import Fault
from curation.sources.jsonl import DEFAULT_FIELDS, to_record
from curation.sources.record import DAMAGED, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.recipe import Extract, Source

VERSION = 2
WHOLE_FILES = False

#: Few rows, since one may hold 256 MB.
_BATCH_ROWS = 256
_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, UnicodeDecodeError)


def read(stream: BinaryIO, name: str, start: int, source: Source, extract: Extract) -> Iterator[Record]:
    """The documents of the rows from number `start` on; InputError where the recipe names a column that is not there.

    A row group that cannot be read is one row from the first of its rows that is missing.
    """
    del extract
    try:
        file = pq.ParquetFile(stream, pre_buffer=False)
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
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if first + rows > start:
                yield from _read_group(file, group, range(first, first + rows), start, source, expressions)
            first += rows


def _read_group(
    file: pq.ParquetFile, group: int, numbers: range, start: int, source: Source, expressions: Expressions
) -> Iterator[Record]:
    number = numbers.start
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], use_threads=False):
            skip = max(0, start - number)
            number += min(skip, batch.num_rows)
            answers = expressions.evaluate(batch) if expressions and skip < batch.num_rows else []
            for at in range(skip, batch.num_rows):
                record = _read_row(batch, at, number, source, answers[at] if answers else {}, expressions)
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
