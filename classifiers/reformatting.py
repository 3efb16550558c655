"""The same text in another form: what changes how it looks, and little or nothing of what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WIDTH = 60

_MARKED_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t].*\n?", re.MULTILINE)
_UNDERLINED_HEADING = re.compile(r"^(?=.*\w).*\n([=\-~^\"'*+])\1{2,}[ \t]*(\n|$)", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(```|~~~).*$", re.MULTILINE)
_LEADING = re.compile(r"^[ \t]*(#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+|\d{1,3}[.)][ \t]+)+", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*([-*_=~|:+][ \t]*){3,}$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*(?: +\"[^\"\n]*\")?\)")
_EMPHASIS = re.compile(r"(\*\*|__|\*|_|`+)(?=\S)(.+?)(?<=\S)\1")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")


def without_headings(text: str) -> str:
    r"""A text without its headings of Markdown and reStructuredText; the text itself where nothing would be left.

    >>> without_headings("# Light\n\nIt is fast.\n\nHeat\n====\n\nIt is slow.")
    '\nIt is fast.\n\n\nIt is slow.'
    """
    left = _UNDERLINED_HEADING.sub("", _MARKED_HEADING.sub("", text))
    return left if left.strip() else text


def rewrapped(text: str) -> str:
    r"""A text whose paragraphs are filled anew, to lines of at most 60 characters.

    >>> rewrapped("one\ntwo\n\nthree")
    'one two\n\nthree'
    """
    return "\n\n".join(_filled(paragraph.split()) for paragraph in re.split(r"\n[ \t]*\n", text))


def _filled(words: list[str]) -> str:
    lines: list[str] = []
    line: list[str] = []
    length = -1
    for word in words:
        if line and length + 1 + len(word) > _WIDTH:
            lines.append(" ".join(line))
            line, length = [], -1
        line.append(word)
        length += 1 + len(word)
    return "\n".join([*lines, " ".join(line)])


def plain(text: str) -> str:
    r"""A text without the marks of Markdown: fences, heading marks, bullets, numbers of items, links, emphasis.

    >>> plain("## Two *things*\n\n1. [light](https://example.org)\n2. **heat**")
    'Two things\n\nlight\nheat'
    """
    text = _LINK.sub(r"\1", _LEADING.sub("", _RULE.sub("", _FENCE.sub("", text))))
    return _EMPHASIS.sub(r"\2", text).replace("|", " ")


def as_list(text: str) -> str:
    r"""A text with each sentence as an item of a Markdown list.

    >>> as_list("It is fast. It is light.")
    '- It is fast.\n- It is light.'
    """
    return "\n".join(f"- {sentence}" for sentence in _SENTENCE_END.split(text.strip()))


def on_one_line(text: str) -> str:
    r"""A text whose white space is single spaces.

    >>> on_one_line("a\n\n b")
    'a b'
    """
    return " ".join(text.split())


#: Every way, by the name that reports use.
WAYS: Mapping[str, Callable[[str], str]] = {
    "headings removed": without_headings,
    "lines rewrapped": rewrapped,
    "on one line": on_one_line,
    "Markdown to plain": plain,
    "sentences as a list": as_list,
    "capitals": str.upper,
    "lower case": str.lower,
}
