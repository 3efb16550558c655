"""Tables of what Unicode's normal forms do to one character, for the kernels of `education` and `language`.

A normal form goes character by character except where a character changes with its neighbours: where it may be
composed with the one before it, or moved before a mark. What may be composed is `NEIGHBOURS`, and a mark is moved where
its `LEAD` is below the `TAIL` of what went before; the caller normalises a text with either of them in Python. So Thai
goes character by character. Beyond the tables nothing is a letter, a number, white space, or changed.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.kernels.compiled import helper, kept
from curation.kernels.unicode import SIZE, folding
from curation.kernels.utf8 import before, decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The bits of an entry. LEAD and TAIL are combining classes: of the character, and of the last of its decomposition.
SPACE = 1 << 0  # str.isspace
WORD = 1 << 1  # \w: str.isalnum; the underscore is not here
LETTER = 1 << 2  # str.isalpha
LOWER = 1 << 3  # lower case or title case: a text that holds it is not all capitals
UPPER = 1 << 4
SINGLE = 1 << 5  # Han or Kana: a word of its own
NEIGHBOURS = 1 << 6
CHANGED = 1 << 7  # becomes the `LENGTH` bytes at `START` of the expansions
LEAD, TAIL, LENGTH, START = 8, 16, 24, 32  # where a number begins; eight bits each, the last one more

#: What stands for a character that is in no word, in the text that `education` splits into words.
DOT, COLON, AT, GAP, APOSTROPHE, OTHER, NUMBER = 1, 2, 3, 0x20, 0x27, 0x2D, 0x5F
_MARKS = {".": DOT, ":": COLON, "@": AT, "/": ord("/"), "'": APOSTROPHE, "\N{RIGHT SINGLE QUOTATION MARK}": APOSTROPHE}

#: How many times as many bytes a character may become: U+FDFA, three bytes, becomes four words of 33.
MOST = 12

_SINGLE = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF))
#: Han, Hangul and what lies between planes 2 and 3: no case, no marks, and the same in every normal form.
_SAME = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x20000, 0x2F7FF), (0x2FA20, 0x3FFFF))


@helper
def trimmed(data: Any, start: int, end: int, table: Any) -> tuple[int, int]:
    """Start and end without what `str.strip` takes away; `table` is one of those below."""
    while start < end:
        point, size = decode(data, start, end)
        if not np.int64(table[min(point, SIZE - 1)]) & SPACE:
            break
        start += size
    while start < end:
        last = before(data, start, end)
        point, size = decode(data, last, end)
        if not np.int64(table[min(point, SIZE - 1)]) & SPACE:
            break
        end = last
    return start, end


@cache
def composed() -> NDArray[np.uint64]:
    r"""For every code point below `SIZE` its bits under NFC; what NFC changes by itself is `NEIGHBOURS` too.

    >>> table = composed()
    >>> [bool(table[ord(one)] & np.uint64(NEIGHBOURS)) for one in "e\u00e9\u0301\u0e48\u212b"]
    [False, False, True, False, True]
    """
    (table,) = kept("composed", _composed)
    return table


def _composed() -> tuple[NDArray[Any], ...]:
    nfc = folding()
    order = nfc.order.astype(np.uint64)
    hard = np.where(nfc.hard, np.uint64(NEIGHBOURS), np.uint64(0))
    return (_properties() | hard | order << np.uint64(LEAD) | order << np.uint64(TAIL),)


@cache
def folded() -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]]:
    r"""For every code point below `SIZE` its bits under NFKC and case folding, and those in text that has been folded.

    The third array holds the bytes that characters become: the letters of words (and Han and Kana) are written as they
    stand, and anything else as one byte: `GAP` for white space, `NUMBER` for what `\w` holds besides letters, `OTHER`,
    and the marks that addresses and contractions are written with.

    >>> table, plain, expansions = folded()
    >>> def become(letter, table):
    ...     entry = int(table[ord(letter)])
    ...     return expansions[entry >> START :][: entry >> LENGTH & 0xFF].tobytes().decode()
    >>> [become(letter, table) for letter in "ßⅣ½№"], become("é", plain)
    (['ss', 'iv', '_-_', 'no'], '')
    """
    table, plain, expansions = kept("folded", _folded)
    return table, plain, expansions


def _folded() -> tuple[NDArray[Any], ...]:
    plain = _properties()
    table = plain.copy()
    hard = folding().hard
    for point, whole, parts in _normalised("NFKD"):
        lead, tail = unicodedata.combining(parts[0]), unicodedata.combining(parts[-1])
        moves = hard[ord(parts[0])] or (lead and parts != whole)
        table[point] |= np.uint64(lead << LEAD | tail << TAIL | (NEIGHBOURS if moves else 0))
    expansions, starts = bytearray(), dict[str, int]()

    def change(table: NDArray[np.uint64], point: int, becomes: str) -> None:
        raw = becomes.encode()
        if becomes not in starts:
            starts[becomes] = len(expansions)
            expansions.extend(raw)
        table[point] |= np.uint64(CHANGED | len(raw) << LENGTH | starts[becomes] << START)

    for point, whole, after in _normalised("NFKC"):
        if (becomes := "".join(map(_written, after.casefold()))) != whole:
            change(table, point, becomes)
        if (becomes := _written(whole)) != whole:
            change(plain, point, becomes)
    return table, plain, np.frombuffer(bytes(expansions), np.uint8)


@cache
def ascii_folded() -> NDArray[np.uint8]:
    """What each ASCII character becomes, one byte each, in the alphabet of `folded`."""
    return np.array([ord(_written(chr(point).lower())) for point in range(0x80)], np.uint8)


@cache
def _written(character: str) -> str:
    """What stands for a character of folded text."""
    if character in _MARKS:
        return chr(_MARKS[character])
    if character.isspace():
        return chr(GAP)
    if character == "_" or character.isdecimal():
        return chr(NUMBER)
    if character.isalnum() or any(first <= ord(character) <= last for first, last in _SINGLE):
        return character
    return chr(OTHER)


def _points() -> list[int]:
    """The code points whose normal form may be another."""
    taken = np.ones(SIZE, bool)
    taken[0xD800:0xE000] = False
    for first, last in _SAME:
        taken[first : last + 1] = False
    return np.flatnonzero(taken).tolist()


def _normalised(form: str) -> list[tuple[int, str, str]]:
    """Code point, character, and its normal form: all in one call, apart by line feeds, which nothing goes across."""
    points = _points()
    characters = list(map(chr, points))
    forms = unicodedata.normalize(form, "\n".join(characters).replace("\n\n\n", "\n \n")).split("\n")
    forms[10] = "\n"
    return list(zip(points, characters, forms, strict=True))


def _properties() -> NDArray[np.uint64]:
    """The bits that say what a character is, whatever it becomes."""
    everything = list(map(chr, range(SIZE)))
    table = np.zeros(SIZE, np.uint64)
    for is_one, bit in (
        (str.isspace, SPACE), (str.isalnum, WORD), (str.isalpha, LETTER), (str.isupper, UPPER), (_is_lower, LOWER),
    ):  # fmt: skip
        table[np.fromiter(map(is_one, everything), bool, SIZE)] |= np.uint64(bit)
    for first, last in _SINGLE:
        table[first : last + 1] |= np.uint64(SINGLE)
    return table


def _is_lower(character: str) -> bool:
    return character.islower() or (character.istitle() and not character.isupper())
