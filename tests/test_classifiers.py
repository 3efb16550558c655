"""Language and educational value; training, evaluating, and the model that is shipped."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import re
import subprocess
import sys
import tarfile
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from classifiers import education, language
from classifiers import model as models
from classifiers.card import card
from classifiers.evaluate import evaluate
from classifiers.figures import average_precision, ranks, roc_auc, spearman
from classifiers.labels import Labelled, read, split
from classifiers.text import WINDOW, excerpt, words
from classifiers.train import Settings, train
from curation.errors import InputError, UsageError
from curation.signals import Signal
from curation.signals.batch import Batch

ROOT = Path(__file__).parent.parent


def cases(name):
    """The cases in a file; a known failure must fail, so that an improvement is noticed."""
    lines = (ROOT / "tests" / "cases" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        pytest.param(
            case,
            id=case["name"],
            marks=[pytest.mark.xfail(strict=True, reason="known")] if case["kind"] == "known-failure" else [],
        )
        for case in map(json.loads, lines)
    ]


def batch(*texts):
    """The texts as a signal gets them."""
    return Batch(pa.array(texts, pa.string()))


# Language


@pytest.mark.parametrize("case", cases("language"))
def test_language_cases(case):
    """Each case is in the language it says."""
    found, score = language.identify(case["text"])
    assert found == case["expect"]["language"]
    assert score >= case["least"]
    assert (score == 0) == (found == "und")


def test_language_cases_are_enough():
    """There are sentences in at least 30 languages."""
    assert len({case.values[0]["expect"]["language"] for case in cases("language")} - {"und"}) >= 30


def test_language_measures_columns_without_null():
    """A null text is measured like an empty one, and the columns have the types that are promised."""
    columns = language.measure(batch("The cat sat on the mat because it was warm.", None, ""))
    assert columns["language"].to_pylist() == ["en", "und", "und"]
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in language.COLUMNS.items()})
    assert not any(column.null_count for column in table.columns)
    assert 0.9 < table["language_score"][0].as_py() <= 1


def test_language_version_names_the_library_and_does_not_load_it():
    """The version is that of the package, and asking for it imports no model."""
    code = "import sys; from classifiers import language; print(language.VERSION, 'py3langid' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == [language.VERSION, "False"]
    assert "+py3langid-" in language.VERSION


@given(st.text())
def test_language_answers_for_every_text(text):
    """Any text gets a language and a probability."""
    found, score = language.identify(text)
    assert found
    assert 0 <= score <= 1


@pytest.mark.data
def test_language_on_the_declaration_of_human_rights(data):
    """Of 60 translations of the Declaration of Human Rights, all but the closest relatives are told."""
    codes = dict(re.findall(r"(\w+)=(\w+)", """
        afr=af amh=am arb=ar bel=be bul=bg ben=bn bre=br cat=ca ces=cs cym=cy dan=da deu=de ell_monotonic=el eng=en
        epo=eo spa=es est=et eus=eu pes_1=fa fin=fi fra=fr gle=ga gla=gd glg=gl guj=gu heb=he hin=hi hun=hu hye=hy
        isl=is ita=it jpn=ja kat=ka kaz=kk khm=km kan=kn kor=ko kir=ky lao=lo lit=lt mkd=mk mal=ml khk=mn mar=mr
        mya=my nld=nl pan=pa pol=pl por_BR=pt ron=ro rus=ru slk=sk slv=sl swe=sv swh=sw tam=ta tha=th tur=tr ukr=uk
        urd=ur vie=vi cmn_hans=zh
    """))  # fmt: skip
    right = 0
    with tarfile.open(data / "internal/plain-text.tar.gz") as archive:
        found = {Path(one.name).stem: one for one in archive if "udhr2/" in one.name}
        for name, code in codes.items():
            text = archive.extractfile(found[name]).read().decode("utf-8")
            right += language.identify(text)[0] == code
    assert len(codes) >= 60
    assert right / len(codes) >= 0.98


# What a classifier sees


def test_words_see_no_formatting():
    """Prose, a list, Markdown and capitals are the same words."""
    prose = "Plants don't eat. They make sugar from light, water and air."
    bullets = "# PLANTS\n\n- **don\N{RIGHT SINGLE QUOTATION MARK}t** eat\n"
    bullets += "- they make *sugar* from:\n  1. light\n  2. water\n  3. and air\n"
    assert words(prose) == words(bullets)


def test_words_name_no_addresses():
    """Links and mail addresses are gone, and so are numerals."""
    assert words("Write to jo.doe@example.org, see www.example.org/a or http://example.org/b?c=d (4th of 12).") == [
        "write", "to", "see", "or", "th", "of"
    ]  # fmt: skip


@given(st.text(max_size=300))
def test_words_are_words(text):
    """Words hold no white space and no digits, so fastText reads them as they are."""
    found = words(text)
    assert all(found)
    assert not any(letter.isspace() or letter.isdecimal() for word in found for letter in word)


@given(st.lists(st.sampled_from(["cell", "light", "because", "Water", "energy"]), min_size=1, max_size=50))
def test_words_do_not_depend_on_layout(chosen):
    """The separators between words say nothing."""
    assert words(" ".join(chosen)) == words("\n- ".join(chosen)) == words(" | ".join(chosen).upper())


def test_excerpt_is_bounded():
    """However long the text, three windows are read."""
    text = "a" * WINDOW + "b" * 10**6 + "c" * WINDOW
    assert excerpt(text) == "a" * WINDOW + "\n" + "b" * WINDOW + "\n" + "c" * WINDOW


# The signal


@pytest.mark.parametrize("case", cases("education"))
def test_education_cases(case):
    """The shipped model scores each case in its range."""
    score = float(models.scores(models.DEFAULT, [case["text"]])[0])
    assert case["min"] <= score <= case["max"]


def test_education_cases_are_enough():
    """There are at least ten good and ten bad cases."""
    found = [case.values[0] for case in cases("education")]
    assert sum(case["min"] >= 2.5 for case in found) >= 10
    assert sum(case["max"] < 2.5 for case in found) >= 10


def test_education_does_not_flip_when_reformatted():
    """A textbook paragraph as a list of sentences under a heading scores as it did."""
    text = next(case.values[0]["text"] for case in cases("education") if case.values[0]["name"] == "photosynthesis")
    bullets = "- " + text.replace(". ", ".\n- ")
    shouted = "> " + text.upper()
    assert len(set(models.scores(models.DEFAULT, [text, bullets, shouted]).tolist())) == 1


def test_education_is_a_signal():
    """The loaded object has what a signal has, travels to another process, and names its model in its version."""
    signal = education.load(education.Settings())
    assert isinstance(signal, Signal)
    assert pickle.loads(pickle.dumps(signal)) == signal  # noqa: S301
    assert models.digest(models.DEFAULT)[:16] in signal.VERSION


def test_education_answers_alike_in_any_batch():
    """A text's score does not depend on the texts beside it, and is rounded; null and empty score 0."""
    texts = [case.values[0]["text"] for case in cases("education")] + [None, "\n", "42"]
    signal = education.load(education.Settings())
    together = signal.measure(batch(*texts))["education_score"]
    alone = [signal.measure(batch(text))["education_score"][0] for text in texts]
    assert together.dtype == np.float32
    assert together.tolist() == [float(score) for score in alone]
    assert together.tolist() == np.round(together.astype(float), 4).astype(np.float32).tolist()
    assert together[-3:].tolist() == [0, 0, 0]
    assert len(signal.measure(batch())["education_score"]) == 0


@settings(max_examples=50)
@given(st.text())
def test_education_scores_every_text(text):
    """Any text gets a score from 0 to 5."""
    assert 0 <= models.scores(models.DEFAULT, [text])[0] <= 5


def test_education_model_is_missing(tmp_path):
    """A model that is not there stops the run before it starts, with the way to get one."""
    with pytest.raises(UsageError, match=r"no-model\.bin: there is no such model") as caught:
        education.load(education.Settings(model=str(tmp_path / "no-model.bin")))
    assert "curate classifier train" in caught.value.remedy


def test_education_model_is_no_model(tmp_path):
    """A file that is no fastText model is refused by its name."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"not a model")
    with pytest.raises(UsageError, match=r"model\.bin: not a fastText model"):
        models.scores(path, ["text"])


def test_education_model_has_other_labels(tmp_path):
    """A model with labels that are no grades is refused, with what they are."""
    import fasttext  # noqa: PLC0415

    (tmp_path / "train.txt").write_text("__label__hq good text\n__label__cc bad text\n" * 5)
    fasttext.train_supervised(
        input=str(tmp_path / "train.txt"), dim=2, bucket=1, thread=1, verbose=0
    ).save_model(str(tmp_path / "other.bin"))  # fmt: skip
    with pytest.raises(UsageError, match="its labels are __label__cc, __label__hq"):
        models.scores(tmp_path / "other.bin", ["text"])


def test_education_settings_are_strict(tmp_path):
    """An unknown key is refused; a relative path is taken from the recipe's folder where that is given."""
    with pytest.raises(ValidationError):
        education.Settings(modle="x")
    placed = education.Settings.model_validate({"model": "own.bin"}, context={"base": tmp_path})
    assert placed.model == str(tmp_path / "own.bin")
    assert education.Settings.model_validate({}, context={"base": tmp_path}).model == "default"


def test_shipped_model_holds_no_addresses_and_is_small():
    """The shipped model's dictionary is of letters alone, its file under 5 MB, its card names its hash."""
    import fasttext  # noqa: PLC0415

    known = [word for word in fasttext.load_model(str(models.DEFAULT)).get_words() if word != "</s>"]
    assert known
    assert all(word.isalpha() for word in known)
    assert models.DEFAULT.stat().st_size < 5_000_000
    assert models.digest(models.DEFAULT) in models.DEFAULT.with_suffix(".md").read_text(encoding="utf-8")


# Labels


def write(path, *rows):
    """A JSONL file with these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_labels_of_every_form(tmp_path):
    """JSONL, gzipped JSONL, Parquet and folders give the same grades."""
    rows = [{"text": "a good text", "label": "good", "group": "a"}, {"text": "a bad one", "label": False}]
    plain = write(tmp_path / "a.jsonl", *rows)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "c.parquet"
    pq.write_table(pa.table({"text": ["a good text", "a bad one"], "label": [5.0, 0.0], "other": [1, 2]}), table)
    folder = tmp_path / "d"
    for kind, text in (("good/site", "a good text"), ("bad", "a bad one")):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "1.txt").write_text(text)
    for path in (plain, packed, table, folder):
        assert sorted((row.grade, row.text) for row in read([path])) == [(0, "a bad one"), (5, "a good text")]
    assert {row.group for row in read([folder])} >= {"site"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, '"label"'),
        ({"label": 5}, '"text"'),
        ({"text": 5, "label": 5}, "text: expected a string, got 5"),
        ({"text": "x", "label": "great"}, 'label: expected a number from 0 to 5, good or bad, got "great"'),
        ({"text": "x", "label": 6}, "got 6"),
        ({"text": "x", "label": float("nan")}, "got NaN"),
        ([1], "expected an object"),
    ],
)
def test_labels_with_a_fault(tmp_path, row, message):
    """A row that cannot be read is named with file and line."""
    path = write(tmp_path / "a.jsonl", {"text": "fine", "label": 3}, row)
    with pytest.raises(InputError) as caught:
        read([path])
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)
    assert caught.value.remedy


def test_labels_that_are_no_labels(tmp_path):
    """What is missing, empty, of another form or broken is said, never a traceback."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x", "label": 1}\n' * 100)[:30])
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "\xe4", "label": 1}\n')
    (tmp_path / "a.csv").write_text("text,label\n")
    write(tmp_path / "zero-one.jsonl", {"text": "x", "label": 0}, {"text": "y", "label": 1})
    (tmp_path / "line.jsonl").write_text("not json\n")
    for name, kind, message in (
        ("nowhere.jsonl", UsageError, "there is no such file"),
        ("empty", InputError, "no labelled texts"),
        ("broken.jsonl.gz", InputError, "cannot be read"),
        ("broken.parquet", InputError, "cannot be read"),
        ("latin.jsonl", InputError, "not UTF-8"),
        ("a.csv", UsageError, "not a form of labelled texts"),
        ("zero-one.jsonl", UsageError, "every label is 0 or 1"),
        ("line.jsonl", InputError, "line.jsonl:1: not JSON"),
    ):
        with pytest.raises(kind, match=message) as caught:
            read([tmp_path / name])
        assert caught.value.remedy
    with pytest.raises(UsageError, match="no labelled files"):
        read([])


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), min_size=2), st.integers(0, 9))
def test_split_keeps_groups_together(pairs, seed):
    """No group is on both sides, no text is lost, and no more than the share is held out."""
    rows = [Labelled(f"text {number}", grade, str(group)) for number, (group, grade) in enumerate(pairs)]
    inside, outside = split(rows, 0.3, seed, 2.5)
    assert not {row.group for row in inside} & {row.group for row in outside}
    assert sorted(row.text for row in inside + outside) == sorted(row.text for row in rows)
    assert len(outside) <= 0.3 * len(rows)
    assert split(rows, 0.3, seed, 2.5) == (inside, outside)


def test_copies_stay_together(tmp_path):
    """Texts without a group are in one with their exact copies, so that no copy is tested on."""
    rows = read([write(tmp_path / "a.jsonl", *({"text": t, "label": 5} for t in ("same", "other", "same")))])
    assert rows[0].group == rows[2].group != rows[1].group


# Training and evaluating

GOOD = ["because", "therefore", "energy", "cell", "explains", "theory", "example", "force", "light", "process"]
BAD = ["buy", "free", "click", "now", "win", "offer", "cash", "subscribe", "login", "cheap"]
SMALL = Settings(dim=4, epochs=20, rate=0.5, buckets=50, min_documents=2, min_groups=1, held_out=0.25)


def labelled(count=120, seed=0):
    """Texts of twelve words, good ones and bad ones in turn, of twenty groups."""
    chance = random.Random(seed)  # noqa: S311
    rows = []
    for number in range(count):
        good = number % 2
        text = " ".join(chance.choices(GOOD if good else BAD, k=12))
        rows.append(Labelled(text, 5 if good else 0, f"site-{number // 6 % 10}-{good}", "books" if good else "shops"))
    return rows


def test_training_twice_gives_the_same_file(tmp_path):
    """Same labels, same settings: same bytes; another seed: other bytes; no file beside them is left."""
    first = train(labelled(), tmp_path / "a.bin", SMALL)
    second = train(labelled(), tmp_path / "b.bin", SMALL)
    other = train(labelled(), tmp_path / "c.bin", SMALL.model_copy(update={"seed": 1}))
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert first.sha256 == second.sha256 != other.sha256
    names = [f"{name}.{kind}" for name in "abc" for kind in ("bin", "seen.parquet")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "a.seen.parquet").read_bytes() == (tmp_path / "b.seen.parquet").read_bytes()


def test_training_is_the_same_in_another_process(tmp_path):
    """The order of sets and hashes of the process does not reach the file."""
    code = (
        "import sys; sys.path[:0] = ['.', 'tests']; from pathlib import Path; import test_classifiers as t;"
        "print(t.train(t.labelled(), Path(sys.argv[1]), t.SMALL).sha256)"
    )
    digests = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"{seed}.bin")],
            capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def test_training_learns_and_is_tested_on_other_groups(tmp_path):
    """The held-out figures are those of groups that the model has not seen, and a simple difference is learned."""
    made = train(labelled(), tmp_path / "a.bin", SMALL)
    assert made.documents + made.held_out.documents == 120
    assert made.held_out.documents >= 20
    assert made.held_out.roc_auc == made.held_out.f1 == 1
    assert {(one.name, one.documents, one.good) for one in made.sources} == {
        ("books", made.grades[5], made.grades[5]), ("shops", made.grades[0], 0)
    }  # fmt: skip
    low, high = models.scores(tmp_path / "a.bin", ["buy cheap offer now", "the theory explains energy"])
    assert low < 1
    assert high > 4
    assert {source.name: source.good_ratio for source in made.held_out.sources} == {"books": 1, "shops": 0}


def test_training_learns_no_rare_word(tmp_path):
    """A word in too few texts or groups is not in the model: a name says nothing."""
    import fasttext  # noqa: PLC0415

    rows = [*labelled(), Labelled("energy smith", 5, "x"), *(Labelled("buy jones", 0, "y") for _ in range(9))]
    settings = SMALL.model_copy(update={"min_groups": 2, "held_out": 0.0})
    train(rows, tmp_path / "a.bin", settings)
    known = set(fasttext.load_model(str(tmp_path / "a.bin")).get_words())
    assert {"energy", "buy"} <= known
    assert not {"smith", "jones"} & known
    assert models.scores(tmp_path / "a.bin", ["smith jones"])[0] == 0


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([Labelled("good text", 5, "a")], {}, "are good"),
        ([Labelled("bad text", 1, "a")], {}, "are bad"),
        ([Labelled("12", 1, "a")], {}, "has a word in it"),
        (labelled(20), {"min_documents": 100}, "no word is in 100 texts"),
    ],
)
def test_training_that_cannot_be(tmp_path, rows, settings, message):
    """Labels of one kind, or without words, are refused with a remedy, and nothing is written."""
    with pytest.raises(UsageError, match=message) as caught:
        train(rows, tmp_path / "a.bin", SMALL.model_copy(update=settings))
    assert caught.value.remedy
    assert not (tmp_path / "a.bin").exists()


def test_graded_labels_give_expected_grades(tmp_path):
    """With grades between, the score is their expectation: a mixture lies between its parts."""
    chance = random.Random(1)  # noqa: S311
    rows = []
    for number in range(180):
        grade = (0, 3, 5)[number % 3]
        pool = {0: BAD, 3: BAD + GOOD, 5: GOOD}[grade]
        rows.append(Labelled(" ".join(chance.choices(pool, k=12)), grade, str(number)))
    made = train(rows, tmp_path / "a.bin", SMALL)
    low, middle, high = models.scores(tmp_path / "a.bin", [" ".join(BAD), " ".join(BAD + GOOD), " ".join(GOOD)])
    assert low < middle < high
    assert made.grades.keys() == {0, 3, 5}
    assert made.held_out.spearman > 0.8


def test_figures_against_plain_counting():
    """Ranks, ROC area and average precision are those of the slow definitions."""
    chance = np.random.default_rng(0)
    good, scores = chance.random(60) < 0.4, np.round(chance.random(60) * 5, 1)
    pairs = [(a, b) for a in scores[good] for b in scores[~good]]
    assert roc_auc(good, scores) == pytest.approx(sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs))
    slow = np.mean([good[scores >= score].mean() for score in scores[good]])
    assert average_precision(good, scores) == pytest.approx(slow)
    assert ranks(scores).tolist() == [
        (scores < score).sum() + ((scores == score).sum() + 1) / 2 for score in scores.tolist()
    ]
    assert spearman(scores, scores**3) == pytest.approx(1)
    assert spearman(scores, np.zeros(60)) is None


def test_evaluation_of_one_kind(tmp_path):
    """Figures that labels of one kind cannot give are None, and no labels are an error."""
    train(labelled(), tmp_path / "a.bin", SMALL)
    found = evaluate(tmp_path / "a.bin", [Labelled("theory explains energy", 5, "a")])
    assert (found.precision, found.recall, found.f1) == (1, 1, 1)
    assert (found.roc_auc, found.average_precision, found.spearman) == (None, None, None)
    assert [(one.low, one.documents) for one in found.calibration] == [(4.5, 1)]
    with pytest.raises(UsageError, match="no labelled texts"):
        evaluate(tmp_path / "a.bin", [])


def test_card_says_what_is_known_and_what_is_not(tmp_path):
    """The card has the hash, the command, the figures, and says where there are none."""
    made = train(labelled(), tmp_path / "a.bin", SMALL)
    text = card(made, None, name="A model", command="make it", made_at=date(2026, 11, 23), limits="Many.")
    assert text.startswith("# A model\n")
    for part in (made.sha256, "`make it`", "2026-11-23", "| books |", "Many.", "There are none: evaluate it"):
        assert part in text
