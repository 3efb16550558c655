"""What kernels know of characters: a table of properties by code point, made from Python's own Unicode database.

Letters are the general categories L*, numbers N*, marks M*, punctuation P*, symbols S*; white space is the property
White_Space. What Python does not tell (scripts without spaces, sentence terminals) is listed here.
"""

# ruff: noqa: RUF003 — full-width marks are meant where they stand

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curation.kernels.compiled import kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Code points with the property White_Space.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

#: Scripts written without spaces between words: every letter in these ranges is a token of its own.
SPACELESS_SCRIPTS = (
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

#: Code points that the table covers. Beyond them there are only the variation selectors, which are marks.
SIZE = 0x40000
VARIATION_SELECTORS = (0xE0100, 0xE01EF)

# The bits of a character's entry.
WHITE = 1 << 0
LETTER = 1 << 1
NUMBER = 1 << 2
MARK = 1 << 3
PUNCTUATION = 1 << 4
SYMBOL = 1 << 5
UPPER = 1 << 6  # Lu
DIGIT = 1 << 7  # Nd
SPACELESS = 1 << 8  # in a script written without spaces; unassigned code points of planes 2 and 3 too
TERMINAL = 1 << 9  # ends a sentence
FULL_WIDTH_TERMINAL = 1 << 10
CLOSING = 1 << 11  # closing brackets and quotes: Pe, Pf and the straight quotes
CLOSING_BEFORE_SPACE = 1 << 12  # also the opening quotes (Pi), which close in German and Danish
BULLET = 1 << 13  # begins a list wherever it begins a line
DASH = 1 << 14  # begins a list where white space follows
QUOTATION = 1 << 15  # quotation marks that may end a line of C4
ALNUM = LETTER | NUMBER
CORE = LETTER | NUMBER | MARK  # what a word may begin and end with

_BULLETS = "•‣\u2043▪▫◦●○■□∙·・"
_DASHES = "-*+\u2013\u2014"
_QUOTATION_MARKS = '"\u201c\u201d\u00bb\u300d\u300f'


@cache
def properties() -> NDArray[np.uint32]:
    """The bits of every code point below `SIZE`.

    >>> table = properties()
    >>> bool(table[ord("ß")] & LETTER), bool(table[ord("漢")] & SPACELESS), bool(table[ord("…")] & TERMINAL)
    (True, True, True)
    """
    (table,) = kept("properties", _properties)
    return table


def _properties() -> tuple[NDArray[np.uint32]]:
    names = "".join(map(unicodedata.category, map(chr, range(SIZE)))).encode("ascii")
    category = np.frombuffer(names, "S2")
    major = np.frombuffer(names, "S1")[::2]
    table = np.zeros(SIZE, np.uint32)
    for letter, bit in ((b"L", LETTER), (b"N", NUMBER), (b"M", MARK), (b"P", PUNCTUATION), (b"S", SYMBOL)):
        table[major == letter] |= bit
    table[category == b"Lu"] |= UPPER
    table[category == b"Nd"] |= DIGIT
    closing = (category == b"Pe") | (category == b"Pf")
    closing[list(map(ord, "\"'"))] = True
    table[closing] |= CLOSING
    table[closing | (category == b"Pi")] |= CLOSING_BEFORE_SPACE
    for first, last in SPACELESS_SCRIPTS:
        table[first : last + 1][(major[first : last + 1] == b"L") | (first >= 0x20000)] |= SPACELESS
    for first, last in SENTENCE_TERMINALS:
        table[first : last + 1] |= TERMINAL
    for characters, bit in (
        (WHITE_SPACE, WHITE), (FULL_WIDTH_TERMINALS, FULL_WIDTH_TERMINAL), (_BULLETS, BULLET), (_DASHES, DASH),
        (_QUOTATION_MARKS, QUOTATION),
    ):  # fmt: skip
        table[list(map(ord, characters))] |= bit
    return (table,)


class Folding(NamedTuple):
    """What NFC and case folding make of each code point below `SIZE`, where its neighbours do not matter.

    `fold` is 0 for what stays as it is, else 8 times the place in `pool` of the UTF-8 of what it becomes, plus its
    length, which is twice its own at most. `order` is the canonical combining class. `hard` says that NFC may join it
    with what stands before, or change it, so that Python must be asked. `fixed` says that it stays as it is, whatever
    stands before.
    """

    fold: NDArray[np.int32]
    pool: NDArray[np.uint8]
    order: NDArray[np.uint8]
    hard: NDArray[np.bool_]
    fixed: NDArray[np.bool_]


@cache
def folding() -> Folding:
    """The table of folding.

    >>> table = folding()
    >>> at, size = divmod(int(table.fold[ord("ẞ")]), 8)
    >>> table.pool[at : at + size].tobytes(), bool(table.hard[0x301]), int(table.fold[ord("ß")]) > 0
    (b'ss', True, True)
    """
    return Folding(*kept("folding", _folding))


def _folding() -> Folding:
    order = np.fromiter(map(unicodedata.combining, map(chr, range(SIZE))), np.uint8, SIZE)
    hard = np.zeros(SIZE, np.bool_)
    hard[0x1161:0x1176] = hard[0x11A8:0x11C3] = True  # vowels and final consonants of Hangul
    for point, decomposition in enumerate(map(unicodedata.decomposition, map(chr, range(SIZE)))):
        if decomposition and decomposition[0] != "<":
            character = chr(point)
            pair = decomposition.split()
            if unicodedata.normalize("NFC", character) != character:
                hard[point] = True
            elif len(pair) == 2:
                hard[int(pair[1], 16)] = True  # joins the one before it
    fold = np.zeros(SIZE, np.int32)
    pool = bytearray(1)
    for point in range(0x20000):  # none beyond
        character = chr(point)
        folded = character.casefold()
        if folded == character:
            continue
        raw = folded.encode()
        if any(hard[ord(one)] or order[ord(one)] for one in folded) or len(raw) > 2 * len(character.encode()):
            hard[point] = True
        else:
            fold[point] = 8 * len(pool) + len(raw)
            pool += raw
    fixed = (fold == 0) & (order == 0) & ~hard
    return Folding(fold, np.frombuffer(bytes(pool), np.uint8), order, hard, fixed)
