"""The signal `url`: cases by hand, lists in all their forms, and what no URL may break."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from curation import pipeline
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.measure import Measure, _measure_part
from curation.query import open_views
from curation.recipe import load as load_recipe
from curation.signals import url
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from curation.engine import LocalEngine
    from curation.recipe import Recipe

ROOT = Path(__file__).parent.parent
CASES = [json.loads(line) for line in (ROOT / "tests" / "cases" / "url.jsonl").read_text(encoding="utf-8").splitlines()]

#: Text in which URLs, and what only looks like them, are likely.
PIECE = st.sampled_from(
    ["http", "https", "HTTP", ":", "/", "//", "\\", "@", "[", "]", "::1", ".", "..", "%", "%2e", "%2F", "%zz", "#", "?",
     "a", "example", "com", "co.uk", "xn--", "xn--zz", "xn--bcher-kva", "ü", "。", "☃", "漢", "\u00ad", "\u200d", "İ",
     "127.0.0.1", "0x7f", "99999999999", "\t", "\n", "\0", " ", "-", "_", "ﷺ", "\ud7ff", "\U0010ffff"]
)  # fmt: skip
URI = st.lists(PIECE, max_size=12).map("".join) | st.text(st.characters(exclude_categories=["Cs"]))
HOSTED = st.builds("{}://{}/{}".format, st.sampled_from(["http", "https", "Http"]), URI, URI)


def listed(folder: Path, domains: str | None = None, words: str | None = None) -> url.Url:
    """The signal with lists of these contents."""
    folder.mkdir(exist_ok=True)
    table: dict[str, list[str]] = {}
    for key, content in (("blocked_domains", domains), ("blocked_words", words)):
        if content is not None:
            (folder / key).write_text(content, encoding="utf-8")
            table[key] = [key]
    return url.load(url.Settings.model_validate(table, context={"base": folder}))


def measured(signal: url.Url, *uris: str | None) -> dict[str, list[Any]]:
    """The columns as measure.py writes them, nulls and types checked."""
    answers = signal.measure(Batch(pa.nulls(len(uris), pa.string()), pa.array(uris, pa.string())))
    assert list(answers) == list(url.COLUMNS)
    arrays = {name: pa.array(values, url.COLUMNS[name]) for name, values in answers.items()}
    assert all(array.null_count == 0 and len(array) == len(uris) for array in arrays.values())
    return {name: array.to_pylist() for name, array in arrays.items()}


def blocked(folder: Path, domains: str, *hosts: str) -> list[bool]:
    """Whether a list of this content blocks these hosts."""
    return measured(listed(folder, domains), *(f"http://{host}/" for host in hosts))["is_blocked_domain"]


# Cases


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case["name"],
            marks=[pytest.mark.xfail(strict=True, raises=AssertionError, reason="known failure")]
            if case["kind"] == "known-failure"
            else [],
        )
        for case in CASES
    ],
)
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    """The signal gives the values that were worked out by hand."""
    answers = measured(listed(tmp_path, case.get("domains"), case.get("words")), case["uri"])
    assert {name: answers[name][0] for name in case["expect"]} == case["expect"]


def test_there_are_cases_enough() -> None:
    """Cases of every kind; each column is expected to be nothing in one and something in another."""
    assert len(CASES) >= 20
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert {case["kind"] for case in CASES} >= {"wild", "negative", "synthetic"}
    for column in url.COLUMNS:
        values = [case["expect"][column] for case in CASES if column in case["expect"]]
        assert any(values), column
        assert not all(values), column


def test_the_page_has_every_column() -> None:
    """docs/signals.md has each column with its type, in order."""
    section = (ROOT / "docs" / "signals.md").read_text(encoding="utf-8").split("\n## url\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE)
    assert rows == [(name, str(kind)) for name, kind in url.COLUMNS.items()]


# Lists


@pytest.mark.parametrize(
    "line",
    ["bad.example", "  bad.example  ", "bad.example.", "BAD.Example", "bad.example\r", "bad.example # why",
     "*.bad.example", ".bad.example", "0.0.0.0 bad.example", "127.0.0.1\tbad.example", "0.0.0.0 bad.example # why",
     "::1 bad.example",
     "0.0.0.0 other.example bad.example", "\ufeffbad.example", "::ffff:0.0.0.0 bad.example"],
)  # fmt: skip
def test_every_form_of_a_line(line: str, tmp_path: Path) -> None:
    """A domain alone, with a dot or star, or behind an address blocks itself and what is below it, and nothing else."""
    hosts = ["bad.example", "www.bad.example", "example", "notbad.example", "bad.example.org"]
    assert blocked(tmp_path, f"# a list\n\n{line}\n\nlast.example", *hosts) == [True, True, False, False, False]


def test_the_names_of_a_hosts_file_for_the_machine_itself_are_no_domains(tmp_path: Path) -> None:
    """The head of a hosts file blocks nothing of the web."""
    head = "127.0.0.1 localhost local\n255.255.255.255 broadcasthost\n::1 ip6-localhost ip6-loopback\n"
    head += "fe80::1%lo0 localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 bad.example\n"
    hosts = ["localhost", "ip6-loopback", "a.localhost", "bad.example"]
    assert blocked(tmp_path, head, *hosts) == [False, False, False, True]


def test_a_list_may_be_gzip_whatever_its_name(tmp_path: Path) -> None:
    """Also one of several members."""
    (tmp_path / "domains").write_bytes(gzip.compress(b"a.example\n") + gzip.compress(b"b.example\n"))
    signal = url.load(url.Settings.model_validate({"blocked_domains": ["domains"]}, context={"base": tmp_path}))
    assert measured(signal, "http://a.example", "http://b.example", "http://c.example")["is_blocked_domain"] == [
        True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("two words", "several words, and the first is no address"),
        ("https://bad.example/", "only the host belongs here"),
        ("bad.example:8080", "only the host belongs here"),
        ("bad.example/path", "not a domain"),
        ("||bad.example^", "not a domain"),
        ("bad..example", "not a domain"),
        ("bad.example,", "not a domain"),
        ("a" * 64 + ".example", "not a domain"),
        ("1.2.3.456", "neither a domain nor an address"),
        ("1.2.3", "neither a domain nor an address"),
        ("com", "to block all of a top-level domain write .com"),
    ],
)
def test_a_line_that_is_no_domain_is_named(line: str, why: str, tmp_path: Path) -> None:
    """With file, number, what stands there, what is wrong with it, and how many more there are."""
    with pytest.raises(UsageError, match=r"blocked_domains:3: ") as caught:
        listed(tmp_path, f"# a list\ngood.example\n{line}\n{line}\n")
    assert why in caught.value.message
    assert caught.value.message.endswith("(2 lines are wrong)")
    assert caught.value.remedy == "write one domain a line, or # before the line"


def test_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    """Missing, a folder, damaged, not UTF-8: each is said with the path and what to do."""
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a.example\n" * 1000)[:-9])
    (tmp_path / "latin").write_bytes("gut.example\nbücher.example\n".encode("latin-1"))
    for name, message in {
        "none": "there is no such list",
        ".": "is a folder",
        "cut.gz": "damaged gzip",
        "latin": r"latin:2: .* not UTF-8",
    }.items():
        with pytest.raises(UsageError, match=message) as caught:
            url.load(url.Settings(blocked_domains=(str(tmp_path / name),)))
        assert caught.value.remedy
    with pytest.raises(UsageError, match="no letter and no digit"):
        listed(tmp_path, words="good\n***\n")


LINE = st.lists(
    st.sampled_from(["a", "b-c", "_d", "com", ".", ".", "0.0.0.0 ", "*.", "#", " ", "\r", "1", "-", "\t", "ü", "A"]),
    max_size=6,
).map("".join)  # fmt: skip


@given(lines=st.lists(LINE, max_size=5))
@settings(deadline=None)
@example(lines=["0.0.0.0 a.b", "127.0.0.1\tb-c.a.b\r", "10.0.0.0.a"])
@example(lines=["a.b", "b-c.a.b\r", "_d.com"])
@example(lines=["0.0.0.0 a.b", "0.0.0.0 a.b c.d", "127.0.0.1 localhost", "a.b.", "*.a.b"])
def test_the_fast_way_reads_a_list_as_the_slow_way(lines: list[str]) -> None:
    """A line that one expression takes at once gives what it gives when looked at closely."""
    names: set[bytes] = set()
    for line in lines:
        bare = line.partition("#")[0].strip()
        try:
            names.update(url._domains_in(bare) if bare else [])
        except ValueError:
            with pytest.raises(UsageError):
                url.hash_domains("list", "\n".join(lines).encode())
            return
    hashes = url.hash_domains("list", "\n".join(lines).encode())
    assert set(hashes.tolist()) == set(map(xxh3_64_intdigest, names))


def test_a_list_of_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list longer than what is split at a time is read whole, and its lines are counted on."""
    monkeypatch.setattr(url, "_BLOCK", 50)
    names = [f"n{number}.example" for number in range(100)]
    for end in ("", "\n", "\n\n"):
        hashes = url.hash_domains("list", ("\n".join(names) + end).encode())
        assert hashes.tolist() == [xxh3_64_intdigest(name.encode()) for name in names]
    with pytest.raises(UsageError, match=r"list:71: 'x y'"):
        url.hash_domains("list", "\n".join([*names[:70], "x y", *names]).encode())
    assert blocked(tmp_path, "\n".join(names), "n99.example", "n100.example") == [True, False]


def test_the_version_is_that_of_the_contents(tmp_path: Path) -> None:
    """Other content is another signal; another name, order or folder is not; domains are no words."""
    one, two = tmp_path / "one", tmp_path / "two"
    none = url.load(url.Settings()).VERSION
    first = listed(one, "a.example").VERSION
    assert first == listed(two, "a.example").VERSION
    versions = [none, first, listed(two, "b.example").VERSION, listed(two, words="a.example").VERSION,
                listed(two, "b.example", "casino").VERSION, listed(two, "b.example", "poker").VERSION]  # fmt: skip
    assert len(set(versions)) == len(versions)
    both = [str(one / "blocked_domains"), str(two / "blocked_domains")]
    assert len({url.load(url.Settings(blocked_domains=tuple(paths))).VERSION for paths in (both, both[::-1])}) == 1
    assert "publicsuffixlist-" in none
    assert "idna-" in none


# Any URL


@given(uri=URI | HOSTED)
@settings(max_examples=500, deadline=None)
def test_no_url_raises_and_a_host_is_one(uri: str) -> None:
    """A host is printable ASCII in lower case and its own normal form; the registered domain is its end."""
    host, rest = url.parse(uri)
    assert rest in uri.translate(url._BREAKS)
    assert re.fullmatch(r"[\x21-\x7e]*", host)
    assert host == host.lower()
    assert len(host) <= 253
    assert host == "" or url.normal_host(host) == host
    registered = url.registered_domain(host)
    assert host == registered or host.endswith(f".{registered}" if registered else "")
    url._found(host, rest, frozenset(["a"]), 1)


@given(uris=st.lists(st.none() | HOSTED | URI, max_size=8), data=st.data())
@settings(deadline=None)
def test_any_split_gives_the_same_answer(uris: list[str | None], data: st.DataObject, tmp_path_factory: Any) -> None:
    """A row's values depend on its URI and the lists alone."""
    signal = listed(tmp_path_factory.getbasetemp() / "split", "example.com\n.ü\nco.uk", "example\na")
    cut = data.draw(st.integers(0, len(uris)))
    whole, first, rest = (measured(signal, *part) for part in (uris, uris[:cut], uris[cut:]))
    assert whole == {name: first[name] + rest[name] for name in whole}


NAME = st.lists(st.sampled_from(["a", "b", "ab", "x-y", "zip"]), min_size=1, max_size=4).map(".".join)


@given(names=st.lists(NAME.filter(lambda name: "." in name), max_size=6), hosts=st.lists(NAME, max_size=6))
@settings(deadline=None)
def test_blocking_is_what_comparing_labels_says(names: list[str], hosts: list[str]) -> None:
    """Sorted hashes block what the slow definition blocks."""
    table = np.unique(url.hash_domains("list", "\n".join(names).encode()))
    slow = [any(host == name or host.endswith(f".{name}") for name in names) for host in hosts]
    assert url._blocked(hosts, table).tolist() == slow


@given(host=st.lists(st.text("abcXYZ019-_", min_size=1, max_size=9), min_size=1, max_size=4).map(".".join),
       path=st.text("ab/?#@:[]", max_size=9))  # fmt: skip
def test_a_plain_host_is_what_the_standard_library_finds(host: str, path: str) -> None:
    """For hosts of ASCII letters, digits, hyphens and underscores."""
    uri = f"http://user@{host}:80/{path}"
    assert url.parse(uri)[0] == urlsplit(f"http://user@{host}:80/").hostname


def test_a_long_url_takes_no_time() -> None:
    """Megabytes of anything that a parser could go back over."""
    for filler in ("a", "a.", "@", ":", "[", "%61", "ü", "/", "xn--", "\\", " "):
        for uri in (
            f"http://{filler * 300_000}",
            f"http://{filler * 300_000}@a.example/",
            f"http:/{filler * 300_000}#",
        ):
            url._found(*url.parse(uri), frozenset(["a b"]), 2)


# Whole runs


def recipe_with(sample: Path, place: Path, table: str, *overrides: str) -> Recipe:
    """The sample's recipe with lists, a rule, a group by host, and WORK and releases of its own."""
    text = sample.read_text(encoding="utf-8").replace(
        "[rules]\n", f'[signals.url]\n{table}\n[rules]\nblocked = "is_blocked_domain"\n'
    )
    (sample.parent / f"{place.name}.toml").write_text(text, encoding="utf-8")
    return load_recipe(sample.parent / f"{place.name}.toml", [f"work={json.dumps(str(place / 'work'))}",
                       f"release.to={json.dumps(str(place / 'releases'))}", *overrides])  # fmt: skip


def test_a_recipe_blocks_what_its_lists_name(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """A rule drops just the documents below a listed host; a group and SQL ask for the host; files have none."""
    (sample.parent / "blocked").write_text("harbour-guide.example  # by its own wish\n", encoding="utf-8")
    recipe = recipe_with(sample, tmp_path, 'blocked_domains = ["blocked"]', "blend.rest='drop'",
                         "blend.group.0.where=\"host <> '' and host not like 'www.%' and source = 'web'\"")  # fmt: skip
    pipeline.run(recipe, engine)
    with open_views(recipe, "*") as views:
        sql = "SELECT source, uri, host, list_contains(reasons, 'blocked') FROM corpus WHERE error IS NULL"
        rows = views.execute(sql).fetchall()
    assert {bool(host) for source, _, host, _ in rows if source == "handbook"} == {False}
    for source, uri, host, hit in rows:
        if source == "web" and host:
            assert host == urlsplit(uri).hostname
        assert hit == (host == "harbour-guide.example")
    assert sum(hit for *_, hit in rows) == 1


def test_a_changed_list_is_measured_anew_without_reading_text(
    sample: Path, engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all signals only `url` is, and it asks the documents for nothing but id and URI."""
    (sample.parent / "changing").write_text("one.example\n", encoding="utf-8")
    recipe = recipe_with(sample, tmp_path, 'blocked_domains = ["changing"]')
    first = pipeline.run(recipe, engine, until="measure")
    assert pipeline.run(recipe, engine, until="measure").figures["measure"]["parts"] == 0
    (sample.parent / "changing").write_text("two.example\nharbour-guide.example\n", encoding="utf-8")
    again = pipeline.run(recipe, engine, until="measure")
    assert again.figures["measure"]["signals"] == ["url"]
    assert again.signals["url"].VERSION != first.signals["url"].VERSION

    asked = []
    batches = Dataset.batches
    monkeypatch.setattr(
        Dataset, "batches", lambda self, part, columns: asked.append(columns) or batches(self, part, columns)
    )
    part = next(iter(again.parts))
    _measure_part(again.work, Measure(part, {"url": "test"}), {"url": again.signals["url"]})
    assert asked == [["id", "uri"]]


def test_a_missing_list_stops_before_the_first_byte(sample: Path, engine: LocalEngine, tmp_path: Path) -> None:
    """With the path, which starts at the recipe's folder, and nothing is made."""
    recipe = recipe_with(sample, tmp_path, 'blocked_words = ["lists/none.txt"]')
    with pytest.raises(UsageError, match=re.escape(f"{sample.parent / 'lists' / 'none.txt'}: there is no such list")):
        pipeline.run(recipe, engine)
    assert not list(tmp_path.rglob("*.parquet"))
