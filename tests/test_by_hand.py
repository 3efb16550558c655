"""Labelling by hand: one key a document, nothing lost or asked twice, and a document that cannot drive the terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from classifiers import by_hand, labelling
from classifiers import labels as labelled
from classifiers import rubric as rubrics
from classifiers.rubric import Document
from classifiers.text import WINDOW
from curation import pipeline, schema
from curation.cli import cli
from curation.cli.by_hand import Screen, harmless
from curation.errors import StorageError, UsageError
from curation.recipe import load

ROOT = Path(__file__).parent.parent
RUBRIC = rubrics.load()
ADA = by_hand.made_by(RUBRIC, "ada")


def documents(count=6):
    """So many short documents."""
    rest = {"source": "web", "uri": None, "group": "g", "score": 2.5}
    return [Document.of(f"Text {n}.", id=f"{n:032x}", **rest) for n in range(count)]


def session(path, keys, given=None, made=ADA, *, height=30, width=80):
    """Label with these keys, one after another; the sheet, what was on the screen, and the keys left over."""
    waiting = list(keys)
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=height, color_system=None)

    def read_key():
        if not waiting:
            raise KeyboardInterrupt
        return waiting.pop(0)

    sheet = by_hand.Sheet.open(path, made, "uniform")
    try:
        by_hand.label(documents() if given is None else given, sheet, Screen(console, RUBRIC, read_key).ask)
    except KeyboardInterrupt:
        waiting.append("interrupted")
    return sheet, out.getvalue(), waiting


def written(path):
    """The number of each document in the file and its label, in order."""
    return [(int(row["id"], 16), row["label"]) for row in pq.read_table(path).to_pylist()]


# What keys do


def test_one_key_is_one_label(tmp_path):
    """Digits are grades, g and b the ends of the scale, s passes over, q ends; other keys do nothing."""
    path = tmp_path / "l.parquet"
    _, shown, left = session(path, ["4", "x", "G", "9", "b", "s", "0", "q"])
    assert written(path) == [(0, 4), (1, 5), (2, 0), (3, None), (4, 0)]
    assert left == []
    assert "4 done, 2 to go: 1 of grade 0, 1 of grade 4, 1 of grade 5, 1 skipped" in shown


def test_rows_are_those_of_a_model_and_training_reads_them(tmp_path):
    """The schema is that of labels by an endpoint; the model is who graded, and a skipped document is passed over."""
    path = tmp_path / "l.parquet"
    session(path, ["3", "s", "q"])
    table = pq.read_table(path)
    assert table.schema.equals(schema.LABELS)
    first, second = table.to_pylist()
    assert (first["label"], first["error"], first["model"], first["rubric"]) == (3, None, "by hand: ada", "education@1")
    assert (first["source"], first["group"], first["score"], first["cost"]) == ("web", "g", 2.5, 0.0)
    assert (second["label"], second["error"]) == (None, "skipped: by hand")
    assert [(row.text, row.grade) for row in labelled.read([path])] == [("Text 0.", 3)]
    assert labelling.counts(labelling.read(path), 2.5)["without"]["skipped"] == 1


def test_each_label_is_on_the_disk_before_the_next_question(tmp_path):
    """Whenever a key is awaited, the file holds all labels before it: a kill then loses nothing."""
    path, seen, keys = tmp_path / "l.parquet", [], list("0123")

    def ask(document, sheet, waiting):
        seen.append(len(written(path)) if path.exists() else 0)
        return int(keys.pop(0)) if keys else "quit"

    by_hand.label(documents(), by_hand.Sheet.open(path, ADA, "uniform"), ask)
    assert seen == [0, 1, 2, 3, 4]


def test_what_is_labelled_is_not_asked_again(tmp_path):
    """A second session begins with the first document without a row, and a larger sample goes on behind the first."""
    path = tmp_path / "l.parquet"
    session(path, ["1", "s"])
    session(path, ["2", "q"])
    session(path, list("22222222"), documents(8))
    assert written(path) == [(0, 1), (1, None), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (7, 2)]


@pytest.mark.parametrize("key", ["u", "\x7f"])
def test_undo_goes_back_several_steps_and_across_sessions(tmp_path, key):
    """The documents are asked about again, the last one first; with nothing to take back it does nothing."""
    path = tmp_path / "l.parquet"
    session(path, [*"123", "q"])
    session(path, ["4", key, key, key, "q"])
    assert written(path) == [(0, 1)]
    _, shown, left = session(path, [key, key, key, *"555555", "q"])
    assert written(path) == [(n, 5) for n in range(6)]
    assert left == []
    assert shown.rstrip().endswith("u undo   ? rubric   q quit")


def test_the_last_label_can_be_taken_back(tmp_path):
    """When every document has a label, undo still works, and a grade does nothing."""
    path = tmp_path / "l.parquet"
    _, shown, _ = session(path, [*"111111", "5", "u", "4", "q"])
    assert written(path) == [*((n, 1) for n in range(5)), (5, 4)]
    assert "Every document of this sample has its label." in shown
    _, shown, _ = session(path, ["u", "q"])
    assert len(written(path)) == 5


def test_undo_of_a_document_of_another_sample(tmp_path):
    """Its text is shown as it stands in the file, and its label replaced."""
    path = tmp_path / "l.parquet"
    long = Document.of("x " * 9_000, id=f"{7:032x}", source="web", uri=None, group=None, score=None)
    session(path, ["1", "q"], [long])
    before = pq.read_table(path).to_pylist()
    _, shown, _ = session(path, ["u", "2", "q"])
    assert "characters left out" not in shown
    assert pq.read_table(path).to_pylist() == [before[0] | {"label": 2}]


def test_pasted_text_labels_nothing(tmp_path):
    """Several characters at once are no key, and neither is what a function key sends."""
    path = tmp_path / "l.parquet"
    session(path, ["345", "\x1b[15~", "gg", "\x1b", "q"])
    assert not path.exists()


@pytest.mark.parametrize("error", [OSError("gone"), EOFError()])
def test_a_terminal_that_is_gone_ends_the_work(tmp_path, error):
    """It quits instead of asking for ever; the labels are there."""
    path, keys = tmp_path / "l.parquet", ["1"]

    def read_key():
        if keys:
            return keys.pop()
        raise error

    screen = Screen(Console(file=StringIO(), width=80, height=30), RUBRIC, read_key)
    by_hand.label(documents(), by_hand.Sheet.open(path, ADA, "uniform"), screen.ask)
    assert written(path) == [(0, 1)]


def test_an_interrupt_while_the_file_is_written_loses_nothing(tmp_path, monkeypatch):
    """The label that was being written when Ctrl-C came is written on the way out."""
    path, calls = tmp_path / "l.parquet", []
    save = by_hand.save

    def interrupted(table, to):
        calls.append(to)
        if len(calls) == 2:
            raise KeyboardInterrupt
        save(table, to)

    monkeypatch.setattr(by_hand, "save", interrupted)
    _, _, left = session(path, list("345"))
    assert left == ["5", "interrupted"]
    assert written(path) == [(0, 3), (1, 4)]


def test_labels_of_others_are_neither_overwritten_nor_mixed(tmp_path):
    """Another person, another rubric, or a file that is no labels: refused. Changed by another process: said."""
    path = tmp_path / "l.parquet"
    session(path, ["1", "q"])
    with pytest.raises(UsageError, match="by another model, by hand: ada"):
        session(path, ["1"], made=by_hand.made_by(RUBRIC, "ben"))
    with pytest.raises(UsageError, match="by another rubric"):
        session(path, ["1"], made=by_hand.made_by(RUBRIC.model_copy(update={"task": "Other"}), "ada"))
    (tmp_path / "no.parquet").write_bytes(b"mine")
    with pytest.raises(UsageError, match="cannot be read as labels"):
        session(tmp_path / "no.parquet", ["1"])
    pq.write_table(pq.read_table(path).drop_columns(["text"]), tmp_path / "less.parquet")
    with pytest.raises(UsageError, match="its columns are not those"):
        session(tmp_path / "less.parquet", ["1"])
    sheet = by_hand.Sheet.open(path, ADA, "uniform")
    session(path, ["2", "q"])
    with pytest.raises(StorageError, match="changed by somebody else"):
        sheet.add(documents()[5], 3)
    assert written(path) == [(0, 1), (1, 2)]


def test_the_name_of_a_person_is_one_line():
    """What the environment says is a name and nothing else."""
    assert by_hand.made_by(RUBRIC, " a\x1b[2Jd\na ")["model"] == "by hand: a[2Jda"
    assert by_hand.made_by(RUBRIC, "\n")["model"] == "by hand"


# What is shown

EVIL = "Safe \x1b[2J\x1b]0;title\x07 \x9b31m \x08\x08 \u202egnp \r hidden \x0e \x7f end"


def test_a_document_cannot_drive_the_terminal(tmp_path):
    """No control character and no order of direction of a text reaches the terminal; the reader sees them named."""
    evil = [Document.of(EVIL, id="a" * 32, source="web", uri=None, group=None, score=None)]
    _, shown, _ = session(tmp_path / "l.parquet", ["q"], evil, width=120)
    shown = shown.replace("\x1b[2J", "").replace("\x1b[H", "")  # how the screen is cleared
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown) is None
    assert r"Safe \x1b[2J\x1b]0;title\x07 \x9b31m \x08\x08 \u202egnp \r hidden \x0e \x7f end" in shown


def test_the_text_is_no_markup(tmp_path):
    """Square brackets and colons mean nothing to what prints them."""
    text = "[bold]a[/bold] [link=file:///x]b[/link] :smile: [/]"
    given = [Document.of(text, id="a" * 32, source="web", uri=None, group=None, score=None)]
    assert text in session(tmp_path / "l.parquet", ["q"], given)[1]


@given(st.text())
def test_what_is_shown_is_printable(text):
    """Whatever the text, what is left are letters, tabs, line feeds and the two joiners."""
    assert all(letter.isprintable() or letter in "\n\t\u200c\u200d" for letter in harmless(text))


def test_a_long_text_has_pages_that_fit_the_terminal(tmp_path):
    """Each line is shown once, in order, on pages no higher and wider than the terminal; wide letters count twice."""
    lines = [f"line {n} " + "語" * 50 for n in range(40)]
    given = [Document.of("\n".join(lines), id="a" * 32, source="web", uri=None, group=None, score=None)]
    _, shown, _ = session(tmp_path / "l.parquet", [*" " * 20, "q"], given, height=24, width=60)
    screens = shown.split("\x1b[H")[1:]
    console = Console(width=60)
    assert all(screen.count("\n") <= 24 for screen in screens)
    assert all(console.render_str(line, markup=False).cell_len <= 60
               for screen in screens for line in screen.splitlines()[2:-2])  # fmt: skip
    count = int(re.search(r"page 1 of (\d+)", shown)[1])
    body = "".join("".join(screen.splitlines()[2:-3]) for screen in screens[:count])
    assert body.replace(" ", "") == "".join(lines).replace(" ", "")
    assert f"page {count} of {count}" in screens[-1]
    _, shown, _ = session(tmp_path / "l.parquet", [" ", "\x1b[B", "-", "-", "-", "q"], given, height=24, width=60)
    assert [int(n) for n in re.findall(r"page (\d+) of", shown)] == [1, 2, 3, 2, 1, 1]


def test_the_excerpt_is_what_a_model_is_asked_about(tmp_path):
    """Of a long text the windows, with notes of what is left out."""
    text = " ".join(f"w{n}" for n in range(4_000))
    given = [Document.of(text, id="a" * 32, source="web", uri=None, group=None, score=None)]
    _, shown, _ = session(tmp_path / "l.parquet", [" ", "q"], given, height=2_000)
    gap = (len(text) - WINDOW) // 2 - WINDOW
    assert f"[… {gap:,} characters left out …]" in shown


def test_the_rubric_is_a_key_away(tmp_path):
    """It has the task and every axis; no key labels anything while it is shown."""
    path = tmp_path / "l.parquet"
    _, shown, _ = session(path, ["?", "3", "4", "q"], height=100)
    assert written(path) == [(0, 4)]
    for axis in RUBRIC.axis:
        assert f"{axis.name}, 0 " in shown


# The command


@pytest.fixture(scope="session")
def ran(tmp_path_factory, engine):
    """A folder with the sample and what a run of it until judging made."""
    folder = tmp_path_factory.mktemp("hand") / "textbook"
    shutil.copytree(ROOT / "recipes" / "sample", folder / "sample")
    shutil.copyfile(ROOT / "recipes" / "quickstart.toml", folder / "recipe.toml")
    pipeline.run(load(folder / "recipe.toml"), engine, until="judge")
    return folder


@pytest.fixture
def folder(ran, tmp_path):
    """A copy of that folder."""
    shutil.copytree(ran, tmp_path / "textbook")
    return tmp_path / "textbook"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by-hand"], "standard input is no terminal"),
        (["--by-hand", "--endpoint", "x"], "exclude each other"),
        ([], "who grades"),
    ],
)
def test_without_a_terminal_or_a_labeller(folder, options, message):
    """Each is one error that says what to do."""
    found = CliRunner().invoke(cli, ["classifier", "label", str(folder / "recipe.toml"), "--sample", "5", *options])
    assert isinstance(found.exception, UsageError)
    assert message in found.exception.message
    assert found.exception.remedy


class Terminal:
    """The command on a terminal of its own; standard output goes to a file."""

    def __init__(self, folder, *options, user="ada"):
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(self.master, (40, 100))
        self.out = (folder / "out.json").open("w+")
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "curation", "classifier", "label", str(folder / "recipe.toml"), "--by-hand",
             "--sample", "12", *options],
            cwd=ROOT, stdin=slave, stdout=self.out, stderr=slave, close_fds=True, start_new_session=True,
            env={**os.environ, "USER": user, "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)

    def wait_for(self, text, seconds=120):
        """Read the screen until the text is on it and a key is awaited."""
        until = time.monotonic() + seconds
        while text not in self.shown or termios.tcgetattr(self.master)[3] & termios.ICANON:
            assert time.monotonic() < until, self.shown
            assert self.process.poll() is None, self.shown
            if select.select([self.master], [], [], 0.02)[0]:
                self.shown += os.read(self.master, 65_536).decode(errors="replace")

    def press(self, key, expected):
        """Press a key and wait for the screen after it."""
        self.shown = ""
        os.write(self.master, key.encode())
        self.wait_for(expected)

    def end(self):
        """The exit status, after reading what is still shown."""
        until = time.monotonic() + 120
        while self.process.poll() is None:
            assert time.monotonic() < until
            if select.select([self.master], [], [], 0.02)[0]:
                with suppress(OSError):  # the other end is closed
                    self.shown += os.read(self.master, 65_536).decode(errors="replace")
        os.close(self.master)
        return self.process.returncode


def test_on_a_terminal_with_a_kill_and_an_interrupt(folder):
    """Labels survive SIGKILL, SIGTERM and Ctrl-C; the same command goes on; quitting prints the summary as JSON."""
    path = folder / "labels" / "by-hand.parquet"
    one = Terminal(folder)
    one.wait_for("0 done, 12 to go")
    one.press("5", "1 done, 11 to go: 1 of grade 5")
    one.press("b", "2 done, 10 to go")
    one.process.kill()
    assert one.end() == -signal.SIGKILL
    one = Terminal(folder)
    one.wait_for("2 done, 10 to go")
    one.press("u", "1 done, 11 to go")
    one.press("3", "2 done, 10 to go: 1 of grade 3, 1 of grade 5")
    os.write(one.master, b"\x03")
    assert one.end() == 130
    one = Terminal(folder)
    one.wait_for("2 done, 10 to go")
    one.press("s", "3 done, 9 to go")
    one.process.terminate()
    assert one.end() == 130
    one = Terminal(folder, "--json", "--compare", str(path))
    one.wait_for("3 done, 9 to go")
    os.write(one.master, b"q")
    assert one.end() == 0
    told = json.loads((folder / "out.json").read_text())
    assert (told["sample"], told["documents"], told["grades"]["3"], told["grades"]["5"]) == (12, 3, 1, 1)
    assert (told["without"]["skipped"], told["agreement"]["documents"], told["agreement"]["exact"]) == (1, 2, 1.0)
    rows = pq.read_table(path).to_pylist()
    assert [row["label"] for row in rows] == [5, 3, None]
    assert {row["model"] for row in rows} == {"by hand: ada"}
    one = Terminal(folder, user="ben")
    assert one.end() == 2
    assert "by another model, by hand: ada" in one.shown
