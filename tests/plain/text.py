"""What a token, a word, a line, a paragraph and a sentence are: in plain Python, for every script.

This is what the kernels are compared with. It stands by itself: character classes of its own, regular expressions.

The classes come from the Unicode Character Database that Python carries (`unicodedata`): letters are the categories L*,
numbers N*, marks M*; white space is the property White_Space. The scripts written without spaces and the sentence
terminals are tables below, by code point.
"""

# ruff: noqa: RUF002, RUF003 — full-width marks are meant where they stand

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from itertools import chain, count
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

#: Code points with the property White_Space.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

#: Scripts written without spaces between words: every letter in these ranges is a token of its own.
SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3000, 0x312F),  # CJK symbols (々, 〆), Hiragana, Katakana, Bopomofo
    (0x3190, 0x31FF),  # Kanbun, Bopomofo Extended, Katakana phonetic extensions
    (0x3400, 0xA4CF),  # Han, Yi
    (0xA9E0, 0xA9FF),  # Myanmar Extended-B
    (0xAA60, 0xAADF),  # Myanmar Extended-A, Tai Viet
    (0xF900, 0xFAFF),  # Han compatibility ideographs
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x16FE0, 0x18DFF),  # Tangut, Khitan
    (0x1AFF0, 0x1B2FF),  # Kana supplements, Nushu
    (0x20000, 0x3FFFF),  # Han on planes 2 and 3
)

#: Marks that end a sentence: the property Sentence_Terminal of Unicode 16, and the ellipsis U+2026, which lacks it.
#: The Arabic comma U+060C and semicolon U+061B are none.
SENTENCE_TERMINALS = (
    *((0x0021, 0x0021), (0x002E, 0x002E), (0x003F, 0x003F), (0x0589, 0x0589), (0x061D, 0x061F), (0x06D4, 0x06D4)),
    *((0x0700, 0x0702), (0x07F9, 0x07F9), (0x0837, 0x0837), (0x0839, 0x0839), (0x083D, 0x083E), (0x0964, 0x0965)),
    *((0x104A, 0x104B), (0x1362, 0x1362), (0x1367, 0x1368), (0x166E, 0x166E), (0x1735, 0x1736), (0x17D4, 0x17D5)),
    *((0x1803, 0x1803), (0x1809, 0x1809), (0x1944, 0x1945), (0x1AA8, 0x1AAB), (0x1B4E, 0x1B4F), (0x1B5A, 0x1B5B)),
    *((0x1B5E, 0x1B5F), (0x1B7D, 0x1B7F), (0x1C3B, 0x1C3C), (0x1C7E, 0x1C7F), (0x2024, 0x2024), (0x2026, 0x2026)),
    *((0x203C, 0x203D), (0x2047, 0x2049), (0x2CF9, 0x2CFB), (0x2E2E, 0x2E2E), (0x2E3C, 0x2E3C), (0x2E53, 0x2E54)),
    *((0x3002, 0x3002), (0xA4FF, 0xA4FF), (0xA60E, 0xA60F), (0xA6F3, 0xA6F3), (0xA6F7, 0xA6F7), (0xA876, 0xA877)),
    *((0xA8CE, 0xA8CF), (0xA92F, 0xA92F), (0xA9C8, 0xA9C9), (0xAA5D, 0xAA5F), (0xAAF0, 0xAAF1), (0xABEB, 0xABEB)),
    *((0xFE12, 0xFE12), (0xFE15, 0xFE16), (0xFE52, 0xFE52), (0xFE56, 0xFE57), (0xFF01, 0xFF01), (0xFF0E, 0xFF0E)),
    *((0xFF1F, 0xFF1F), (0xFF61, 0xFF61), (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89)),
    *((0x11047, 0x11048), (0x110BE, 0x110C1), (0x11141, 0x11143), (0x111C5, 0x111C6), (0x111CD, 0x111CD)),
    *((0x111DE, 0x111DF), (0x11238, 0x11239), (0x1123B, 0x1123C), (0x112A9, 0x112A9), (0x113D4, 0x113D5)),
    *((0x1144B, 0x1144C), (0x115C2, 0x115C3), (0x115C9, 0x115D7), (0x11641, 0x11642), (0x1173C, 0x1173E)),
    *((0x11944, 0x11944), (0x11946, 0x11946), (0x11A42, 0x11A43), (0x11A9B, 0x11A9C), (0x11C41, 0x11C42)),
    *((0x11EF7, 0x11EF8), (0x11F43, 0x11F44), (0x16A6E, 0x16A6F), (0x16AF5, 0x16AF5), (0x16B37, 0x16B38)),
    *((0x16B44, 0x16B44), (0x16D6E, 0x16D6F), (0x16E98, 0x16E98), (0x1BC9F, 0x1BC9F), (0x1DA88, 0x1DA88)),
)

#: Terminals after which no space is written: 。 and the full-width ！ ？, their half-width and vertical forms. The
#: full-width stop U+FF0E is none, because it is the decimal point of full-width numbers.
FULL_WIDTH_TERMINALS = "\u3002\ufe12\ufe15\ufe16\ufe52\ufe56\ufe57\uff01\uff1f\uff61"


def _characters(*categories: str) -> str:
    """Every character of these general categories; none of those asked for here lies elsewhere."""
    places = chain(range(0x20000), range(0xE0100, 0xE01F0))
    return "".join(character for character in map(chr, places) if unicodedata.category(character) in categories)


def _spaceless_letters() -> str:
    """A character class of the letters in `SPACELESS`; planes 2 and 3 hold nothing but letters and are a range."""
    planes = "\U00020000-\U0003ffff"
    low = (chr(point) for first, last in SPACELESS if first < 0x20000 for point in range(first, last + 1))
    return _ranges("".join(c for c in low if unicodedata.category(c)[0] == "L")) + planes


def _ranges(characters: str) -> str:
    """The body of a character class that holds these characters, which are given in order."""
    runs: list[list[int]] = []
    for point in map(ord, characters):
        if runs and runs[-1][1] == point - 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in runs)


_MARKS = _ranges(_characters("Mn", "Mc", "Me"))
_WHITE = _ranges(WHITE_SPACE)
_LETTERS = _spaceless_letters()
_TERMINALS = "".join(chr(point) for first, last in SENTENCE_TERMINALS for point in range(first, last + 1))
#: Closing brackets and quotes: Pe, Pf and the straight quotes.
_CLOSING = _characters("Pe", "Pf") + "\"'"
#: Closing marks where white space or the end follows: also the opening quotes (Pi), which close in German and Danish.
_CLOSING_BEFORE_SPACE = _CLOSING + _characters("Pi")

_TOKEN = re.compile(f"[{_LETTERS}][{_MARKS}]*+|[^{_WHITE}{_LETTERS}]++")
_ASCII_TOKEN = re.compile(r"[^\t-\r ]++")
_LETTER_OR_NUMBER = re.compile(r"[^\W_]")  # \w is L*, N* and the underscore: tests/test_text.py says so
_CORE = re.compile(rf"[^\W_]|[{_MARKS}]")  # what a word may begin and end with
_RAW_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\n|\r|\Z)")  # the last one is empty where the text ends with a line break
_SENTENCE_END = re.compile(
    f"([{re.escape(_TERMINALS)}]++)([{re.escape(_CLOSING)}]*+)[{re.escape(_CLOSING_BEFORE_SPACE)}]*+"
)
_FULL_WIDTH = re.compile(f"[{FULL_WIDTH_TERMINALS}]")


def tokens(text: str) -> list[str]:
    """The tokens of a text: its longest runs without white space.

    Inside such a run every letter of a script written without spaces (`SPACELESS`) is a token of its own, together with
    the marks that follow it; what stands between two such letters is a token too.

    >>> tokens("Don't pay 3.14 — ever!")
    ["Don't", 'pay', '3.14', '—', 'ever!']
    >>> tokens("我有iPhone。")
    ['我', '有', 'iPhone。']
    >>> tokens("ที่นี่ 2569")
    ['ที่', 'นี่', '2569']
    """
    return list(_tokens(text))


def words(text: str) -> list[str]:
    r"""The words of a text: its tokens that hold a letter or a number, trimmed.

    Trimmed are the leading and trailing characters that are neither letter nor number nor mark; what stands inside
    stays, so that "don't", "e-mail" and "3.14" are one word each. Equal tokens give one object, so that a word
    repeated ten million times costs ten million references.

    >>> words('"Don\'t e-mail me," she said — 3.14 times…')
    ["Don't", 'e-mail', 'me', 'she', 'said', '3.14', 'times']
    >>> words("我有iPhone。")
    ['我', '有', 'iPhone']
    >>> words("— *** ☃ _")
    []
    """
    return list(_words(text))


def numbered_words(text: str) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct words of a text in order of first appearance, and for each of its words the place in that list.

    >>> distinct, numbers = numbered_words("to be or not to be")
    >>> distinct, numbers.tolist()
    (['to', 'be', 'or', 'not'], [0, 1, 2, 3, 0, 1])
    """
    places: defaultdict[str, int] = defaultdict(count().__next__)
    numbers = np.fromiter(map(places.__getitem__, _words(text)), np.int32)
    return list(places), numbers


def lines(text: str) -> list[str]:
    r"""The lines of a text: what stands between line breaks (\n, \r\n or \r), without surrounding white space.

    A line of nothing but white space is blank and is none. Form feeds, vertical tabs and U+2028 break no line.
    Equal lines are one object.

    >>> lines("Title\r\n\r\n  one \n\u3000\ntwo")
    ['Title', 'one', 'two']
    """
    return list(filter(None, _stripped(text)))


def line_spans(text: str) -> Iterator[tuple[str, int, int]]:
    r"""Each line of a text as `lines` gives it, with the bytes of UTF-8 it takes: (line, start, end).

    The bytes hold the white space around the line and its line break, so that cutting them removes the line whole.
    Blank lines have no span.

    >>> list(line_spans("é \r\n\n b"))
    [('é', 0, 5), ('b', 6, 8)]
    """
    end = 0
    for match in _RAW_LINE.finditer(text):
        raw = match[0]
        start, end = end, end + (len(raw) if raw.isascii() else len(raw.encode()))
        line = raw.strip(WHITE_SPACE)
        if line:
            yield line, start, end


def paragraphs(text: str) -> list[str]:
    r"""The paragraphs of a text: lines with no blank line between them, joined by "\n".

    >>> paragraphs("Title\n\n  one\ntwo\n \t\n\nthree\n")
    ['Title', 'one\ntwo', 'three']
    """
    found = []
    block: list[str] = []
    for line in chain(_stripped(text), ("",)):
        if line:
            block.append(line)
        elif block:
            found.append("\n".join(block))
            block = []
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a text, trimmed; each holds a word.

    A sentence ends at the end of its paragraph, and after a run of sentence terminals with the closing quotes and
    brackets behind it, if white space or the end follows. Where the run holds a full-width terminal (。！？), nothing
    need follow. Abbreviations are not special: "Dr. No." is two. Pieces without a word, such as "!!!", are none.

    >>> sentences('He asked: "Why?" Nobody knew (yet.) Version 3.14 was out')
    ['He asked: "Why?"', 'Nobody knew (yet.)', 'Version 3.14 was out']
    >>> sentences("你好。再见！")
    ['你好。', '再见！']
    >>> sentences("Dr. No.")
    ['Dr.', 'No.']
    """
    return [
        piece.strip(WHITE_SPACE)
        for paragraph in paragraphs(text)
        for piece in _pieces(paragraph)
        if _LETTER_OR_NUMBER.search(piece)
    ]


def ends_sentence(line: str) -> bool:
    """Whether the last character of a line is a sentence terminal, closing quotes and brackets set aside.

    >>> [ends_sentence(line) for line in ("Stop.", "She said “no!”", "你好。」", "Read more", "(see)", "")]
    [True, True, True, False, False, False]
    """
    last = line.rstrip(_CLOSING_BEFORE_SPACE)[-1:]
    return bool(last) and last in _TERMINALS


def _tokens(text: str) -> Iterator[str]:
    pattern = _ASCII_TOKEN if text.isascii() else _TOKEN
    return map(itemgetter(0), pattern.finditer(text))


def _words(text: str) -> Iterable[str]:
    return filter(None, map(_Trimmed().__getitem__, _tokens(text)))


class _Trimmed(dict[str, str]):
    """Token to word, "" where the token is none; filled as tokens are met."""

    def __missing__(self, token: str) -> str:
        word = token if token.isalnum() else _trim(token)
        self[token] = word
        return word


def _stripped(text: str) -> Iterator[str]:
    """Every line without the white space around it, "" for a blank one; equal lines are one object."""
    known: dict[str, str] = {}
    for match in _RAW_LINE.finditer(text):
        line = match[0].strip(WHITE_SPACE)
        yield known.setdefault(line, line)


def _trim(token: str) -> str:
    if not _LETTER_OR_NUMBER.search(token):
        return ""
    first = _CORE.search(token)
    last = _CORE.search(token[::-1])
    assert first is not None
    assert last is not None
    return token[first.start() : len(token) - last.start()]


def _pieces(paragraph: str) -> Iterator[str]:
    """The paragraph cut after each sentence end."""
    start = 0
    for match in _SENTENCE_END.finditer(paragraph):
        after = match.end()
        if after == len(paragraph) or paragraph[after] in WHITE_SPACE:
            end = after
        elif _FULL_WIDTH.search(match[1]):
            end = match.end(2)
        else:
            continue
        yield paragraph[start:end]
        start = end
    yield paragraph[start:]
