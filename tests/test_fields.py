"""`fields` and `where` of a source: paths and SQL over what is read, and which of it is wanted."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import expressions, pipeline, pull, schema, sources
from curation.dataset import Part
from curation.errors import InputError, RecipeError, RuleError
from curation.progress import Silent
from curation.recipe import load
from curation.sources import jsonl
from curation.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from curation.run import Run
    from curation.sources.record import Record

ROWS: list[Any] = [
    {"title": "Bees", "body": "They fly.", "meta": {"license": "MIT", "n": 1}, "id": 7, "ts": "2024-05-01"},
    {"title": "Ants", "body": "They walk.", "id": "x"},
    [1],
    {"body": "No title.", "tags": ["a", "b"]},
    {"title": "Wasps", "body": "W.", "meta": {"n": "many"}, "Title": "other"},
]


def read(kind: str, data: bytes, start: int = 0, **fields: str) -> list[Record]:
    """All records of these bytes."""
    source: Any = SimpleNamespace(name="s", kind=kind, license=None, fields=fields)
    return list(sources.load(kind).read(io.BytesIO(data), "input", start, source, SimpleNamespace(engine="")))


def lines(rows: list[Any] = ROWS) -> bytes:
    """Rows as JSON lines."""
    return b"\n".join(json.dumps(row).encode() for row in rows)


def table(**columns: Any) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=2)
    return out.getvalue()


def outcomes(records: list[Record]) -> list[str | None]:
    """The text of each record, or its error after "! "."""
    return [record.text if record.error is None else f"! {record.error}" for record in records]


# fields ---------------------------------------------------------------------------------------------------------------


def test_paths_lead_into_objects() -> None:
    """A name is a key, names joined by dots lead into objects, and a key with dots goes before that."""
    found = read("jsonl", lines([*ROWS, {"body": "b", "meta.license": "Apache-2.0", "meta": {"license": "MIT"}}]),
                 text="body", license="meta.license")  # fmt: skip
    assert [record.license for record in found] == ["MIT", None, None, None, None, "Apache-2.0"]
    assert found[0].meta == {"meta": {"license": "MIT", "n": 1}, "id": 7, "ts": "2024-05-01"}
    found = read("parquet", table(text=["a"], meta=[{"license": "MIT"}]), license="meta.license")
    assert [record.license for record in found] == ["MIT"]


def test_expressions_over_json() -> None:
    """Strings as they are, all else as JSON writes it, what is missing null."""
    found = read(
        "jsonl",
        lines(),
        text="coalesce(title || '\n\n', '') || body",
        license="upper(meta.license)",
        uri="'https://a.example/' || id",
        title="json_extract_string(tags, '$[1]')",
        created_at="try_cast(ts as timestamp)",
    )
    assert outcomes(found) == [
        "Bees\n\nThey fly.",
        "Ants\n\nThey walk.",
        "! expected an object, got an array",
        "No title.",
        "Wasps\n\nW.",
    ]
    assert [record.license for record in found] == ["MIT", None, None, None, None]
    assert [record.uri for record in found[:2]] == ["https://a.example/7", "https://a.example/x"]
    assert found[3].title == "b"
    assert found[0].created_at == datetime(2024, 5, 1, tzinfo=UTC)
    # What stands in the text is not repeated; all else is kept.
    assert found[0].meta == {"meta": {"license": "MIT", "n": 1}, "id": 7, "ts": "2024-05-01"}
    assert found[4].meta == {"meta": {"n": "many"}, "Title": "other"}


def test_a_value_that_cannot_be_converted_is_a_row() -> None:
    """And its neighbours are read; an expression that is null for a text is one too."""
    found = read("jsonl", lines(), text="body", uri="(meta.n::int + 1)::varchar")
    assert [record.uri for record in found] == ["2", None, None, None, None]
    assert [bool(record.error) for record in found] == [False, False, True, False, True]
    assert "Could not convert string 'many' to INT32" in str(found[4].error)
    assert outcomes(read("jsonl", lines(), text="title || body"))[3] == "! fields.text: 'title || body' is null"
    found = read("jsonl", lines(), text="body", created_at="'on ' || ts")
    assert outcomes(found)[:2] == ["! fields.created_at: expected a time, got 'on 2024-05-01'", "They walk."]


def test_lone_surrogates_do_not_end_a_run(tmp_path: Path) -> None:
    """UTF-8 cannot hold them, and what an expression is asked must be UTF-8; deep in an object too."""
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": "B\\ud800es", "b": {"c": ["\\udfff"]}}\n{"a": "Ants", "b": 1}\n')
    state = run(tmp_path, """fields = { text = "a || ' ' || b" }""")
    assert [(row["text"], row["error"]) for row in documents(state)] == [
        ('B\ufffdes {"c":["\ufffd"]}', None), ("Ants 1", None)
    ]  # fmt: skip


def test_an_answer_that_needs_too_much_memory_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours are read; a `where` says which document it was."""
    rows = [{"a": "Bees fly. ", "n": n} for n in (1, 100_000_000, 2)]
    found = read("jsonl", lines(rows), text="repeat(a, n::int)")
    assert outcomes(found) == ["Bees fly. ", "! fields: needs more memory than 953.6 MiB", "Bees fly. " * 2]
    monkeypatch.setattr(expressions, "connect", partial(expressions.connect, memory="1MB"))
    where = expressions.Where("s", "len(list_sort(range(length(text) * 300000))) >= 0")
    row: dict[str, Any] = dict.fromkeys(schema.DOCUMENTS.names)
    small, large = ({"text": "x" * n, "origin": f"rows.jsonl#{n}"} for n in (0, 30))
    assert where.wanted([row | small]) == [True]
    with pytest.raises(RuleError, match=r"^source s: where needs more memory than 976\.5 KiB for rows\.jsonl#30 \("):
        where.wanted([row | small, row | large])


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("random/**/() < 0.5", "random"),
        ("random -- '\n() < 0.5", "random"),
        ("/* ' */ random() < 0.5 /* ' */", "random"),
        ("e'\\'' || random() < e'\\''", "random"),
        ("$$'$$ || random() < $$'$$", "random"),
        ("age/**/(created_at) > interval 1 day", "age"),
        ("created_at > current_date", "current_date"),
        ("created_at > Today()", "today"),
        ("list_contains(list_transform([1], lambda x: x + random()), 1)", "random"),
    ],
)
def test_no_way_of_writing_hides_chance(sql: str, word: str) -> None:
    """In what is wanted, and in fields."""
    assert expressions.where_fault("w", sql)[0].startswith(f"w: {word} gives another answer each time")
    ((_, said),) = expressions.field_faults({"text": f"({sql.replace('created_at', 'ts')})::varchar"}, "jsonl")
    assert said.startswith(f"{word} gives another answer each time")
    assert expressions.where_fault("w", "text <> 'random()' and uri <> '/* now() */' -- now()") == []


@pytest.mark.parametrize("rows", [1, 2, 3, 512])
def test_answers_do_not_depend_on_the_batch(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does where reading begins."""
    fields = {"text": "coalesce(title, '') || body", "uri": "(meta.n::int + 1)::varchar"}
    whole = read("jsonl", lines(ROWS * 7), **fields)
    monkeypatch.setattr(jsonl, "BATCH_ROWS", rows)
    assert read("jsonl", lines(ROWS * 7), **fields) == whole
    for record in whole:
        assert read("jsonl", lines(ROWS * 7), record.end, **fields) == whole[record.end :]


def test_expressions_over_parquet() -> None:
    """Columns have the types of the file; so may fields of structs."""
    data = table(
        head=["Bees", "Ants", None, "Wasps"],
        body=["b", "a", "n", "w"],
        n=[1, 2, 3, 0],
        meta=[{"x": "1"}, {"x": "2"}, None, {"x": "3"}],
        raw=[b"\1", None, b"\2", b"\3"],
    )
    fields = {"text": "coalesce(head, '?') || ' ' || body", "uri": "(6 // n)::varchar || coalesce(meta.x, '')"}
    found = read("parquet", data, **fields)
    assert outcomes(found)[:3] == ["Bees b", "Ants a", "? n"]
    assert "division by zero" in str(found[3].error).lower()
    assert [record.uri for record in found] == ["61", "32", "2", None]
    assert found[0].meta == {"n": 1, "meta": {"x": "1"}, "raw": "01"}
    assert [read("parquet", data, record.end, **fields) for record in found] == [found[n:] for n in (1, 2, 3, 4)]
    found = read("parquet", data, text="body", title="head[1]")
    assert [record.title for record in found] == ["B", "A", None, "W"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "nobody || body"}, "input: no column 'nobody' for text; the columns are body (string), n (int64)"),
        ({"text": "body || n.x"}, "input: no column 'n.x' for text"),
        ({"text": "n + 1"}, "input: fields.text: expected text, got bigint; cast it: (…)::varchar"),
        ({"text": "body", "title": "upper(n, 2)"}, "input: fields.title: Binder Error: No function matches"),
    ],
)
def test_an_expression_that_a_parquet_file_does_not_bear_stops(fields: dict[str, str], message: str) -> None:
    """With the columns there are."""
    with pytest.raises(InputError) as hit:
        read("parquet", table(body=["b"], n=[1]), **fields)
    assert message in hit.value.message


@given(rows=st.lists(st.dictionaries(st.sampled_from(["a", "A", "b", "a.b", "body"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) |
    st.dictionaries(st.text(max_size=2), inner), max_leaves=5)), max_size=4))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_rows_are_answered(rows: list[Any]) -> None:
    """What no expression can take is a row with error; case tells fields apart."""
    found = read(
        "jsonl", lines(rows), text="coalesce(a, '') || coalesce(A, '') || coalesce(body, '')", uri="a.b::varchar"
    )
    assert len(found) == len(rows)
    for row, record in zip(rows, found, strict=True):
        assert record.error is None
        strings = [row.get(key) for key in ("a", "A", "body")]
        if all(isinstance(value, str) for value in strings):
            assert record.text == "".join(strings).encode("utf-8", "replace").decode()


# What is wrong is said before anything is read ------------------------------------------------------------------------


def recipe(place: Path, more: str, kind: str = "jsonl") -> Any:
    """A recipe with one source of these rows."""
    text = f'name = "tiny"\n[[source]]\nname = "s"\nkind = "{kind}"\npaths = ["rows.jsonl"]\n{more}\n'
    (place / "recipe.toml").write_text(text)
    return load(place / "recipe.toml")


def inline() -> Any:
    """An engine that works in this process."""

    def work(function: Callable[[Any], Any], items: Sequence[Any], **_: Any) -> list[Any]:
        return [function(item) for item in items]

    return SimpleNamespace(
        map=work, everywhere=work, progress=Silent(), use=lambda _: None, preload=lambda *_: None, usage=Usage
    )


def run(place: Path, more: str, kind: str = "jsonl") -> Run:
    """Pull it, in this process."""
    return pipeline.run(recipe(place, more, kind), inline(), until="pull")


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('fields = { text = "title ||" }', "source[0].fields.text: not SQL: syntax error"),
        ('fields = { text = "a || count(*)" }', "source[0].fields.text: Binder Error: WHERE clause cannot contain"),
        (
            'fields = { text = "(select 1)" }',
            "source[0].fields.text: a subquery looks at more than the fields",
        ),
        ('fields = { text = "row_number() over ()" }', "source[0].fields.text: a window function looks at more"),
        ('fields = { text = "uuid() || body" }', "source[0].fields.text: uuid gives another answer each time"),
        ('fields = { text = "length(body)" }', "source[0].fields.text: expected text, got bigint"),
        ('fields = { text = "a > 3" }', "source[0].fields.text: Binder Error: Cannot compare values of type VARCHAR"),
        ('fields = { text = "a) from (select 1" }', "source[0].fields.text: expected one expression"),
        ('fields = { text = "no_such(body)" }', "no_such does not exist"),
        ("where = \"language = 'en'\"", "source[0].where: there is no column 'language'; the columns are"),
        ('where = "uri"', "source[0].where: expected a predicate that is true or false, got varchar"),
        ('where = "created_at > now()"', "source[0].where: now gives another answer each time"),
        ('where = "count(*) > 1"', "source[0].where: Binder Error"),
        ('where = "id in (select id from documents)"', "source[0].where: Catalog Error"),
        ('where = "(select true)"', "source[0].where: a subquery looks at more than one document (in '(select true)')"),
        ('where = "1 in (select unnest([1]))"', "source[0].where: a subquery looks at more than one document"),
        ("where = \"text in (select content from read_text('/etc/passwd'))\"", "source[0].where: "),
        ('where = ""', "source[0].where: "),
    ],
)
def test_wrong_sql_is_a_fault_of_the_recipe(more: str, fault: str, tmp_path: Path) -> None:
    """Named with its place before the first byte is read: the input does not even exist."""
    with pytest.raises(RecipeError) as hit:
        run(tmp_path, more)
    assert fault in hit.value.message
    assert not (tmp_path / "work").exists()


def test_what_can_be_told_of_parquet_without_its_file(tmp_path: Path) -> None:
    """Syntax, subqueries and chance."""
    for sql in ("body ||", "(select 1)", "random()::varchar"):
        with pytest.raises(RecipeError, match=r"source\[0\]\.fields\.text"):
            run(tmp_path, f'fields = {{ text = "{sql}" }}', "parquet")
    with pytest.raises(InputError, match="there is no such file"):
        run(tmp_path, 'fields = { text = "a || b" }', "parquet")


# where ----------------------------------------------------------------------------------------------------------------

WANTED = """where = "coalesce(license = 'MIT', false) or text like '%walk%' or meta->>'$.tags' is not null"
fields = { text = "body", license = "meta.license" }"""


def documents(state: Run) -> list[dict[str, Any]]:
    """The rows that were pulled."""
    return [row for part in state.parts for row in state.work.documents.read(part).to_pylist()]


def test_what_is_not_wanted_is_counted(tmp_path: Path) -> None:
    """It is no row; what could not be read is one all the same; each record is counted once."""
    (tmp_path / "rows.jsonl").write_bytes(lines())
    state = run(tmp_path, WANTED)
    assert [row["text"] or row["error"] for row in documents(state)] == [
        "They fly.", "They walk.", "expected an object, got an array", "No title."
    ]  # fmt: skip
    figures = state.figures["pull"]
    assert (figures["rows"], figures["not_wanted"], figures["records"]) == (4, {"s": 1}, {"s": {"line": 5}})
    before = {row["id"] for row in documents(state)}
    again = run(tmp_path, WANTED)
    assert again.figures["pull"]["inputs_read"] == 0
    assert again.figures["pull"]["not_wanted"] == {"s": 1}
    everything = run(tmp_path, WANTED.partition("\n")[2])
    assert everything.figures["pull"]["inputs_read"] == 1
    assert everything.figures["pull"]["not_wanted"] == {}
    assert before < {row["id"] for row in documents(everything)}
    assert len(documents(everything)) == 5


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("license = 'MIT'", "source s: where has no answer for rows.jsonl#1: license is null in \"license = 'MIT'\""),
        ("(meta->>'$.ts')::date > date '2020-01-01'", "source s: where has no answer for rows.jsonl#1: an expression"),
        ("(meta->>'$.id')::int > 1", "source s: where cannot be computed for rows.jsonl#1: Conversion Error: "),
    ],
)
def test_null_is_never_an_answer(where: str, message: str, tmp_path: Path) -> None:
    """A document of which it cannot be said whether it is wanted stops the run, and is named with the remedy."""
    (tmp_path / "rows.jsonl").write_bytes(lines())
    with pytest.raises(RuleError) as hit:
        run(tmp_path, f'where = "{where}"\nfields = {{ text = "body", license = "meta.license" }}')
    assert message in hit.value.message
    assert "coalesce" in str(hit.value.remedy)


def test_parts_and_their_counts_are_the_same_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a run was killed, the parts it goes on with are those of a run that was not, and counts add up."""
    (tmp_path / "rows.jsonl").write_bytes(lines(ROWS * 10))
    monkeypatch.setattr(pull, "PART_ROWS", 7)
    whole = run(tmp_path, WANTED)
    parts = list(whole.parts)
    assert len(parts) == 6
    place = whole.work.documents
    bytes_of = {part: (tmp_path / "work/tiny" / place.path(part)).read_bytes() for part in parts}
    assert whole.figures["pull"]["records"] == {"s": {"line": 50}}
    assert whole.figures["pull"]["not_wanted"] == {"s": 10}
    for first in range(len(parts)):
        for part in parts[first:]:
            (tmp_path / "work/tiny" / place.path(part)).unlink()
        again = run(tmp_path, WANTED)
        assert {part: (tmp_path / "work/tiny" / place.path(part)).read_bytes() for part in again.parts} == bytes_of
        assert again.figures["pull"] == whole.figures["pull"] | {"inputs_read": 1}


def test_an_input_may_make_up_as_many_types_as_it_likes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A part counts the first by name and the rest together, and so do all the parts of a source."""
    monkeypatch.setattr("curation.documents.TYPES", 3)
    record = b"WARC/1.0\r\nWARC-Type: kind-%d\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
    (tmp_path / "rows.jsonl").write_bytes(b"".join(record % (n % 10) for n in range(100)))
    state = run(tmp_path, "", "warc")
    assert state.figures["pull"]["records"] == {"s": {"kind-0": 10, "kind-1": 10, "kind-2": 10, "other": 70}}
    assert state.figures["pull"]["rows"] == 100
    parts = {Part("s", f"{n}"): SimpleNamespace(notes={"records": {f"kind-{n}": 1, "kind-0": 2}}) for n in range(5)}
    one = SimpleNamespace(recipe=state.recipe, parts=parts)
    assert pull._counts(cast("Run", one))["records"] == {"s": {"kind-0": 10, "kind-1": 1, "kind-2": 1, "other": 2}}


def test_the_sources_licence_is_for_documents_that_state_none(tmp_path: Path) -> None:
    """For every kind; one that is stated stays."""
    warc = b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nBees.\r\n\r\n"
    post = b'<row Id="%d" PostTypeId="1" Title="Q" Body="&lt;p&gt;q" %s/>\n'
    stated = {
        "jsonl": lines([{"text": "a", "license": "MIT"}, {"text": "b"}, {"text": "c", "license": None}]),
        "parquet": table(text=["a", "b", "c"], license=["MIT", None, ""]),
        "markdown": b"---\nlicense: MIT\n---\n# Bees",
        "html": b"<p>Bees.",
        "text": b"Bees.",
        "wet": warc % b"conversion",
        "warc": warc % b"resource",
        "stackexchange": b"<posts>" + post % (1, b'ContentLicense="CC BY-SA 4.0"') + post % (2, b"") + b"</posts>",
    }
    assert set(stated) == {*sources.KINDS} - {"textbooks"}  # asked of an endpoint: tests/test_writing.py
    found = {}
    for kind, data in stated.items():
        (tmp_path / "rows.jsonl").write_bytes(data)
        rows = documents(run(tmp_path, 'license = "LicenseRef-ours"', kind))
        found[kind] = [row["license"] for row in rows]
        assert all(row["error"] is None for row in rows)
    ours = "LicenseRef-ours"
    assert found == {
        "jsonl": ["MIT", ours, ours],
        "parquet": ["MIT", ours, ours],
        "markdown": ["MIT"],
        "html": [ours],
        "text": [ours],
        "wet": [ours],
        "warc": [ours],
        "stackexchange": ["CC-BY-SA-4.0", ours],
    }


@pytest.mark.data
def test_a_real_book_by_expressions(data: Path, tmp_path: Path) -> None:
    """Of all sections of nine books those of one licence, with titles in the text, as pyarrow counts them."""
    place = data / "textbooks" / "openstax.parquet"
    rows = pq.read_table(place, columns=["title", "text", "license", "subject"]).to_pylist()
    expected = Counter(f"{row['title']}\n\n{row['text']}" for row in rows if "-NC-" not in row["license"])
    more = f"""
fields = {{ text = "title || '\\n\\n' || text", uri = "url" }}
where = "license not like '%-NC-%' and meta->>'$.subject' is not null"
[[source]]
name = "all"
kind = "parquet"
paths = ["{place}"]
"""
    text = f'name = "tiny"\n[[source]]\nname = "s"\nkind = "parquet"\npaths = ["{place}"]\n{more}'
    (tmp_path / "recipe.toml").write_text(text)
    state = pipeline.run(load(tmp_path / "recipe.toml"), inline(), until="pull")
    found = Counter(row["text"] for row in documents(state) if row["source"] == "s")
    assert found == expected
    assert state.figures["pull"]["not_wanted"] == {"s": len(rows) - expected.total()}
    assert 0 < expected.total() < len(rows)
