"""Documents on their way to disk: their ids, and the bytes of their parts, in columns as row by row."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from datetime import time
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain.documents import write_parts

from curation import documents, kernels, pull
from curation.kernels import blake2b  # noqa: F401  # loaded, so that ids are made with it
from curation.recipe import load
from curation.run import workspace
from curation.sources import jsonl, parquet
from curation.sources.record import Records

if TYPE_CHECKING:
    from pathlib import Path

    from curation.recipe import Recipe

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(rows=st.lists(st.tuples(st.none() | TEXT, TEXT, st.none() | TEXT), min_size=1, max_size=5), cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_ids_of_columns_are_ids_of_rows(rows: list[tuple[str | None, str, str | None]], cut: bool) -> None:
    """An id is the same whether a document is looked at alone or where it lies among others."""
    text = pa.array(["before", *(text for *_, text in rows)], pa.string())[1:]
    rows, text = (rows[1:], text[1:]) if cut else (rows, text)
    uris, origins = (pa.array(["before", *(row[place] for row in rows)], pa.string())[1:] for place in (0, 1))
    expected = [documents.document_id("s", *row) for row in rows]
    for is_compiled in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels.place, "are_compiled", lambda _group, answer=is_compiled: answer)
            if is_compiled:
                patch.delattr(documents, "hashlib")  # it is left to the kernels
            assert documents.document_ids("s", uris, origins, text).to_pylist() == expected


# Parts ----------------------------------------------------------------------------------------------------------------

SPACES = ["", " ", "\t\n", "\x1c\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2029", "\u202f", "\u205f", "\u3000",
          "\u200b", " a", "\u3000b", "\u3042", "\xa0\u2003 c", "\u2003" * 200, "\0", "\ufeff"]  # fmt: skip
PLAIN = [None, *SPACES, "Bees fly.", "Bees fly.", 'naïve\n"quoted" \\\\ \u2028', "bees " * 40, "\U0001f41d" * 30]
N = len(PLAIN)
TIMES = ["2024-05-01", "yesterday", None, "", "2024-05-01T10:00:00+02:00", " 2024-05-01 ", "0001-01-01T00:00:00+14:00"]


def several(values: list[Any], rows: int = N) -> list[Any]:
    """So many values, from the beginning again and again."""
    return [values[row % len(values)] for row in range(rows)]


def invalid(kind: pa.DataType, rows: int = N) -> pa.Array:
    """Texts, one of which is not UTF-8."""
    data = [b"\xff" if row == 3 else b"fine" for row in range(rows)]
    return pa.array(data, pa.binary() if kind == pa.string() else pa.large_binary()).view(kind)


COLUMNS: dict[str, dict[str, Any]] = {
    "texts alone": {"text": PLAIN},
    "all that documents have": {
        "text": PLAIN, "url": several(["u", None, "", "\xfc"]), "title": several([None, "", "T", "\u2003"]),
        "license": several(["MIT", None, ""]), "created_at": several(TIMES), "source": several(["a", 'b"', None]),
    },
    "large texts, and texts of a dictionary": {
        "text": pa.array(PLAIN, pa.large_string()), "title": pa.array(several(["T", None])).dictionary_encode(),
        "uri": pa.nulls(N), "more": pa.array(several(["x", None])).dictionary_encode(),
    },
    "views": {"text": pa.array(PLAIN, pa.string_view()), "v": pa.array(PLAIN, pa.string_view())},
    "values of every kind": {
        "text": PLAIN, 'od"d \u00e4': several([1, None, -5]), "Z": several([True, False, None]), "a": pa.nulls(N),
        "float": several([1.5, float("nan"), float("inf"), None, 1e300, 1e-7, -0.0]),
        "float32": pa.array(several([0.1, float("-inf"), None, 3.0]), pa.float32()),
        "float16": pa.array(several([0.5, None]), pa.float16()),
        "big": pa.array(several([2**64 - 1, 0, None]), pa.uint64()), "raw": several([b"\x01\xff", None, b""]),
        "decimal": several([Decimal("1.50"), None]), "clock": several([time(10, 1), None]),
        "list": several([["a", None], [], None]),
        "nested": several([{"b": [{"c": float("nan")}], "a": "\u00fc"}, None]),
        "map": pa.array(several([[("k", 1)], None]), pa.map_(pa.string(), pa.int64())),
        "when": pa.array(several([0, 2**62, -(2**62), None]), pa.timestamp("us")),
    },
    "times": {"text": PLAIN, "created_at": pa.array(several([0, 2**62, -(2**62), None, 10**15]), pa.timestamp("us"))},
    "times in a zone": {"text": PLAIN, "created_at": pa.array(several([0, 10**15 + 1]), pa.timestamp("ns", "CET"))},
    "seconds": {"text": PLAIN, "created_at": several([0.0, 1e18, None, 1.5e9, float("nan")])},
    "times that are none": {"text": PLAIN, "created_at": several([True, False, None])},
    "an address that is a number": {"text": PLAIN, "uri": several([1, None])},
    "bytes that are no text": {"text": invalid(pa.string()), "n": list(range(N))},
    "bytes that are no text in meta": {"text": PLAIN, "m": invalid(pa.large_string())},
    "bytes that are no text deep inside": {
        "text": PLAIN, "m": pa.StructArray.from_arrays([invalid(pa.string())], names=["inside"]),
    },
}  # fmt: skip
FIELDS = {
    "named": ('{ text = "body", uri = "id", title = "id", license = "a.b" }', {"license": "MIT"}),
    "ways into objects": ('{ text = "body", license = "o.license" }', {}),
    "SQL": ('{ text = "body", title = "upper(id)" }', {}),
    "where": ("{ text = \"body\" }\nwhere = \"coalesce(text, '') <> 'Bees fly.'\"", {}),
}


def recipe(folder: Path, table: pa.Table, more: str = "", group: int = 7) -> Recipe:
    """A recipe for this table as a Parquet file."""
    pq.write_table(table, folder / "input.parquet", row_group_size=group)
    path = folder / "recipe.toml"
    path.write_text(f'name = "t"\n[[source]]\nname = "s"\nkind = "parquet"\npaths = ["input.parquet"]\n{more}\n')
    return load(path)


def tasks(loaded: Recipe, work: Path) -> list[pull.Pull]:
    """What is to be pulled into a workspace."""
    place, _ = workspace(load(loaded.path, work=str(work)))
    found = {source.name: pull.inputs_of(loaded, source) for source in loaded.source}
    return pull.plan(loaded, place, found, defaultdict(str))


def written(work: Path) -> dict[str, bytes]:
    """The bytes of every part."""
    return {path.name: path.read_bytes() for path in sorted(work.glob("documents/s/*.parquet"))}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts, row groups, and limit of a text."""
    monkeypatch.setattr(pull, "PART_BYTES", 600)
    monkeypatch.setattr(pull, "PART_ROWS", 11)
    for module in (documents, pull):
        monkeypatch.setattr(module, "ROW_GROUP_BYTES", 200)
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 4)
    for module in (pull, jsonl, parquet):
        monkeypatch.setattr(module, "MAX_TEXT_BYTES", 110)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 3)
    monkeypatch.setattr(parquet, "_HELD_BYTES", 150)


def both(loaded: Recipe, folder: Path) -> dict[str, bytes]:
    """The parts of a recipe's documents, which are the same row by row."""
    for task in tasks(loaded, folder / "columns"):
        pull._pull_all([task])
    for task in tasks(loaded, folder / "plain"):
        write_parts(task, documents.ROW_GROUP_BYTES, documents.ROW_GROUP_ROWS)
    found = written(folder / "columns")
    assert found == written(folder / "plain")
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", COLUMNS)
def test_parts_are_those_of_rows(name: str, tmp_path: Path) -> None:
    """Whatever columns hold, parts of Parquet have the bytes that looking at row after row gives them."""
    found = both(recipe(tmp_path, pa.table(COLUMNS[name]), 'license = "ours"'), tmp_path)
    assert len(found) > 2
    tables = [pq.read_table(io.BytesIO(part)) for part in found.values()]
    assert [origin.as_py() for table in tables for origin in table["origin"]] == [
        f"input.parquet#{n}" for n in range(N)
    ]
    for table in tables:
        for row in table.to_pylist():
            assert (row["text"] is None) == (row["error"] is not None)
            json.loads(row["meta"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", FIELDS)
def test_parts_are_those_of_rows_whatever_fields_are_named(name: str, tmp_path: Path) -> None:
    """So it is where the recipe says which columns are meant."""
    fields, more = FIELDS[name]
    table = pa.table({"body": PLAIN, "id": several(["x", None, "y"]), "a.b": several(["GPL", None]), "uri": PLAIN,
                      "o": several([{"license": "MIT", "n": 1}, None])})  # fmt: skip
    lines = "".join(f'\n{key} = "{value}"' for key, value in more.items())
    both(recipe(tmp_path, table, f"fields = {fields}{lines}"), tmp_path)


@pytest.mark.usefixtures("small")
def test_parts_of_a_damaged_file_are_those_of_rows(tmp_path: Path) -> None:
    """A row group that cannot be read is one row, after those of the batches before it."""
    table = pa.table({"text": [f"row {n}" for n in range(40)]})
    loaded = recipe(tmp_path, table, group=10)
    path = tmp_path / "input.parquet"
    data = bytearray(path.read_bytes())
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    data[place : place + 12] = bytes(byte ^ 0xFF for byte in data[place : place + 12])
    path.write_bytes(data)
    found = both(loaded, tmp_path)
    rows = [row for part in found.values() for row in pq.read_table(io.BytesIO(part)).to_pylist()]
    assert len(rows) == 31
    assert sum(row["error"] is not None for row in rows) == 1


@pytest.mark.usefixtures("small")
def test_what_is_missing_is_pulled_from_where_it_begins(tmp_path: Path) -> None:
    """A part that is gone, and those after it, come out with the same bytes."""
    loaded = recipe(tmp_path, pa.table(COLUMNS["all that documents have"]))
    found = both(loaded, tmp_path)
    for name in list(found)[1:]:
        (tmp_path / "columns/documents/s" / name).unlink()
    pull._pull_all(tasks(loaded, tmp_path / "columns"))
    assert written(tmp_path / "columns") == found


@pytest.mark.parametrize("name", ["all that documents have", "values of every kind", "times"])
def test_columns_are_read_as_columns(name: str) -> None:
    """What differs from row to row does not make a file be read row by row."""
    out = io.BytesIO()
    pq.write_table(pa.table(COLUMNS[name]), out)
    (found,) = parquet.read_columns(out, "x", 0, pull_source())
    assert isinstance(found, Records)
    assert len(found.text) == N


def pull_source() -> Any:
    """A source as its module is given it, with no fields named."""
    return type("Source", (), {"fields": {}})()


def test_a_batch_that_is_large_is_not_copied() -> None:
    """Small batches are put together; a large one, and what was read before damage, comes as it is."""
    small, large = (pa.record_batch({"text": ["x" * size]}) for size in (10, parquet._HELD_BYTES + 1))

    def batches() -> Any:
        yield from [small, small, large, small]
        raise pa.ArrowInvalid("damaged")

    together = parquet._together(batches())
    found = [next(together) for _ in range(3)]
    with pytest.raises(pa.ArrowInvalid, match="damaged"):
        next(together)
    assert [batch.num_rows for batch in found] == [2, 1, 1]
    assert found[1] is large


@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from("abc")), max_size=30),
    cuts=st.sets(st.integers(0, 30)),
)
@settings(max_examples=200, deadline=None)
def test_where_pieces_end_does_not_show(rows: list[tuple[bool, int, str]], cuts: set[int]) -> None:
    """Row groups and parts end at the same records however many were read together, and no record is lost."""
    made = [
        {"id": f"{n:032}", "source": "s", "text": "t" * size, "origin": "o", "meta": ""} if is_row else None
        for n, (is_row, size, _) in enumerate(rows)
    ]
    types, ends = [kind for *_, kind in rows], list(range(1, len(rows) + 1))
    places = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    pieces = [documents.of_rows(made[a:b], types[a:b], ends[a:b], [True] * (b - a)) for a, b in pairwise(places)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "ROW_GROUP_BYTES", 40)
        patch.setattr(documents, "ROW_GROUP_ROWS", 3)
        runs = list(documents.cut(pieces, 100, 7))
    held = [end for run, *_ in runs for end in run.ends.tolist()]
    assert held == ends
    groups, parts = [], []
    in_group, in_part = [], []
    for (is_row, size, _), end in zip(rows, ends, strict=True):
        if is_row:
            in_group.append(size)
            in_part.append(size)
            full = sum(in_part) >= 100 or len(in_part) >= 7
            if full or sum(in_group) >= 40 or len(in_group) >= 3:
                groups.append(end)
                in_group = []
            if full:
                parts.append(end)
                in_part = []
    assert [int(run.ends[-1]) for run, ends_group, _ in runs if ends_group] == groups
    assert [int(run.ends[-1]) for run, _, ends_part in runs if ends_part] == parts
    for run, *_ in runs:
        assert run.table.num_rows == run.made.sum()
