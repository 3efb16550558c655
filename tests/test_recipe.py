"""The recipe: every fault at once with its place, and nothing else but the recipe."""

from __future__ import annotations

import contextlib
import copy
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation import rules as ruling
from curation.endpoint.service import Server
from curation.errors import RecipeError
from curation.recipe import Recipe, load, parse
from curation.run import workspace
from curation.sources import KINDS

FULL = """
name = "textbook"
work = "work"
seed = 7

[[source]]
name = "web"
kind = "warc"
paths = ["data/web/*.warc.gz"]
license = "CC-BY-4.0"

[[source]]
name = "notes"
kind = "jsonl"
paths = ["notes.jsonl"]
fields = { text = "body", uri = "link" }
max_loss = 0.9

[extract]
engine = "resiliparse"

[signals.education]
enabled = true

[dedup]
enabled = true
similarity = 0.75
verify = "signature"
bands = 14
rows = 8
ngram = 5
prefer = "education_score desc, word_count desc"
max_loss = 0.5

[rules]
presets = ["gopher-quality", "c4"]
alarm_share = 0.8
too_short = "word_count < 50"
gopher_too_long = false

[edit]
remove = ["c4_lines"]
where = "source = 'web'"

[blend]
tokens = 10_000
tokenizer = "bytes/4"
rest = "drop"

[[blend.group]]
name = "web"
where = "source = 'web'"
share = 0.7
max_copies = 4

[[blend.group]]
name = "notes"
where = "source = 'notes'"
share = 0.3

[release]
to = "releases"
version = "2026.11.23"
shard_bytes = "256MB"
columns = ["education_score"]

[endpoint.writer]
url = "http://localhost:8000/v1"
model = "m"
key = "$WRITER_KEY"
price = { input = 0.1, output = 0.4 }
budget = 25.0
budget_requests = 1000
budget_tokens = 1000000
ledger = "paid"
concurrency = 8
attempts = 3
connect_seconds = 5.0
read_seconds = 30.0
total_seconds = 120.0
stream = false
tokens_parameter = "max_completion_tokens"
parameters = { temperature = 0.5, stop = ["END"] }
"""
TABLE = tomllib.loads(FULL)
NO_KEY = 'key: expected the name of an environment variable, like "$OPENAI_API_KEY"; a key belongs in no file'
BARE = "url: expected an address without a user, a password or a query; `key` names where the key is"
MINIMAL = 'name = "a"\n[[source]]\nname = "s"\nkind = "text"\npaths = ["x"]\n'


def loaded(tmp_path: Path, text: str, *overrides: str, **rest: Any) -> Recipe:
    """The recipe in this text."""
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, overrides, **rest)


def faults(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    """What is wrong with this text, a line each."""
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, text, *overrides)
    first, *lines = caught.value.message.splitlines()
    assert first == f"{tmp_path / 'recipe.toml'}: {len(lines)} fault{'s' if len(lines) > 1 else ''}"
    return [line.removeprefix("  ") for line in lines]


def without(key: str) -> str:
    """The full recipe without the line of a key."""
    return "\n".join(line for line in FULL.splitlines() if not line.startswith(f"{key} ="))


def test_every_table_of_the_design_is_understood(tmp_path: Path) -> None:
    """A recipe that uses every key is read as it stands."""
    recipe = loaded(tmp_path, FULL)
    assert [source.name for source in recipe.source] == ["web", "notes"]
    assert recipe.source[1].fields == {"text": "body", "uri": "link"}
    assert recipe.rules.own == {"too_short": "word_count < 50", "gopher_too_long": False}
    assert (recipe.blend.tokens, recipe.blend.group[0].share, recipe.blend.group[1].max_copies) == (10_000, 0.7, 1)
    assert recipe.release.shard_bytes == 256_000_000
    assert recipe.base == tmp_path
    service = recipe.service("writer")
    assert (service.urls, service.input_price, service.output_price) == ("http://localhost:8000/v1", 0.1, 0.4)
    assert (service.budget, service.concurrency, service.total_seconds) == (25, 8, 120)
    assert service.parameters == {"temperature": 0.5, "stop": ["END"]}
    assert recipe.ledger("writer") == tmp_path / "paid"


def test_a_small_recipe_has_the_design_s_defaults(tmp_path: Path) -> None:
    """A name and one source are enough."""
    recipe = loaded(tmp_path, MINIMAL)
    assert (recipe.dedup.similarity, recipe.dedup.bands, recipe.dedup.rows, recipe.dedup.ngram) == (0.75, 18, 6, 5)
    assert (recipe.blend.tokens, recipe.blend.rest, recipe.release.version, recipe.seed) == (None, "error", None, 0)


def test_every_fault_is_said_at_once_with_its_place(tmp_path: Path) -> None:
    """Six faults in six places are six lines."""
    text = (
        FULL.replace('kind = "warc"', 'kind = "wark"')
        .replace("similarity = 0.75", 'similarity = "75%"')
        .replace("bands = 14", "bands = 0")
        .replace('rest = "drop"', 'rest = "dorp"')
        .replace("seed = 7", "sede = 7")
        .replace("max_copies = 4", "max_copies = 1.5")
    )
    assert set(faults(tmp_path, text)) == {
        f'source[0].kind: expected one of {", ".join(KINDS)}, got "wark"',
        'dedup.similarity: expected a number above 0, at most 1, got "75%"',
        "dedup.bands: expected a whole number from 1 to 256, got 0",
        'blend.rest: expected error or drop, got "dorp"',
        'recipe: unknown key "sede"; did you mean "seed"?',
        "blend.group[0].max_copies: expected a whole number from 1 to 1000, got 1.5",
    }


def test_the_example_of_the_design(tmp_path: Path) -> None:
    """A share written as a text is refused in the words of the design."""
    text = FULL.replace("share = 0.3", 'share = "70%"')
    assert faults(tmp_path, text) == ['blend.group[1].share: expected a number from 0 to 1, got "70%"']


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("[dedup]\n", "[dedup]\nsimilarty = 1.0\n", 'dedup: unknown key "similarty"; did you mean "similarity"?'),
        ("[release]\n", "[release]\nshards = 3\n", 'release: unknown key "shards"; did you mean "shard_bytes"?'),
        ("[extract]\n", "[extracts]\n", 'recipe: unknown key "extracts"; did you mean "extract"?'),
        (
            'kind = "warc"\n',
            'kind = "warc"\nlicence = "MIT"\n',
            'source[0]: unknown key "licence"; did you mean "license"?',
        ),
        (
            "share = 0.7\n",
            "share = 0.7\nmax_copy = 2\n",
            'blend.group[0]: unknown key "max_copy"; did you mean "max_copies"?',
        ),
        ("{ text =", "{ txt =", 'source[1].fields.txt: unknown column "txt"; did you mean "text"?'),
    ],
)
def test_the_nearest_key_is_named(tmp_path: Path, old: str, new: str, fault: str) -> None:
    """An unknown key is refused with the nearest known one."""
    text = FULL.replace(old, new, 1)
    assert text != FULL
    assert fault in faults(tmp_path, text)


def test_a_key_that_is_like_none_lists_those_there_are(tmp_path: Path) -> None:
    """Where no known key is near, the known ones are named."""
    (fault,) = faults(tmp_path, FULL.replace("[extract]\n", "[extract]\nqqq = 1\n"))
    assert fault == 'extract: unknown key "qqq"; known are engine, format, model'


def test_path_is_no_key(tmp_path: Path) -> None:
    """A recipe cannot say where it lies itself."""
    (fault,) = faults(tmp_path, 'path = "/elsewhere/recipe.toml"\n' + MINIMAL)
    assert fault.startswith('recipe: unknown key "path"')


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('name = "textbook"', "name = 5", "name: expected a name of lower-case letters, digits, - and _, got 5"),
        (
            'name = "textbook"',
            'name = "../x"',
            'name: expected a name of lower-case letters, digits, - and _, got "../x"',
        ),
        ("seed = 7", "seed = true", "seed: expected a whole number from 0 up, got true"),
        ("seed = 7", "seed = -1", "seed: expected a whole number from 0 up, got -1"),
        ("seed = 7", "seed = 1.0", "seed: expected a whole number from 0 up, got 1.0"),
        (
            'paths = ["notes.jsonl"]',
            'paths = "notes.jsonl"',
            'source[1].paths: expected a list of paths or patterns, got "notes.jsonl"',
        ),
        ('paths = ["notes.jsonl"]', "paths = []", "source[1].paths: expected a list of paths or patterns, got []"),
        ("max_loss = 0.9", "max_loss = 1.2", "source[1].max_loss: expected a number from 0 to 1, got 1.2"),
        ("max_loss = 0.9", "max_loss = nan", "source[1].max_loss: expected a number from 0 to 1, got NaN"),
        ("ngram = 5", "ngram = 0", "dedup.ngram: expected a whole number of words from 1 to 100, got 0"),
        ('verify = "signature"', 'verify = "yes"', 'dedup.verify: expected signature or exact, got "yes"'),
        ("tokens = 10_000", "tokens = 1e4", "blend.tokens: expected a whole number of tokens, got 10000.0"),
        (
            'tokenizer = "bytes/4"',
            'tokenizer = "bytes/0"',
            'blend.tokenizer: expected an estimate like "bytes/4", or the path of a tokenizer.json, got "bytes/0"',
        ),
        ("[edit]", "[[edit]]", None),
        (
            'too_short = "word_count < 50"',
            "too_short = true",
            "rules.too_short: expected an SQL predicate as text, or false to switch a preset's rule off, got true",
        ),
        (
            'too_short = "word_count < 50"',
            'too_short = " "',
            'rules.too_short: expected an SQL predicate as text, or false to switch a preset\'s rule off, got " "',
        ),
        (
            'too_short = "word_count < 50"',
            '"Too short" = "word_count < 50"',
            'rules.Too short: expected a name of lower-case letters, digits, - and _, got "Too short"',
        ),
        (
            'kind = "warc"',
            'kind = "warc"\nfields = { text = "a" }',
            "source[0].fields: only jsonl and parquet have fields to map, not warc",
        ),
        ('name = "notes"\nkind', 'name = "web"\nkind', 'source[1].name: two sources are called "web"'),
    ],
)
def test_values_of_the_wrong_type_or_size(tmp_path: Path, old: str, new: str, fault: str | None) -> None:
    """Each wrong value is one line: the place, what was expected, what was there."""
    text = FULL.replace(old, new, 1)
    assert text != FULL
    found = faults(tmp_path, text)
    assert len(found) == 1
    assert fault is None or found == [fault]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"$WRITER_KEY"', '"sk-secret"', NO_KEY),
        ("http://localhost", "ftp://u:secret@localhost", 'url: expected an address like "http://localhost:8000/v1"'),
        ("http://localhost", "http://u:secret@localhost", BARE),
        ("8000/v1", "8000/v1?key=secret", BARE),
        ("output = 0.4", 'output = "0.4"', 'price.output: expected a price of a million tokens of answer, got "0.4"'),
        ("price = { input = 0.1, output = 0.4 }", "", "price: missing: expected prices, which `budget` is counted by"),
        ("budget = 25.0\nbudget_requests = 1000\nbudget_tokens = 1000000\n", "",
         "budget: missing: what costs money needs a budget, budget_requests or budget_tokens"),
        ("budget = 25.0", "budget = -1", "budget: expected an amount of money, got -1"),
        ('"paid"', '"s3://bucket/paid"', "ledger: expected a folder of this machine: files in S3 cannot grow"),
        ("temperature = 0.5", "n = 3", 'parameters: "n" is not for the recipe to say'),
        ("temperature = 0.5", 'api_key = "secret"', 'parameters: "api_key" is not for the recipe to say'),
        ("temperature = 0.5", "since = 2026-01-01", 'parameters: "since": expected what JSON can hold'),
        ('url = "http://localhost:8000/v1"\n', "",
         'url: missing: expected an address like "http://localhost:8000/v1"'),
        ("[endpoint.writer]\n", '[endpoint.writer]\nserver = [{ url = "http://localhost/v1" }]\n',
         "url: either `url` or tables `server`, not both"),
        ('url = "http://localhost:8000/v1"', 'server = [{ url = "http://a/v1", weight = 0 }]',
         "server[0].weight: expected a number above 0, at most 1000, got 0"),
        ('url = "http://localhost:8000/v1"', 'server = [{ url = "http://a/v1", key = "sk-secret" }]',
         f"server[0].{NO_KEY}"),
        ("budget = 25.0", "budget = 25.0\nbudgets = { story = -1 }",
         "budgets.story: expected a table of amounts of money by kind, like { story = 5.0, exercise = 10.0 }, got -1"),
        ("concurrency = 8", "concurency = 8", 'unknown key "concurency"; did you mean "concurrency"?'),
    ],
)  # fmt: skip
def test_faults_of_an_endpoint_are_told_and_no_secret_is(tmp_path: Path, old: str, new: str, fault: str) -> None:
    """Each has its place, also under a name that another table has, and a key that stands there is not repeated."""
    text = FULL.replace(old, new, 1).replace("[endpoint.writer]", "[endpoint.release]")
    place = "endpoint.release: " if fault.startswith("unknown") else "endpoint.release."
    found = faults(tmp_path, text)
    assert found == [place + fault]
    assert "secret" not in found[0].replace('"api_key"', "")


def test_faults_of_an_endpoint_come_together(tmp_path: Path) -> None:
    """Three keys that are wrong are three lines."""
    text = FULL.replace("$WRITER_KEY", "x").replace("http://localhost", "localhost").replace('"paid"', '"s3://a"')
    assert len(faults(tmp_path, text)) == 3


def test_an_endpoint_may_be_several_servers(tmp_path: Path) -> None:
    """Each with its weight, and with a name of the model and a key of its own or those of the endpoint."""
    servers = """server = [{ url = "http://a/v1" }, { url = "http://b/v1", weight = 2, model = "n", key = "$B_KEY" }]"""
    service = loaded(tmp_path, FULL.replace('url = "http://localhost:8000/v1"', servers)).service("writer")
    assert service.servers == (
        Server("http://a/v1", 1.0, None, "WRITER_KEY"), Server("http://b/v1", 2.0, "n", "B_KEY"),
    )  # fmt: skip
    assert loaded(tmp_path, FULL).service("writer").servers == (
        Server("http://localhost:8000/v1", variable="WRITER_KEY"),
    )


def test_an_endpoint_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The nearest name is named, or the table to add."""
    with pytest.raises(RecipeError, match='did you mean "writer"'):
        loaded(tmp_path, FULL).service("writter")
    with pytest.raises(RecipeError, match=r"no table \[endpoint.writer\]"):
        loaded(tmp_path, MINIMAL).service("writer")


@pytest.mark.parametrize("key", ["name", "kind", "paths"])
def test_what_is_missing_is_said(tmp_path: Path, key: str) -> None:
    """A key without a default must be there."""
    text = "\n".join(line for line in MINIMAL.splitlines()[1:] if not line.startswith(key))
    assert any(f"{key}: missing: expected" in fault for fault in faults(tmp_path, f'name = "a"\n{text}'))
    assert "source: missing: expected at least one table [[source]]" in faults(tmp_path, 'name = "a"')


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (FULL.replace("share = 0.3", "share = 0.4"), "blend.group: expected shares that add up to 1, got 1.1"),
        (without("share"), "blend.group[0].share: expected a number from 0 to 1: `tokens` is shared out by it"),
        (without("tokens"), "blend.tokens: expected a whole number of tokens: shares are shares of it"),
        (FULL.replace('[[blend.group]]\nname = "notes"', '[[blend.group]]\nname = "web"'),
         "blend.group: two groups have the same name"),
    ],
)  # fmt: skip
def test_shares_add_up(tmp_path: Path, text: str, fault: str) -> None:
    """The shares of a blend are of its tokens, are all there, and add up."""
    assert faults(tmp_path, text) == [fault]


def blend_of(*groups: str, top: str = "tokens = 1000") -> str:
    """A recipe with a blend of groups, each given by its lines but name and where, and what stands before them."""
    text = f"{MINIMAL}\n[blend]\n{top}\n"
    for number, lines in enumerate(groups):
        text += f'[[blend.group]]\nname = "g{number}"\nwhere = "true"\n{lines}\n'
    return text


def inside(name: str, lines: str) -> str:
    """A group in the group before it."""
    return f'\n[[blend.group.group]]\nname = "{name}"\nwhere = "true"\n{lines}'


LIMIT = '\n[[blend.limit]]\nname = "l"\nwhere = "true"\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (blend_of("share = 1.0\ntokens = 3"), "blend.group[0].tokens: expected share or tokens, got both"),
        (blend_of("share = 1.0\nmin_share = 0.1"),
         "blend.group[0].share: expected it alone, or a minimum and a maximum in its place"),
        (blend_of("min_share = 0.3\nmax_share = 0.2"),
         "blend.group[0].min_share: expected at most max_share, 0.2, got 0.3"),
        (blend_of("min_tokens = 3\nmax_tokens = 2"),
         "blend.group[0].min_tokens: expected at most max_tokens, 2, got 3"),
        (blend_of("share = 1.0", "max_copies = 2"),
         "blend.group[1].share: expected a number from 0 to 1: `tokens` is shared out by it"),
        (blend_of("max_share = 0.3", "max_share = 0.4"),
         "blend.group: expected shares and maxima that add up to 1 or more, got 0.7"),
        (blend_of("tokens = 600", "tokens = 300"),
         "blend.group: expected shares and tokens that add up to 1,000 tokens, got 900"),
        (blend_of("tokens = 600", "share = 0.5"),
         "blend.group: expected shares and tokens that add up to 1,000 tokens, got 1,100"),
        (blend_of("min_tokens = 5", top=""),
         "blend.tokens: expected a whole number of tokens: shares are shares of it"),
        (blend_of("tokens = 5", "share = 0.5", top=""),
         "blend.tokens: expected a whole number of tokens: shares are shares of it"),
        (blend_of("", top="") + LIMIT + "max_share = 0.1",
         "blend.tokens: expected a whole number of tokens: limits are limits of it"),
        (blend_of("share = 1.0") + LIMIT, "blend.limit[0]: expected min_share, max_share, min_tokens or max_tokens"),
        (blend_of("share = 1.0") + 2 * (LIMIT + "max_share = 0.1"), "blend.limit: two limits have the same name"),
        (blend_of("share = 1.0") + LIMIT + "max_share = 2",
         "blend.limit[0].max_share: expected a number from 0 to 1, got 2"),
        (blend_of("share = 1.0") + LIMIT + "max_shares = 2",
         'blend.limit[0]: unknown key "max_shares"; did you mean "max_share"?'),
        (blend_of("share = 1.0\norder = 'id'" + inside("a", "share = 1.0")),
         "blend.group[0].order: expected in the sub-groups, which hold the documents"),
        (blend_of("share = 1.0\nmax_copies = 2" + inside("a", "share = 1.0")),
         "blend.group[0].max_copies: expected in the sub-groups, which hold the documents"),
        (blend_of("share = 1.0" + inside("a", "share = 0.5") + inside("b", "share = 0.4")),
         "blend.group[0].group: expected shares that add up to 1, got 0.9"),
        (blend_of("share = 1.0" + inside("a", "share = 0.5") + inside("a", "share = 0.5")),
         "blend.group[0].group: two groups have the same name"),
        (blend_of("share = 1.0" + inside("a", "")),
         "blend.group[0].group[0].share: expected a number from 0 to 1: the group around it is shared out by it"),
        (blend_of("share = 0.5" + inside("a", "tokens = 300") + inside("b", "tokens = 300"), "share = 0.5"),
         "blend.group[0].group: expected shares and tokens that add up to 500 tokens, got 600"),
        (blend_of("share = 1.0", top='tokens = 9\nshort = "maybe"'),
         'blend.short: expected warn or error, got "maybe"'),
        (blend_of("share = 1.0", top='tokens = 9\ntokenizer = "gpt2"'),
         'blend.tokenizer: expected an estimate like "bytes/4", or the path of a tokenizer.json, got "gpt2"'),
    ],
)  # fmt: skip
def test_wishes_that_cannot_be_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    """What contradicts itself, or asks for nothing, with its place."""
    assert faults(tmp_path, text) == [fault]


def test_the_sql_of_a_blend_is_checked(tmp_path: Path) -> None:
    """That of groups in groups, of orders and of limits."""
    text = blend_of("share = 1.0" + inside("a", "share = 1.0\norder = 'nothing desc'")).replace(
        '"true"\nshare = 1.0\norder', '"nowhere"\nshare = 1.0\norder'
    )
    text += LIMIT.replace('"true"', '"word_count"') + "max_share = 0.5\n"
    recipe = loaded(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        ruling.check(recipe, workspace(recipe)[0])
    said = str(caught.value)
    assert "blend.group[0].group[0].where: there is no column 'nowhere'" in said
    assert "blend.group[0].group[0].order: there is no column 'nothing'" in said
    assert "blend.limit[0].where: expected a predicate that is true or false, got integer from 'word_count'" in said


def test_shares_that_add_up_but_for_rounding(tmp_path: Path) -> None:
    """Ten times 0.1 is 1."""
    group = '[[blend.group]]\nname = "g{}"\nwhere = "true"\nshare = 0.1\n'
    text = MINIMAL + "[blend]\ntokens = 5\n" + "".join(group.format(number) for number in range(10))
    assert len(loaded(tmp_path, text).blend.group) == 10


@pytest.mark.parametrize(
    ("written", "size"),
    [("1", 1), ('"256MB"', 256_000_000), ('"0.5 GiB"', 2**29), ('"10kb"', 10_000), ('"7 B"', 7),
     ('"0MB"', None), ("0", None), ("-1", None), ('"1e9"', None), ('"lots"', None), ("true", None), ("1.5", None),
     ('"2TB"', None), ('"2GB"', None)],
)  # fmt: skip
def test_sizes(tmp_path: Path, written: str, size: int | None) -> None:
    """A size is a number of bytes or a text with a unit, and above zero."""
    text = MINIMAL + f"[release]\nshard_bytes = {written}\n"
    if size is not None:
        assert loaded(tmp_path, text).release.shard_bytes == size
    else:
        (fault,) = faults(tmp_path, text)
        assert fault.startswith('release.shard_bytes: expected a size like "256MB", at most "1GB", got ')


@pytest.mark.parametrize(
    ("written", "version"),
    [('"2026.11.23"', "2026.11.23"), ('"2026.11.23.12"', "2026.11.23.12"), ("2026-11-23", "2026.11.23"),
     ('"2026.11.23.0"', None), ('"v1"', None), ('"2026.11"', None), ("2026", None), ('"../2026.11.23"', None),
     ("2026-11-23T10:00:00", None), ('"2026.11.23\\n"', None)],
)  # fmt: skip
def test_versions(tmp_path: Path, written: str, version: str | None) -> None:
    """A version is a day, perhaps with a number; a TOML date is one too."""
    text = MINIMAL + f"[release]\nversion = {written}\n"
    if version is not None:
        assert loaded(tmp_path, text).release.version == version
    else:
        (fault,) = faults(tmp_path, text)
        assert fault.startswith("release.version: expected a version like 2026.11.23 or 2026.11.23.2, got ")


def test_what_is_no_toml_is_one_message(tmp_path: Path) -> None:
    """A file that is missing, a folder, not UTF-8 or not TOML is a RecipeError with a remedy."""
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    (tmp_path / "bad.toml").write_text("name = \n")
    (tmp_path / "twice.toml").write_text("[dedup]\n[dedup]\n")
    (tmp_path / "deep.toml").write_text("x = " + "[" * 20_000)
    for name, words in {
        "none.toml": "there is no such recipe", ".": "is a folder", "latin.toml": "not UTF-8 text at byte 8",
        "bad.toml": "not TOML", "twice.toml": "not TOML", "deep.toml": "not TOML",
    }.items():  # fmt: skip
        with pytest.raises(RecipeError, match=words) as caught:
            load(tmp_path / name)
        assert caught.value.remedy
        assert caught.value.exit_status == 2


def test_set_changes_one_value_by_its_path(tmp_path: Path) -> None:
    """--set reaches tables, lists by number or name, and takes what is no TOML as a text."""
    recipe = loaded(
        tmp_path, FULL, "dedup.similarity=0.8", "blend.group[1].share=0.4", "blend.group.web.share=0.6",
        "source.web.license=CC0-1.0", "source[1].paths=['a', 'b']", "rules.too_short=word_count < 20",
        'rules.low_value="education_score < 2"', "release.version=2026.11.24.3", "seed = 8", "edit.remove=[]",
    )  # fmt: skip
    assert recipe.dedup.similarity == 0.8
    assert [group.share for group in recipe.blend.group] == [0.6, 0.4]
    assert recipe.source[0].license == "CC0-1.0"
    assert recipe.source[1].paths == ["a", "b"]
    assert recipe.rules.own["too_short"] == "word_count < 20"
    assert recipe.rules.own["low_value"] == "education_score < 2"
    assert (recipe.release.version, recipe.seed, recipe.edit.remove) == ("2026.11.24.3", 8, [])


def test_set_makes_tables_that_are_not_there(tmp_path: Path) -> None:
    """--set of a key in a table that the recipe leaves out."""
    assert loaded(tmp_path, MINIMAL, "dedup.enabled=false").dedup.enabled is False


@pytest.mark.parametrize(
    "override",
    ["dedup.similarity", "=3", "", "source.nowhere.license=x", "source[9].license=x", "name.x=1", "seed.a.b=1",
     "blend.group[0].share.x=1", "source=3", "dedup.similarty=1", "[0]=1", "source.x=1", "path=x"],
)  # fmt: skip
def test_set_that_cannot_be(tmp_path: Path, override: str) -> None:
    """A --set that names no place, or leaves a wrong value in it, is a RecipeError."""
    with pytest.raises(RecipeError):
        loaded(tmp_path, FULL, override)


def test_work_of_the_call_is_relative_to_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--work is taken from the working directory, `work` in the recipe from the recipe's folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    recipe = loaded(tmp_path / "in", FULL)
    assert str(workspace(recipe)[0].storage) == str(tmp_path / "in" / "work")
    recipe = loaded(tmp_path / "in", FULL, work="here")
    assert str(workspace(recipe)[0].storage) == str(tmp_path / "here")


def test_the_file_is_shown_as_it_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the current folder where it lies in it, else from the root; quoted for a shell where it must be."""
    (tmp_path / "a b").mkdir()
    recipe = Recipe.model_construct(path=tmp_path / "a b" / "recipe.toml")
    monkeypatch.chdir(tmp_path)
    assert recipe.shown == "'a b/recipe.toml'"
    monkeypatch.chdir(tmp_path / "a b")
    assert recipe.shown == "recipe.toml"
    monkeypatch.chdir("/")
    assert Recipe.model_construct(path=Path("/elsewhere/recipe.toml")).shown == "elsewhere/recipe.toml"
    monkeypatch.chdir(tmp_path)
    assert Recipe.model_construct(path=Path("/elsewhere/recipe.toml")).shown == "/elsewhere/recipe.toml"


def test_unknown_presets_and_signals_are_named(tmp_path: Path) -> None:
    """What the recipe refers to must exist; each of several is named."""
    recipe = loaded(tmp_path, FULL, "rules.presets=['gopher-qualty', 'c4@9', 'c4']")
    with pytest.raises(RecipeError) as caught:
        ruling.rules_of(recipe)
    assert 'rules.presets[0]: unknown preset "gopher-qualty"; did you mean "gopher-quality@paper"?' in str(caught.value)
    assert 'rules.presets[1]: unknown preset "c4@9"' in str(caught.value)
    with pytest.raises(RecipeError, match='unknown signal "educaton"; did you mean "education"') as caught:
        workspace(loaded(tmp_path, FULL, "signals.educaton.enabled=true", "signals.symbols.enabled=3"))
    assert "signals.symbols.enabled: expected true or false" in str(caught.value)


def test_semantic_leaves_out_places(tmp_path: Path) -> None:
    """The same recipe elsewhere, over files elsewhere, means the same; another threshold does not."""
    (tmp_path / "other").mkdir()
    here = loaded(tmp_path, FULL)
    moved = loaded(
        tmp_path / "other", FULL, "work=elsewhere", "release.to=/r", "source[0].paths=['/x']", "source[1].paths=['y']"
    )
    assert here.semantic() == moved.semantic()
    assert str(tmp_path) not in str(here.semantic())
    for override in ("seed=8", "dedup.bands=13", "rules.too_short=word_count < 9", "source[0].license=MIT"):
        assert loaded(tmp_path, FULL, override).semantic() != here.semantic()


def places(table: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every key, tables and items of lists included."""
    steps = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    return [found for key, value in steps for found in [(*path, key), *places(value, (*path, key))]]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.datetimes()
    | st.just(date(2026, 1, 1)) | st.sampled_from(["0.5", "2026.1.1", "1MB", "", "true", "[key]", "own", "a\x00b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@example(place=("name",), junk=None, key="[key]")
@given(place=st.sampled_from(places(TABLE)), junk=JUNK, key=st.none() | st.text(max_size=8))
def test_junk_is_refused_or_is_a_recipe(place: tuple[Any, ...], junk: Any, key: str | None) -> None:
    """Whatever stands in place of a value, or as one more key beside it, nothing but a RecipeError comes of it."""
    table: Any = copy.deepcopy(TABLE)
    at = table
    for step in place[:-1]:
        at = at[step]
    at[place[-1] if key is None or isinstance(at, list) else key] = junk
    try:
        recipe = parse(table, Path("recipe.toml"))
    except RecipeError as error:
        count, *lines = error.message.splitlines()
        assert count.startswith("recipe.toml: ")
        assert lines
        return
    assert isinstance(recipe.semantic(), dict)


@settings(max_examples=200, deadline=None)
@given(
    place=st.sampled_from(["dedup", "source[0].name", "blend.group[1].share", "rules.x", "signals.length", ""]),
    steps=st.text(max_size=8), value=st.text(max_size=12),
)  # fmt: skip
def test_any_set_is_refused_or_is_a_recipe(
    tmp_path_factory: pytest.TempPathFactory, place: str, steps: str, value: str
) -> None:
    """Whatever --set says, nothing but a RecipeError comes of it."""
    path = tmp_path_factory.getbasetemp() / "any-set.toml"
    path.write_text(FULL, encoding="utf-8")
    with contextlib.suppress(RecipeError):
        load(path, (f"{place}{steps}={value}", f"{place}.{steps}={value}"))
