"""The sample is what its README says: packed from its sources, complete, and with the duplicates it claims."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from curation.sources.extract import extract
from recipes.sample.pack import pack

SAMPLE = Path(__file__).parent.parent / "recipes" / "sample"
WARC = SAMPLE / "web.warc.gz"
README = (SAMPLE / "README.md").read_text(encoding="utf-8")
SOURCES = {"web": "web.warc.gz", "handbook": "handbook/", "textbook": "textbook.jsonl"}
OUTCOME = re.compile(r"kept|empty|error|rule [a-z0-9_]+|(exact |near-)duplicate of \S+")


def planted(heading: str) -> dict[str, str]:
    """Item -> outcome, from the table of the README under this heading."""
    section = README.split(f"\n### {heading}\n")[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {row[0]: row[1] for row in rows[2:]}


def text_of(name: str) -> str:
    """The main text of a page of `web/`."""
    return extract((SAMPLE / "web" / name).read_bytes(), "blocks").text


def similarity(one: str, other: str) -> float:
    """Shared word 5-grams over all of both."""
    sets = []
    for text in (one, other):
        words = re.findall(r"\w+", text.lower())
        sets.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="zlib-ng compresses to other bytes than zlib")
def test_packing_gives_the_committed_bytes():
    """`web.warc.gz` is what `pack.py` makes of `web/` today."""
    assert pack() == WARC.read_bytes()


def test_records_counted_by_warcio():
    """The archive holds the records that the README counts."""
    with WARC.open("rb") as stream:
        types = Counter(record.rec_type for record in ArchiveIterator(stream))
    assert types == {"warcinfo": 1, "request": 2, "response": 41, "revisit": 1}
    assert "1 warcinfo, 2 requests, 41 responses, 1 revisit" in README


def test_digests():
    """Every block and payload has the digest that its record states."""
    with WARC.open("rb") as stream:
        checks = []
        for record in ArchiveIterator(stream, check_digests="raise"):
            record.raw_stream.read()
            checks.append(record.digest_checker.passed)  # None where warcio reads no block: the revisit
    assert checks.count(True) == 44
    assert checks.count(None) == 1


def test_readme_lists_every_page():
    """Each response and revisit has a row in the README, and each row a record."""
    with WARC.open("rb") as stream:
        found = [
            record.rec_headers.get_header("WARC-Target-URI") + " (revisit)" * (record.rec_type == "revisit")
            for record in ArchiveIterator(stream)
            if record.rec_type in {"response", "revisit"}
        ]
    assert found == list(planted("web.warc.gz"))


def test_readme_lists_every_file_of_the_handbook():
    """Each file of the handbook has a row in the README."""
    assert sorted(planted("handbook/")) == sorted(path.name for path in (SAMPLE / "handbook").iterdir())


def test_readme_lists_every_line_of_the_textbook():
    """Each line has a row in the README: by its id, or by its number where it is not JSON."""
    found = []
    for number, line in enumerate((SAMPLE / "textbook.jsonl").read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(json.loads(line)["id"])
        except json.JSONDecodeError:
            found.append(f"line {number}")
    assert found == list(planted("textbook.jsonl"))


def test_counts_in_the_readme_are_those_of_its_tables():
    """The summary adds up: documents = errors + dropped + duplicates + kept, for each source and for all."""
    kinds = {"rule": "dropped", "empty": "dropped", "exact": "duplicate", "near-duplicate": "duplicate"}
    tables = {name: planted(heading) for name, heading in SOURCES.items()}
    tables["all"] = {f"{name} {item}": outcome for name, table in tables.items() for item, outcome in table.items()}
    for name, table in tables.items():
        assert all(OUTCOME.fullmatch(outcome) for outcome in table.values())
        count = Counter(kinds.get(outcome.split()[0], outcome) for outcome in table.values())
        figures = (len(table), *(count[kind] for kind in ("error", "dropped", "duplicate", "kept")))
        assert "| " + " | ".join(map(str, (name, *figures))) + " |" in README


@pytest.mark.parametrize(
    ("one", "other"),
    [("bread", "bread-print"), ("binary-search", "binary-search-copy")],
)
def test_exact_duplicates(one, other):
    """Pages that differ in layout alone have the same main text."""
    assert text_of(f"{one}.html") == text_of(f"{other}.html") != ""


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("vaccines", "vaccines-mirror", 0.98),
        ("tides", "tides-updated", 0.87),
        ("compound-interest", "compound-interest-dollars", 0.84),
        ("soap", "soap-shortened", 0.84),
    ],
)
def test_near_duplicates(one, other, expected):
    """Near-duplicates are as similar as the README says, far enough from 0.75 for a signature to agree."""
    assert similarity(text_of(f"{one}.html"), text_of(f"{other}.html")) == pytest.approx(expected, abs=0.015)
    assert f"similarity {expected}" in README


def test_old_and_new_version_of_a_page_of_the_handbook():
    """Last year's travel rules are a near-duplicate of this year's."""
    old, new = (
        (SAMPLE / "handbook" / name).read_text(encoding="utf-8").split("---\n", 2)[2]
        for name in ("travel-expenses-2025.md", "travel-expenses.md")
    )
    assert similarity(old, new) == pytest.approx(0.84, abs=0.015)


def test_size():
    """The sample stays small: under 400 kB in the repository."""
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if "__pycache__" not in path.parts) < 400_000
