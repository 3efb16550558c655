"""Rows of `documents` on their way to disk: their ids, and where row groups and parts end.

What a record's row is says `curation.pull`, or `of_records` where records come in columns.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import kernels, schema
from curation.dataset import ROW_GROUP_BYTES, ROW_GROUP_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from curation.dataset import PartWriter
    from curation.sources.record import Records

#: Types of records that a part counts by name: inputs may make up as many as they like.
TYPES = 50
#: What counts for the size of a row, beside its text: bytes of the text, characters of these.
_COUNTED = ("meta", "uri", "title", "license", "error")
#: What a text begins with that may be nothing but white space: the first bytes of such characters in UTF-8.
_SPACES = np.isin(np.arange(256), [*range(0x09, 0x0E), *range(0x1C, 0x21), 0xC2, 0xE1, 0xE2, 0xE3])


@dataclass(frozen=True, slots=True)
class Rows:
    """Records that were read one after another: `table` has the rows of `documents` that they make.

    For each record there is its type, the position after it (`ends`, int64), how many rows it makes (`made`, 0 or 1),
    how many bytes of text those have and how large they are (int64), and whether the source wants it.
    """

    table: pa.Table
    types: list[str]
    ends: NDArray[np.int64]
    made: NDArray[np.int64]
    text_bytes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    is_wanted: NDArray[np.bool_]

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.types)

    def slice(self, start: int, stop: int) -> Rows:
        """The records from one place up to another."""
        rows = slice(start, stop)
        table = self.table.slice(int(self.made[:start].sum()), int(self.made[rows].sum()))
        return Rows(
            table, self.types[rows], self.ends[rows], self.made[rows], self.text_bytes[rows], self.sizes[rows],
            self.is_wanted[rows],
        )  # fmt: skip


def document_id(source: str, uri: str | None, origin: str, text: str | None) -> str:
    """32 hex digits of a BLAKE2b hash of source, uri, origin and text, each with its length before it.

    >>> document_id("web", None, "a.warc.gz#0", "text") == document_id("web", None, "a.warc.gz#0", "text")
    True
    """
    return _id(source, uri or "", origin, (text or "").encode())


def document_ids(source: str, uris: pa.StringArray, origins: pa.StringArray, text: pa.StringArray) -> pa.StringArray:
    """`document_id` of each, from the bytes of the texts where they lie.

    >>> document_ids("web", pa.array([None], "str"), pa.array(["a.warc.gz#0"]), pa.array(["text"])).to_pylist() == [
    ...     document_id("web", None, "a.warc.gz#0", "text")
    ... ]
    True
    """
    data, bounds = _bytes_of(text)
    if "numba" in sys.modules and kernels.place.are_compiled("texts"):  # else loading it takes longer than hashing
        heads = kernels.blake2b.heads(source.encode(), _bytes_of(uris), _bytes_of(origins), np.diff(bounds))
        digits = kernels.blake2b.hexadecimal(kernels.blake2b.digests(*heads, data, bounds))
        offsets = np.arange(len(text) + 1, dtype=np.int32) * digits.shape[1]
        return pa.StringArray.from_buffers(len(text), pa.py_buffer(offsets), pa.py_buffer(digits))
    whole, places = data.data, zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    fields = zip(uris.to_pylist(), origins.to_pylist(), places, strict=True)
    return pa.array(
        [_id(source, uri or "", origin, whole[start:end]) for uri, origin, (start, end) in fields], pa.string()
    )


def _id(source: str, uri: str, origin: str, text: bytes | memoryview) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for field in (source.encode(), uri.encode(), origin.encode(), text):
        digest.update(len(field).to_bytes(8, "little"))
        digest.update(field)
    return digest.hexdigest()


def _bytes_of(strings: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Where their bytes lie, and where each begins and the last ends; null has none."""
    filled = pc.fill_null(strings, "") if strings.null_count else strings
    bounds = np.frombuffer(filled.buffers()[1], np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return np.frombuffer(filled.buffers()[2] or b"", np.uint8), bounds.astype(np.int64)


def of_records(records: Records, name: str, source: str, license_: str | None) -> Rows:
    """The rows of records that come in columns: of the input with this name, and the source with its licence."""
    text = _without_blank(records.text)
    origins = pa.array([f"{name}#{offset}" for offset in records.offsets], pa.string())
    uris = pa.array([uri or None for uri in records.uri], pa.string())
    columns = {
        "id": document_ids(source, uris, origins, text),
        "source": pa.repeat(source, len(text)),
        "uri": uris,
        "title": [title or None for title in records.title],
        "text": text,
        "license": [value or license_ for value in records.license],
        "created_at": records.created_at,
        "fetched_at": pa.nulls(len(text)),
        "origin": origins,
        "meta": records.meta,
        "error": records.error,
    }
    table = pa.table([_array(columns[field.name], field.type) for field in schema.DOCUMENTS], schema=schema.DOCUMENTS)
    ends = np.arange(records.offsets.start, records.offsets.stop, dtype=np.int64) + 1
    there = np.ones(len(text), np.int64)
    return Rows(table, [records.type] * len(text), ends, there, *_sizes(table), there.astype(np.bool_))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


def _without_blank(text: pa.StringArray) -> pa.StringArray:
    r"""The texts, those of nothing but white space as "".

    >>> _without_blank(pa.array(["a", " \u2003", None, " b", ""])).to_pylist()
    ['a', '', None, ' b', '']
    """
    data, bounds = _bytes_of(text)
    some = np.flatnonzero(np.diff(bounds) > 0)
    some = some[_SPACES[data[bounds[some]]]]
    blank = [row for row in some.tolist() if (text[row].as_py() or "").isspace()]
    if not blank:
        return text
    is_blank = np.zeros(len(text), np.bool_)
    is_blank[blank] = True
    return pc.if_else(pa.array(is_blank), "", text)


def of_rows(
    rows: Sequence[Mapping[str, Any] | None], types: list[str], ends: Sequence[int], is_wanted: Sequence[bool]
) -> Rows:
    """The rows of records that were looked at one by one; None for one that makes no row."""
    table = pa.Table.from_pylist([row for row in rows if row is not None], schema.DOCUMENTS)
    made = np.array([row is not None for row in rows], np.int64)
    text_bytes, sizes = np.zeros((2, len(rows)), np.int64)
    text_bytes[made > 0], sizes[made > 0] = _sizes(table)
    return Rows(table, types, np.array(ends, np.int64), made, text_bytes, sizes, np.array(is_wanted, np.bool_))


def _sizes(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bytes of each row's text, and how large it is."""
    text = _numbers(pc.binary_length(table["text"]))
    return text, text + sum(_numbers(pc.utf8_length(table[name])) for name in _COUNTED)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(column, 0).to_numpy(), np.int64)


def cut(pieces: Iterable[Rows], part_bytes: int, part_rows: int) -> Iterator[tuple[Rows, bool, bool]]:
    """The records in runs that cross no end of a row group nor of a part, and whether either ends after it.

    A part ends when its rows are so large or so many; a row group by `ROW_GROUP_BYTES` and `ROW_GROUP_ROWS`.
    """
    in_group, in_part = np.zeros(2, np.int64), np.zeros(2, np.int64)
    most_in_group, most_in_part = (ROW_GROUP_BYTES, ROW_GROUP_ROWS), (part_bytes, part_rows)
    for piece in pieces:
        held = np.cumsum([piece.sizes, piece.made], axis=1)
        start, before = 0, np.zeros(2, np.int64)
        while start < len(piece):
            group = _first_full(held, most_in_group - in_group + before)
            part = _first_full(held, most_in_part - in_part + before)
            stop = min(group, part, len(piece) - 1) + 1
            more = held[:, stop - 1] - before
            in_group, in_part, before = in_group + more, in_part + more, held[:, stop - 1]
            ends_part = part < stop
            ends_group = ends_part or group < stop
            if ends_group:
                in_group = np.zeros(2, np.int64)
            if ends_part:
                in_part = np.zeros(2, np.int64)
            yield (piece if stop - start == len(piece) else piece.slice(start, stop)), ends_group, ends_part
            start = stop


def _first_full(held: NDArray[np.int64], most: NDArray[np.int64]) -> int:
    """The first record with which as many bytes, or rows, are held."""
    return int(min(np.searchsorted(column, limit) for column, limit in zip(held, most, strict=True)))


def fill(writer: PartWriter, runs: Iterator[tuple[Rows, bool, bool]]) -> bool:
    """Write rows until the part is full (False) or there are no more (True)."""
    group: list[pa.Table] = [schema.DOCUMENTS.empty_table()]
    records: Counter[str] = Counter()
    writer.notes |= {"text_bytes": 0, "records": records, "not_wanted": 0}
    for run, ends_group, ends_part in runs:
        count_types(records, Counter(run.types))
        writer.notes["end"] = int(run.ends[-1])
        writer.notes["not_wanted"] += int((~run.is_wanted).sum())
        writer.notes["text_bytes"] += int(run.text_bytes.sum())
        group.append(run.table)
        if ends_group:
            _write(writer, group)
            group = group[:1]
        if ends_part:
            return False
    _write(writer, group)
    return True


def count_types(records: Counter[str], more: Mapping[str, int]) -> None:
    """Count so many records more of each type, by its name unless there are many names already."""
    for kind, count in more.items():
        records[kind if kind in records or len(records) < TYPES else "other"] += count


def _write(writer: PartWriter, group: Sequence[pa.Table]) -> None:
    """Write a row group, each column in one piece: where it is cut would show in the file's pages."""
    writer.write(pa.concat_tables(group).combine_chunks())
