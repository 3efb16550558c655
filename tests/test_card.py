"""The card: `datasets` reads the release through it, its examples work, and nothing in it comes alive."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation import schema
from curation.recipe import parse
from curation.report.card import COLUMNS, card, code, front_matter, text

SCRIPT = "<script>alert(1)</script>"


def manifest(**changes):
    """A manifest as publish makes it."""
    table = {
        "name": "textbook",
        "source": [
            {"name": "web", "kind": "warc", "paths": ["*.warc.gz"], "license": f"a|b {SCRIPT}"},
            {"name": "books", "kind": "jsonl", "paths": ["*.jsonl"]},
        ],
        "rules": {
            "presets": ["gopher-quality"],
            "odd": f"title = '{SCRIPT}' || `x",
            "low_value": "education_score < 2\n```\n# no heading",
        },
        "edit": {"remove": ["c4_lines"]},
        "blend": {
            "tokens": 1_000_000,
            "group": [
                {"name": "web", "where": "source = 'web'", "share": 0.75},
                {"name": "books", "where": "true", "share": 0.25, "max_copies": 3},
            ],
        },
        "release": {"columns": ["education_score", "has_lorem_ipsum", "uri"]},
    }
    recipe = parse({**table, **changes.pop("recipe", {})}, Path("recipe.toml"))
    return {
        "format": 1,
        "name": "textbook",
        "version": "2026.11.23",
        "created_at": "2026-11-23T10:11:12+00:00",
        "fingerprint": "f" * 32,
        "recipe": recipe.semantic(),
        "software": "curate 0.1.0",
        "documents": 4_107,
        "rows": 4_321,
        "tokens": 950_000,
        "bytes": 3_800_000,
        "tokenizer": "bytes/4",
        "shards": [{"path": "data/train-00000.parquet", "rows": 4_321, "tokens": 950_000, "bytes": 1, "sha256": "00"}],
        "groups": [
            {"name": "web", "asked_share": 0.75, "achieved_share": 0.789474, "documents": 4_000, "tokens": 750_000,
             "max_copies": 1},
            {"name": "books", "asked_share": 0.25, "achieved_share": 0.210526, "documents": 107, "tokens": 200_000,
             "max_copies": 3},
        ],
        "sources": [
            {"name": "web", "documents": 12_000, "errors": 1_000, "dropped": 6_000, "duplicates": 1_000, "kept": 4_000,
             "rules": {"odd": 5_000, "gopher_too_short": 1_999}, "alone": {"odd": 4_321}, "pulled_tokens": 3_000_000,
             "kept_tokens": 800_000, "released_documents": 4_000, "released_rows": 4_001, "released_tokens": 750_000},
            {"name": "books", "documents": 110, "errors": 0, "dropped": 3, "duplicates": 0, "kept": 107,
             "rules": {"empty": 1, "gopher_too_short": 2}, "alone": {"empty": 1}, "pulled_tokens": 60_000,
             "kept_tokens": 55_000, "released_documents": 107, "released_rows": 320, "released_tokens": 200_000},
        ],
        "inputs": [],
        "together": [["gopher_too_short", "odd", 1_234]],
        "languages": [
            {"language": "en", "documents": 9_000, "tokens": 2_900_000, "kept": 4_100, "kept_tokens": 850_000},
            {"language": "de", "documents": 50, "tokens": 90_000, "kept": 1, "kept_tokens": 4_000},
            {"language": "und", "documents": 9, "tokens": 70_000, "kept": 6, "kept_tokens": 60_000},
            {"language": SCRIPT, "documents": 1, "tokens": 100_000, "kept": 1, "kept_tokens": 100_000},
        ],
        "previous": None,
        "forgotten": 0,
        **changes,
    }  # fmt: skip


def head(written):
    """The front matter as the hub reads it, and the rest."""
    found = re.match(r"---\n(.*?\n)---\n(.*)", written, re.DOTALL)
    assert found
    return yaml.safe_load(found[1]), found[2]


@pytest.fixture
def release(tmp_path):
    """A folder of releases with one that has two rows."""
    folder = tmp_path / "textbook" / "2026.11.23"
    (folder / "data").mkdir(parents=True)
    rows = {
        "id": ["a", "b"], "text": ["one", "two"], "source": ["web", "books"], "group": ["web", "books"],
        "uri": ["https://a.example/", None], "title": [None, None], "license": [None, None],
        "created_at": [None, None], "tokens": [1, 1],
    }  # fmt: skip
    pq.write_table(pa.table(rows, schema.SHARD), folder / "data" / "train-00000.parquet")
    (folder / "README.md").write_text(card(manifest()))
    (folder / "manifest.json").write_text('{"a": [1, {"b": 2}]}')
    (folder / "claim.json").write_text("{}")
    (folder / "report.html").write_text("<p>")
    return tmp_path


def test_front_matter_is_what_the_hub_reads():
    """Name, licence, size and where the data is."""
    front, body = head(card(manifest()))
    assert front == {
        "pretty_name": "textbook 2026.11.23",
        "license": "other",
        "license_name": "by-document",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "size_categories": ["1K<n<10K"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    }
    assert body.lstrip().startswith("# textbook 2026.11.23\n")


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([{"kind": "warc", "license": "CC-BY-4.0"}], "cc-by-4.0"),
        ([{"kind": "warc", "license": "CC-BY-4.0"}, {"kind": "text", "license": "cc-by-4.0"}], "cc-by-4.0"),
        ([{"kind": "warc", "license": "CC-BY-4.0"}, {"kind": "text", "license": "MIT"}], "other"),
        ([{"kind": "warc", "license": "CC-BY-4.0"}, {"kind": "warc", "license": None}], "other"),
        ([{"kind": "jsonl", "license": "CC-BY-4.0"}], "other"),  # a row may state one of its own
        ([{"kind": "text", "license": "our house's"}], "other"),
        ([{"kind": "text", "license": None}], "other"),
    ],
)
def test_licence_is_said_only_where_it_holds_for_all(sources, said):
    """One licence for the release is claimed when no document can have another."""
    made = manifest()
    made["recipe"]["source"] = sources
    assert front_matter(made)["license"] == said


def test_datasets_reads_the_release_through_the_card(release, monkeypatch, tmp_path):
    """`load_dataset(folder)` finds the shards, and only them, as the split train."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(release / "textbook/2026.11.23"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    assert loaded["train"].column_names == schema.SHARD.names
    assert loaded["train"]["text"][:] == ["one", "two"]
    builder = datasets.load_dataset_builder(str(release / "textbook/2026.11.23"), cache_dir=str(tmp_path / "cache"))
    assert builder.config.name == "default"


def test_examples_of_the_card_work(release, tmp_path):
    """Each piece of Python and SQL on the card runs as it stands there."""
    written = (release / "textbook/2026.11.23/README.md").read_text()
    pieces = re.findall(r"```python\n(.*?)```", written, re.DOTALL)
    assert len(pieces) == 3
    for name in ("datasets", "pandas"):
        pytest.importorskip(name)
    program = "\n".join(f"{piece}\nassert len(rows) == 2" for piece in pieces)
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PATH": ""}
    subprocess.run([sys.executable, "-c", program], cwd=release, env=environment, check=True, capture_output=True)
    (query,) = re.findall(r"```sql\n(.*?)```", written, re.DOTALL)
    with contextlib.chdir(release):
        assert duckdb.sql(query).fetchall() == [("books", 1, 1), ("web", 1, 1)]


def test_every_column_has_its_meaning():
    """Those that every release has, in their order, then those that the recipe asked for, once."""
    _, body = head(card(manifest()))
    assert list(COLUMNS) == schema.SHARD.names
    table = body.split("## Columns")[1].split("## Sources")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        *schema.SHARD.names,
        "education_score",
        "has_lorem_ipsum",
    ]


def test_says_every_number():
    """Rows, sources and their sum, rules by hits, the blend in shares and tokens."""
    _, body = head(card(manifest()))
    assert "4,321 rows of text with 950,000 tokens" in body
    assert "| books | jsonl | 110 | 0 | 3 | 0 | 107 | 107 | 320 | 200,000 | not stated |" in body
    assert "| all | | 12,110 | 1,000 | 6,003 | 1,000 | 4,107 | 4,107 | 4,321 | 950,000 | |" in body
    assert re.findall(r"^\| `(\w+)` \|.* \| ([\d,]+) \| ([\d,]+) \|$", body, re.MULTILINE) == [
        ("odd", "5,000", "4,321"), ("gopher_too_short", "2,001", "0"), ("empty", "1", "1"),
    ]  # fmt: skip
    assert "| `gopher_too_short` | `word_count < 50` | gopher-quality@paper | 2,001 | 0 |" in body
    assert "| `gopher_too_short` | `odd` | 1,234 |" in body
    assert "| de | 50 | 90,000 | 1 | 4,000 |" in body
    assert "| web | 75.0% | 78.9% | 750,000 | 750,000 | 4,000 | 1 |" in body
    assert "A document may stand more than once" in body


def test_tables_have_as_many_cells_as_their_heads():
    """A pipe in a licence or a predicate does not add a cell."""
    _, body = head(card(manifest(), older()))
    tables = re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table


def test_what_comes_from_data_stays_text():
    """Outside of code nothing of a licence or a predicate is a tag, and the recipe cannot leave its fence."""
    _, body = head(card(manifest(), older()))
    fenced = re.search(r"^(`{4,})toml\n(.*?)^\1$", body, re.DOTALL | re.MULTILINE)
    assert fenced
    assert "# no heading" in fenced[2]
    outside = re.sub(r"`[^`\n]+`", "", body.replace(fenced[0], ""))
    assert "<script" not in outside.replace("\\<script", "")
    assert [line for line in outside.splitlines() if line.startswith("# ")] == ["# textbook 2026.11.23"]


def older():
    """The manifest of the release before, with another rule, setting and input, and less of the first group."""
    made = manifest(version="2026.11.22", tokens=900_000, recipe={"seed": 7, "rules": {"gone": f"title = '{SCRIPT}'"}})
    made["groups"][0]["tokens"] = 700_000
    made["inputs"] = [{"source": "web", "uri": "a.warc.gz", "bytes": 12_000, "sha256": "00"}]
    return made


def test_says_what_changed_since_the_release_before():
    """Totals, groups, rules, settings and inputs; nothing where there was none before."""
    _, body = head(card(manifest(), older()))
    assert "## Since 2026.11.22" in body
    assert "| tokens | 900,000 | 950,000 |" in body
    assert "| tokens of web | 700,000 | 750,000 |" in body
    assert "\n- rule `gone`: gone, it was `title = '<script>alert(1)</script>'`\n" in body
    assert "\n- rule `gopher_too_short`: new, `word_count < 50`\n" in body
    assert "\n- setting `seed`: `7` became `0`\n" in body
    assert "\n- inputs gone: 1, 12.0 kB\n" in body
    assert "- more, which the report lists" in body
    assert "## Since" not in card(manifest())


def test_is_made_of_manifests_alone():
    """The same manifest gives the same card, and the time of publishing is not on it."""
    assert card(manifest()) == card(manifest(created_at="2027-01-01T00:00:00+00:00"))


def test_empty_release_points_to_no_files():
    """Where nothing was kept, there is no pattern that matches nothing."""
    made = manifest(documents=0, rows=0, tokens=0, bytes=0, shards=[], groups=[])
    front, body = head(card(made))
    assert "configs" not in front
    assert front["size_categories"] == ["n<1K"]
    assert "How to read it" not in body


def test_markdown_is_escaped():
    """Punctuation that Markdown knows is shown; code keeps its backquotes."""
    assert text("[a](b) *c* _d_ `e` a\nb") == r"\[a\](b) \*c\* \_d\_ \`e\` a b"
    assert code("a < b\n and c") == "`a < b and c`"
    assert code("`<b>") == "<code>&#96;&#60;b&#62;</code>"
