"""What kernels of pages have in common: tags, hashes of names, and the columns of elements and blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from curation.kernels.compiled import helper

Numbers = np.ndarray[Any, np.dtype[np.int32]]

# What is known of a tag, each a bit of its entry in `PROPERTIES`.
BLOCK = 1 << 0  # its start and its end are boundaries of blocks
VOID = 1 << 1  # has no content
DROP = 1 << 2  # what is in it is no text
RAW = 1 << 3  # what is in it is no markup, up to its end tag
BOLD = 1 << 4
SCOPE = 1 << 5  # elements outside of it are not closed from inside
MARK = 1 << 6  # where it stands is kept, for metadata
KEEP = 1 << 7  # is an element even without class and id
CONTROL = 1 << 8  # of a form
MATH = 1 << 9  # of MathML

_NAMES = {
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer"
    " form frameset h1 h2 h3 h4 h5 h6 header hgroup legend li main menu nav ol p pre section summary tbody tfoot"
    " thead tr ul listing search optgroup": BLOCK | KEEP,
    "table caption td th": BLOCK | KEEP | SCOPE,
    "hr": BLOCK | VOID,
    "br wbr area base col embed param source track img": VOID,
    "input": VOID | CONTROL,
    "meta link": VOID | MARK,
    "html": MARK,
    "head": 0,
    "title": RAW | MARK,
    "script": RAW | MARK,
    "style xmp noscript iframe noembed noframes": RAW,
    "textarea": RAW | CONTROL,
    "select datalist": DROP | CONTROL | BLOCK,
    "template": DROP | SCOPE,
    "svg object canvas audio video map applet": DROP,
    "rp": DROP,
    "button": CONTROL | KEEP | BLOCK,
    "label": KEEP,
    "a": KEEP | MARK,
    "time": KEEP | MARK,
    "b strong": BOLD,
    "i em u s font small big span code tt kbd samp var cite abbr q sub sup mark del ins strike ruby rt rb": 0,
    "math mrow msup msub mfrac msqrt mroot mi mn mo mtext semantics annotation annotation-xml mover munder": MATH,
    "msubsup munderover mtable mtr mtd mstyle": MATH,
}
#: Every known tag; its place is its number. 0 stands for all others.
TAGS: tuple[str, ...] = ("", *sorted(name for names in _NAMES for name in names.split()))
TAG = {name: number for number, name in enumerate(TAGS)}
PROPERTIES = np.array(
    [0] + [next(bits for names, bits in _NAMES.items() if name in names.split()) for name in TAGS[1:]], np.int32
)

FNV, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
#: Hashes of class tokens, of their words, of tags and of words of the text are different numbers for equal letters.
WHOLE, WORD, TAG_NAME, TEXT = (np.uint64(salt) for salt in (0x9E37, 0x79B9, 0x7F4A, 0x7C15))

# The columns of `elements`.
PARENT, NAME, HIDDEN, CONTROLS, IMAGES, FIRST, LAST, LEVEL = range(8)
# The columns of `blocks`.
ELEMENT, START, END, LINKED, LINKS, BOLDED, BREAKS, PRE = range(8)


class Page(NamedTuple):
    """What a page is made of.

    `elements` (int32, a row each): parent, number of its tag, whether it is hidden, controls and images directly in
    it, its blocks as a range, depth. `classes` is a hash of each one's class. `blocks` (int32, a row each): element,
    range in `text` (UTF-8), bytes that are linked, links, bytes that are bold, line breaks, whether it is preformatted.
    `tokens` are hashes of the words in classes, ids and the like, each of the element in `token_elements`. `marks`:
    the number of a tag, and where it and what is in it lies in the page.
    """

    elements: Numbers
    classes: np.ndarray[Any, np.dtype[np.uint64]]
    blocks: Numbers
    text: np.ndarray[Any, np.dtype[np.uint8]]
    tokens: np.ndarray[Any, np.dtype[np.uint64]]
    token_elements: Numbers
    marks: Numbers


def hash_name(name: str, salt: int = 0) -> int:
    """The hash that kernels give a name of ASCII letters in lower case, or a word with this salt."""
    value = int(FNV) ^ salt
    for letter in name.encode():
        value = (value ^ letter) * int(PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


@helper
def find(keys: Any, key: Any) -> int:
    """Where a number stands among sorted ones, -1 if it does not."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(keys) and keys[low] == key else -1
