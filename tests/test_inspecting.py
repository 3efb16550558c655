"""`curate explain`, `sql` and `rules`: JSON whatever the values, and whose verdicts they show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from curation.cli import inspecting
from curation.cli.report import report
from curation.explain import is_judged
from curation.recipe import load

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from curation.run import Run

TEXTS = [{"text": "one two three", "uri": "a"}, {"text": "one", "uri": "b"}]
SHORT = '[rules]\nshort = "word_count < 2"\n'


def call(command: click.Command, *arguments: object) -> tuple[int, str, str]:
    """Exit status, output and errors of a command."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select 'nan'::float as a, '-inf'::double as b", [{"a": None, "b": None}]),
        ("select 1 as a, 2 as a, 3 as a_1, 4 as a", [{"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}]),
        (r"select '\xFF\x01'::blob as a", [{"a": "ff01"}]),
        ("select map([1.5::double], [['inf'::double, 2]]) as a", [{"a": {"1.5": [None, 2.0]}}]),
        ("select {'b': 'nan'::float, 'c': [null]} as a", [{"a": {"b": None, "c": [None]}}]),
        ("select date '2026-01-02' as a, true as b, null as c", [{"a": "2026-01-02", "b": True, "c": None}]),
    ],
)
def test_sql_as_json_is_json_and_loses_nothing(
    tiny: Callable[..., Run], query: str, rows: list[dict[str, object]]
) -> None:
    """NaN and infinity are null, bytes hex, and columns of one name numbered, at any depth."""
    path = tiny({"s": TEXTS}, until="pull").recipe.path
    status, out, error = call(inspecting.sql, path, query, "--json")
    assert status == 0, error
    assert json.loads(out, parse_constant=pytest.fail) == rows


def test_an_explanation_is_json_with_its_bytes(tiny: Callable[..., Run]) -> None:
    """The signature is hex."""
    path = tiny({"s": TEXTS}, until="judge").recipe.path
    (found,) = json.loads(call(inspecting.explain, path, "a", "--json")[1], parse_constant=pytest.fail)
    assert len(bytes.fromhex(found["signals"]["signature"]["minhash"])) == 18 * 6 * 4


def test_verdicts_of_another_recipe_are_said_to_be(tiny: Callable[..., Run]) -> None:
    """In one line on stderr, by explain and rules; not after the run of this recipe, nor before any."""
    path = tiny({"s": TEXTS}, SHORT, until="pull").recipe.path
    assert call(inspecting.rules, path)[2] == ""
    assert not is_judged(load(path))
    path = tiny({"s": TEXTS}, SHORT, until="report").recipe.path
    for command in ([inspecting.rules, path], [inspecting.explain, path, "b"], [report, path]):
        assert call(*command)[2] == ""
        for change in ("rules.short=word_count < 3", "dedup.prefer=word_count"):
            status, out, error = call(*command, "--set", change)
            assert (status, error.count("\n")) == (0, 1), out
            assert error.startswith("warning: the last run was not of this recipe as it is now")
            assert "curate run " in error
    assert not is_judged(load(path, ("rules.short=no_such_column < 3",)))


def test_rules_are_counted_alone_and_together(tiny: Callable[..., Run]) -> None:
    """Hits are of the readable documents; built-in reasons are listed; the busiest pairs are first; no run, no hits."""
    texts = ["one two", "one three", "two one", "one", "", "three one two six"]
    documents = [{"text": text, "uri": str(place)} for place, text in enumerate(texts)] + [{"error": "torn"}]
    rules = """[rules]
short = "word_count < 3"
single = "word_count < 2"
even = "uri in ('0', '2', '3')"
none = "word_count > 9"
"""
    path = tiny({"s": documents}, rules, until="pull").recipe.path
    found = json.loads(call(inspecting.rules, path, "--json")[1])
    assert (found["readable"], found["together"]) == (None, [])
    assert {row["hits"] for row in found["rules"]} == {None}
    path = tiny({"s": documents}, rules, until="judge").recipe.path
    found = json.loads(call(inspecting.rules, path, "--json")[1])
    assert found["readable"] == 6
    assert [(row["rule"], row["hits"], row["alone"], row["share"], row["drops"]) for row in found["rules"]] == [
        ("short", 4, 1, 0.6667, "word_count < 3"),
        ("single", 1, 0, 0.1667, "word_count < 2"),
        ("even", 3, 0, 0.5, "uri in ('0', '2', '3')"),
        ("none", 0, 0, 0.0, "word_count > 9"),
        ("empty", 1, 1, 0.1667, ""),
    ]
    assert found["together"] == [
        {"rules": ["even", "short"], "hits": 3},
        {"rules": ["even", "single"], "hits": 1},
        {"rules": ["short", "single"], "hits": 1},
    ]
    lines = call(inspecting.rules, path)[1].splitlines()
    assert lines[1].split() == ["short", "4", "66.7%", "1", "recipe", "word_count", "<", "3"]
    assert lines[-3].split() == ["even", "+", "short", "3"]
