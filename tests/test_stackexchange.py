"""Stack Exchange dumps: a question with its answers is a document, and every row of a dump is accounted for."""

from __future__ import annotations

import gzip
import io
import json
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import pipeline
from curation.errors import StorageError
from curation.recipe import load
from curation.sources import decoding, stackexchange
from curation.sources.stackexchange import to_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curation.engine import LocalEngine
    from curation.sources.record import Record

HEAD = '\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<posts>\r\n'
TAIL = "</posts>"
NAME = "bees.stackexchange.com/Posts.xml"


def read(data: bytes, start: int = 0, name: str = NAME, license: str | None = None) -> list[Record]:  # noqa: A002
    """All records of these bytes."""
    source = SimpleNamespace(name="forum", license=license)
    return list(
        stackexchange.read(
            io.BytesIO(data), name, start, source, SimpleNamespace(engine="resiliparse", format="text", model="default")
        )
    )


def row(number: int, kind: int | None = 1, body: str = "<p>text</p>", **more: object) -> str:
    """One row as a dump has it."""
    given = {"Id": number, "PostTypeId": kind, "CreationDate": "2012-05-01T10:00:00.123", "Score": 1, "Body": body}
    attributes = {key: value for key, value in (given | more).items() if value is not None}
    return f"  <row {' '.join(f'{key}={quoteattr(str(value))}' for key, value in attributes.items())} />\r\n"


def question(number: int, body: str = "<p>Why?</p>", **more: object) -> str:
    """The row of a question."""
    return row(number, 1, body, **({"Title": f"Bees {number}", "Tags": "<bees><flight>"} | more))


def answer(number: int, parent: int, body: str = "<p>So.</p>", **more: object) -> str:
    """The row of an answer."""
    return row(number, 2, body, ParentId=parent, **more)


def dump(*rows: str, head: str = HEAD, tail: str = TAIL) -> bytes:
    """A file of these rows."""
    return (head + "".join(rows) + tail).encode()


def outcomes(records: list[Record]) -> list[Any]:
    """The id and answers of each document, the error of each other record."""
    return [record.error or (record.meta["id"], record.meta["answer_ids"]) for record in records]


def rows_of(records: list[Record]) -> int:
    """How many rows these records stand for, where none stands for something else than rows."""
    return sum(1 + record.meta.get("answers", 0) for record in records)


# Documents ------------------------------------------------------------------------------------------------------------


def test_a_question_with_its_answers() -> None:
    """Title, tags and question, the accepted answer, then the others by score and by id."""
    data = dump(
        question(
            1, "<p>Do bees<br>sleep?</p>", AcceptedAnswerId=5, Score=7, ViewCount=90, ClosedDate="2013-01-02T03:04:05"
        ),
        answer(6, 1, "<p>Ask them.</p>", Score=-2),
        question(2, Title="Where?"),
        answer(3, 1, "<p>Yes.</p>", Score=4),
        answer(4, 1, "<p>Yes, at night.</p>", Score=4),
        answer(5, 1, "<p>Some do:</p><pre><code>zzz\n  zz\n</code></pre>", Score=0),
    )
    first, second = read(data)
    assert first.text == (
        "# Bees 1\n\nTags: bees, flight\n\nDo bees\nsleep?\n\n## Accepted answer\n\nSome do:\n\n```\nzzz\n  zz\n```\n\n"
        "## Answer\n\nYes.\n\n## Answer\n\nYes, at night.\n\n## Answer\n\nAsk them."
    )
    assert first.uri == "https://bees.stackexchange.com/q/1"
    assert first.title == "Bees 1"
    assert first.license == "CC-BY-SA-3.0"
    assert first.created_at == datetime(2012, 5, 1, 10, 0, 0, 123000, tzinfo=UTC)
    assert first.meta == {
        "site": "bees.stackexchange.com",
        "id": 1,
        "score": 7,
        "tags": ["bees", "flight"],
        "answers": 4,
        "answer_ids": [5, 3, 4, 6],
        "answer_scores": [0, 4, 4, -2],
        "accepted": True,
        "view_count": 90,
        "closed_at": "2013-01-02T03:04:05+00:00",
    }
    assert second.text == "# Where?\n\nTags: bees, flight\n\nWhy?"
    assert data[first.offset :].startswith(b"<row Id=")
    assert data[second.offset : second.end].startswith(b'<row Id="2"')


def test_posts_that_are_in_no_document() -> None:
    """Each is a row that says why."""
    data = dump(
        question(1),
        answer(2, 99),
        row(3, 5),
        row(4, 77),
        question(5, "<p>&nbsp;</p><img src='a.png'>"),
        answer(6, 5),
        answer(7, 1, ""),
        question(8, DeletionDate="2015-02-03T00:00:00"),
        answer(9, 1, DeletionDate="2015-02-04T00:00:00"),
        row(10, 2),
        row(11, None),
        question(1, "<p>Again?</p>"),
        answer(12, 1),
        answer(12, 1),
        row("x"),  # type: ignore[arg-type]
        answer(13, 2),
        answer(14, 1, "<b>" * 3000 + "deep"),
    )
    records = read(data)
    place = data.index(b'<row Id="1"'), data.index(b'<row Id="12"')
    assert outcomes(records) == [
        (1, [12]),
        "answer to question 99, which is not in the file or has an error",
        "tag wiki (PostTypeId 5): neither question nor answer",
        "post (PostTypeId 77): neither question nor answer",
        "question without a text",
        "answer to question 5, which is not in the file or has an error",
        "answer without a text",
        "question deleted on 2015-02-03",
        "answer deleted on 2015-02-04",
        "answer without a usable ParentId: ''",
        "post without a usable PostTypeId: ''",
        f"post 1 stands in the file twice: here and at {place[0]:,}",
        f"post 12 stands in the file twice: here and at {place[1]:,}",
        "row without a usable Id: 'x'",
        "answer to question 2, which is not in the file or has an error",
        "answer: HTML nested 256 deep or deeper: over the limit",
    ]
    assert rows_of(records) == data.count(b"<row ")


def test_licenses() -> None:
    """What a row states, else what the recipe says, else by date for Stack Exchange's own sites; all of them joined."""
    old, new = {"CreationDate": "2011-04-07T23:59:59.999"}, {"CreationDate": "2018-05-02T00:00:00.000"}
    stated = dump(question(1, ContentLicense="CC BY-SA 4.0"), answer(2, 1, ContentLicense="CC BY-SA 2.5"))
    silent = dump(question(1, **old), answer(2, 1), answer(3, 1, **new))
    assert read(stated, license="MIT")[0].license == "CC-BY-SA-2.5 AND CC-BY-SA-4.0"
    assert read(silent)[0].license == "CC-BY-SA-2.5 AND CC-BY-SA-3.0 AND CC-BY-SA-4.0"
    assert read(silent, license="MIT")[0].license == "MIT"
    assert read(silent, name="teams/Posts.xml")[0].license is None
    assert read(dump(question(1, CreationDate="?")))[0].license is None


@pytest.mark.parametrize(
    ("name", "site", "uri"),
    [
        ("dumps/es.Stackoverflow.com/Posts.xml.gz", "es.stackoverflow.com", "https://es.stackoverflow.com/q/1"),
        ("a.example.org/2026/Posts.xml", "a.example.org", "https://a.example.org/q/1"),
        ("exports/Posts.xml", "exports", "exports/q/1"),
        ("Posts.xml", "forum", "forum/q/1"),
    ],
)
def test_site(name: str, site: str, uri: str) -> None:
    """The folder that is named as a host; else the folder or the source."""
    (record,) = read(dump(question(1)), name=name)
    assert (record.meta["site"], record.uri) == (site, uri)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<pre><code>a ``` b</code></pre>", "````\na ``` b\n````"),
        ('<pre class="lang-c++ s"><code>x;\n</code></pre><p>y</p>', "```c++\nx;\n```\n\ny"),
        ("<p>a &lt;b&gt; <code>c</code></p><ul><li>d</li></ul>", "a <b> c\n\n  • d"),
        ("<p>a<script>alert(1)</script></p><pre></pre>", "a"),
        ("<nav><p>kept</p></nav><p>text</p>", "kept\n\ntext"),
    ],
)
def test_text_of_a_body(body: str, text: str) -> None:
    """All text stays, and code is fenced by more backticks than it holds."""
    assert to_text(body) == text


@pytest.mark.parametrize("name", ["users", "tags", "comments", "votes", "postlinks", "badges", "posthistory"])
def test_other_tables_of_a_dump_are_no_documents(name: str) -> None:
    """A folder may be named as it is, with all its tables."""
    assert read(f'{HEAD[:40]}\n<{name}>\n  <row Id="1" />\n</{name}>'.encode()) == []


# Files that are not as they should be ---------------------------------------------------------------------------------

SIX = [question(1), answer(2, 1), question(3, AcceptedAnswerId=5), row(4, 5), answer(5, 3), answer(6, 1), question(7)]
FILES: dict[str, bytes] = {
    "plain": dump(*SIX),
    "one line": dump(*SIX).replace(b"\r\n", b""),
    "a line an attribute": dump(*SIX).replace(b'" ', b'"\n\n'),
    "row tags": dump(*SIX).replace(b" />", b"></row>"),
    "no head": dump(*SIX, head=""),
    "gzip": gzip.compress(dump(*SIX), mtime=0),
    "zstd": zstandard.compress(dump(*SIX)),
    "gzip, cut": gzip.compress(dump(*SIX), mtime=0)[:-40],
    "gzip, bad checksum": gzip.compress(dump(*SIX), mtime=0)[:-8] + b"\0" * 8,
    "cut": dump(*SIX)[:-70],
    "no end": dump(*SIX, tail=""),
    "bad row": dump(*SIX[:2], '<row Id="9" Body="a < b" />\n', '<row Id="9" Body="a" Body="b"/>\n', *SIX[2:]),
    "junk": dump(*SIX[:2], "junk &\n", *SIX[2:], "<b>", tail="</posts>\nmore\n" + question(8) + "?"),
    "twice": dump(*SIX) * 2,
}


@pytest.mark.parametrize("name", FILES)
def test_reading_resumes_after_any_record(name: str) -> None:
    """Reading from the end of a record gives exactly the records that follow it, and every record has its own place."""
    records = read(FILES[name])
    assert records
    for at, record in enumerate(records):
        assert read(FILES[name], record.end) == records[at + 1 :]
    assert len({record.offset for record in records}) == len(records)
    assert all(a.end <= b.offset < b.end for a, b in pairwise(records))


@pytest.mark.parametrize("name", ["one line", "a line an attribute", "row tags", "gzip", "zstd"])
def test_the_same_rows_in_another_file(name: str) -> None:
    """Lines and compression make no difference, and places are those of the decompressed file."""
    expected = read(FILES["plain"])
    records = read(FILES[name])
    assert [record.text for record in records] == [record.text for record in expected]
    if name in {"gzip", "zstd"}:
        assert records == expected


def test_any_size_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark may lie across any two chunks; of a damaged gzip stream more can be read the smaller they are."""
    expected = {name: read(data) for name, data in FILES.items() if name not in {"gzip, cut", "gzip, bad checksum"}}
    for size in range(4, 40, 3):
        for module in (decoding, stackexchange):
            monkeypatch.setattr(module, "CHUNK", size)
        for name, records in expected.items():
            assert read(FILES[name]) == records, (name, size)


@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, mtime=0)], ids=["plain", "gzip"])
def test_cut_anywhere(pack: Callable[[bytes], bytes]) -> None:
    """All questions whose row is whole are there, and one row at the end says that the file ends."""
    data = pack(dump(*SIX))
    for size in range(len(data)):
        cut = data[:size]
        *records, last = read(cut)
        assert last.error
        assert any(word in last.error for word in ("ends", "empty", "no table")), last.error
        if pack is bytes:
            whole = [n for n, r in ((1, SIX[0]), (3, SIX[2]), (7, SIX[6])) if r.rstrip().encode() in cut]
            assert [record.meta["id"] for record in records if record.text] == whole
            assert not any(record.error and "ends" in record.error for record in records)


def test_what_is_said_of_a_damaged_file() -> None:
    """Each fault is a row at its place."""
    there = len(SIX[-1].strip()) + len("\r\n" + TAIL) - 70
    assert outcomes(read(FILES["cut"]))[-1] == f"the file ends in the middle of a row: {there} bytes of it are there"
    assert outcomes(read(FILES["no end"]))[-1] == "the file ends before </posts>"
    assert outcomes(read(FILES["gzip, cut"]))[-1] == "the gzip stream ends too early: its last member is not finished"
    assert outcomes(read(FILES["bad row"]))[:4] == [
        (1, [2, 6]),
        "row that is not XML: not well-formed (invalid token) at byte 20",
        "row that is not XML: duplicate attribute at byte 21",
        (3, [5]),
    ]
    assert outcomes(read(FILES["junk"])) == [
        (1, [2, 6]),
        "6 bytes that are no row: they start with b'junk &'",
        (3, [5]),
        "tag wiki (PostTypeId 5): neither question nor answer",
        (7, []),
        "3 bytes that are no row: they start with b'<b>'",
        "4 bytes that are no row: they start with b'more'",
        (8, []),
        "the file ends in the middle of a row: 1 bytes of it are there",
    ]
    assert outcomes(read(b"")) == ["the file is empty"]
    assert outcomes(read(b"<data><row/></data>")) == ["no table of posts: its root is <data>"]
    assert outcomes(read(b"\x50\x4b\x03\x04")) == [r"no table of posts: it starts with b'PK\x03\x04'"]
    assert read(b'<?xml version="1.0"?><posts></posts>') == read(b"<posts />") == []


def test_entities_are_never_resolved(tmp_path: Path) -> None:
    """A bomb, and a file of this machine, are errors of the rows that ask for them; the others are documents."""
    (tmp_path / "secret").write_text("secret")
    lols = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    head = (
        f'<?xml version="1.0"?><!DOCTYPE posts [<!ENTITY l0 "lol">{lols}'
        f'<!ENTITY file SYSTEM "file://{tmp_path}/secret">]><posts>\n'
    )
    bomb, theft = (question(n).replace("Why?", name) for n, name in ((2, "&l11;"), (3, "&file;")))
    assert outcomes(read(dump(question(1), bomb, theft, question(4), head=head))) == [
        (1, []),
        "row with the entity &l11; which is not resolved",
        "row with the entity &file; which is not resolved",
        (4, []),
    ]
    assert outcomes(read(dump(head=head, tail="&l11;</posts>"))) == []


def test_a_row_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit is held of it, and reading goes on."""
    monkeypatch.setattr(stackexchange, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(stackexchange, "CHUNK", 100)
    data = dump(question(1), question(2, "x" * 5000), question(3), question(4, "y" * 5000), tail="")
    records = read(data)
    assert outcomes(records) == [
        (1, []),
        f"row of {len(question(2, 'x' * 5000)):,} bytes: over the limit of 1,000",
        (3, []),
        f"row of {len(question(4, 'y' * 5000)) - 2:,} bytes: over the limit of 1,000",
        "the file ends before </posts>",
    ]
    for at, record in enumerate(records):
        assert read(data, record.end) == records[at + 1 :]


def test_a_document_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question with too much in its answers is an error, which still counts them."""
    monkeypatch.setattr(stackexchange, "MAX_TEXT_BYTES", 1000)
    data = dump(question(1), *(answer(n, 1, "z" * 400) for n in range(2, 9)), question(9))
    big, small = read(data)
    assert big.error == "question with 7 answers: text over the limit of 1,000 bytes"
    assert rows_of([big, small]) == 9


def test_no_room_for_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run stops with what to set."""
    opened = stackexchange._open_index

    def small() -> object:
        index = opened()
        index.execute("PRAGMA max_page_count = 3")
        return index

    monkeypatch.setattr(stackexchange, "_open_index", small)
    noise = "".join(map(str, range(4000)))
    with pytest.raises(StorageError, match="index of its answers") as caught:
        read(dump(question(1), *(answer(n, 1, noise + str(n)) for n in range(2, 30))))
    assert "SQLITE_TMPDIR" in str(caught.value.remedy)


# Properties -----------------------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.builds(
        row,
        st.integers(1, 12),
        st.sampled_from([1, 1, 2, 2, 2, 4, None]),
        st.sampled_from(["<p>a</p>", "", "<pre>x</pre>", "b &amp; c"])
        | st.text(st.characters(codec="utf-8"), max_size=9),
        ParentId=st.none() | st.integers(1, 12),
        AcceptedAnswerId=st.none() | st.integers(1, 12),
        DeletionDate=st.sampled_from([None, None, None, "2020-01-01"]),
    ).map(lambda text: "".join(char if char >= " " or char in "\r\n" else " " for char in text)),
    max_size=12,
)


@given(rows=ROWS, packed=st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_row_is_accounted_for(rows: list[str], packed: bool) -> None:
    """Documents, answers in documents and errors together are the rows."""
    data = dump(*rows)
    records = read(gzip.compress(data) if packed else data)
    assert rows_of(records) == len(rows)
    for at, record in enumerate(records):
        assert read(data, record.end) == records[at + 1 :]


@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
@settings(max_examples=150, deadline=None)
def test_no_damage_makes_it_raise(data: st.DataObject, name: str) -> None:
    """Bytes changed, taken out or put in become rows, and reading resumes after each."""
    good = FILES[name]
    at, cut = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, 20))
    junk = data.draw(st.binary(max_size=20) | st.sampled_from([b"<row", b"</posts>", b"<row />", b'"', b">", b"&x;"]))
    bad = good[:at] + junk + good[at + cut :]
    records = read(bad)
    for place, record in enumerate(records):
        assert (record.text is None) != (record.error is None)
        json.dumps(record.meta, allow_nan=False).encode()
        assert read(bad, record.end) == records[place + 1 :]


@given(
    body=st.text()
    | st.lists(st.sampled_from(["<pre>", "</pre>", "<code>", "```", "\n", "a", "<p>", "<b>"])).map("".join)
)
@settings(max_examples=200, deadline=None)
def test_any_body_has_a_text(body: str) -> None:
    """Whatever a post holds becomes text that UTF-8 can hold."""
    to_text(body).encode()


# Runs and real dumps --------------------------------------------------------------------------------------------------


def test_a_run_knows_the_folder(tmp_path: Path, engine: LocalEngine) -> None:
    """The site is that of the folder also where `paths` names the file itself, and a folder renamed is pulled anew."""
    folder = tmp_path / "bees"
    folder.mkdir()
    (folder / "Posts.xml").write_bytes(dump(question(1)))
    recipe = tmp_path / "recipe.toml"

    def uris(name: str) -> list[str]:
        text = f'name = "t"\n[[source]]\nname = "forum"\nkind = "stackexchange"\npaths = ["{name}/Posts.xml"]\n'
        recipe.write_text(text)
        run = pipeline.run(load(recipe), engine, until="pull")
        (part,) = run.parts
        return run.work.documents.read(part).column("uri").to_pylist()

    assert uris("bees") == ["bees/q/1"]
    folder.rename(tmp_path / "bees.example.org")
    assert uris("bees.example.org") == ["https://bees.example.org/q/1"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("site", "rows"),
    [
        ("beer.stackexchange.com", 2354),
        ("bicycles.meta.stackexchange.com", 1446),
        ("datascience.meta.stackexchange.com", 624),
    ],
)
def test_real_dumps_equal_an_independent_count(data: Path, site: str, rows: int) -> None:
    """Questions, answers, their scores, tags and licences are those that ElementTree finds; no row is lost."""
    packed = (data / "internal/stackexchange" / site / "Posts.xml.gz").read_bytes()
    posts = [element.attrib for element in ET.fromstring(gzip.decompress(packed))]  # noqa: S314 - known files
    records = read(packed, name=f"{site}/Posts.xml.gz")
    documents = {record.meta["id"]: record for record in records if record.error is None}
    errors = [record for record in records if record.error is not None]
    assert len(posts) == rows == sum(1 + r.meta["answers"] for r in documents.values()) + len(errors)

    empty = {int(record.meta["id"]) for record in errors if "without a text" in str(record.error)}
    for post in posts:
        assert (int(post["Id"]) in empty) == (
            post["PostTypeId"] in "12" and not "".join(ET_text(post["Body"])).strip()
        ), post["Body"]
    kinds = Counter(post["PostTypeId"] for post in posts)
    assert len(errors) == len(empty) + sum(number for kind, number in kinds.items() if kind not in "12")
    answers = defaultdict(list)
    for post in posts:
        if post["PostTypeId"] == "2" and int(post["Id"]) not in empty:
            answers[post["ParentId"]].append(post)
    questions = [post for post in posts if post["PostTypeId"] == "1"]
    assert len(questions) == kinds["1"] == len(documents)
    assert [int(post["Id"]) for post in questions] == list(documents)
    for post in questions:
        record = documents[int(post["Id"])]
        accepted = post.get("AcceptedAnswerId")
        own = sorted(answers[post["Id"]], key=lambda a: (a["Id"] != accepted, -int(a["Score"]), int(a["Id"])))
        assert record.meta["answer_ids"] == [int(a["Id"]) for a in own]
        assert record.meta["answer_scores"] == [int(a["Score"]) for a in own]
        assert record.meta["score"] == int(post["Score"])
        assert record.meta["accepted"] == any(a["Id"] == accepted for a in own)
        assert record.meta["view_count"] == int(post["ViewCount"])
        assert "".join(f"<{tag}>" for tag in record.meta["tags"]) == post["Tags"] or (
            "|" + "".join(f"{tag}|" for tag in record.meta["tags"]) == post["Tags"]
        )
        assert ("closed_at" in record.meta) == ("ClosedDate" in post)
        assert record.uri == f"https://{site}/q/{post['Id']}"
        stated = {a["ContentLicense"] for a in (post, *own) if "ContentLicense" in a}
        if stated:
            assert record.license == " AND ".join(
                sorted(name.replace("CC BY", "CC-BY").replace(" ", "-") for name in stated)
            )
        else:  # the dump of 2017: Stack Exchange's rule by date, all between its first two dates
            assert record.license == "CC-BY-SA-3.0"
        text = str(record.text)
        assert text.startswith(f"# {' '.join(post['Title'].split())}\n\nTags: ")
        assert text.count("\n## Answer\n") + text.count("\n## Accepted answer\n") == len(own)


def ET_text(body: str) -> list[str]:  # noqa: N802
    """The text of a body by Python's own parser of HTML."""
    parts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = parts.append  # type: ignore[method-assign]
    parser.feed(body)
    parser.close()
    return parts


@pytest.mark.data
def test_other_tables_of_a_real_dump(data: Path) -> None:
    """A folder with all its tables gives what its posts alone give."""
    folder = data / "internal/stackexchange/bicycles.meta.stackexchange.com"
    found = {path.name: len(read(path.read_bytes())) for path in sorted(folder.iterdir())}
    assert found == dict.fromkeys(found, 0) | {"Posts.xml.gz": 519}
    assert len(found) == 6
