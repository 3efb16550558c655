"""Rules become one query; what is wrong with them is said before the first byte, and null is never a verdict."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import rules as ruling
from curation.dataset import connect
from curation.errors import RecipeError, RuleError
from curation.publish import edited
from curation.recipe import Recipe, parse
from curation.rules import Edits, Rule
from curation.run import workspace
from curation.schema import SPANS

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.run import Run

NO_EDITS = Edits((), "true")


def recipe(more: str = "") -> Recipe:
    """A recipe with these tables."""
    head = 'name = "a"\n[[source]]\nname = "s"\nkind = "text"\npaths = ["x"]\n'
    return parse(tomllib.loads(head + more), Path("recipe.toml"))


def faults(more: str) -> list[str]:
    """What is wrong with the SQL of a recipe with these tables."""
    made = recipe(more)
    with pytest.raises(RecipeError) as caught:
        ruling.check(made, workspace(made)[0])
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


def judged(rules: dict[str, str], rows: list[dict[str, Any]], edits: Edits = NO_EDITS) -> list[tuple[Any, Any]]:
    """The reasons and the unanswered rules of each row."""
    fields = [("id", pa.string()), ("error", pa.string()), ("byte_count", pa.int32()), ("n", pa.int32()),
              ("a_lines", SPANS), ("b_lines", SPANS)]  # fmt: skip
    base = {"id": "x", "error": None, "byte_count": 10, "n": 1, "a_lines": [], "b_lines": []}
    connection = connect()
    connection.register("documents", pa.Table.from_pylist([base | row for row in rows], pa.schema(fields)))
    made = tuple(Rule(name, sql, "recipe") for name, sql in rules.items())
    answer = connection.sql(ruling.query(made, edits)).to_arrow_table().to_pylist()
    return [(row["reasons"], row["unanswered"]) for row in answer]


# presets


def test_presets_say_where_they_come_from() -> None:
    """Each has a name, a version, a source and rules, and is found under its label."""
    presets = ruling.presets()
    assert {"gopher-quality@paper", "gopher-repetition@paper", "c4@paper", "fineweb@paper", "fineweb@datatrove"} <= set(
        presets
    )
    for label, preset in presets.items():
        assert label == preset.label == f"{preset.name}@{preset.version}"
        assert preset.source
        assert len(preset.rules) >= 3
        assert not set(preset.rules) & set(ruling.BUILT_IN)
        assert all(isinstance(sql, str) for sql in preset.rules.values())


def test_presets_do_not_share_names() -> None:
    """Two presets of different names never replace each other's rules."""
    owners: dict[str, str] = {}
    for preset in ruling.presets().values():
        for rule in preset.rules:
            assert owners.setdefault(rule, preset.name) == preset.name


@pytest.mark.parametrize("label", ruling.presets())
def test_every_preset_fits_the_columns_there_are(label: str) -> None:
    """Each rule is a predicate over columns that the project measures, and is answered for an ordinary document."""
    made = recipe(f'[rules]\npresets = ["{label}"]')
    work, _ = workspace(made)
    rules = ruling.check(made, work)
    assert {rule.name for rule in rules} == set(ruling.presets()[label].rules)
    assert {rule.origin for rule in rules} == {label}
    values = {"error": None, "byte_count": 9, "id": "x"}
    zero: dict[Any, Any] = {pa.int32(): 0, pa.float32(): 0.0, pa.bool_(): False, pa.string(): "x", SPANS: []}
    row = {field.name: values.get(field.name, zero.get(field.type)) for field in work.row}
    connection = connect()
    connection.register("documents", pa.Table.from_pylist([row], work.row))
    (answer,) = connection.sql(ruling.query(rules, NO_EDITS)).to_arrow_table().to_pylist()
    assert answer["unanswered"] == []
    assert set(answer["reasons"]) <= {rule.name for rule in rules}
    assert all(ruling.columns_in(rule.predicate, work) for rule in rules)


def test_all_presets_fit_together() -> None:
    """As the design's recipe lists them."""
    names = ["gopher-quality", "gopher-repetition", "c4", "fineweb"]
    made = recipe(f'[rules]\npresets = {names}\n[edit]\nremove = ["c4_lines"]')
    rules = ruling.check(made, workspace(made)[0])
    assert len(rules) >= 25
    order = [names.index(rule.origin.removesuffix("@paper")) for rule in rules]
    assert order == sorted(order)


def test_a_rule_of_one_s_own_takes_a_preset_s_place() -> None:
    """It stands where the preset's stood; a new one stands last; false takes one away."""
    plain = [rule.name for rule in ruling.rules_of(recipe('[rules]\npresets = ["fineweb"]'))]
    made = ruling.rules_of(
        recipe(
            '[rules]\npresets = ["fineweb"]\nmine = "word_count < 3"\nfineweb_short_lines = "short_line_ratio > 0.9"\n'
            "fineweb_duplicate_line_chars = false"
        )
    )
    assert [rule.name for rule in made] == [name for name in plain if name != "fineweb_duplicate_line_chars"] + ["mine"]
    by_name = {rule.name: rule for rule in made}
    assert by_name["fineweb_short_lines"] == Rule("fineweb_short_lines", "short_line_ratio > 0.9", "recipe")
    assert by_name["fineweb_too_few_terminal_lines"].origin == "fineweb@paper"


SWITCHED = (
    'rules.fineweb_short_line: false switches a preset\'s rule off, and unknown rule "fineweb_short_line"; '
    'did you mean "fineweb_short_lines"?'
)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('presets = ["fineweb"]\nfineweb_short_line = false', SWITCHED),
        ('presets = ["finweb"]', 'rules.presets[0]: unknown preset "finweb"; did you mean "fineweb@paper"?'),
        ('unreadable = "word_count < 3"', "rules.unreadable: the name is taken: every run has this reason"),
        ('empty = "word_count < 3"', "rules.empty: the name is taken: every run has this reason"),
    ],
)  # fmt: skip
def test_what_rules_may_not_be_called(table: str, fault: str) -> None:
    """Misspelt names and names of the built-in reasons are faults."""
    assert fault in faults(f"[rules]\n{table}")


# checking


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("word_cont < 50", "there is no column 'word_cont'; nearest are word_count"),
        ("text like '%x%'", "there is no column 'text'"),
        ("zzzzzzzzzz > 1", "there is no column 'zzzzzzzzzz'; `curate signals` lists them"),
        ("word_count", "expected a predicate that is true or false, got integer from 'word_count'"),
        ("word_count - 50", "expected a predicate that is true or false"),
        ("'true'", "expected a predicate that is true or false"),
        ("null", "expected a predicate that is true or false"),
        ("word_count < avg(word_count)", "aggregate"),
        ("row_number() over () > 3", "window"),
        ("count(*) over (partition by uri) > 1", "window"),
        ("word_count < (select avg(word_count) from documents)", "documents"),
        ("uri in (select uri from documents where word_count > 5)", "documents"),
        ("word_count <", "syntax error"),
        ("random() < 0.5", "random gives another answer each time"),
        ("created_at < now()", "now gives another answer each time"),
        ('"random"() < 0.5', "random gives another answer each time"),
        ("age(created_at) > interval 5 years", "age gives another answer each time"),
        ("created_at < current_date", "current_date gives another answer each time"),
        ("word_count < (select count(*) from 'x.parquet')", "x.parquet"),
        ("word_count < 50; drop table documents", "syntax error"),
        ("no_such_function(uri)", "no_such_function"),
        ("word_count < 50 limit 3", "syntax error"),
    ],
)  # fmt: skip
def test_sql_that_cannot_judge_one_document_is_refused(sql: str, words: str) -> None:
    """With the rule's place; nothing was read or written yet."""
    (fault,) = faults(f"[rules]\nmine = {sql!r}" if '"' in sql or "'" not in sql else f'[rules]\nmine = "{sql}"')
    assert fault.startswith("rules.mine: ")
    assert words in fault


def test_faults_of_all_sql_are_said_at_once() -> None:
    """Rules, where, prefer, edits and columns, each with its place."""
    found = faults("""
[rules]
one = "word_cont < 3"
two = "word_count"
[dedup]
prefer = "education_scor desc"
[edit]
remove = ["c4_line"]
where = "sourc = 'web'"
[blend]
[[blend.group]]
name = "a"
where = "sorce = 'web'"
[release]
columns = ["educaton_score"]
""")
    places = [fault.partition(":")[0] for fault in found]
    assert sorted(places) == sorted(
        ["rules.one", "rules.two", "dedup.prefer", "edit.where", "edit.remove[0]", "blend.group[0].where",
         "release.columns[0]"]
    )  # fmt: skip
    assert 'edit.remove[0]: unknown edit "c4_line"; did you mean "c4_lines"?' in found
    assert 'release.columns[0]: unknown column "educaton_score"; did you mean "education_score"?' in found


@pytest.mark.parametrize(
    "sql", ["word_count < 50", "language not in ('en', 'de')", "coalesce(title, '') = ''", "is_x or true",
            "created_at < timestamptz '2020-01-01'", "WORD_COUNT < 50", "documents.word_count < 5",
            "json_extract_string(meta, '$.a') = 'b'", "list_contains(['a'], source)", "false"],
)  # fmt: skip
def test_sql_that_can_judge_one_document_is_taken(sql: str) -> None:
    """Every column but the text, and DuckDB's functions of one row."""
    made = recipe(f'[rules]\nmine = "{sql}"')
    if "is_x" in sql:
        assert "is_x" in faults(f'[rules]\nmine = "{sql}"')[0]
    else:
        assert ruling.check(made, workspace(made)[0])


def test_the_columns_of_an_expression() -> None:
    """Those it names, in the order of the workspace, in whatever case."""
    work, _ = workspace(recipe())
    assert ruling.columns_in("Word_Count < 5 and source = 'uri'", work) == ["source", "uri", "word_count"]
    assert ruling.columns_in("true", work) == []


# judging


def test_each_row_has_the_rules_that_hit_it() -> None:
    """All of them, in the order of the recipe."""
    rules = {"small": "n < 3", "odd": "n % 2 = 1", "never": "false"}
    found = judged(rules, [{"n": 1}, {"n": 2}, {"n": 4}, {"n": 5}])
    assert found == [(["small", "odd"], []), (["small"], []), ([], []), (["odd"], [])]


def test_what_cannot_be_judged_has_one_reason() -> None:
    """Error before empty before any rule; for such rows no rule is asked."""
    rules = {"any": "true", "asks": "n > 0"}
    rows = [{"error": "torn", "byte_count": 0, "n": None}, {"byte_count": 0, "n": None}, {"byte_count": 1, "n": 1}]
    assert judged(rules, rows) == [(["unreadable"], []), (["empty"], []), (["any", "asks"], [])]


def test_null_is_no_answer() -> None:
    """A rule that is null neither drops nor keeps: it is told as unanswered, beside those that did answer."""
    rules = {"a": "n > 0", "b": "byte_count = 10", "c": "n is null", "d": "n > 0 or true", "e": "not (n > 0)"}
    assert judged(rules, [{"n": None}]) == [(["b", "c", "d"], ["a", "e"])]


def test_no_rules_drop_what_cannot_be_judged() -> None:
    """And nothing else."""
    assert judged({}, [{}, {"byte_count": 0}, {"error": "x"}]) == [([], []), (["empty"], []), (["unreadable"], [])]


def span(start: int, end: int) -> dict[str, int]:
    """A span."""
    return {"start": start, "end": end}


def test_what_the_edits_leave_empty_is_dropped() -> None:
    """Where the edits apply and nothing is left."""
    rows = [{"a_lines": [span(0, 4), span(4, 10)]}, {"a_lines": [span(0, 9)]}, {"n": 2, "a_lines": [span(0, 10)]}]
    found = judged({"small": "n < 2"}, rows, Edits(("a_lines",), "n = 1"))
    assert found == [(["empty_after_edit", "small"], []), (["small"], []), ([], [])]


@st.composite
def spans(draw: st.DrawFn, length: int) -> list[dict[str, int]]:
    """Sorted spans that do not overlap, as a signal gives them."""
    bounds = sorted(draw(st.lists(st.integers(0, length), max_size=8, unique=True)))
    return [span(start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=False)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_edited_bytes_is_what_is_left_of_the_text(data: st.DataObject) -> None:
    """One span column or several that overlap: the bytes outside their union, as publish cuts them."""
    texts = data.draw(st.lists(st.text("abcdefg ", max_size=20), min_size=1, max_size=4))
    rows = []
    for text in texts:
        columns = {name: data.draw(spans(len(text))) for name in ("a", "b", "c")}
        rows.append({"byte_count": len(text), **columns})
    connection = connect()
    connection.register("documents", pa.Table.from_pylist(
        rows, pa.schema([("byte_count", pa.int32()), *((name, SPANS) for name in "abc")])
    ))  # fmt: skip
    for names in (("a",), ("a", "b"), ("a", "b", "c")):
        sql = ruling.edited_bytes(Edits(names, "true"))
        answers = [row[0] for row in connection.execute(f"SELECT {sql} FROM documents").fetchall()]
        unions = [
            len({place for name in names for one in row[name] for place in range(one["start"], one["end"])})
            for row in rows
        ]
        assert answers == [len(text) - union for text, union in zip(texts, unions, strict=True)]
        assert answers == [
            len(edited(text.encode(), [(one["start"], one["end"]) for name in names for one in row[name]], []))
            for text, row in zip(texts, rows, strict=True)
        ]


# on a run

TEXTS = [{"text": "one two three four five six", "title": "A"}, {"text": "one two", "title": "B"}, {"text": ""},
         {"text": "seven eight nine", "title": "C", "license": "MIT"}]  # fmt: skip


def test_a_rule_that_is_null_stops_the_run(tiny: Callable[..., Run]) -> None:
    """It names the rule, the document, the column and the remedy; nothing is judged."""
    with pytest.raises(RuleError) as caught:
        tiny({"s": TEXTS}, """[rules]\nunfree = "license <> 'MIT'" """, until="judge")
    assert caught.value.message.startswith("rules.unfree: no answer for document ")
    assert "of s: license is null in \"license <> 'MIT'\"" in caught.value.message
    assert caught.value.remedy
    assert 'unfree = "coalesce(license, ' in caught.value.remedy
    run = tiny({"s": TEXTS}, """[rules]\nunfree = "coalesce(license, '') <> 'MIT'" """, until="judge")
    assert run.figures["judge"]["sources"]["s"]["rules"] == {"unfree": 2, "empty": 1}


def test_a_null_of_an_unreadable_or_empty_document_stops_nothing(tiny: Callable[..., Run]) -> None:
    """The title of the empty one is null, and nobody asks."""
    run = tiny({"s": TEXTS}, """[rules]\nfirst = "title = 'A'" """, until="judge")
    assert run.figures["judge"]["sources"]["s"]["rules"] == {"first": 1, "empty": 1}


def test_a_rule_that_fails_on_a_document_is_named(tiny: Callable[..., Run]) -> None:
    """What cannot be computed is an error of the rule, not of the program."""
    for sql in ("title::INTEGER > 3", "title = 3"):
        with pytest.raises(RuleError, match=r"rules\.numbered: cannot be computed.*'A'") as caught:
            tiny({"s": TEXTS}, f'[rules]\nfine = "word_count < 0"\nnumbered = "{sql}"', until="judge")
        assert caught.value.remedy


def test_a_missing_column_stops_before_the_first_byte(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Nothing was pulled."""
    with pytest.raises(RecipeError, match="there is no column 'word_cont'; nearest are word_count"):
        tiny({"s": TEXTS}, '[rules]\nshort = "word_cont < 3"')
    assert not (tmp_path / "work").exists()


def test_a_changed_rule_changes_the_verdicts_alone(tiny: Callable[..., Run]) -> None:
    """Documents and signals are as they were; a rule that is back gives what it gave."""
    run = tiny({"s": TEXTS}, '[rules]\nshort = "word_count < 3"', until="judge")
    first = run.figures["judge"]
    assert first["rules"] == {"short": 1, "empty": 1}
    run = tiny({"s": TEXTS}, '[rules]\nshort = "word_count < 4"', until="judge")
    assert run.figures["judge"]["rules"] == {"short": 2, "empty": 1}
    assert run.figures["measure"]["parts"] == 0
    assert tiny({"s": TEXTS}, '[rules]\nshort = "word_count < 3"', until="judge").figures["judge"] == first


def test_rules_that_hit_nothing_or_nearly_all_are_said(tiny: Callable[..., Run]) -> None:
    """In the warnings of the run, with the numbers."""
    table = '[rules]\nalarm_share = 0.5\nmost = "word_count < 5"\nnone = "word_count > 99"'
    run = tiny({"s": TEXTS}, table, until="judge")
    assert not any(line.startswith("rule most") for line in run.warnings)
    run = tiny({"s": TEXTS}, table, "rules.alarm_share=0.49", until="judge")
    assert "rule most hit 2 of 4 documents (50%): is that meant?" in run.warnings
    assert any("1 of 2 rules hit nothing: none" in line for line in run.warnings)
    assert run.figures["judge"]["silent_rules"] == ["none"]
    run = tiny({"s": TEXTS}, '[rules]\nall = "true"', until="judge")
    assert "no document is kept" in run.warnings


def test_a_source_that_is_lost_is_said(tiny: Callable[..., Run]) -> None:
    """Nearly all errors, no document, none kept: each by its name, and not the source that is well."""
    unread = [{"text": 5}] * 9 + TEXTS[:1]
    run = tiny({"good": TEXTS, "bad": unread, "none": []}, "[dedup]\nenabled = false", until="judge")
    said = [line for line in run.warnings if line.startswith("source ")]
    assert said == [
        "source bad: 9 of 10 documents cannot be read (90%): are its kind and fields right?",
        "source none has no document",
    ]
    more = "[rules]\nof_two = \"source = 'two'\""
    run = tiny({"one": TEXTS, "two": [{"text": "five words that are kept"}]}, more, until="judge")
    assert "source two: of its 1 documents none is kept" in run.warnings


def test_a_source_that_wants_nothing_is_said(tiny: Callable[..., Run]) -> None:
    """With how many there were."""
    run = tiny({"s": TEXTS}, "", "source.s.where=text = 'Z'", until="judge")
    assert "source s has no document: 4 were read and not wanted by its `where`" in run.warnings
