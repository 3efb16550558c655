"""Datasets: folders of Parquet parts that are finished when they exist. The only Parquet reading and writing.

A part's footer carries the fingerprint of what made it. A sidecar is a dataset with the same part names, row counts and
row order as another, joined by part and row.
"""

from __future__ import annotations

import hashlib
import io
import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation import schema
from curation.errors import StorageError
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow.dataset as pads
    from numpy.typing import NDArray

    from curation.storage import Storage

#: Rows are written to disk when their text reaches this many bytes, so that a reader need not hold a whole part.
ROW_GROUP_BYTES = 8 * 1024 * 1024
#: ... or this many rows, where they are short.
ROW_GROUP_ROWS = 16_384

_FINGERPRINT = b"curate.fingerprint"
_NOTES = b"curate.notes"


def fingerprint(*parts: Any) -> str:
    """32 hex digits that change when any of the parts does; parts are what JSON can hold.

    >>> fingerprint("pull", 1, {"b": 1, "a": None}) == fingerprint("pull", 1, {"a": None, "b": 1})
    True
    """
    data = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(data.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One part of a dataset: the same name in `documents` and in every sidecar."""

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"


@dataclass(frozen=True, slots=True)
class Footer:
    """What a finished part says of itself: the fingerprint of what made it, its rows, and notes of its maker."""

    fingerprint: str
    rows: int
    notes: dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A folder of Parquet parts with one fixed schema."""

    storage: Storage
    name: str
    schema: pa.Schema
    #: What its parts are compressed by.
    compression: str = "zstd"

    def path(self, part: Part) -> str:
        """Where the part lies, relative to the storage."""
        return f"{self.name}/{part}.parquet"

    def footer(self, part: Part) -> Footer | None:
        """The part's footer; None where the part is absent, or torn by a machine that lost power."""
        stream = self.storage.open(self.path(part), from_end=True)
        if stream is None:
            return None
        try:
            with stream:
                metadata = pq.read_metadata(stream)
            keys = metadata.metadata or {}
            notes = json.loads(keys.get(_NOTES, b"{}").decode())
            return Footer(keys.get(_FINGERPRINT, b"").decode(), metadata.num_rows, notes)
        except ValueError:  # ArrowInvalid is one
            return None
        except OSError as error:
            if error.errno is None:  # Thrift that cannot be read, says Arrow
                return None
            raise self._failure(part, error) from error

    def is_made(self, part: Part, made_from: str) -> bool:
        """Whether the part is there and was made from just this."""
        footer = self.footer(part)
        return footer is not None and footer.fingerprint == made_from

    def not_made(self, wanted: Mapping[Part, str]) -> dict[Part, str]:
        """Of parts and what they are to be made from, those that are not there or were made from something else."""
        footers = self.storage.each(self.footer, wanted)
        return {
            part: made_from
            for (part, made_from), footer in zip(wanted.items(), footers, strict=True)
            if footer is None or footer.fingerprint != made_from
        }

    def rows(self, part: Part) -> int:
        """How many rows a part has; `StorageError` if it is not there."""
        footer = self.footer(part)
        if footer is None:
            raise self._missing(part)
        return footer.rows

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        """The whole part, or these columns of it."""
        with self._open(part) as file:
            return file.read(columns=None if columns is None else list(columns), use_threads=False)

    def batches(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The part's row groups one after another: memory holds one, and what it takes to read a column."""
        names = self.schema.names if columns is None else list(columns)
        with self._open(part) as file:
            for group in range(file.num_row_groups):
                yield pa.table(
                    {name: file.read_row_group(group, columns=[name], use_threads=False)[name] for name in names}
                )

    def read_groups(self, part: Part, groups: Iterable[int], columns: Sequence[str] | None = None) -> pa.Table:
        """These row groups of the part, or these columns of them."""
        with self._open(part) as file:
            names = None if columns is None else list(columns)
            return file.read_row_groups(list(groups), columns=names, use_threads=False)

    def pick(self, part: Part, rows: NDArray[np.int64], columns: Sequence[str]) -> Iterator[pa.Table]:
        """These columns of these rows (int64, ascending), one row group after another, of those alone that hold any."""
        with self._open(part) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                low, high = np.searchsorted(rows, [start, end])
                if low < high:
                    table = file.read_row_group(group, columns=list(columns), use_threads=False)
                    yield table.take(pa.array(rows[low:high] - start))
                start = end

    def groups(self, part: Part, column: str) -> list[tuple[int, int]]:
        """For each row group its rows, and the bytes of one column in it before compression."""
        place = self.schema.get_field_index(column)  # nothing before it is nested, so it is the column in Parquet too
        with self._open(part) as file:
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
            return [(group.num_rows, group.column(place).total_uncompressed_size) for group in groups]

    @contextmanager
    def writing(self, part: Part, made_from: str) -> Iterator[PartWriter]:
        """A writer whose part appears, whole, when the block ends well."""
        with self.storage.writing(self.path(part)) as stream:
            writer = PartWriter(stream, self.schema, self.compression)
            try:
                yield writer
                writer.close(made_from)
            finally:
                writer.abandon()

    def write(self, part: Part, table: pa.Table, made_from: str) -> None:
        """Write a whole part at once."""
        with self.writing(part, made_from) as writer:
            writer.write(table)

    def parts(self) -> list[Part]:
        """Every part that lies there. For removing orphans: readers go by the recipe's inputs instead."""
        found = []
        for file in self.storage.files(self.name):
            source, _, name = file.path.removeprefix(f"{self.name}/").partition("/")
            if name.endswith(".parquet"):
                found.append(Part(source, name.removesuffix(".parquet")))
        return found

    def keep_only(self, parts: Iterable[Part]) -> None:
        """Remove every part but these."""
        for orphan in set(self.parts()) - set(parts):
            self.storage.remove(self.path(orphan))

    def scan(self, parts: Iterable[Part], columns: Sequence[str] | None = None) -> pads.Dataset:
        """The parts as one relation that DuckDB reads when registered, columns and rows pushed down.

        It has these columns alone where they are named, and where parts lie elsewhere only those are fetched.
        """
        import pyarrow.dataset as pads  # noqa: PLC0415  # half a second where pandas is installed

        target = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        paths = list(self.files(parts, columns))
        if not paths:
            return pads.dataset(target.empty_table())
        return pads.dataset(paths, schema=target, format="parquet")

    def files(self, parts: Iterable[Part], columns: Sequence[str] | None = None) -> dict[str, Part]:
        """The files of this machine that hold the parts, or copies of these columns where they lie elsewhere.

        DuckDB and pyarrow read from threads of their own, where a request that fails can bring both to a stop, so what
        they scan is fetched before. Copies lie in the scratch folder and are made once for each content.
        """
        parts = list(parts)
        paths = self.storage.each(
            lambda part: self.storage.local_path(self.path(part)) or self._copy(part, columns), parts
        )
        return dict(zip(paths, parts, strict=True))

    def _copy(self, part: Part, columns: Sequence[str] | None) -> str:
        scratch = open_storage(self.storage.scratch)
        with self._open(part) as file:
            made_from = (file.metadata.metadata or {}).get(_FINGERPRINT, b"").decode()
            name = f"{fingerprint(self.path(part), made_from, columns)}.parquet"
            names = self.schema.names if columns is None else columns
            target = pa.schema([field for field in self.schema if field.name in names])
            if not scratch.exists(name):
                with scratch.writing(name) as stream, pq.ParquetWriter(stream, target) as writer:
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group, columns=target.names, use_threads=False)
                        writer.write_table(table.cast(target))
        return scratch.path(name)

    @contextmanager
    def _open(self, part: Part) -> Iterator[pq.ParquetFile]:
        name = self.path(part)
        source = self.storage.local_path(name) or self.storage.open(name, from_end=True)
        if source is None:
            raise self._missing(part)
        try:
            file = pq.ParquetFile(source, memory_map=False, pre_buffer=False)
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise self._missing(part) from error
        with file:
            try:
                yield file
            except (OSError, pa.ArrowException) as error:
                raise self._failure(part, error) from error

    def _failure(self, part: Part, error: Exception) -> StorageError:
        path = self.storage.path(self.path(part))
        return StorageError(f"{path}: this part is damaged: {error}", remedy="remove it and run again")

    def _missing(self, part: Part) -> StorageError:
        return StorageError(
            f"{self.storage.path(self.path(part))}: this part is missing or torn",
            remedy="run `curate run` again: it makes what is missing",
        )


class PartWriter:
    """Writes one part, row group after row group, cast to the dataset's schema."""

    def __init__(self, stream: Any, target: pa.Schema, compression: str = "zstd") -> None:
        self.schema = target
        self.notes: dict[str, Any] = {}
        self.groups = 0
        # The least and the greatest text, and a dictionary of texts, are copies of them: 1.3 GB for one of 250 MB.
        short = [name for name in target.names if name != "text"]
        repeated = [name for name in short if target.field(name).type not in (pa.uint64(), pa.binary())]  # no hashes
        self._writer = pq.ParquetWriter(
            pa.PythonFile(stream, mode="w"), target, compression=compression,
            compression_level=1 if compression == "zstd" else None, write_statistics=short, use_dictionary=repeated,
        )  # fmt: skip

    def write(self, table: pa.Table) -> None:
        """Append rows as row groups of at most `ROW_GROUP_ROWS`."""
        table = table.select(self.schema.names).cast(self.schema)
        if table.num_rows == 0:  # it would be a row group, and a reader's batch
            return
        self.groups += -(-table.num_rows // ROW_GROUP_ROWS)
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)

    def close(self, made_from: str) -> None:
        """Finish the file with its fingerprint and `notes`."""
        self._writer.add_key_value_metadata(
            {_FINGERPRINT: made_from.encode(), _NOTES: json.dumps(self.notes, sort_keys=True).encode()}
        )
        self._writer.close()

    def abandon(self) -> None:
        """Leave the file as it is; else the writer would end it once the stream is closed, and complain."""
        self._writer.is_open = False


def save(table: pa.Table, path: Path) -> None:
    """Write a table to a file of its own, which appears whole; the same rows give the same bytes."""
    with open_storage(str(path.parent)).writing(path.name) as stream:
        writer = PartWriter(stream, table.schema)
        try:
            writer.write(table)
            writer.close("")
        finally:
            writer.abandon()


def parquet_bytes(table: pa.Table) -> bytes:
    """A small table as the bytes of a Parquet file; the same rows give the same."""
    sink = io.BytesIO()
    writer = PartWriter(sink, table.schema)
    writer.write(table)
    writer.close("")
    return sink.getvalue()


@dataclass(frozen=True)
class Workspace:
    """The datasets of one recipe in its WORK folder."""

    storage: Storage
    #: Signal name to its columns, in the order of measuring; set from the recipe.
    signals: Mapping[str, Mapping[str, pa.DataType]]

    @cached_property
    def documents(self) -> Dataset:
        """What was pulled."""
        return Dataset(self.storage, "documents", schema.DOCUMENTS)

    @cached_property
    def against(self) -> Dataset:
        """Documents from outside of the run that its own are compared with: what a comparison asks of them."""
        return Dataset(self.storage, "against", schema.against(dict(self.signals["signature"])))

    @cached_property
    def pairs(self) -> Dataset:
        """Verified pairs of exact and near-duplicates."""
        return Dataset(self.storage, "pairs", schema.PAIRS)

    @cached_property
    def candidates(self) -> Dataset:
        """Pairs that are worth comparing, a part for each band."""
        return Dataset(self.storage, "candidates", schema.CANDIDATES)

    @cached_property
    def compared(self) -> Dataset:
        """All pairs that were compared, with their similarity, so that a later run need not compare them again."""
        return Dataset(self.storage, "compared", schema.COMPARED)

    @cached_property
    def scattered(self) -> Dataset:
        """The signatures of candidates, partition by partition."""
        return Dataset(self.storage, "scattered", schema.SCATTERED, "none")  # hashes, which are removed soon

    @cached_property
    def shingles(self) -> Dataset:
        """What candidates are compared by exactly."""
        return Dataset(self.storage, "shingles", schema.SHINGLES)

    @cached_property
    def groups(self) -> Dataset:
        """Each kept document's group, place, bytes and tokens, before a budget is looked at."""
        return Dataset(self.storage, "groups", schema.GROUPS)

    @cached_property
    def tokens(self) -> Dataset:
        """Exact counts of tokens of kept documents."""
        return Dataset(self.storage, "tokens", schema.TOKENS)

    @cached_property
    def hits(self) -> Dataset:
        """The rules that hit each document."""
        return Dataset(self.storage, "hits", schema.HITS)

    @cached_property
    def verdicts(self) -> Dataset:
        """What becomes of each document."""
        return Dataset(self.storage, "verdicts", schema.VERDICTS)

    @cached_property
    def blend(self) -> Dataset:
        """How often each document stands in the release."""
        return Dataset(self.storage, "blend", schema.BLEND)

    def signal(self, name: str) -> Dataset:
        """The sidecar of one signal."""
        return Dataset(self.storage, f"signals/{name}", schema.sidecar(dict(self.signals[name])))

    @cached_property
    def corpus(self) -> dict[str, Dataset]:
        """The sidecars of columns that only the whole corpus can tell, by the signal that they are made of."""
        return {
            name: Dataset(self.storage, f"corpus/{name}", schema.sidecar(columns))
            for name, columns in schema.corpus_columns(self.signals).items()
        }

    @cached_property
    def line_counts(self) -> Dataset:
        """How many documents of each host have a line."""
        return Dataset(self.storage, "line_counts", schema.LINE_COUNTS)

    @cached_property
    def line_sets(self) -> Dataset:
        """The hashes of lines that are shared, and what is needed to find them."""
        return Dataset(self.storage, "line_sets", schema.LINE_SETS)

    @cached_property
    def columns(self) -> dict[str, Dataset]:
        """Every column that rules, `prefer` and `where` may use, with the dataset that holds it."""
        found = dict.fromkeys(schema.DOCUMENT_COLUMNS, self.documents)
        for name, columns in self.signals.items():
            found |= dict.fromkeys(columns, self.signal(name))
        for dataset in self.corpus.values():
            found |= dict.fromkeys(dataset.schema.names[1:], dataset)
        return found

    @cached_property
    def row(self) -> pa.Schema:
        """The schema of a row of `columns`."""
        return pa.schema([dataset.schema.field(name) for name, dataset in self.columns.items()])

    def read(self, part: Part, columns: Iterable[str]) -> pa.Table:
        """`id` and these columns of one part, from whichever sidecars hold them, joined by row.

        Raises `StorageError` if a sidecar's rows are not the documents' rows.
        """
        wanted: dict[str, list[str]] = {"documents": ["id"]}
        for name in dict.fromkeys(columns):
            if name != "id":
                wanted.setdefault(self.columns[name].name, []).append(name)
        joined: pa.Table | None = None
        for name, names in wanted.items():
            dataset = self.columns[names[-1]]
            table = dataset.read(part, names if "id" in names else ["id", *names])
            if joined is None:
                joined = table
                continue
            if not table["id"].equals(joined["id"]):
                raise StorageError(
                    f"{dataset.storage.path(dataset.path(part))}: its rows are not those of documents/{part}",
                    remedy=f"remove the folder {dataset.storage.path(name)} and run again",
                )
            for column in names:
                joined = joined.append_column(dataset.schema.field(column), table[column])
        return joined

    def scratch(self) -> str:
        """A folder for what DuckDB spills, of this machine's own; it can be deleted whenever nothing runs.

        DuckDB makes it when it spills, but no folder above it, names its files by the number of the process, and
        removes those of processes that it does not find.
        """
        return f"{self.storage.scratch}.{socket.gethostname()}"


def connect(work: Workspace | None = None, *, threads: int = 1, memory: str = "1GB") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with bounded memory that spills into the workspace and fetches nothing from outside."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}; SET memory_limit = '{memory}'; SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it goes to standard output, where figures and JSON go
    connection.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
    if work is not None:
        connection.execute("SET temp_directory = ?", [work.scratch()])
    return connection


def first_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """The first row of a query's answer, read to its end as DuckDB asks; empty where there is none."""
    rows = connection.execute(sql).fetchall()
    return rows[0] if rows else ()
