"""The report: one page that says everything, escapes everything, and is the same everywhere."""

from __future__ import annotations

import itertools
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from curation import report as reporting
from curation import rules as ruling
from curation.dedup.signatures import probability
from curation.engine import LocalEngine
from curation.progress import Silent
from curation.recipe import parse
from curation.report import toml
from curation.run import Run, workspace

if TYPE_CHECKING:
    from curation.recipe import Recipe

SCRIPT = "<script>alert('x')</script>"
VOID = {"meta", "rect", "line", "circle", "polyline", "br"}


def recipe(**changes: object) -> Recipe:
    """A recipe whose free texts hold HTML."""
    table = {
        "name": "textbook",
        "source": [
            {"name": "web", "kind": "warc", "paths": ["*.warc.gz"], "license": "<b>any</b>"},
            {"name": "books", "kind": "jsonl", "paths": ["*.jsonl"], "fields": {"text": "body of it"}},
        ],
        "rules": {
            "presets": ["gopher-quality"],
            "gopher_too_long": False,
            "odd": f"title = '{SCRIPT.replace(chr(39), '')}'",
            "low_value": "education_score < 2",
        },
        "blend": {
            "tokens": 1_000_000,
            "rest": "drop",
            "group": [
                {"name": "web", "where": "source = 'web'", "share": 0.5},
                {"name": "books", "where": "source = 'books'", "share": 0.5, "max_copies": 4},
            ],
        },
    }
    return parse({**table, **changes}, Path("recipe.toml"))


def run(made_of: Recipe, warnings: list[str] | None = None) -> Run:
    """A run whose stages said what they would have said."""
    sources = {
        "web": {
            "documents": 12_000, "errors": 1_000, "dropped": 6_000, "duplicates": 2_000, "kept": 3_000,
            "rules": {"odd": 2_500, "empty": 100, "gopher_too_short": 4_000},
        },
        "books": {
            "documents": 345, "errors": 0, "dropped": 45, "duplicates": 0, "kept": 300,
            "rules": {"gopher_too_short": 45},
        },
    }  # fmt: skip
    group = {"asked_share": 0.5, "asked_tokens": 500_000, "whole": 1, "last": None}
    groups = [
        {**group, "name": "web", "available_documents": 3_000, "available_tokens": 900_000, "max_copies": 1,
         "documents": 1_650, "tokens": 499_876, "why": None, "achieved_share": 0.714},
        {**group, "name": "books", "available_documents": 300, "available_tokens": 50_000, "max_copies": 4,
         "documents": 300, "tokens": 200_000, "why": f"only {SCRIPT}", "achieved_share": 0.286},
    ]  # fmt: skip
    work, signals = workspace(made_of)
    state = Run(made_of, work, signals, LocalEngine(1, Silent()), Silent())
    state.inputs = [{"source": "web", "uri": "a.warc.gz", "bytes": 2_500_000, "sha256": "0" * 64}]
    state.warnings = warnings if warnings is not None else [f"a warning with {SCRIPT}"]
    state.figures = {
        "compare": {"exact": 1_111, "near": 2_222, "candidates": 33_333, "not_compared": 4_444},
        "judge": {
            "sources": sources,
            "rules": {"empty": 100, "gopher_too_short": 4_045, "odd": 2_500},
            "silent_rules": ["gopher_too_many_hashes", "low_value"],
        },
        "blend": {"asked_tokens": 1_000_000, "tokens": 699_876, "documents": 1_950, "left_over": 0, "groups": groups},
    }
    return state


class Page(HTMLParser):
    """Tags in order, text by tag, and whether every tag that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Open it."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Note it."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Close what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep what a person reads."""
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that a person reads."""
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def page() -> str:
    """The page of that run."""
    return reporting.html(run(recipe()))


def test_is_written_into_the_workspace(tmp_path):
    """The stage writes report.html and says how large it is."""
    state = run(recipe(work=str(tmp_path)))
    figures = reporting.report(state)
    written = (tmp_path / "report.html").read_bytes()
    assert figures == {"bytes": len(written)}
    assert written.decode() == reporting.html(state)


def test_is_one_small_file_that_asks_for_nothing(page):
    """No script, no address to fetch from, and far below 200 kB."""
    tags = Page(page).tags
    assert len(page.encode()) < 60_000
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "image", "use"}
    assert not [name for _, attrs in tags for name in attrs if name in ("src", "href") or name.startswith("on")]
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_says_every_number(page):
    """Counts by source, hits by rule, pairs, and what the blend was asked and gave."""
    text = Page(page).text
    for number in ("12,345", "3,300", "12,000", "1,000", "6,045", "2,000", "345", "4,045", "2,500",
                   "1,111", "2,222", "33,333", "4,444", "500,000", "499,876", "200,000", "2.5 MB"):  # fmt: skip
        assert number in text, number
    assert "gopher_too_short gopher-quality@paper word_count < 50 4,045 35.7% web 4,000, books 45" in text
    assert "empty built in no text 100" in text
    preset = Path(ruling.__file__).parent / "presets/gopher-quality@paper.toml"
    rules = len(tomllib.loads(preset.read_text())["rules"]) + 1  # one is switched off, two are the recipe's own
    assert f"2 of {rules}. That may be right" in text
    assert "as asked, to the document: the next one would go over" in text


def test_rules_are_sorted_by_hits(page):
    """The rule that hit most stands first."""
    assert re.findall(r'"rule"><code>(\w+)</code>', page)[:3] == ["gopher_too_short", "odd", "empty"]


def test_bars_are_as_long_as_the_counts(page):
    """A source's pieces touch each other and fill the bar in the proportion of the counts."""
    bar = page.split('aria-labelledby="bar-1-title')[1].split("</svg>")[0]
    pieces = re.findall(r'class="(\w+)" x="([\d.]+)%" width="([\d.]+)%"', bar)
    assert pieces == [
        ("kept", "0.0", "25.0"),
        ("duplicates", "25.0", "16.667"),
        ("dropped", "41.667", "50.0"),
        ("errors", "91.667", "8.333"),
    ]


def test_curve_is_the_probability_of_the_recipe(page):
    """The point on the curve is at the threshold, as high as a pair of that similarity is likely to be a candidate."""
    found = re.search(r'circle cx="([\d.]+)" cy="([\d.]+)"', page)
    assert found
    left, right, top, bottom = (42, 348, 14, 188)
    assert float(found[1]) == pytest.approx(left + 0.75 * (right - left), abs=0.06)
    assert float(found[2]) == pytest.approx(bottom - probability(0.75, 14, 8) * (bottom - top), abs=0.06)


def test_what_comes_from_data_is_escaped(page):
    """A script in a warning, a predicate, a reason or a licence is shown and never runs."""
    assert "<script" not in page
    assert "<b>any" not in page
    assert page.count("&lt;script&gt;") == 4  # the warning, the predicate of a rule, a reason, the recipe
    text = Page(page).text
    assert f"a warning with {SCRIPT}" in text
    assert f"only {SCRIPT}" in text
    assert "<b>any</b>" in text


def test_warnings_come_first(page):
    """What a person should look at stands above all tables; a run without warnings says so."""
    assert page.index("a warning with") < page.index("<table>")
    assert "None." in Page(reporting.html(run(recipe(), warnings=[]))).text


def test_is_the_same_for_every_run_and_place(tmp_path, monkeypatch):
    """Neither the machine's folders nor what was made already show."""
    monkeypatch.chdir(tmp_path)
    first, second = run(recipe(work=str(tmp_path / "one"))), run(recipe(work=str(tmp_path / "two")))
    first.figures |= {"pull": {"inputs_read": 1}, "measure": {"rows": 12_345}}
    second.figures |= {"pull": {"inputs_read": 0}, "measure": {"rows": 0}}
    second.stages["pull"] = {"seconds": 1.5}
    assert reporting.html(first) == reporting.html(second)
    assert str(tmp_path) not in reporting.html(first)


def test_can_be_read_by_a_screen_reader(page):
    """Tags are closed, headings do not skip a level, headers have a scope, drawings a title and a description."""
    parsed = Page(page)
    assert parsed.open == []
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in parsed.tags if tag == "th")
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    drawings = [attrs for tag, attrs in parsed.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(drawings) == 3 + 1 + 2  # sources and their sum, the curve, groups
    for attrs in drawings:
        assert set(cast("str", attrs["aria-labelledby"]).split()) <= set(ids)


@pytest.mark.parametrize(
    ("ink", "page_colour"), [("ink", "page"), ("quiet", "page"), ("quiet", "soft"), ("ink", "warning")]
)
@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast_is_enough_for_text(page, ink, page_colour, scheme):
    """Text stands out from what it is on by 4.5 to 1 (WCAG 2.2, 1.4.3) in light and in dark."""

    def luminance(name: str) -> float:
        colour = re.findall(rf"--{name}: #(\w{{6}})", page)[scheme]
        parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(ink), luminance(page_colour)))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_without_budget_rules_and_dedup():
    """A recipe that asks for nothing still gets its page."""
    plain = recipe(rules={}, blend={}, dedup={"enabled": False})
    state = run(plain, warnings=[])
    group = state.figures["blend"]["groups"][0] | {"asked_share": None, "asked_tokens": None}
    state.figures["blend"] |= {"asked_tokens": None, "groups": [group]}
    state.figures["judge"] |= {"rules": {}, "silent_rules": []}
    state.figures["compare"] = {"pairs": 0}
    text = Page(reporting.html(state)).text
    for said in ("no budget was set", "No rule hit a document.", "The recipe has no rules.",
                 "does not look for duplicates", "no budget: everything, once"):  # fmt: skip
        assert said in text, said


def test_nothing_came_in():
    """No documents at all is no division by zero."""
    state = run(recipe())
    for counts in state.figures["judge"]["sources"].values():
        counts |= {"documents": 0, "errors": 0, "dropped": 0, "duplicates": 0, "kept": 0, "rules": {}}
    state.figures["judge"]["rules"] = {}
    state.figures["blend"] |= {"tokens": 0, "documents": 0, "groups": []}
    assert "0 of 0 kept" in Page(reporting.html(state)).text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rules": {}, "blend": {}, "edit": {"remove": ["c4_lines"]}},
        {
            "signals": {
                "c4": {"enabled": False},
                "own-one": {"module": "a.b", "deep": {"list": [{"x": 1}], "e": '\x7f\n"'}},
            }
        },
        {"release": {"version": "2026.11.23", "shard_bytes": "1 MB", "columns": ["language"]}},
    ],
)
def test_recipe_is_written_as_the_toml_it_was(changes):
    """What is shown can be read again, and says the same."""
    semantic = recipe(**changes).semantic()
    shown = tomllib.loads(toml.written(semantic))
    for source in shown["source"]:
        source["paths"] = ["-"]
    assert parse(shown, Path("recipe.toml")).semantic() == semantic
    assert toml.recipe_of(semantic).semantic() == semantic
