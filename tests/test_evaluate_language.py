"""The evaluation of `language`: figures against counts by hand, labels as people write them, and a harmless page."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from test_evaluation import Checked

from classifiers import evaluate_language, language
from classifiers.evaluate_language import CUTS, LENGTHS, Sample, judge, read, wilson
from classifiers.language_figures import figures
from curation.cli import cli
from curation.errors import InputError, UsageError
from curation.report.language import page

TEXTS = {
    "en": "Photosynthesis is how plants turn light into the energy that they live on.",
    "de": "Photosynthese ist der Vorgang, durch den Pflanzen Licht in chemische Energie umwandeln.",
    "fr": "La photosynthèse est la façon dont les plantes transforment la lumière en énergie.",
}


def answers(monkeypatch, given):
    """Have `language` answer so: pairs of language and score, in the order of the texts."""
    waiting = iter(given)

    def identified(data, bounds):
        some = [next(waiting) for _ in range(len(bounds) - 1)]
        return pa.array([name for name, _ in some], pa.string()), np.array([score for _, score in some], np.float32)

    monkeypatch.setattr(language, "identified", identified)


@pytest.fixture
def ten(monkeypatch):
    """Ten texts whose answers are known: six of English, of which one is called Dutch and one und, three of Dutch."""
    answers(monkeypatch, [
        ("en", 0.95), ("en", 0.91), ("en", 1.0), ("en", 0.3), ("nl", 0.62), ("und", 0.0),
        ("nl", 0.9), ("nl", 0.55), ("af", 0.97), ("ko", 0.8),
    ])  # fmt: skip
    labelled = ["en"] * 6 + ["nl"] * 3 + ["chr"]
    sizes = [5, 25, 60, 120, 400, 19, 2_000, 6_000, 50, 20]
    return [Sample("x" * size, name, "web" if place < 8 else "books")
            for place, (name, size) in enumerate(zip(labelled, sizes, strict=True))]  # fmt: skip


def test_figures_are_those_counted_by_hand(ten):
    """Accuracy, precision, recall and F1 by language, the confusions, the lengths and the sources."""
    found, _ = judge(ten)
    assert (found.documents, found.languages, found.right, found.right_ratio) == (10, 3, 6, 0.6)
    assert (found.known_documents, found.known_right_ratio) == (9, pytest.approx(6 / 9))
    assert found.undetermined_ratio == 0.1
    by = {one.language: one for one in found.by_language}
    assert (by["en"].labelled, by["en"].called, by["en"].right) == (6, 4, 4)
    assert (by["en"].precision, by["en"].recall, by["en"].f1) == (1.0, pytest.approx(4 / 6), pytest.approx(0.8))
    assert (by["nl"].precision, by["nl"].recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (by["chr"].precision, by["chr"].recall, by["chr"].f1, by["chr"].is_known) == (None, 0.0, 0.0, False)
    assert (by["af"].precision, by["af"].recall, by["af"].mean_score) == (0.0, None, None)
    assert [one.language for one in found.by_language] == ["chr", "nl", "en", "af", "ko", "und"]
    assert found.mean_f1 == pytest.approx((0 + 2 / 3 + 0.8) / 3)
    assert [(one.label, one.called, one.documents) for one in found.confusions] == [
        ("chr", "ko", 1), ("nl", "af", 1), ("en", "nl", 1), ("en", "und", 1),
    ]  # fmt: skip
    assert [one.ratio for one in found.confusions] == pytest.approx([1, 1 / 3, 1 / 6, 1 / 6])
    assert [(one.name, one.documents, one.right_ratio, one.undetermined_ratio) for one in found.lengths] == [
        ("0 to 19", 2, 0.5, 0.5), ("20 to 49", 2, 0.5, 0.0), ("50 to 99", 2, 0.5, 0.0), ("100 to 299", 1, 1.0, 0.0),
        ("300 to 999", 1, 0.0, 0.0), ("1,000 to 4,999", 1, 1.0, 0.0), ("5,000 or more", 1, 1.0, 0.0),
    ]  # fmt: skip
    assert [(one.name, one.documents, one.right_ratio) for one in found.sources] == [("web", 8, 0.75), ("books", 2, 0)]


def test_calibration_and_cuts_are_those_counted_by_hand(ten):
    """Bins of a tenth without what is `und`; a least score leaves what reaches it, an equal score too."""
    found, _ = judge(ten)
    bins = [(one.low, one.high, one.documents, one.right_ratio) for one in found.calibration]
    assert bins == [(0.3, 0.4, 1, 1.0), (0.5, 0.6, 1, 1.0), (0.6, 0.7, 1, 0.0), (0.8, 0.9, 1, 0.0), (0.9, 1.0, 5, 0.8)]
    assert found.calibration[-1].mean_score == pytest.approx((0.95 + 0.91 + 1 + 0.9 + 0.97) / 5)
    gaps = [0.7, 0.45, 0.62, 0.8, 5 * abs(0.946 - 0.8)]
    assert found.calibration_gap == pytest.approx(sum(gaps) / 9)
    cuts = {one.score: (one.kept_ratio, one.right_ratio) for one in found.cuts}
    assert set(cuts) == set(CUTS)
    assert cuts[0.0] == (1.0, 0.6)
    assert cuts[0.9] == (0.5, 0.8)
    assert cuts[0.8] == (pytest.approx(0.6), pytest.approx(4 / 6))
    assert cuts[0.99] == (0.1, 1.0)


def test_most_wrong_are_the_surest(ten):
    """Wrong answers by score, each text once, with its beginning."""
    found, _ = judge(ten)
    assert [(one.label, one.called, one.score) for one in found.wrong] == [
        ("nl", "af", 0.97), ("chr", "ko", 0.8), ("en", "nl", 0.62), ("en", "und", 0.0),
    ]  # fmt: skip
    assert (found.wrong[0].characters, found.wrong[0].source, found.wrong[0].text) == (50, "books", "x" * 50)
    assert sum("the model knows no language of these names" in one and "chr (1)" in one for one in found.warnings) == 1


def test_the_real_model_tells_clear_sentences_apart():
    """Without any stand-in, in batches: all right, and calibrated bins hold every text."""
    samples = [Sample(text, name) for _ in range(400) for name, text in TEXTS.items()]
    found, judged = judge(samples)
    assert found.right == found.documents == len(judged.called) == 1_200
    assert found.confusions == found.wrong == ()
    assert sum(one.documents for one in found.calibration) == 1_200
    assert found.interval == wilson(1_200, 1_200)
    single = {name: language.identify(text) for name, text in TEXTS.items()}
    assert [judged.scores[place] for place in range(3)] == pytest.approx([single[name][1] for name in TEXTS])


def test_what_makes_figures_doubtful_is_said():
    """One language, few texts, empty texts, and one text with two labels."""
    found, _ = judge([Sample(TEXTS["en"], "en"), Sample(" \n", "en")])
    told = "\n".join(found.warnings)
    assert "all texts are of one language" in told
    assert "1 of 1 languages have fewer than 20 texts" in told
    assert "1 texts are empty" in told
    found, _ = judge([Sample(TEXTS["en"], "en"), Sample(TEXTS["en"], "de")])
    assert any("1 texts are labelled with two languages" in one for one in found.warnings)
    with pytest.raises(UsageError, match="no labelled texts"):
        judge([])


def test_all_undetermined():
    """Text in no language has no bin of scores, and is right where it is labelled so."""
    found, judged = judge([Sample("12 + 3", "und"), Sample("  ", "en")])
    assert (found.right, found.calibration, found.calibration_gap) == (1, (), None)
    assert Checked(page(found, judged)).open == []
    assert "| mean distance of score and share right | - |" in figures(found)


# Reading labels


def test_labels_are_read_as_people_write_them(tmp_path):
    """JSONL and Parquet; regions, scripts, case and old names do not matter; half a surrogate pair is no end."""
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a", "label": "pt-BR", "source": "web"}\n\n{"text": "b\\ud800", "label": " NB "}\n'
        '{"text": "c", "label": "zh_Hant", "more": 1}\n{"text": "", "label": "zxx"}\n'
    )
    pq.write_table(pa.table({"text": ["d"], "label": ["yue"]}), tmp_path / "b.parquet")
    assert read([tmp_path / "a.jsonl", tmp_path / "b.parquet"]) == [
        Sample("a", "pt", "web"), Sample("b?", "no"), Sample("c", "zh"), Sample("", "und"), Sample("d", "yue"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("a.jsonl", '{"text": "a", "label": "en"}\n{"text": "a"}', InputError, "a.jsonl:2: label: expected a string"),
        ("a.jsonl", '{"text": 7, "label": "en"}', InputError, "a.jsonl:1: text: expected a string, got 7"),
        ("a.jsonl", '{"text": "a", "label": "english"}', InputError, "expected the code of a language"),
        ("a.jsonl", '{"text": "a", "label": 5}', InputError, "label: expected a string, got 5"),
        ("a.jsonl", "[1]", InputError, "expected an object"),
        ("a.jsonl", "{", InputError, "a.jsonl:1: not JSON"),
        ("a.jsonl", "", InputError, "no labelled texts"),
        ("a.jsonl.gz", "{}", InputError, "cannot be read"),
        ("a.parquet", "PAR1", InputError, "cannot be read"),
        ("a.csv", "a,en", UsageError, "not a form of labelled texts"),
    ],
)
def test_bad_labels_are_one_error(tmp_path, name, content, kind, message):
    """Each says where and what; the remedy names the form."""
    (tmp_path / name).write_text(content)
    with pytest.raises(kind, match=message) as found:
        read([tmp_path / name])
    assert found.value.remedy
    with pytest.raises(UsageError, match="there is no such file"):
        read([tmp_path / "none.jsonl"])


def test_every_alias_leads_to_a_language_of_the_model():
    """No label is led astray."""
    assert set(evaluate_language.ALIASES.values()) <= language.known()
    assert not set(evaluate_language.ALIASES) & language.known()
    assert {"en", "yue", "und"} <= language.known()
    assert "zxx" not in language.known()
    assert list(LENGTHS) == sorted(LENGTHS)


# The page and the command

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202e {{ 7 * 7 }}"


def test_the_page_is_whole_and_harmless():
    """Well-formed, with its plots, without scripts or links outwards; what labels hold stays text."""
    samples = [Sample(f"{EVIL} {text}", "zu", EVIL) for text in TEXTS.values()]
    samples += [Sample(text, name, "web") for name, text in TEXTS.items()]
    found, judged = judge(samples)
    text = page(found, judged)
    checked = Checked(text)
    assert checked.open == []
    assert not {"script", "img", "iframe", "link"} & set(checked.tags)
    assert set(checked.handlers) <= {"href"}
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text
    assert "{{ 7 * 7 }}" in text
    assert checked.tags.count("svg") == 3
    assert text.count("<polyline") == 2
    for part in ("By language", "What is taken for what", "By length", "By source", "Most wrong", language.VERSION):
        assert part in text
    assert f"{found.right_ratio:.3f}" in text
    assert "nan" not in text.lower()


def test_many_languages_are_folded_away():
    """The page shows those with the lowest F1 and has the others too; so the text says how many there are."""
    names = sorted(language.known() - {"und"})[:60]
    found, judged = judge([Sample(TEXTS["en"], name) for name in names])
    text = page(found, judged)
    assert all(f'<th scope="row"><code>{name}</code>' in text for name in names)
    assert "35 more languages, with an F1 of 0.000 or more" in text
    assert "40 more languages have an F1 of 0.000 or more" in figures(found)
    assert len(found.confusions) == 30
    assert found.more_confusions == 29
    right, _ = judge([Sample(TEXTS["en"], "en")])
    assert "more languages" not in figures(right)


def test_the_command_writes_the_page_and_json(tmp_path):
    """The JSON has what the page and the text say; options of grades are refused."""
    labels, to = tmp_path / "l.jsonl", tmp_path / "out" / "page.html"
    rows = [{"text": text, "label": name} for name, text in TEXTS.items()] + [{"text": TEXTS["fr"], "label": "sv"}]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["classifier", "evaluate", "language", str(labels)]
    done = CliRunner().invoke(cli, [*words, "--report", str(to), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads(json.dumps(asdict(judge(read([labels]))[0])))
    assert (told["right_ratio"], told["confusions"][0]["called"]) == (0.75, "fr")
    assert "0.750" in to.read_text(encoding="utf-8")
    done = CliRunner().invoke(cli, words)
    assert "| called right | 0.750 (" in done.stdout
    assert "warning: 4 of 4 languages have fewer than 20 texts" in done.stderr
    for options in (["--threshold", "3"], ["--against", "default"], ["--keep-seen"]):
        found = CliRunner().invoke(cli, [*words, *options]).exception
        assert isinstance(found, UsageError)
        assert options[0] in found.message
