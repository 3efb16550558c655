"""`curate classifier evaluate`: figures by pair and length, reformatting, rivals, what was trained on, the page."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from test_classifiers import BAD, GOOD, SMALL, labelled

from classifiers import figures, reformatting, seen
from classifiers import model as models
from classifiers.evaluate import evaluate, judge
from classifiers.labels import Labelled
from classifiers.text import words
from classifiers.train import train
from curation.cli import cli
from curation.errors import UsageError
from curation.report.evaluation import page


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model that knows good words from bad ones."""
    path = tmp_path_factory.mktemp("model") / "a.bin"
    train(labelled(), path, SMALL)
    return path


def other(count=90, kinds=("lesson", "answer", "spam", "chat")):
    """Texts that the model was not trained on, of good and bad kinds in turn; some are half and half."""
    chance = np.random.default_rng(5)
    rows = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        good = kind in ("lesson", "answer")
        mine, others = (GOOD, BAD) if good else (BAD, GOOD)
        share = 5 if kind in ("answer", "chat") else 0
        text = [*chance.choice(mine, 8), *chance.choice(others, share)] + ["filler"] * (number % 3 * 60)
        rows.append(Labelled(" ".join(text), 5 if good else 0, f"place-{number % 12}", kind, kind))
    return rows


# Figures, against plain counting


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=30), st.sampled_from(figures.TOP))
def test_precision_at_the_top_is_the_mean_over_orders_of_equals(rows, share):
    """Of texts with equal scores at the cut, their share of good ones counts."""
    good, scores = np.array([row[0] for row in rows]), np.array([row[1] / 2 for row in rows])
    wanted = max(1, int(np.ceil(share * len(rows))))
    order = sorted(rows, key=lambda row: -row[1])
    cut = order[wanted - 1][1]
    above = [row[0] for row in rows if row[1] > cut]
    at = [row[0] for row in rows if row[1] == cut]
    expected = (sum(above) + (wanted - len(above)) * sum(at) / len(at)) / wanted
    assert figures.precision_at(good, scores, share) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 5)), min_size=1, max_size=40))
def test_bins_hold_every_text_once(rows):
    """No score is lost or counted twice, and means lie in their bin."""
    grades, scores = (np.array([row[place] for row in rows], float) for place in (0, 1))
    found = figures.bins(grades, scores, 2.5)
    assert sum(one.documents for one in found) == len(rows)
    assert all(one.low - 1e-9 <= one.mean_score <= one.high + 1e-9 for one in found)
    assert sum(one.documents * one.mean_grade for one in found) == pytest.approx(grades.sum())
    assert sum(one.documents * one.good_ratio for one in found) == pytest.approx((grades >= 2.5).sum())


def test_the_curve_has_the_area():
    """Trapezes under the ROC curve add up to the area that ranks give."""
    chance = np.random.default_rng(1)
    good, scores = chance.random(300) < 0.3, np.round(chance.random(300), 1)
    points = np.array(figures.roc_curve(good, scores))
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(figures.roc_auc(good, scores))


def test_intervals_hold_the_value_and_widen_with_fewer_groups():
    """Many small groups promise more than few large ones, and a score against itself differs by nothing."""
    chance = np.random.default_rng(2)
    good = chance.random(2_000) < 0.5
    of_group = np.arange(2_000) % 8
    scores = chance.random(2_000) + good * 0.4 + (of_group % 3) * 0.3
    wide, _, none = figures.intervals(good, [scores, scores], of_group)
    (narrow,) = figures.intervals(good, [scores], np.arange(2_000))
    assert wide[0] <= figures.roc_auc(good, scores) <= wide[1]
    assert narrow[1] - narrow[0] < 0.06
    assert none == (0, 0)
    assert figures.intervals(np.ones(9, bool), [scores[:9]], np.arange(9)) == [None]


# Reformatting

TEXT = st.text(st.sampled_from("ab c.!?\n#-*_`>|1[]()=~\t é"), max_size=80)


@given(TEXT)
def test_layout_changes_no_word(text):
    """Other line breaks, lists and case leave the words as they are, so no verdict may flip."""
    for way in ("lines rewrapped", "on one line", "sentences as a list", "capitals", "lower case"):
        assert words(reformatting.WAYS[way](text)) == words(text)


@given(TEXT)
def test_no_way_of_reformatting_empties_a_text(text):
    """A text with words keeps some without its headings, and any text can be reformatted."""
    for name, way in reformatting.WAYS.items():
        done = way(text)
        assert isinstance(done, str)
        assert bool(words(done)) or name == "Markdown to plain" or not words(text) or name == "headings removed"
    assert reformatting.without_headings("# Only") == "# Only"


# The evaluation


def test_every_pair_of_kinds_is_told(model):
    """Each good kind is compared with each bad one, by the figures of those texts alone, the worst first."""
    rows = other()
    found = evaluate(model, rows)
    assert {(pair.good_kind, pair.bad_kind) for pair in found.pairs} == {
        (good, bad) for good in ("lesson", "answer") for bad in ("spam", "chat")
    }
    scores = models.scores(model, [row.text for row in rows]).astype(float)
    for pair in found.pairs:
        mine = np.array([row.kind in (pair.good_kind, pair.bad_kind) for row in rows])
        good = np.array([row.grade == 5 for row in rows])
        assert pair.figures.roc_auc == figures.roc_auc(good[mine], scores[mine])
        assert pair.figures.good == int((good & mine).sum())
        assert len(pair.figures.top) == 3
    areas = [pair.figures.roc_auc for pair in found.pairs]
    assert areas == sorted(areas)
    assert found.worst == found.pairs[0]
    assert (found.worst.good_kind, found.worst.bad_kind) == ("answer", "chat")


def test_a_kind_with_good_and_bad_texts_is_on_both_sides(model):
    """Labels by a model know no kinds: a source is then compared with itself too."""
    rows = [replace(row, kind="web") for row in other()]
    (pair,) = evaluate(model, rows).pairs
    assert (pair.good_kind, pair.bad_kind) == ("web", "web")
    assert pair.figures.good + pair.figures.bad == len(rows)


def test_length_bands_hold_every_text_once(model):
    """Bands are by words and leave nothing out."""
    rows = [*other(), Labelled("", 0, "x"), Labelled("energy " * 3_000, 5, "y")]
    found = evaluate(model, rows).lengths
    assert sum(one.figures.good + one.figures.bad for one in found) == len(rows)
    assert found[0].words == 0
    assert (found[-1].words, found[-1].below, found[-1].figures.good) == (2_000, None, 1)


def test_reformatting_is_measured(model):
    """Layout flips nothing; headings with the words that decide do, and it is said which way."""
    rows = [Labelled("# Energy theory cell force\n\nbuy cheap", 5, str(n), "a", "a") for n in range(10)]
    rows += [Labelled("## Buy now\n\ncash offer", 0, str(n), "b", "b") for n in range(10)]
    found = {one.way: one for one in evaluate(model, rows, keep_seen=True).flips}
    assert set(found) == set(reformatting.WAYS)
    assert found["headings removed"].flipped == 10
    assert found["headings removed"].to_good == 0
    assert found["headings removed"].largest_change > 1
    assert [found[way].flipped for way in ("lines rewrapped", "on one line", "capitals", "lower case")] == [0] * 4
    assert found["capitals"].changed == found["capitals"].documents == 20


def test_the_most_wrong_are_shown(model):
    """Good texts with low scores and bad ones with high, the worst first, and none that is right."""
    rows = [*other(), Labelled("buy cheap offer now click", 5, "g", "odd", "odd"),
            Labelled("theory explains energy cell", 0, "h", "odd", "odd")]  # fmt: skip
    found = evaluate(model, rows).wrong
    assert found[0].text == "buy cheap offer now click"
    assert next(one for one in found if one.grade == 0).text == "theory explains energy cell"
    assert all((one.score >= 2.5) != (one.grade >= 2.5) for one in found)


def test_rivals_are_scored_on_the_same_texts(model, tmp_path):
    """Another model and the baselines; the worse model is said to be worse, and where the two differ is counted."""
    worse = tmp_path / "worse.bin"
    train([replace(row, grade=5 - row.grade) for row in labelled()], worse, SMALL)
    rows = other()
    found = evaluate(model, rows, against=worse)
    assert found.versus.rival.name == "worse.bin"
    assert found.versus.rival.roc_auc == pytest.approx(1 - found.roc_auc, abs=0.02)
    assert found.versus.rival.difference[0] > 0
    assert found.versus.differ == found.versus.only_ours_right + found.versus.only_theirs_right
    assert found.versus.only_ours_right > len(rows) / 2
    assert all(pair.against is not None for pair in found.pairs)
    sizes = np.array([len(row.text.split()) for row in rows], float)
    good = np.array([row.grade == 5 for row in rows])
    assert next(one.roc_auc for one in found.baselines) == figures.roc_auc(good, sizes)


# What was trained on


def test_texts_that_were_trained_on_are_left_out(model):
    """Whatever their form, they are not counted, and it is said how many they were."""
    trained_on = labelled()[:20]
    found = evaluate(model, [*other(), *(replace(row, text=row.text.upper(), group="new") for row in trained_on)])
    known = seen.of(model, models.digest(model))
    mine = int(known.has(trained_on).sum())
    assert 0 < mine <= 20
    assert found.documents == len(other()) + 20 - mine
    assert (found.known.documents, found.known.left_out) == (mine, mine)
    assert any(f"was trained on {mine} of the 110 texts, which were left out" in one for one in found.warnings)
    kept = evaluate(model, [*other(), *trained_on], keep_seen=True)
    assert (kept.documents, kept.known.left_out) == (110, 0)
    assert any("which flatters the figures" in one for one in kept.warnings)


def test_a_model_is_not_judged_by_its_own_texts_alone(model):
    """All of them trained on is an error with the way out."""
    known = seen.of(model, models.digest(model))
    rows = [row for row, mine in zip(labelled(), known.has(labelled()), strict=True) if mine]
    with pytest.raises(UsageError, match="trained on all") as caught:
        evaluate(model, rows)
    assert "--keep-seen" in caught.value.remedy


def test_part_of_a_training_text_is_known(tmp_path):
    """A passage cut out of a long text, with another one around it, is found by its 13-grams; another text is not."""
    chance = np.random.default_rng(3)
    pool = [f"w{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10 % 10]}{'uvwxyzabcd'[n // 100]}" for n in range(1_000)]
    texts = [" ".join(chance.choice(pool, 700)) for _ in range(8)]
    rows = [Labelled(text, 5, f"book {number}") for number, text in enumerate(texts)]
    seen.note(tmp_path / "m.bin", "ab" * 32, rows[:4])
    known = seen.of(tmp_path / "m.bin", "ab" * 32)
    cut = [Labelled(" ".join(row.text.split()[100:600]), 5, "new") for row in rows]
    assert known.has(cut).tolist() == [True] * 4 + [False] * 4
    assert known.has_group(rows).tolist() == [True] * 4 + [False] * 4
    assert seen.of(tmp_path / "m.bin", "cd" * 32) is None, "of another model's file"


def test_a_model_without_its_list_is_doubted(model, tmp_path):
    """Where nobody knows what it was trained on, that is said; a broken list is no list."""
    alone = tmp_path / "alone.bin"
    alone.write_bytes(model.read_bytes())
    assert any("nobody knows" in one for one in evaluate(alone, other()).warnings)
    seen.place(alone).write_bytes(b"no Parquet")
    found = evaluate(alone, other())
    assert found.known.documents is None


def test_doubtful_labels_are_warned_of(model):
    """Few texts, empty ones, and the same text labelled both ways."""
    rows = [*other(20), Labelled(" ", 0, "e"), Labelled("energy now", 5, "c"), Labelled("energy now", 0, "d")]
    told = " ".join(evaluate(model, rows).warnings)
    assert "only 11 good and 12 bad texts" in told
    assert "1 texts are empty" in told
    assert "1 texts are labelled both good and bad" in told
    one_kind = evaluate(model, [row for row in other() if row.grade == 5])
    assert any("all texts are good" in one for one in one_kind.warnings)
    assert one_kind.roc_auc is None
    assert one_kind.worst is None


# The page and the command


class Checked(HTMLParser):
    """Whether every element is closed, and what could run or load."""

    VOID = ("meta", "line", "rect", "circle", "polyline", "path", "br", "link", "img", "input")

    def __init__(self, text):
        """Read a page."""
        super().__init__()
        self.open, self.tags, self.handlers = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Note an element."""
        self.tags.append(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        """Note an element without content."""
        self.tags.append(tag)

    def handle_endtag(self, tag):
        """Close an element."""
        assert self.open.pop() == tag


def test_the_page_is_whole_and_harmless(model, tmp_path):
    """One well-formed file with its plots, without scripts or links outwards; what labels hold stays text."""
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)> energy \u202e theory"
    rows = [*other(), *(Labelled(f"{evil} {n}", 0, evil, evil, evil) for n in range(12))]
    found, judged = judge(model, rows, against=model)
    text = page(found, judged)
    checked = Checked(text)
    assert checked.open == []
    assert not {"script", "img", "iframe", "link"} & set(checked.tags)
    assert set(checked.handlers) <= {"href"}
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text
    assert checked.tags.count("svg") == 3
    assert text.count("<polyline") == 2
    for part in ("Kind against kind", "By length", "Reformatted", "Most wrong", "longer texts first", found.sha256):
        assert part in text
    assert "nan" not in text.lower().replace("finance", "")
    one_kind, judged = judge(model, [row for row in other() if row.grade == 5])
    assert Checked(page(one_kind, judged)).open == []


def labels(path, rows):
    """A JSONL file of these rows."""
    lines = ({"text": row.text, "label": row.grade, "group": row.group, "source": row.source, "kind": row.kind}
             for row in rows)  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_the_command_writes_the_page_and_json(model, tmp_path):
    """The JSON has what the page and the text say; warnings go to standard error."""
    file, to = labels(tmp_path / "l.jsonl", [*other(), *labelled()[:20]]), tmp_path / "out" / "page.html"
    done = CliRunner().invoke(
        cli, ["classifier", "evaluate", str(model), file, "--against", "default", "--report", str(to), "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["versus"]["rival"]["name"] == "education.bin"
    assert told["known"]["left_out"] == told["known"]["documents"] > 0
    assert f"{told['roc_auc']:.3f}" in to.read_text(encoding="utf-8")
    done = CliRunner().invoke(cli, ["classifier", "evaluate", str(model), file])
    assert "warning: a.bin was trained on" in done.stderr
    assert f"| area under the ROC curve | {told['roc_auc']:.3f}" in done.stdout
    assert "| answer | chat |" in done.stdout
