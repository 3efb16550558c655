"""What a person who labels by hand sees, and what each key does."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

import click

from curation.cli.printing import plain
from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from classifiers.by_hand import Said, Sheet
    from classifiers.rubric import Document, Rubric

#: Each key that ends a question.
SAID: dict[str, Said] = {
    **{str(grade): grade for grade in range(6)},
    "g": 5, "b": 0, "s": "skip", "u": "undo", "\x7f": "undo", "\b": "undo", "q": "quit", "": "quit", "\x04": "quit",
}  # fmt: skip
#: Keys that turn pages: those of a pager, and what arrows and the page keys send.
_NEXT = (" ", "\r", "\n", "\x1b[B", "\x1bOB", "\x1b[6~")
_BACK = ("-", "\x1b[A", "\x1bOA", "\x1b[5~")
_HELP = "?"

#: Columns of text at most: longer lines are hard to read.
_WIDTH = 100
#: Lines of the screen that are not the document's: two of head, two of foot, and blank ones.
_AROUND = 7
#: Without width, and needed to write Persian, many scripts of India, and emoji: joiners and their opposite.
_HARMLESS = "\u200c\u200d"


def person() -> str:
    """The name of whoever is logged in, as the environment says it; nothing where it does not."""
    return os.environ.get("USER") or os.environ.get("USERNAME") or ""


def refuse_no_terminal() -> None:
    """Raise `UsageError` unless a person can read the screen (standard error) and press keys (standard input)."""
    for stream, what in ((sys.stdin, "input"), (sys.stderr, "error")):
        if not stream.isatty():
            raise UsageError(
                f"--by-hand: standard {what} is no terminal, so there is nobody to ask",
                remedy="run it in a terminal, or have a model grade with --endpoint NAME",
            )


class Screen:
    """A document at a time on a terminal, in pages, with how far the work is and the keys."""

    def __init__(self, console: Console, rubric: Rubric, read_key: Callable[[], str] = click.getchar) -> None:
        self.console = console
        self.rubric = rubric
        self.read_key = read_key

    def ask(self, document: Document | None, sheet: Sheet, waiting: int) -> Said:
        """What the person says of a document; of none when all have a label, where they can take back or quit.

        A key that means nothing is passed over, and so are several that come at once: pasted text labels nothing. A
        terminal that is gone quits.
        """
        from classifiers.rubric import quoted

        text = quoted(document) if document else "Every document of this sample has its label."
        page, help_wanted = 0, False
        while True:
            pages = self._pages(self._rubric() if help_wanted else text)
            page = min(page, len(pages) - 1)
            self._show(pages, page, _progress(sheet, waiting), is_asked=document is not None)
            try:
                key = self.read_key()
            except (OSError, EOFError):
                return "quit"
            if key in _NEXT:
                page += 1
            elif key in _BACK:
                page = max(0, page - 1)
            elif key == _HELP or help_wanted:
                page, help_wanted = 0, not help_wanted
            elif (said := SAID.get(key.lower())) is not None and (document or said in ("undo", "quit")):
                return said

    def _show(self, pages: list[list[str]], page: int, progress: str, *, is_asked: bool) -> None:
        self.console.clear()
        self._line(progress, "bold")
        self._line("")
        for line in pages[page]:
            self._line(line)
        self._line("")
        if len(pages) > 1:
            self._line(f"page {page + 1} of {len(pages)}: space for the next, - for the one before", "dim")
        grades = "grade 0 to 5, or g good (5), b bad (0)   s skip   " if is_asked else ""
        self._line(f"{grades}u undo   ? rubric   q quit", "bold")

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def _pages(self, text: str) -> list[list[str]]:
        """The text in lines that fit the terminal, as many a page as it is high."""
        from rich.text import Text

        width = max(20, min(_WIDTH, self.console.width - 1))
        lines = [
            part.plain.rstrip()
            for line in harmless(text).split("\n")
            for part in Text(line).wrap(self.console, width, tab_size=4) or [Text()]
        ]
        height = max(3, self.console.height - _AROUND)
        return [lines[start : start + height] for start in range(0, len(lines), height)]

    def _rubric(self) -> str:
        axes = "\n\n".join(
            f"{axis.name}, 0 {'or' if axis.points == 1 else 'to'} {axis.points}: {axis.criterion.strip()}"
            for axis in self.rubric.axis
        )
        return f"{self.rubric.label}\n\n{self.rubric.task.strip()}\n\nThe grade is a sum of points:\n\n{axes}"


def harmless(text: str) -> str:
    r"""A text that can only be read: what would drive a terminal or reorder a line is shown as an escape.

    Line feeds and tabs stay, other kinds of space become one.

    >>> harmless("a\x1b[2J\r\nb\tc\u00a0d \u202ee\x9b1m")
    'a\\x1b[2J\nb\tc d \\u202ee\\x9b1m'
    """
    kept = [
        letter if letter in "\n\t" or letter in _HARMLESS
        else " " if unicodedata.category(letter) == "Zs"
        else "\n" if unicodedata.category(letter) in ("Zl", "Zp")
        else plain(letter)
        for letter in text.replace("\r\n", "\n")
    ]  # fmt: skip
    return "".join(kept)


def _progress(sheet: Sheet, waiting: int) -> str:
    """How far the work is, and how often each grade was given."""
    grades = Counter(row["label"] for row in sheet.rows)
    given = ", ".join(f"{grades[grade]:,} of grade {grade}" for grade in range(6) if grades[grade])
    skipped = f", {grades[None]:,} skipped" if grades[None] else ""
    done = len(sheet.rows)
    return f"{done:,} done, {waiting:,} to go{': ' if given else ''}{given}{skipped}"
