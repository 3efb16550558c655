"""The report: one page that says everything, escapes everything, asks for nothing and is the same everywhere."""

from __future__ import annotations

import http.server
import itertools
import json
import re
import shutil
import subprocess
import threading
import tomllib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemBytecodeCache

from curation import pipeline
from curation import report as reporting
from curation.dataset import Dataset, Part
from curation.dedup.signatures import probability
from curation.engine import LocalEngine
from curation.kernels.place import folder as of_kernels
from curation.recipe import load, parse
from curation.report import changes, drawing, histograms, samples, toml
from curation.report.page import page as view_of
from curation.report.shown import environment, visible
from curation.report.thresholds import thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.recipe import Recipe
    from curation.run import Run

VOID = {"meta", "rect", "line", "circle", "polyline", "path", "br"}

SCRIPT = "<script>document.title='owned'</script>"
BREAKOUT = "</pre></details></dd></title></style></svg>\"'><img src=x onerror=document.title='owned'>"
UNSEEN = "a\0b\x1b[31mc\u202ed\u2066e\x85f\ufffe"
HOSTILE = f"{SCRIPT} {BREAKOUT} {UNSEEN}"

WORDS = [
    "the",
    "tide",
    "comes",
    "and",
    "goes",
    "with",
    "moon",
    "that",
    "is",
    "to",
    "be",
    "seen",
    "in",
    "every",
    "harbour",
    "of",
]


def prose(seed: int, words: int = 80) -> str:
    """Words in an order of their own for each seed, in sentences of ten."""
    return " ".join(
        WORDS[(seed * 7919 + place * place * (seed + 3) + place) % len(WORDS)] + (f"{seed}." if place % 10 == 9 else "")
        for place in range(words)
    )


class Page(HTMLParser):
    """Tags in order, text by tag, and whether every tag that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open it."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep what a person reads."""
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that a person reads."""
        return " ".join(" ".join(self.texts).split())


def is_inert(page: str) -> Page:
    """The page, once it is seen to hold nothing that runs, loads or leads away."""
    parsed = Page(page)
    assert parsed.open == []
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {
        "script",
        "link",
        "img",
        "iframe",
        "image",
        "use",
        "object",
        "embed",
        "form",
        "base",
        "foreignobject",
    }
    for tag, attrs in parsed.tags:
        for name, value in attrs.items():
            assert not name.startswith("on"), tag
            assert name not in ("src", "srcset", "style", "xlink:href", "formaction")
            assert name != "href" or re.fullmatch("#[a-z]+", value or "")
    (policy,) = [attrs["content"] for tag, attrs in parsed.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe]", page)
    return parsed


def written(run: Run) -> str:
    """The page that a run wrote."""
    data = run.work.storage.read("report.html")
    assert data is not None
    return data.decode()


RULES = f"""
[rules]
short = "word_count < 50"
long = "word_count > 200"
odd = "coalesce(title, '') = '{SCRIPT.replace("'", "")}'"
never = "word_count < 0 and language <> 'xx'"
few_lines = "byte_count < 260 or word_count between 500 and 600"
foreign = "language <> 'en' and word_count > 3"
[blend]
tokens = 3000
rest = "drop"
[[blend.group]]
name = "web"
where = "source = 'web'"
share = 0.5
max_copies = 3
[[blend.group]]
name = "books"
where = "source = 'books'"
share = 0.5
"""


def hostile_rows() -> dict[str, list[dict[str, Any]]]:
    """Documents of every fate, with what could come alive in every field that data decides."""
    twice = prose(1, 100)
    near = twice.rsplit(" ", 1)[0] + " differently."
    web: list[dict[str, Any]] = [
        {
            "text": f"{HOSTILE} {prose(seed, 100)}",
            "title": f"{seed} {HOSTILE}",
            "url": f"https://a{seed}.example/{HOSTILE}",
        }
        for seed in range(10, 16)
    ]
    web += [
        {"text": twice, "title": "first", "url": "https://a.example/1"},
        {"text": near, "title": "second " + SCRIPT},
    ]
    web += [{"text": twice, "title": "x" * 1_000_000, "url": "https://a.example/2"}]
    web += [{"text": f"{SCRIPT} too short", "title": SCRIPT.replace("'", ""), "url": "javascript:alert(1)"}]
    web += [{"text": HOSTILE, "title": "</summary>"}, {"text": ""}, {"text": 5}, {"nothing": SCRIPT}]
    books = [{"text": prose(seed, 120), "license": SCRIPT, "title": f"book {seed}"} for seed in range(30, 36)]
    books += [{"text": f"Write to anna@harbour-museum.org or to jo@harbour-museum.org. {prose(60, 110)}"}]
    books += [{"text": prose(99, 260)}, {"text": prose(98, 40)}]
    return {"web": web, "books": books}


@pytest.fixture(scope="module")
def hostile(engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run over those documents, with the languages and hosts measured."""
    folder = tmp_path_factory.mktemp("hostile")
    text = 'name = "hostile"\nwork = "work"\n[dedup]\nprefer = "word_count desc"\nmax_loss = 1.0\n'
    for name, rows in hostile_rows().items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        text += f'[[source]]\nname = "{name}"\nkind = "jsonl"\npaths = ["{name}.jsonl"]\nfields = {{ uri = "url" }}\n'
        text += f'license = "{SCRIPT}"\n' if name == "web" else ""
    for signal in ("gopher_quality", "gopher_repetition", "c4", "fineweb"):
        text += f"[signals.{signal}]\nenabled = false\n"
    (folder / "recipe.toml").write_text(text + RULES)
    return pipeline.run(load(folder / "recipe.toml"), engine)


def test_what_comes_from_data_is_shown_and_never_comes_alive(hostile: Run) -> None:
    """Scripts, tags that end others, attributes, orders of direction and controls in every field are but text."""
    page = written(hostile)
    parsed = is_inert(page)
    assert len(page.encode()) < 300_000  # a title of a megabyte is cut
    text = parsed.text
    for said in (SCRIPT, BREAKOUT, "a␀b␛[31mc[U+202E]d[U+2066]e[U+0085]f[U+FFFE]", "javascript:alert(1)"):
        assert said in text
    assert text.count("<script>") > 10


def test_nothing_leaves_the_page(hostile: Run, tmp_path: Path) -> None:
    """Chromium asks a server that waits for it nothing, and runs nothing, though texts and titles tell it to."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium here")
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_port}"
        live = f"<img src={there}/live onerror=\"document.title='owned'\">"

        def title(name: str, page: str) -> str:
            """The title once chromium has shown the page."""
            (tmp_path / name).write_text(page)
            done = subprocess.run(
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
                 "--virtual-time-budget=2000", "--dump-dom", (tmp_path / name).as_uri()],
                capture_output=True, text=True, check=True, timeout=120,
            )  # fmt: skip
            return done.stdout.partition("<title>")[2].partition("</title>")[0]

        page = written(hostile)
        assert title("report.html", page) == "hostile: curation report"
        assert title("pierced.html", page.replace("<main>", f"<main>{live}{SCRIPT}")) == "hostile: curation report"
        assert asked == []
        assert title("witness.html", f"<title>x</title>{live}{SCRIPT}") == "owned"  # this would have been seen
        assert asked == ["/live"]
        server.shutdown()


def fates(run: Run) -> dict[str, dict[str, Any]]:
    """Every verdict with the document's columns, by id, read from the files alone."""
    rows: dict[str, dict[str, Any]] = {}
    for part in run.parts:
        tables = (run.work.documents.read(part), run.work.verdicts.read(part), run.work.blend.read(part),
                  *(run.work.signal(name).read(part) for name in run.work.signals if name != "signature"))  # fmt: skip
        for entries in zip(*(table.to_pylist() for table in tables), strict=True):
            row = {key: value for entry in entries for key, value in entry.items()}
            rows[row["id"]] = row
    return rows


def test_counts_are_those_of_the_verdicts(hostile: Run) -> None:
    """Alone, together, tokens by fate, rows released, languages and domains, counted again one by one."""
    rows = list(fates(hostile).values())
    view = view_of(hostile)
    dropped = [set(row["reasons"]) for row in rows if row["reasons"] and row["reasons"] != ["unreadable"]]
    alone = Counter(next(iter(reasons)) for reasons in dropped if len(reasons) == 1)
    together = Counter(pair for reasons in dropped for pair in itertools.combinations(sorted(reasons), 2))
    assert {hit["name"]: hit["alone"] for hit in view["hits"]} == {
        hit["name"]: alone[hit["name"]] for hit in view["hits"]
    }
    assert {tuple(sorted(row["names"])): row["count"] for row in view["together"]["rows"]} == together
    assert together
    assert sum(alone.values()) > 1
    estimated = {row["id"]: -(-row["byte_count"] // 4) for row in rows}
    kept = [row for row in rows if row["keep"]]
    steps = {step["name"]: (step["documents"], step["tokens"]) for step in view["funnel"]}
    assert steps["Pulled"] == (len(rows), sum(estimated.values()))
    assert steps["Kept"] == (len(kept), sum(estimated[row["id"]] for row in kept))
    assert steps["In the blend"] == (
        sum(row["copies"] > 0 for row in rows), sum(row["tokens"] for row in rows if row["copies"])
    )  # fmt: skip
    assert steps["Released"] == (
        sum(row["copies"] for row in rows), sum(row["tokens"] * row["copies"] for row in rows)
    )  # fmt: skip
    assert steps["Released"][0] > steps["In the blend"][0] > 0
    languages = Counter(row["language"] for row in rows if row["byte_count"])
    assert {row["language"]: row["documents"] for row in view["languages"]["rows"]} == languages
    hosts = Counter(row["registered_domain"] for row in rows if row["registered_domain"])
    assert {row["name"]: row["documents"] for row in view["domains"]["rows"]} == hosts
    assert view["domains"]["number"] == len(hosts) > 3
    for figure in view["figures"]:
        assert figure["documents"] == sum(row["byte_count"] > 0 for row in rows)


def test_manifest_takes_the_counts_over(hostile: Run) -> None:
    """By source the tokens and what was hit alone; rules that hit together; languages."""
    release = hostile.figures["publish"]["release"]
    manifest = json.loads((Path(release) / "manifest.json").read_text())
    view = view_of(hostile)
    assert sum(source["released_rows"] for source in manifest["sources"]) == manifest["rows"]
    assert sum(source["released_tokens"] for source in manifest["sources"]) == manifest["tokens"]
    assert sum(source["pulled_tokens"] for source in manifest["sources"]) == view["funnel"][0]["tokens"]
    assert sum(sum(source["alone"].values()) for source in manifest["sources"]) == sum(h["alone"] for h in view["hits"])
    assert manifest["languages"] == view["languages"]["rows"]
    assert manifest["together"][0] == [*view["together"]["rows"][0]["names"], view["together"]["rows"][0]["count"]]


def test_samples_are_of_every_kind(hostile: Run) -> None:
    """Kept, borderline on both sides, dropped by each reason, errors, and pairs; each with its text and values."""
    rows = fates(hostile)
    shown = view_of(hostile)["samples"]
    assert all(doc.fate == "kept" and rows[doc.id]["keep"] for entry in shown["kept"] for doc in entry["documents"])
    assert {entry["name"] for entry in shown["dropped"]} == set(hostile.figures["judge"]["rules"])
    for entry in shown["dropped"]:
        assert all(entry["name"] in rows[doc.id]["reasons"] for doc in entry["documents"])
    (short,) = [border for border in shown["borderline"] if border["rule"].name == "short"]
    words = [rows[doc.id]["word_count"] for doc in short["documents"]]
    kept = sorted(row["word_count"] for row in rows.values() if row["keep"])
    assert words == sorted(words)
    assert words[-1] == kept[1] or words[-2] == kept[0]
    assert short["documents"][0].reasons == ("short",) or short["documents"][0].fate == "kept"
    assert {doc.source for entry in shown["errors"] for doc in entry["documents"]} == {"web"}
    assert all(doc.error for entry in shown["errors"] for doc in entry["documents"])
    (pair,) = shown["pairs"]
    assert rows[pair["gone"].id]["duplicate_of"] == pair["kept"].id
    assert 0.75 <= pair["similarity"] < 1
    for doc in (pair["gone"], pair["kept"], *(doc for entry in shown["kept"] for doc in entry["documents"])):
        assert rows[doc.id]["text"].startswith(cast("str", doc.text))
        assert len(cast("str", doc.text)) == min(1_200, len(rows[doc.id]["text"]))
        assert doc.values["word_count"] == rows[doc.id]["word_count"]


def test_samples_read_a_bounded_number_of_row_groups(
    hostile: Run, monkeypatch: pytest.MonkeyPatch, engine: LocalEngine
) -> None:
    """No text but that of the row groups that hold samples is read, and of these no more than the limit."""
    assert engine
    read: list[tuple[Part, tuple[int, ...]]] = []
    groups, whole = Dataset.read_groups, Dataset.read

    def read_groups(self: Dataset, part: Part, wanted: list[int], columns: Any = None) -> Any:
        read.append((part, tuple(wanted)))
        return groups(self, part, wanted, columns)

    def read_all(self: Dataset, part: Part, columns: Any = None) -> Any:
        assert self.name != "documents" or (columns is not None and "text" not in columns)
        return whole(self, part, columns)

    monkeypatch.setattr(Dataset, "read_groups", read_groups)
    monkeypatch.setattr(Dataset, "read", read_all)
    assert view_of(hostile)["samples"]["kept"]
    assert 0 < len(read) == len(set(read)) <= samples.GROUPS
    read.clear()
    monkeypatch.setattr(samples, "GROUPS", 1)
    view = view_of(hostile)
    assert len(read) == 1
    shown = [doc for entry in view["samples"]["kept"] for doc in entry["documents"]]
    assert any(doc.text is None for doc in shown)
    assert any(doc.text for doc in shown)
    assert "Its text was not read" in Page(reporting.html(view)).text
    monkeypatch.setattr(samples, "GROUP_BYTES", 1)
    assert not any(doc.text for entry in view_of(hostile)["samples"]["kept"] for doc in entry["documents"])


def test_is_the_same_for_every_run_and_place(hostile: Run) -> None:
    """The same bytes again, though a release of the same was published since; neither folders nor times show."""
    page = written(hostile)
    assert reporting.html(view_of(hostile)) == page
    assert str(hostile.recipe.base) not in page
    assert "There is no release before this one" in page


def test_is_made_again_only_where_something_changed(hostile: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page and its figures stay; what was changed by hand, cut short or lost is made again."""
    storage = hostile.work.storage
    figures, page, record = hostile.figures["report"], written(hostile), storage.read("report.json")
    assert record is not None
    with monkeypatch.context() as patch:
        patch.setattr(reporting, "page", None)
        assert reporting.report(hostile) == figures
    for name, data in (("report.html", b"<p>"), ("report.json", b"{"), ("report.json", b"[]"), ("report.json", b"{}")):
        storage.write(name, data)
        assert reporting.report(hostile) == figures
        assert written(hostile) == page
    storage.remove("report.html")
    assert reporting.report(hostile) == figures
    monkeypatch.setattr(hostile, "warnings", ["another"])
    reporting.report(hostile)
    assert "<li>another</li>" in written(hostile)
    monkeypatch.undo()
    reporting.report(hostile)
    assert (written(hostile), storage.read("report.json")) == (page, record)


def test_bars_are_as_long_as_the_counts() -> None:
    """A source's pieces touch each other and fill the bar in the proportion of the counts."""
    counts = {"documents": 12_000, "errors": 1_000, "dropped": 6_000, "duplicates": 2_000, "kept": 3_000}
    pieces = [(piece["fate"], piece["x"], piece["width"]) for piece in drawing.stacked(counts)]
    assert pieces == [
        ("kept", 0.0, 25.0), ("duplicates", 25.0, 16.667), ("dropped", 41.667, 50.0), ("errors", 91.667, 8.333)
    ]  # fmt: skip


def test_curve_is_the_probability_of_the_recipe(hostile: Run) -> None:
    """The point on the curve is at the threshold, as high as a pair of that similarity is likely to be a candidate."""
    found = re.search(r'circle cx="([\d.]+)" cy="([\d.]+)"', written(hostile))
    assert found
    left, right, top, bottom = (42, 348, 14, 188)
    assert float(found[1]) == pytest.approx(left + 0.75 * (right - left), abs=0.06)
    assert float(found[2]) == pytest.approx(bottom - probability(0.75, 18, 6) * (bottom - top), abs=0.06)


def test_warnings_come_first(hostile: Run) -> None:
    """What a person should look at stands above all figures; a run without warnings says so."""
    page = written(hostile)
    assert hostile.warnings
    assert page.index("rules hit nothing: never") < page.index("Documents in") < page.index("<table")
    assert "None." in Page(reporting.html({**view_of(hostile), "warnings": []})).text


def test_can_be_read_by_a_screen_reader(hostile: Run) -> None:
    """Headings do not skip a level, headers have a scope, drawings a title and a description, ids are there once."""
    parsed = Page(written(hostile))
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("scope") in ("col", "row", "rowgroup") for tag, attrs in parsed.tags if tag == "th")
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {cast("str", attrs["href"])[1:] for tag, attrs in parsed.tags if tag == "a"} <= set(ids)
    drawings = [attrs for tag, attrs in parsed.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(drawings) > 6
    for attrs in drawings:
        assert set(cast("str", attrs["aria-labelledby"]).split()) <= set(ids)
    assert all("role" in attrs or "aria-hidden" in attrs or "x" in attrs for tag, attrs in parsed.tags if tag == "svg")


COLOURS = [("ink", "page", 4.5), ("quiet", "page", 4.5), ("quiet", "soft", 4.5), ("ink", "soft", 4.5),
           ("ink", "warning", 4.5), ("kept", "page", 3), ("duplicates", "page", 3), ("dropped", "page", 3),
           ("errors", "page", 3), ("mark", "page", 3)]  # fmt: skip


@pytest.mark.parametrize(("ink", "page_colour", "least"), COLOURS)
@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast_is_enough(ink: str, page_colour: str, least: float, scheme: int) -> None:
    """Text stands out from what it is on by 4.5 to 1, drawings by 3 to 1 (WCAG 2.2, AA), in light and in dark."""
    style = (Path(reporting.__file__).parent / "style.css").read_text()

    def luminance(name: str) -> float:
        colour = re.findall(rf"--{name}: #(\w{{6}})", style)[scheme]
        parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(ink), luminance(page_colour)))
    assert (light + 0.05) / (dark + 0.05) >= least


GOOD = {"text": prose(5, 90), "title": "one", "url": "https://one.example/"}


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([], "", ["0 of 0 kept", "No rule hit a document.", "No document is kept."]),
        ([{"text": 5}, {"nothing": 1}], '[rules]\na = "word_count < 5"', ["\u22122 errors", "No document is kept."]),
        ([GOOD], "", ["1 of 1 kept", "The recipe has no rules.", "no budget was set", "no budget: everything, once"]),
        ([GOOD], '[rules]\nnone = "word_count < 5"\n[dedup]\nenabled = false', ["does not look for duplicates"]),
        ([GOOD], '[rules]\nall = "true"', ["They compare no column of numbers with a number."]),
        ([GOOD], "[signals.url]\nenabled = false", ["The signal url is off.", "The signal language is off."]),
        ([GOOD, {"text": ""}], '[rules]\nlow = "word_count > 1e15"', ["empty built in no text 1"]),
    ],
)  # fmt: skip
def test_every_corpus_gets_its_page(
    tiny: Callable[..., Run], rows: list[dict[str, Any]], more: str, said: list[str]
) -> None:
    """None, errors alone, one document, no rules, no dedup, signals off: what is not there is said, or left out."""
    run = tiny({"web": rows}, more, until="report")
    text = is_inert(written(run)).text
    for each in said:
        assert each in text, each


def test_columns_of_a_signal_may_have_any_name(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Those that the report might have called its own are the signal's."""
    names = ["part", "place", "order", "fate", "rows", "row", "entry"]
    (tmp_path / "odd_columns.py").write_text(
        f"import pyarrow as pa\nVERSION = 1\nCOLUMNS = dict.fromkeys({names}, pa.int32())\n"
        "def measure(batch):\n    return {name: [7] * len(batch.texts) for name in COLUMNS}\n"
    )
    rules = "\n".join(f"r{name} = '\"{name}\" > 6 and word_count < 95'" for name in names)
    more = f'[signals.odd]\nmodule = "odd_columns"\n[rules]\n{rules}'
    view = view_of(tiny({"web": [GOOD, {"text": prose(3, 100)}]}, more, until="report"))
    assert {figure["column"] for figure in view["figures"]} == {*names, "word_count"}
    (entry,) = view["samples"]["kept"]
    assert [{name: doc.values[name] for name in names} for doc in entry["documents"]] == [dict.fromkeys(names, 7)]


def test_a_large_recipe_and_corpus_stay_under_two_megabytes(tiny: Callable[..., Run]) -> None:
    """Many rules with long predicates, hosts and groups; full samples of characters that escape long."""
    rules = "".join(f"r{n} = \"word_count < {n} and title <> '{'<' * 1_000}'\"\n" for n in range(130))
    groups = "".join(f'[[blend.group]]\nname = "g{n}"\nwhere = "word_count = {n}"\n' for n in range(130))
    rows = [
        {
            "text": "<&>" * 2_000 + prose(n, n % 150 + 5),
            "title": "<" * 5_000,
            "url": f"https://h{n}.example/{'&' * 3_000}",
        }
        for n in range(130)
    ]
    run = tiny({"web": rows}, f'[rules]\n{rules}\n[blend]\nrest = "drop"\n{groups}', until="report")
    page = written(run)
    assert 200_000 < len(page.encode()) < 2_000_000
    is_inert(page)
    assert "more rules hit" in page
    assert "more groups are not shown" in page


def test_shorter_samples_where_the_page_would_be_too_large(hostile: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are cut more, then left out."""
    view = view_of(hostile)
    whole = len(reporting.html(view).encode())
    monkeypatch.setattr(reporting, "LIMIT", whole - 1)
    shorter = reporting.html(view)
    assert len(shorter.encode()) < whole
    monkeypatch.setattr(reporting, "LIMIT", 1)
    assert "the page would be too large" in reporting.html(view)


def test_records_and_personal_data_are_shown_where_they_are_known(hostile: Run) -> None:
    """The types of records when pull counted them; the counts of the signal `pii` when it is on."""
    view = view_of(hostile)
    assert view["pii"]["columns"][0] == "email"
    assert view["pii"]["rows"] == [{"name": "books", "counts": [(1, 2), *[(0, 0)] * (len(view["pii"]["columns"]) - 1)]}]
    assert "books 1 2 found" in Page(written(hostile)).text
    text = Page(reporting.html({**view, "records": {"web": {"response": 1_234, "warcinfo": 1}}})).text
    assert "response 1,234" in text
    none = {**view["pii"], "rows": []}
    assert "None was found in kept documents." in Page(reporting.html({**view, "pii": none})).text
    off = {**none, "is_on": False}
    assert "no signal pii is on" in Page(reporting.html({**view, "pii": off})).text


def test_changes_are_those_between_the_manifests(tiny: Callable[..., Run]) -> None:
    """Against the last release: rules, settings, inputs and counts; and a rerun compares with the same release."""
    rows = [{"text": prose(seed, 60 + seed)} for seed in range(20)]
    tiny({"web": rows}, '[rules]\nshort = "word_count < 62"\ngone = "word_count > 1000"')
    more = '[rules]\nshort = "word_count < 65"\nfresh = "word_count > 77"'
    first = tiny({"web": [*rows, {"text": prose(50, 70)}], "extra": rows[:1]}, more, "seed=3000")
    found = view_of(first)["changes"]
    assert found["rules"] == [
        ("short", "word_count < 62", "word_count < 65"), ("gone", "word_count > 1000", None),
        ("fresh", None, "word_count > 77"),
    ]  # fmt: skip
    assert ("seed", "0", "3_000") in found["settings"]
    assert ("short", 2, 6) in found["hits"]
    assert [(row["what"], row["files"], row["names"]) for row in found["inputs"]] == [
        ("new", 1, ["extra/extra.jsonl"]), ("changed", 1, ["web/web.jsonl"])
    ]  # fmt: skip
    assert {row["name"]: row["documents"] for row in found["sources"]} == {"web": (20, 21), "extra": (None, 1)}
    page = written(first)
    assert "word_count &lt; 62" in page
    again = tiny({"web": [*rows, {"text": prose(50, 70)}], "extra": rows[:1]}, more, "seed=3000")
    assert again.figures["publish"]["published"] is False
    assert written(again) == page


def test_changes_with_an_older_manifest_are_told_as_far_as_it_goes() -> None:
    """A manifest without what was added since, and with a recipe that cannot be read, is still compared."""
    recipe = parse(
        {"name": "a", "source": [{"name": "web", "kind": "text", "paths": ["x"]}]}, Path("recipe.toml")
    ).semantic()
    source = {"name": "web", "documents": 3, "kept": 2, "rules": {"x": 1}}
    unread = {**recipe, "unknown": {"a": [{"b": 1}]}, "rules": {"presets": ["no-such"], "own": {"x": "true"}}}
    old = {"version": "1", "documents": 2, "tokens": 5, "sources": [source], "groups": [], "inputs": [],
           "software": "curate 0", "recipe": unread}  # fmt: skip
    new = {**old, "rows": 7, "recipe": recipe, "software": "curate 1", "sources": [{**source, "released_tokens": 4}]}
    found = changes.changes(old, new)
    assert found["totals"] == [("documents", 2, 2), ("rows", None, 7), ("tokens", 5, 5)]
    assert found["rules"] == [("x", "true", None)]
    assert ("unknown.a[0].b", "1", None) in found["settings"]
    assert found["software"] == ("curate 0", "curate 1")
    assert found["sources"][0]["released_tokens"] == (None, 4)


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("x < 50", [("x", "<", 50, True)]),
        ("((X >= .5)) -- a remark", [("x", ">=", 0.5, True)]),
        ('5e-1 > "x"', [("x", "<", 0.5, True)]),
        ("x > -1_000", [("x", ">", -1000, True)]),
        ("source = 'x < 3' and y <= 2", [("y", "<=", 2, False)]),
        ("not x < 3", [("x", "<", 3, False)]),
        ("x between 1 and 2 or y > 3", [("x", ">=", 1, False), ("x", "<=", 2, False), ("y", ">", 3, False)]),
        ("x + y < 3", []), ("x < 3 * y", []), ("abs(x) < 3", []), ("x - 3 < 2", []), ("3 - x < 2", []),
        ("x::int < 5", []), ("case when x < 3 then true else false end", []), ("coalesce(x, 0) > 5", []),
        ("x < y", []), ("z < 3", []), ("x = 3", []), ("true", []), ("/* x < 3 */ has_it", []), ("x < 3abc", []),
    ],
)  # fmt: skip
def test_thresholds_are_the_plain_comparisons(predicate: str, expected: list[Any]) -> None:
    """A column with a number, alone or within and, or, not; nothing that is computed first."""
    found = thresholds("rule", predicate, ["x", "y"])
    assert [(each.column, each.sign, each.value, each.alone) for each in found] == expected


@given(st.lists(st.integers(0, 999), min_size=1), st.integers(0, 999))
def test_histograms_lose_nothing_and_cut_at_the_threshold(values: list[int], bound: int) -> None:
    """Every value is in one bar, and bars left of the one that holds the threshold hold only what is below it."""
    counted = histograms.cells(np.array(values, dtype=np.int32))
    axis = histograms.axis(counted, [bound], whole=True)
    bars = histograms.in_bars(counted, axis)
    assert sum(bars) == len(values)
    assert sorted(axis.edges) == list(axis.edges)
    assert axis.edges[0] <= bound <= axis.edges[-1]
    here = axis.bar(bound)
    assert sum(bars[:here]) == sum(value < axis.edges[here] for value in values if here)
    assert len(bars) <= 61


def test_counts_of_parts_add_up() -> None:
    """The cells of two parts together are the cells of all, in either order."""
    values = np.linspace(-3, 7, 500, dtype=np.float32) ** 3
    both = histograms.cells(values[:123])
    both.update(histograms.cells(values[123:]))
    assert both == histograms.cells(values)
    assert histograms.cells(np.array([np.nan, np.inf, -np.inf, 1e300])).total() == 3


@pytest.mark.parametrize("value", [0.1, 0.3, 0.65, 0.12])
def test_a_float_column_meets_its_threshold_as_sql_does(value: float) -> None:
    """What equals the bound as a 4-byte float begins the bar at the bound; what is just below does not."""
    bound = np.float32(value)
    below = np.nextafter(bound, np.float32(0))
    (at,), (under,) = (histograms.cells(np.array([each], dtype=np.float32)) for each in (bound, below))
    assert histograms.grid()[at] == pytest.approx(value)
    assert under == at - 1


def test_marks_stand_in_the_drawing() -> None:
    """A threshold far beyond all values is drawn too, a solid line where the rule is nothing else."""
    counted = {"kept": histograms.cells(np.array([100, 200, 300])), "dropped": histograms.cells(np.array([1]))}
    found = [*thresholds("short", "x < 50", ["x"]), *thresholds("long", "x > 100000 and y", ["x"])]
    drawn = drawing.histogram(counted, found, whole=True)
    assert drawn is not None
    assert [(mark["label"], mark["alone"]) for mark in drawn["marks"]] == [("50", True), ("100,000", False)]
    assert 0 < drawn["marks"][0]["x"] < drawn["marks"][1]["x"] <= drawing.WIDTH
    assert dict(drawn["fates"]) == {"kept": 3, "duplicates": 0, "dropped": 1}
    assert drawing.histogram({"kept": Counter()}, found, whole=True) is None


def test_what_is_unseen_is_named() -> None:
    """Of every code point that a person would not see, or that orders others about, none stays."""
    shown = visible("".join(map(chr, itertools.chain(range(0xD800), range(0xE000, 0x110000)))))
    assert not set(map(ord, shown)) & {*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)}
    assert {"\t", "\n", "é", "\u200d", "漢"} <= set(shown)


def recipe(**changed: object) -> Recipe:
    """A recipe whose free texts hold HTML."""
    table = {
        "name": "textbook",
        "source": [
            {"name": "web", "kind": "warc", "paths": ["*.warc.gz"], "license": "<b>any</b>"},
            {"name": "books", "kind": "jsonl", "paths": ["*.jsonl"], "fields": {"text": "body of it"}},
        ],
        "rules": {"presets": ["gopher-quality"], "gopher_too_long": False, "low_value": "education_score < 2"},
        "blend": {
            "tokens": 1_000_000,
            "group": [
                {"name": "web", "where": "source = 'web'", "share": 0.5},
                {"name": "books", "where": "source = 'books'", "share": 0.5, "max_copies": 4},
            ],
        },
    }
    return parse({**table, **changed}, Path("recipe.toml"))


@pytest.mark.parametrize(
    "changed",
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
def test_recipe_is_written_as_the_toml_it_was(changed: dict[str, object]) -> None:
    """What is shown can be read again, and says the same."""
    semantic = recipe(**changed).semantic()
    shown = tomllib.loads(toml.written(semantic))
    for source in shown["source"]:
        source["paths"] = ["-"]
    assert parse(shown, Path("recipe.toml")).semantic() == semantic
    assert toml.recipe_of(semantic).semantic() == semantic


@pytest.mark.parametrize("rule", ["word_count > -1e15", "word_count > 1e400", "word_count < -1e12"])
def test_a_threshold_that_is_far_off_is_no_end(tiny: Callable[..., Run], rule: str) -> None:
    """It lies beyond what is drawn."""
    rows = [{"text": "one two three four"}, {"text": "five six seven"}]
    run = tiny({"web": rows}, f'[rules]\nodd = "{rule}"', until="report")
    assert b"odd" in (run.work.storage.read("report.html") or b"")


def test_what_is_not_wanted_is_said(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """In the page and in the manifest, by source."""
    rows = [{"text": f"number {number} of them all"} for number in range(7)]
    tiny({"web": rows}, until="pull")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('kind = "jsonl"', 'kind = "jsonl"\nwhere = "text like \'%4%\'"'))
    with LocalEngine(1) as engine:
        run = pipeline.run(load(recipe), engine)
    assert "web 6" in (run.work.storage.read("report.html") or b"").decode()
    manifest = json.loads((Path(run.figures["publish"]["release"]) / "manifest.json").read_text())
    assert [(source["documents"], source["not_wanted"]) for source in manifest["sources"]] == [(1, 6)]


def test_templates_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was compiled is used by the next process; where it is damaged or cannot be kept, it is compiled again."""
    environment().get_template("report.html.j2")
    with monkeypatch.context() as patched:
        patched.setattr(Environment, "compile", lambda *_, **__: pytest.fail("it is compiled again"))
        environment().get_template("report.html.j2")
    for size in (30, 60):  # within what says of what it was compiled, and behind it
        for file in of_kernels().glob("*.template"):
            file.write_bytes(file.read_bytes()[:size])
        assert environment().get_template("report.html.j2")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileSystemBytecodeCache, "dump_bytecode", full)
    monkeypatch.setattr(FileSystemBytecodeCache, "load_bytecode", lambda *_: None)
    assert environment().get_template("report.html.j2")
