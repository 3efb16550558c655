"""`curate classifier train`: what is left out, what stays together, tuning, and what is said of doubtful labels."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_classifiers import BAD, GOOD, SMALL, labelled, write

from classifiers import copies, seen
from classifiers import model as models
from classifiers.labels import Labelled, read
from classifiers.train import TRIED, Settings, train
from curation.cli import cli
from curation.errors import InputError, UsageError

WORDS = [f"{a}{b}{c}" for a in "bcdfgh" for b in "aeiou" for c in "klmnp"]


def text(seed, count=60):
    """Random words."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, count))


def changed(original, *places):
    """The same text with other words in these places."""
    found = original.split()
    for place in places:
        found[place] = "changed"
    return " ".join(found)


# Near-copies


def test_near_copies_are_in_one_cluster():
    """Copies, and copies of copies, are found; texts that share nothing are not; no words, no copy."""
    texts = [text(1), text(2), changed(text(1), 30), text(1).upper() + "!", changed(text(1), 30, 31), "", ""]
    assert copies.clusters(texts).tolist() == [0, 1, 0, 0, 0, 5, 6]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_clusters_name_their_first(numbers):
    """Each text is named by the first of its cluster, whatever the order."""
    found = copies.clusters([text(number) for number in numbers]).tolist()
    assert found == [numbers.index(number) for number in numbers]


def test_many_versions_of_a_page_are_compared_in_linear_time():
    """A crowd of near-copies is one cluster, by comparisons with the first and the one before alone."""
    texts = [changed(text(1, 200), n % 100) for n in range(400)]
    bounds = np.array([0, 400])
    assert len(list(copies._compared(bounds, np.arange(400)))) < 2 * 400
    assert set(copies.clusters(texts).tolist()) == {0}


def test_a_book_under_two_names_stays_on_one_side(tmp_path):
    """Groups that hold near-copies of each other are held out together, or not at all."""
    rows = labelled()
    for number in range(10):
        for name in ("first", "second"):
            edition = changed(text(number, 80), 40) if name == "second" else text(number, 80)
            rows.append(Labelled(f"{' '.join(GOOD)} {edition}", 5, f"{name} edition", "books"))
    for seed in range(6):
        made = train(rows, tmp_path / "a.bin", SMALL.model_copy(update={"seed": seed, "held_out": 0.4}))
        known = seen.of(made.path, made.sha256)
        sides = known.has_group([Labelled("", 5, "first edition"), Labelled("", 5, "second edition")])
        assert sides[0] == sides[1], seed
        assert not made.held_out.known.documents
    assert any("near-copies of each other" in one for one in made.warnings)


# Labels that are in doubt


def test_contradicting_copies_teach_nothing(tmp_path):
    """A text labelled both ways is left out altogether, and an exact copy counts once; both are said."""
    rows = [*labelled(), *(Labelled("energy buy both ways", grade, f"g{grade}") for grade in (0, 5, 5))]
    rows += [replace(labelled()[0], text=labelled()[0].text.upper(), group="elsewhere")] * 3
    made = train(rows, tmp_path / "a.bin", SMALL.model_copy(update={"held_out": 0.0}))
    assert made.documents == 120
    assert any("3 texts are labelled both good and bad" in one and "energy buy both ways" in one
               for one in made.warnings)  # fmt: skip
    assert any("3 texts are exact copies" in one for one in made.warnings)
    assert not seen.of(made.path, made.sha256).has([Labelled("energy buy both ways", 5, "x")])[0]


def test_contradicting_near_copies_are_said(tmp_path):
    """They are kept, since one word may matter, but somebody should look."""
    rows = [*labelled(), Labelled(text(1), 5, "a"), Labelled(changed(text(1), 30), 0, "b")]
    made = train(rows, tmp_path / "a.bin", SMALL)
    assert any("2 texts are near-copies of texts with the other label" in one for one in made.warnings)


def test_copies_of_one_side_have_their_mean_grade(tmp_path):
    """3 and 5 for the same text are a 4."""
    rows = [*labelled(), Labelled("theory " * 9, 3, "a"), Labelled("theory " * 9, 5, "b")]
    made = train(rows, tmp_path / "a.bin", SMALL.model_copy(update={"held_out": 0.0}))
    assert made.grades[4] == 1


def test_empty_and_few_texts_are_said(tmp_path):
    """Texts without a word are left out; few texts, one group a kind and one kind in ten are warned of."""
    rows = [*labelled(60), *(Labelled(" 12 -- ", 0, f"e{n}") for n in range(4))]
    made = train(rows, tmp_path / "a.bin", SMALL)
    assert made.skipped == 4
    assert any("4 texts have no word" in one for one in made.warnings)
    assert any("only " in one and "texts to train on" in one for one in made.warnings)
    rows = [replace(row, group=str(row.grade)) for row in labelled()]
    assert any("could be held out" in one for one in train(rows, tmp_path / "a.bin", SMALL).warnings)


def test_ten_texts_are_refused_with_what_is_missing(tmp_path):
    """With the settings of a user who gave none, ten texts hold no word that is frequent enough."""
    with pytest.raises(UsageError, match="no word is in 10 texts and 3 groups") as caught:
        train(labelled(10), tmp_path / "a.bin", Settings())
    assert "label more texts" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_balance_lets_the_rarer_kind_count(tmp_path):
    """One good text in twelve: without balance it is warned of, with it an even text scores higher."""
    rows = [row for number, row in enumerate(labelled(480)) if row.grade == 0 or number % 24 == 1]
    plain = train(rows, tmp_path / "plain.bin", SMALL)
    even = train(rows, tmp_path / "even.bin", SMALL.model_copy(update={"balance": True}))
    assert any("good texts are one in" in one for one in plain.warnings)
    assert not any("are one in" in one for one in even.warnings)
    mixed = [" ".join(GOOD[:4] + BAD[:4])]
    assert models.scores(even.path, mixed)[0] > models.scores(plain.path, mixed)[0] + 0.1
    assert plain.documents == even.documents


# Tuning


class Clock:
    """A clock that goes on by so much each time it is looked at."""

    def __init__(self, step):
        """Start at zero."""
        self.now, self.step = 0.0, step

    def __call__(self):
        """The time."""
        self.now += self.step
        return self.now


def test_tuning_stops_in_time_and_takes_the_best(tmp_path):
    """As many settings are tried as the time allows, the given ones first; the best are used and written down."""
    rows = labelled(240)
    one = train(rows, tmp_path / "a.bin", SMALL, tune=1, clock=Clock(10))
    assert [try_.changes for try_ in one.tried] == [{}]
    assert one.settings == SMALL
    some = train(rows, tmp_path / "b.bin", SMALL, tune=100, clock=Clock(9))
    assert 2 <= len(some.tried) < len(TRIED)
    best = max(some.tried, key=lambda try_: try_.roc_auc)
    assert some.settings == SMALL.model_copy(update=best.changes)
    again = train(rows, tmp_path / "c.bin", some.settings)
    assert again.sha256 == some.sha256, "the settings it found give the same file without tuning"
    every = train(rows, tmp_path / "d.bin", SMALL, tune=1e9)
    assert len(every.tried) == len(TRIED) - 1, "no word here is in ten groups, which one of them asks for"


def test_tuning_needs_texts_to_keep_away(tmp_path):
    """Where nothing of both kinds can be kept away, there is nothing to tune by."""
    rows = [replace(row, group=str(row.grade)) for row in labelled()]
    with pytest.raises(UsageError, match="tuning needs good and bad texts of several groups"):
        train(rows, tmp_path / "a.bin", SMALL, tune=5)


# Positives and negatives


def test_positives_and_negatives_of_every_form(tmp_path):
    """A file, a folder, JSONL and Parquet without labels are all good, or all bad."""
    (tmp_path / "one.txt").write_text("a good text")
    (tmp_path / "folder" / "site").mkdir(parents=True)
    (tmp_path / "folder" / "site" / "a.md").write_text("another")
    (tmp_path / "folder" / "b.txt").write_text("a third")
    write(tmp_path / "l.jsonl", {"text": "a fourth", "source": "s", "license": "CC0"})
    pq.write_table(pa.table({"text": ["a bad one"], "label": [5]}), tmp_path / "n.parquet")
    rows = read([], [tmp_path / "one.txt", tmp_path / "folder", tmp_path / "l.jsonl"], [tmp_path / "n.parquet"])
    assert [(row.text, row.grade, row.source) for row in rows] == [
        ("a good text", 5, "one"), ("a third", 5, "folder"), ("another", 5, "folder"), ("a fourth", 5, "s"),
        ("a bad one", 0, "n"),
    ]  # fmt: skip
    assert rows[2].group == "site"
    assert rows[3].license == "CC0"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no labelled texts"):
        read([], [tmp_path / "empty"], [])
    with pytest.raises(UsageError, match="no such file"):
        read([], [tmp_path / "nowhere"], [])
    with pytest.raises(UsageError, match="not a form"):
        read([tmp_path / "one.txt"])


def test_the_command_trains_from_positives_and_negatives(tmp_path):
    """The card has the licences, the command that repeats it, and what was noticed; the model scores."""
    for name, good in (("good", True), ("bad", False)):
        write(tmp_path / f"{name}.jsonl", *({"text": row.text, "group": row.group, "license": "CC0-1.0"}
                                            for row in labelled() if (row.grade == 5) == good))  # fmt: skip
    out = tmp_path / "m.bin"
    arguments = [
        "classifier", "train", "--positives", str(tmp_path / "good.jsonl"), "--negatives", str(tmp_path / "bad.jsonl"),
        "--out", str(out), "--min-documents", "2", "--min-groups", "1", "--held-out", "0.25", "--balance",
        "--tune", "0.01",
    ]  # fmt: skip
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "tried as given: area" in done.stdout
    assert "warning: only" in done.stderr
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    for part in ("| good | CC0-1.0 |", "| bad | CC0-1.0 |", "a rescaled probability", "--balance", "What was noticed",
                 "--positives", "Settings that were tried", models.digest(out)):  # fmt: skip
        assert part in card
    assert seen.place(out).exists()
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert json.loads(done.stdout)["held_out"]["roc_auc"] > 0.9
    done = CliRunner().invoke(cli, ["classifier", "train", "--out", str(out)])
    assert isinstance(done.exception, UsageError)
    done = CliRunner().invoke(cli, ["classifier", "train", str(tmp_path / "good.jsonl"), "--out", "x.md"])
    assert "the card and the hashes go there" in str(done.exception)


def test_a_graded_model_says_so(tmp_path):
    """Grades between 0 and 5 make another card than good and bad."""
    from datetime import date  # noqa: PLC0415

    from classifiers.card import card  # noqa: PLC0415

    rows = [replace(row, grade=3) if number % 4 == 1 else row for number, row in enumerate(labelled())]
    made = train(rows, tmp_path / "a.bin", SMALL)
    assert made.held_out.is_graded
    assert "It was trained on grades between" in card(made, name="m", command="c", made_at=date(2026, 11, 26))
    assert not train(labelled(), tmp_path / "b.bin", SMALL).held_out.is_graded
