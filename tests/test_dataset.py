"""Parts are finished when they exist, say what made them, and are joined by row."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import schema
from curation.dataset import ROW_GROUP_ROWS, Dataset, Footer, Part, Workspace, connect, fingerprint, first_row
from curation.errors import StorageError
from curation.storage import open_storage

PART = Part("web", "a.00000")
SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("n_count", pa.int32(), nullable=False)])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """An empty dataset."""
    return Dataset(open_storage("work", tmp_path), "numbers", SCHEMA)


def rows(*numbers: int) -> pa.Table:
    """A row for each number."""
    ids = [f"id{number}" for number in numbers]
    return pa.table({"id": pa.array(ids, pa.string()), "n_count": pa.array(numbers, pa.int32())}, schema=SCHEMA)


def file_of(dataset: Dataset, part: Part = PART) -> Path:
    """Where a part lies."""
    return Path(dataset.storage.path(dataset.path(part)))


def test_a_query_that_takes_long_prints_nothing() -> None:
    """DuckDB would draw a bar on standard output, in the middle of what `--json` prints."""
    assert first_row(connect(), "SELECT current_setting('enable_progress_bar')") == (False,)


def test_a_part_says_what_made_it(dataset: Dataset) -> None:
    """The footer holds fingerprint, rows and notes, and only that fingerprint is the one it was made from."""
    with dataset.writing(PART, "f1") as writer:
        writer.write(rows(1, 2))
        writer.notes |= {"last": True, "end": 7}
        assert dataset.footer(PART) is None
    assert dataset.footer(PART) == Footer("f1", 2, {"last": True, "end": 7})
    assert dataset.is_made(PART, "f1")
    assert not dataset.is_made(PART, "f2")
    assert not dataset.is_made(Part("web", "b"), "f1")
    assert dataset.rows(PART) == 2
    assert dataset.read(PART) == rows(1, 2)
    dataset.write(PART, rows(3), "f2")
    assert dataset.footer(PART) == Footer("f2", 1, {})


def test_a_part_whose_making_failed_is_not_there(dataset: Dataset) -> None:
    """An error in the middle leaves what was there before."""
    dataset.write(PART, rows(1), "f1")
    with pytest.raises(ValueError, match="stop"), dataset.writing(PART, "f2") as writer:  # noqa: PT012
        writer.write(rows(2, 3))
        raise ValueError("stop")
    assert dataset.footer(PART) == Footer("f1", 1, {})
    assert [file.path for file in dataset.storage.files()] == ["numbers/web/a.00000.parquet"]


def test_a_torn_part_is_not_made(dataset: Dataset) -> None:
    """A file cut anywhere, or filled with zeros as after a power cut, counts as absent; it is made again."""
    dataset.write(PART, rows(*range(100)), "f1")
    whole = file_of(dataset).read_bytes()
    torn = [whole[:cut] for cut in range(0, len(whole) - 1, 7)]
    torn += [whole[:cut] + b"\0" * (len(whole) - cut) for cut in range(0, len(whole) - 1, 31)]
    for data in torn:
        file_of(dataset).write_bytes(data)
        assert dataset.footer(PART) is None
        assert not dataset.is_made(PART, "f1")
    with pytest.raises(StorageError, match="missing or torn") as caught:
        dataset.read(PART)
    assert caught.value.remedy
    dataset.write(PART, rows(1), "f1")
    assert dataset.is_made(PART, "f1")


def test_a_part_with_a_damaged_footer_is_not_made(dataset: Dataset) -> None:
    """Bytes changed in the footer never end in anything but an absent part or a part."""
    dataset.write(PART, rows(1, 2), "f1")
    whole = bytearray(file_of(dataset).read_bytes())
    length = int.from_bytes(whole[-8:-4], "little")
    for place in range(len(whole) - 8 - length, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file_of(dataset).write_bytes(damaged)
        footer = dataset.footer(PART)
        assert footer is None or isinstance(footer, Footer)


def test_a_part_that_is_missing_is_one_message(dataset: Dataset) -> None:
    """Every way to read it says so, with what to do."""
    for read in (dataset.read, dataset.rows, lambda part: list(dataset.batches(part))):
        with pytest.raises(
            StorageError, match=re.escape("numbers/web/a.00000.parquet: this part is missing")
        ) as caught:
            read(PART)
        assert caught.value.remedy


def test_damaged_data_is_one_message(dataset: Dataset) -> None:
    """A footer that is whole over data that is not: the part is named."""
    dataset.write(PART, rows(*range(10_000)), "f1")
    data = bytearray(file_of(dataset).read_bytes())
    data[4:2000] = b"\xff" * 1996
    file_of(dataset).write_bytes(data)
    with pytest.raises(StorageError, match=r"a\.00000\.parquet: this part is damaged"):
        dataset.read(PART)


def test_row_groups_are_bounded(dataset: Dataset) -> None:
    """However many rows are written at once, a reader holds a bounded number at a time."""
    count = 2 * ROW_GROUP_ROWS + 5
    with dataset.writing(PART, "f") as writer:
        writer.write(rows(*range(count)))
        writer.write(rows(1, 2, 3))
        writer.write(rows())
        groups = writer.groups
    assert [table.num_rows for table in dataset.batches(PART)] == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 5, 3]
    assert groups == 4
    assert dataset.read_groups(PART, [2, 3])["n_count"].to_pylist() == [*range(count - 5, count), 1, 2, 3]
    assert dataset.read(PART, ["n_count"]).num_rows == count + 3


def test_an_empty_part_is_a_part(dataset: Dataset) -> None:
    """An input without a document has a part without a row."""
    with dataset.writing(PART, "f"):
        pass
    assert dataset.footer(PART) == Footer("f", 0, {})
    assert dataset.read(PART) == rows()


def test_a_writer_casts_to_the_schema_and_refuses_what_does_not_fit(dataset: Dataset) -> None:
    """Columns are put in order and cast; a null where none may be, or a lacking column, is an error."""
    with dataset.writing(PART, "f") as writer:
        writer.write(pa.table({"more": [1], "n_count": pa.array([5], pa.int64()), "id": ["x"]}))
    assert dataset.read(PART).schema.equals(SCHEMA)
    for table in (pa.table({"id": ["x"]}), rows(1).set_column(1, "n_count", pa.array([2**40]))):
        with pytest.raises((KeyError, pa.ArrowException)):
            dataset.write(PART, table, "g")
    assert dataset.is_made(PART, "f")


def test_orphans_are_removed(dataset: Dataset) -> None:
    """Only the parts that are named stay."""
    parts = [Part("web", "a"), Part("web", "b"), Part("notes", "a")]
    for part in parts:
        dataset.write(part, rows(1), "f")
    assert sorted(dataset.parts()) == sorted(parts)
    dataset.keep_only(parts[1:])
    assert sorted(dataset.parts()) == sorted(parts[1:])
    dataset.keep_only([])
    assert dataset.parts() == []


def test_a_scan_is_a_relation(dataset: Dataset) -> None:
    """DuckDB reads several parts, or none, as one table with the dataset's columns."""
    connection = connect()
    connection.register("numbers", dataset.scan([]))
    assert first_row(connection, "SELECT count(*), sum(n_count) FROM numbers WHERE id <> ''") == (0, None)
    dataset.write(PART, rows(1, 2), "f")
    dataset.write(Part("notes", "b"), rows(4), "f")
    connection.register("numbers", dataset.scan([PART, Part("notes", "b")]))
    assert first_row(connection, "SELECT count(*), sum(n_count) FROM numbers WHERE id <> 'id1'") == (2, 6)


# sidecars

DOCUMENT = {"source": "s", "origin": "o", "meta": "{}"}


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    """A workspace with two signals and a part of three documents."""
    signals = {"length": {"byte_count": pa.int32()}, "colour": {"is_red": pa.bool_(), "red_ratio": pa.float32()}}
    work = Workspace(open_storage("work", tmp_path), signals)
    documents = [{**DOCUMENT, "id": name, "text": name * 3, "title": name.upper()} for name in "abc"]
    work.documents.write(PART, pa.Table.from_pylist(documents, schema.DOCUMENTS), "f")
    colours = {"id": list("abc"), "is_red": [True, False, True], "red_ratio": [1.0, 0.0, 0.5]}
    work.signal("colour").write(PART, pa.table(colours), "f")
    work.signal("length").write(PART, pa.table({"id": list("abc"), "byte_count": [3, 4, 5]}), "f")
    return work


def test_columns_are_read_from_where_they_lie(work: Workspace) -> None:
    """Asked columns of documents and sidecars come side by side, each once, in the order of rows."""
    table = work.read(PART, ["byte_count", "title", "is_red", "byte_count", "id"])
    assert table.to_pylist() == [
        {"id": "a", "byte_count": 3, "title": "A", "is_red": True},
        {"id": "b", "byte_count": 4, "title": "B", "is_red": False},
        {"id": "c", "byte_count": 5, "title": "C", "is_red": True},
    ]
    assert work.read(PART, []).to_pydict() == {"id": ["a", "b", "c"]}


def test_text_is_no_column_for_rules(work: Workspace) -> None:
    """What rules, prefer and where see is everything but the text, with the types on disk."""
    assert "text" not in work.columns
    assert {"id", "source", "uri", "meta", "error", "byte_count", "is_red", "red_ratio"} < set(work.columns)
    assert work.row.field("red_ratio").type == pa.float32()
    assert work.row.names == list(work.columns)


@pytest.mark.parametrize("ids", [["a", "c", "b"], ["a", "b"], ["a", "b", "c", "d"], [], ["a", "b", "x"]])
def test_a_sidecar_with_other_rows_is_refused(work: Workspace, ids: list[str]) -> None:
    """Measures are never joined to other documents than those they were taken of."""
    work.signal("length").write(PART, pa.table({"id": pa.array(ids, pa.string()), "byte_count": [1] * len(ids)}), "f")
    with pytest.raises(StorageError, match=r"its rows are not those of documents/web/a\.00000") as caught:
        work.read(PART, ["title", "byte_count"])
    assert "signals/length" in caught.value.message
    assert caught.value.remedy
    assert work.read(PART, ["title", "is_red"]).num_rows == 3


def test_a_signal_never_answers_null(work: Workspace) -> None:
    """A sidecar's columns may not be null: the part is not made."""
    with pytest.raises((ValueError, pa.ArrowException)):
        work.signal("length").write(PART, pa.table({"id": ["a"], "byte_count": pa.array([None], pa.int32())}), "g")
    assert work.signal("length").is_made(PART, "f")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6,
    )
)  # fmt: skip
def test_a_fingerprint_is_of_its_parts(value: object) -> None:
    """The same for the same, 32 hex digits, another when something is added."""
    assert re.fullmatch("[0-9a-f]{32}", fingerprint(value))
    assert fingerprint(value) == fingerprint(value)
    assert len({fingerprint(value), fingerprint(value, None), fingerprint([value]), fingerprint()}) == 4


def test_files_say_nothing_of_when_they_were_made(dataset: Dataset, tmp_path: Path) -> None:
    """The same rows and fingerprint are the same bytes."""
    other = Dataset(open_storage("other", tmp_path), "numbers", SCHEMA)
    for target in (dataset, other):
        target.write(PART, rows(1, 2, 3), "f")
    assert file_of(dataset).read_bytes() == file_of(other).read_bytes()
    assert pq.read_metadata(file_of(dataset)).num_rows == 3


def test_what_memory_has_no_room_for_is_spilled(work: Workspace) -> None:
    """Into the workspace, from which a run that was killed leaves it to the next one's sweep."""
    many = "SELECT hash(range)::VARCHAR || repeat('x', 60) AS one FROM range(3_000_000) ORDER BY one"
    connection = connect(work, memory="100MB")
    reader = connection.sql(many).to_arrow_reader(1 << 16)
    batch = reader.read_next_batch()
    spilled = [path for path in Path(work.scratch()).iterdir() if path.stat().st_size]
    assert spilled, "all of it stayed in memory"
    assert batch.column(0)[0].as_py() < batch.column(0)[1].as_py()
    work.storage.sweep()
    assert not list(Path(work.storage.root).glob("scratch*"))
