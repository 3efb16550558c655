"""HTML to blocks in one pass over its bytes: elements, the text between the boundaries of blocks, class and id tokens.

This is no tree of the HTML standard. Formatting elements are not opened again, nothing is moved out of tables: what
matters here is which text lies where, and that a page costs time and memory in proportion to its size, whatever is in
it. Positions are bytes.
"""

from __future__ import annotations

from functools import cache
from html.entities import html5
from typing import Any

import numpy as np
from numba import types

from curation.kernels import masks
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.markup import (
    BLOCK,
    BOLD,
    BOLDED,
    BREAKS,
    CONTROL,
    CONTROLS,
    DROP,
    ELEMENT,
    END,
    FIRST,
    FNV,
    HIDDEN,
    IMAGES,
    KEEP,
    LAST,
    LEVEL,
    LINKED,
    LINKS,
    MARK,
    NAME,
    PARENT,
    PRE,
    PRIME,
    PROPERTIES,
    RAW,
    SCOPE,
    START,
    TAG,
    TAG_NAME,
    TAGS,
    VOID,
    WHOLE,
    WORD,
    Numbers,
    Page,
    find,
    hash_name,
)  # fmt: skip
from curation.kernels.utf8 import byte

_WITHOUT_SCRIPTS = PROPERTIES.copy()
_WITHOUT_SCRIPTS[TAG["noscript"]] = BLOCK | KEEP

#: Elements that may be open at once; more of them are read as if their tags were not there.
MAX_OPEN = 512
#: Blocks of one page; the largest of 3,000 real pages has 12,000.
MAX_BLOCKS = 100_000
_MAX_ENTITY = 32

# What the scanner keeps beside its stack.
_TOP, _LINK, _BOLD, _DROP, _PRE, _MATH, _OVER = range(7)
# What it counts.
(_N_ELEMENTS, _N_BLOCKS, _N_TOKENS, _N_MARKS, _N_TEXT) = range(5)


#: A page with less text than this, in bytes, is read as a browser without scripts would: <noscript> is text then.
LITTLE_TEXT = 500


def scan(data: bytes) -> Page | None:
    """The blocks of a page of UTF-8, without NULs; None for one of more than MAX_BLOCKS.

    What stands in <noscript> counts where there is hardly anything else, as forums write it that show a page by script.
    """
    page = _scanned(data, PROPERTIES)
    if page is not None and len(page.text) < LITTLE_TEXT and b"<noscript" in data:
        return _scanned(data, _WITHOUT_SCRIPTS)
    return page


def _scanned(data: bytes, properties: Numbers) -> Page | None:
    tags = data.count(b"<")
    elements, classes = np.empty((tags + 1, 8), np.int32), np.empty(tags + 1, np.uint64)
    blocks, marks = np.empty((min(tags, MAX_BLOCKS) + 2, 8), np.int32), np.empty((tags + 1, 4), np.int32)
    text = np.empty(len(data) + len(data) // 4 + 64, np.uint8)
    tokens, token_elements = np.empty(len(data) + tags + 8, np.uint64), np.empty(len(data) + tags + 8, np.int32)
    counts = np.zeros(5, np.int64)
    padded = np.frombuffer(data + bytes(masks.SIZE), np.uint8)
    if not _scan(
        padded,
        *_tags(),
        properties,
        *_entities(),
        elements,
        classes,
        blocks,
        text,
        tokens,
        token_elements,
        marks,
        counts,
    ):
        return None
    return Page(
        elements[: counts[_N_ELEMENTS]], classes[: counts[_N_ELEMENTS]], blocks[: counts[_N_BLOCKS]],
        text[: counts[_N_TEXT]], tokens[: counts[_N_TOKENS]], token_elements[: counts[_N_TOKENS]],
        marks[: counts[_N_MARKS]],
    )  # fmt: skip


@cache
def _tags() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The hashes of all known tags in order, and the number of each."""
    pairs = sorted((hash_name(name), number) for number, name in enumerate(TAGS) if name)
    return np.array([pair[0] for pair in pairs], np.uint64), np.array([pair[1] for pair in pairs], np.int32)


@cache
def _entities() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The hashes of the names of character references in order, and the UTF-8 of each, one after the other."""
    found = sorted((hash_name(name), value.encode()) for name, value in html5.items())
    bounds = np.cumsum([0] + [len(value) for _, value in found]).astype(np.int32)
    letters = np.frombuffer(b"".join(value for _, value in found), np.uint8)
    return np.array([key for key, _ in found], np.uint64), bounds, letters


@helper
def _is_space(char: int) -> bool:
    return char == 32 or 9 <= char <= 13


@helper
def _is_letter(char: int) -> bool:
    return 97 <= char | 32 <= 122


@helper
def _lower(char: int) -> int:
    return char | 32 if 65 <= char <= 90 else char


@helper
def _name(data: Any, at: int, end: int) -> tuple[int, Any]:
    """Where the name ends that starts at `at`, and its hash."""
    value = FNV
    while at < end:
        char = byte(data, at)
        if _is_space(char) or char == 62 or char == 47 or char == 61:
            break
        value = (value ^ np.uint64(_lower(char))) * PRIME
        at += 1
    return at, value


@helper
def _is(data: Any, at: int, end: int, word: Any) -> bool:
    """Whether these lower-case letters stand here, in any case."""
    if at + len(word) > end:
        return False
    for place in range(len(word)):
        if _lower(byte(data, at + place)) != word[place]:
            return False
    return True


@helper
def _find_in(data: Any, at: int, end: int, word: Any) -> int:
    """Where these lower-case letters stand next, in any case, or `end`."""
    while at + len(word) <= end:
        if _lower(byte(data, at)) == word[0] and _is(data, at, end, word):
            return at
        at += 1
    return end


@helper
def _find_byte(data: Any, at: int, end: int, char: int) -> int:
    """Where this byte stands next, or `end`."""
    while at < end:
        found = masks.equal(data, at, char)
        if found:
            return min(end, at + masks.first(found))
        at += masks.SIZE
    return end


@helper
def _comment_end(data: Any, at: int, end: int) -> int:
    """Behind the "-->" that comes next, or `end`."""
    while at < end:
        at = _find_byte(data, at, end, 62) + 1
        if at - 3 >= 0 and byte(data, at - 2) == 45 and byte(data, at - 3) == 45:
            return min(at, end)
    return end


@helper
def _put_point(text: Any, size: int, point: int) -> int:
    """Where the text ends with one code point more."""
    if point < 0x80:
        text[size] = point
        return size + 1
    if point < 0x800:
        text[size], text[size + 1] = 0xC0 | point >> 6, 0x80 | point & 0x3F
        return size + 2
    if point < 0x10000:
        text[size], text[size + 1], text[size + 2] = 0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
        return size + 3
    text[size], text[size + 1] = 0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F
    text[size + 2], text[size + 3] = 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
    return size + 4


@helper
def _number(data: Any, at: int, end: int) -> tuple[int, int]:
    """The code point of the numeric reference after "&#", and where it ends; -1 if it is none."""
    base = 10
    if at < end and byte(data, at) | 32 == 120:
        base, at = 16, at + 1
    start, point = at, 0
    while at < end:
        char = byte(data, at)
        digit = char - 48 if 48 <= char <= 57 else (char | 32) - 87 if base == 16 and 97 <= char | 32 <= 102 else -1
        if digit < 0:
            break
        point = min(point * base + digit, 0x110000)
        at += 1
    if at == start:
        return -1, at
    if at < end and byte(data, at) == 59:
        at += 1
    if 0x80 <= point <= 0x9F:  # cp1252, as browsers take them
        for place in range(len(_CP1252)):
            if place == point - 0x80:
                point = _CP1252[place]
                break
    if point == 0 or point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        point = 0xFFFD
    return point, at


_CP1252 = tuple(ord(bytes([code]).decode("cp1252", "replace")) for code in range(0x80, 0xA0))


@helper
def _named(data: Any, at: int, end: int, keys: Any) -> tuple[int, int]:
    """Which named reference stands after "&", and where it ends; -1 if there is none. The longest name counts."""
    value = FNV
    found, stop = -1, at
    for place in range(at, min(end, at + _MAX_ENTITY)):
        char = byte(data, place)
        if char == 59:
            whole = find(keys, (value ^ np.uint64(59)) * PRIME)
            if whole >= 0:
                return whole, place + 1
            break
        if not (_is_letter(char) or 48 <= char <= 57):
            break
        value = (value ^ np.uint64(char)) * PRIME
        if place < at + 6:  # without semicolon there are only short ones
            short = find(keys, value)
            if short >= 0:
                found, stop = short, place + 1
    return found, stop


@helper
def _reference(
    data: Any, at: int, end: int, keys: Any, bounds: Any, letters: Any, text: Any, size: int
) -> tuple[int, int, int]:
    """The character reference at "&" put to the end of the text: where it ends, and the text; and whether it is white.

    What is none is put as it stands. White space is not put.
    """
    if at + 1 < end and byte(data, at + 1) == 35:
        point, stop = _number(data, at + 2, end)
        if point >= 0:
            if point == 0xA0 or (point < 0x80 and _is_space(point)):
                return stop, size, 1
            if point in (0xAD, 0x200B, 0xFEFF) or point < 32 or point == 127:
                return stop, size, 0
            return stop, _put_point(text, size, point), 0
    else:
        which, stop = _named(data, at + 1, end, keys)
        if which >= 0:
            first, last = bounds[which], bounds[which + 1]
            if last - first == 2 and letters[first] == 0xC2 and letters[first + 1] in (0xA0, 0xAD):
                return stop, size, np.int64(letters[first + 1] == 0xA0)
            if last - first == 1 and _is_space(letters[first]):
                return stop, size, 1
            for place in range(first, last):
                text[size] = letters[place]
                size += 1
            return stop, size, 0
    text[size] = 38
    return at + 1, size + 1, 0


@helper
def _words(data: Any, at: int, end: int, element: int, tokens: Any, owners: Any, count: int) -> int:
    """How many tokens there are with those of an attribute's value: its tokens, and their words.

    Words end at what is no letter, and where a capital follows a small letter. Digits are left out.
    """
    while at < end:
        while at < end and _is_space(byte(data, at)):
            at += 1
        whole, word = FNV ^ WHOLE, FNV ^ WORD
        size, words, before = 0, 0, 0
        while at < end and not _is_space(byte(data, at)):
            char = np.int64(byte(data, at))
            is_letter = _is_letter(char) or char >= 128
            if size and (not is_letter or (65 <= char <= 90 and 97 <= before <= 122)):
                if size > 1:
                    tokens[count], owners[count] = word, element
                    count += 1
                    words += 1
                word, size = FNV ^ WORD, 0
            if is_letter:
                word = (word ^ np.uint64(_lower(char))) * PRIME
                size += 1
            if not 48 <= char <= 57:
                whole = (whole ^ np.uint64(_lower(char))) * PRIME
            before = char
            at += 1
        if size > 1:
            tokens[count], owners[count] = word, element
            count += 1
            words += 1
        if words > 1:
            tokens[count], owners[count] = whole, element
            count += 1
    return count


@helper
def _pop(stack: Any, state: Any, opened: Any, elements: Any, properties: Any, blocks: int) -> None:
    """Close the innermost element."""
    top = state[_TOP] - 1
    tag = stack[top, 0]
    state[_TOP] = top
    opened[tag] -= 1
    bits = properties[tag]
    state[_LINK] -= tag == _A
    state[_BOLD] -= (bits & BOLD) != 0
    state[_DROP] -= stack[top, 2]
    state[_PRE] -= tag == _PRE_TAG or tag == _LISTING
    if top > 0 and stack[top, 1] != stack[top - 1, 1]:
        elements[stack[top, 1], LAST] = blocks


@helper
def _open(stack: Any, state: Any, tag: int, second: int, stop: int, third: int) -> int:
    """Where on the stack an element of one of two tags lies, not outside of one of `stop` or `third`; -1 if none."""
    place = state[_TOP] - 1
    while place > 0:
        found = stack[place, 0]
        if found in (tag, second):
            return place
        if found in (stop, third, _TABLE):
            return -1
        place -= 1
    return -1


(_A, _PRE_TAG, _LISTING, _TABLE, _P, _LI, _DT, _DD, _TR, _TD, _TH, _UL, _OL, _DL, _BR, _SCRIPT, _IMG, _MATH_TAG) = (
    TAG[name] for name in "a pre listing table p li dt dd tr td th ul ol dl br script img math".split()
)
_THEAD, _TBODY, _TFOOT, _BODY, _HTML, _HEAD, _H1, _H6, _ANNOTATION, _MENU, _TITLE = (
    TAG[name] for name in "thead tbody tfoot body html head h1 h6 annotation menu title".split()
)
_MFRAC, _MSUP, _MSUB, _MSQRT, _MROOT, _MROW, _MSUBSUP, _MTD, _MTR, _MOVER, _MUNDER, _MUNDEROVER = (
    TAG[name] for name in "mfrac msup msub msqrt mroot mrow msubsup mtd mtr mover munder munderover".split()
)
_CAPTION, _SPAN, _SUP, _SUB = (TAG[name] for name in "caption span sup sub".split())
_CLASS, _ID, _ITEMPROP, _ROLE, _STYLE, _HIDDEN_NAME, _ARIA, _TYPE, _ENCODING, _ALTTEXT, _DISPLAY = (
    np.uint64(hash_name(name))
    for name in "class id itemprop role style hidden aria-hidden type encoding alttext display".split()
)
#: Typeset formulas whose source stands beside them.
_TYPESET = tuple(
    np.uint64(hash_name(name, int(WHOLE))) for name in ("katex-html", "mathjax", "mathjax_svg", "mathjax_chtml")
)
_NONE = tuple(b"none")
_DISPLAY_WORD = tuple(b"display")
_TEX = tuple(b"tex")
_MATH_TEX = tuple(b"math/tex")
_BLOCK_WORD = tuple(b"block")
_LD_JSON = tuple(b"ld+json")
_SQRT = tuple(b"sqrt(")


@helper
def _has_typeset(data: Any, at: int, end: int) -> bool:
    """Whether a class names what a formula was typeset to."""
    while at < end:
        value = FNV ^ WHOLE
        while at < end and not _is_space(byte(data, at)):
            value = (value ^ np.uint64(_lower(byte(data, at)))) * PRIME
            at += 1
        for name in _TYPESET:
            if value == name:
                return True
        at += 1
    return False


@helper
def _class_hash(data: Any, at: int, end: int, value: Any) -> Any:
    """The hash of a class without its digits, by which siblings are alike."""
    for place in range(at, end):
        char = byte(data, place)
        if not 48 <= char <= 57:
            value = (value ^ np.uint64(char)) * PRIME
    return value


@helper
def _put_formula(
    data: Any, at: int, end: int, is_display: int, keys: Any, bounds: Any, letters: Any, text: Any, size: int,
    decode: int,
) -> int:  # fmt: skip
    """Where the text ends with a formula's TeX between dollar signs."""
    for _ in range(1 + (is_display != 0)):
        text[size] = 36
        size += 1
    space, first = 0, size
    while at < end:
        char = byte(data, at)
        if _is_space(char):
            space, at = 1, at + 1
            continue
        if space and size > first:
            text[size] = 32
            size += 1
        space = 0
        if char == 38 and decode:
            at, size, space = _reference(data, at, end, keys, bounds, letters, text, size)
            continue
        text[size] = char
        size += 1
        at += 1
    for _ in range(1 + (is_display != 0)):
        text[size] = 36
        size += 1
    return size


@kernel(
    types.boolean(
        array(types.uint8), array(types.uint64), array(types.int32), array(types.int32), array(types.uint64),
        array(types.int32), array(types.uint8), out(types.int32, 2), out(types.uint64), out(types.int32, 2),
        out(types.uint8), out(types.uint64), out(types.int32), out(types.int32, 2), out(types.int64),
    )
)  # fmt: skip
def _scan(
    data: Any, tag_keys: Any, tag_numbers: Any, properties: Any, entity_keys: Any, entity_bounds: Any,
    entity_letters: Any, elements: Any, classes: Any, blocks: Any, text: Any, tokens: Any, owners: Any, marks: Any,
    counts: Any,
) -> bool:  # fmt: skip
    end = len(data) - masks.SIZE
    stack = np.zeros((MAX_OPEN + 1, 4), np.int32)  # tag, element, whether its text is dropped, children seen
    names = np.zeros(MAX_OPEN + 1, np.uint64)
    state = np.zeros(8, np.int64)
    opened = np.zeros(len(properties), np.int64)
    n_elements, n_blocks, n_tokens, n_marks, size = 1, 0, 0, 0, 0
    elements[0, :] = 0
    elements[0, PARENT] = -1
    classes[0] = 0
    state[_TOP] = 1
    # Of the block that is being read:
    begin, linked, links, bolded, breaks, owner, is_pre = 0, 0, 0, 0, 0, 0, 0
    space, line_breaks = 0, 0  # white space, and <br>, since its last character
    formula, formula_done, formula_display = 0, 0, 0  # where the text of an open <math> begins
    link_open = -1  # where in the text the link began that has not been counted
    at = 0
    while at <= end:
        flush = at == end
        tag, is_end, after = -1, False, at
        bits = 0
        raw_name = np.uint64(0)
        if not flush:
            char = np.int64(byte(data, at))
            following = np.int64(byte(data, at + 1)) if at + 1 < end else 0
            if char == 60 and (_is_letter(following) or following in (33, 47, 63)):
                if following == 33 and byte(data, at + 2) == 45 and byte(data, at + 3) == 45 and at + 3 < end:
                    at = _comment_end(data, at + 4, end)  # which may be the next byte: <!-->
                    continue
                if following in (33, 63) or (following == 47 and not _is_letter(byte(data, at + 2))):
                    at = min(end, _find_byte(data, at, end, 62) + 1)
                    continue
                is_end = following == 47
                after, raw_name = _name(data, at + 1 + is_end, end)
                found = find(tag_keys, raw_name)
                tag = tag_numbers[found] if found >= 0 else 0
                bits = properties[tag]
            else:
                # Text, up to the next tag.
                before = size
                while at < end:
                    char = np.int64(byte(data, at))
                    if char == 60:
                        following = np.int64(byte(data, at + 1)) if at + 1 < end else 0
                        if _is_letter(following) or following in (33, 47, 63):
                            break
                    if state[_DROP]:
                        at += 1
                        continue
                    if state[_PRE]:
                        white = 0
                        if char == 13:
                            at += 1
                            continue
                        if size == begin and char == 10:
                            at += 1
                            continue
                    else:
                        white = np.int64(_is_space(char))
                    width = 1
                    if char == 0xC2:
                        following = np.int64(byte(data, at + 1))
                        if following == 0xA0:
                            white, width = 1, 2
                        elif following == 0xAD:
                            at += 2
                            continue
                    elif (char == 0xE2 and byte(data, at + 1) == 0x80 and byte(data, at + 2) == 0x8B) or (
                        char == 0xEF and byte(data, at + 1) == 0xBB and byte(data, at + 2) == 0xBF
                    ):
                        at += 3
                        continue
                    elif char < 32 and not _is_space(char):
                        at += 1
                        continue
                    if char == 38:
                        # Put behind where a space would stand, then moved back if there is none.
                        gap = np.int64((space or line_breaks) and size > begin)
                        at, stop, white = _reference(
                            data, at, end, entity_keys, entity_bounds, entity_letters, text, size + gap
                        )
                        if white:
                            if state[_PRE]:
                                text[size] = 32
                                size += 1
                            else:
                                space = 1
                        elif stop > size + gap:
                            if gap:
                                text[size] = 10 if line_breaks else 32
                                breaks += line_breaks
                            if size == begin:
                                owner, is_pre = stack[state[_TOP] - 1, 1], np.int64(state[_PRE] > 0)
                            space, line_breaks = 0, 0
                            size = stop
                        continue
                    if white:
                        if state[_PRE]:
                            text[size] = 32
                            size += 1
                        else:
                            space = 1
                        at += width
                        continue
                    if size == begin:
                        owner, is_pre = stack[state[_TOP] - 1, 1], np.int64(state[_PRE] > 0)
                    elif line_breaks or space:
                        text[size] = 10 if line_breaks else 32
                        breaks += line_breaks
                        size += 1
                    space, line_breaks = 0, 0
                    text[size] = char
                    size += 1
                    at += 1
                added = size - before
                if state[_LINK]:
                    linked += added
                    links += link_open >= 0 and added > 0
                    link_open = -1 if added > 0 else link_open
                if state[_BOLD]:
                    bolded += added
                continue
        # The attributes of a start tag.
        first_token = n_tokens
        class_hash = (FNV ^ np.uint64(tag + 1)) * PRIME
        is_hidden, is_typeset, is_display, script_kind, is_tex = 0, 0, 0, 0, 0
        alt_first, alt_last = 0, 0
        if tag >= 0:
            start = at
            at = after
            while at < end and byte(data, at) != 62:
                char = byte(data, at)
                if _is_space(char) or char == 47:
                    at += 1
                    continue
                at, name = _name(data, at + (char == 61), end)
                while at < end and _is_space(byte(data, at)):
                    at += 1
                first, last = at, at
                if at < end and byte(data, at) == 61:
                    at += 1
                    while at < end and _is_space(byte(data, at)):
                        at += 1
                    char = byte(data, at)
                    if char in (34, 39):
                        first = at + 1
                        last = _find_byte(data, first, end, char)
                        at = last + 1
                    else:
                        first = at
                        while at < end and not _is_space(byte(data, at)) and byte(data, at) != 62:
                            at += 1
                        last = at
                if is_end:
                    continue
                if name in (_CLASS, _ID, _ITEMPROP, _ROLE):
                    n_tokens = _words(data, first, last, n_elements, tokens, owners, n_tokens)
                    if name == _CLASS:
                        class_hash = _class_hash(data, first, last, class_hash)
                        is_typeset = np.int64(_has_typeset(data, first, last))
                elif name == _STYLE:
                    place = _find_in(data, first, last, _DISPLAY_WORD)
                    if place < last and _find_in(data, place, min(last, place + 16), _NONE) < min(last, place + 16):
                        is_hidden = 1
                elif name == _HIDDEN_NAME:
                    is_hidden = 1
                elif name == _ARIA:
                    is_hidden |= np.int64(last - first == 4)  # "true"
                elif name == _TYPE and tag == _SCRIPT:
                    if _find_in(data, first, last, _LD_JSON) < last:
                        script_kind = 1
                    elif _find_in(data, first, last, _MATH_TEX) < last:
                        script_kind = 2
                        is_display = np.int64(_find_in(data, first, last, _DISPLAY_WORD) < last)
                elif name == _ENCODING and tag == _ANNOTATION:
                    is_tex = np.int64(_find_in(data, first, last, _TEX) < last)
                elif name == _ALTTEXT and tag == _MATH_TAG:
                    alt_first, alt_last = first, last
                elif name == _DISPLAY and tag == _MATH_TAG:
                    is_display = np.int64(_is(data, first, last, _BLOCK_WORD))
            if at >= end:
                at = end  # a tag that does not end is none
                n_tokens = first_token
                continue
            at += 1
            if is_end and tag == _BR:
                is_end = False
            if is_end and tag in (_BODY, _HTML):
                continue
            flush = (bits & BLOCK) != 0
            if tag == _BR:
                n_tokens = first_token
            if tag == _BR and state[_DROP] == 0:
                if state[_PRE]:
                    text[size] = 10
                    size += 1
                    continue
                line_breaks += 1
                if line_breaks < 2 or size == begin:
                    continue
                flush = True
        if flush and state[_MATH]:
            state[_MATH] = 0
        if flush:
            line_breaks, space = 0, 0
            while size > begin and (text[size - 1] == 32 or text[size - 1] == 10):
                size -= 1
            if size > begin:
                if n_blocks == MAX_BLOCKS:
                    return False
                row = n_blocks
                n_blocks += 1
                blocks[row, ELEMENT], blocks[row, START], blocks[row, END] = owner, begin, size
                blocks[row, LINKED], blocks[row, LINKS] = min(linked, size - begin), links
                blocks[row, BOLDED], blocks[row, BREAKS], blocks[row, PRE] = min(bolded, size - begin), breaks, is_pre
            begin, linked, links, bolded, breaks = size, 0, 0, 0, 0
            if tag < 0:
                break
        if tag == _BR:
            continue
        # What the tag opens or closes.
        top = state[_TOP]
        if is_end:
            if bits & VOID:
                continue
            if state[_OVER] > 0:
                state[_OVER] -= 1
                continue
            if tag == _MATH_TAG and state[_MATH]:
                state[_MATH] = 0
            if opened[tag] == 0:
                continue
            place = top - 1
            is_block = (bits & (BLOCK | KEEP | DROP)) != 0
            is_table = tag in (_TABLE, _TR, _TD, _TH, _THEAD, _TBODY, _TFOOT, _CAPTION)
            while place > 0:
                open_tag = stack[place, 0]
                if open_tag == tag and (tag or names[place] == raw_name):
                    break
                if is_table:
                    if open_tag == _TABLE:
                        place = 0
                        break
                elif properties[open_tag] & SCOPE or (not is_block and properties[open_tag] & BLOCK):
                    place = 0
                    break
                place -= 1
            if place > 0:
                while state[_TOP] > place:
                    _pop(stack, state, opened, elements, properties, n_blocks)
                around = stack[state[_TOP] - 1, 0]
                in_brackets = tag == _MROW and around in (_MFRAC, _MSUP, _MSUB, _MSUBSUP)
                if state[_MATH] and (tag in (_MSQRT, _MROOT) or in_brackets):
                    text[size] = 41
                    size += 1
            continue
        if bits & MARK and (tag != _SCRIPT or script_kind == 1):
            marks[n_marks, 0], marks[n_marks, 1], marks[n_marks, 2], marks[n_marks, 3] = tag, start, at, at
            n_marks += 1
        current = stack[top - 1, 1]
        elements[current, CONTROLS] += (bits & CONTROL) != 0
        elements[current, IMAGES] += tag == _IMG
        if bits & RAW:
            n_tokens = first_token
            close = at
            while True:
                close = _find_byte(data, close, end, 60)
                if close >= end:
                    break
                if byte(data, close + 1) == 47:
                    stop, name = _name(data, close + 2, end)
                    if name == raw_name:
                        break
                close += 1
            if tag == _TITLE or script_kind == 1:
                marks[n_marks - 1, 3] = close
            elif script_kind == 2 and state[_DROP] == 0:
                if size == begin:
                    owner, is_pre = current, 0
                elif space or line_breaks:
                    text[size] = 32
                    size += 1
                space, line_breaks = 0, 0
                size = _put_formula(
                    data, at, close, is_display, entity_keys, entity_bounds, entity_letters, text, size, 0
                )
            at = min(end, _find_byte(data, close, end, 62) + 1)
            continue
        if bits & VOID or tag in (_HTML, _HEAD):
            if tag != _HTML:
                n_tokens = first_token
            else:
                for place in range(first_token, n_tokens):
                    owners[place] = 0
            continue
        if tag == _BODY and opened[_BODY]:
            n_tokens = first_token
            continue
        place = -1
        if bits & BLOCK:
            if opened[_P] and tag != _SPAN:
                place = top - 1
                while place > 0 and stack[place, 0] != _P:
                    place = 0 if properties[stack[place, 0]] & SCOPE else place - 1
                place = place if place > 0 else -1
            second = -1
            if tag == _LI and opened[_LI]:
                second = _open(stack, state, _LI, _LI, _UL, _OL)
            elif tag in (_DT, _DD):
                second = _open(stack, state, _DT, _DD, _DL, _DL)
            elif tag == _TR and opened[_TR]:
                second = _open(stack, state, _TR, _TR, _TABLE, _TABLE)
            elif tag in (_TD, _TH):
                second = _open(stack, state, _TD, _TH, _TR, _TABLE)
            elif tag in (_THEAD, _TBODY, _TFOOT):
                second = _open(stack, state, _TBODY, _THEAD, _TABLE, _TABLE)
            elif _H1 <= tag <= _H6 and _H1 <= stack[top - 1, 0] <= _H6:
                second = top - 1
            if second > 0 and (place < 0 or second < place):
                place = second
        elif tag == _A and opened[_A]:
            place = top - 1
            while place > 0 and stack[place, 0] != _A:
                place = 0 if properties[stack[place, 0]] & BLOCK else place - 1
            place = place if place > 0 else -1
        if place > 0:
            while state[_TOP] > place:
                _pop(stack, state, opened, elements, properties, n_blocks)
            top = state[_TOP]
            current = stack[top - 1, 1]
        if top > MAX_OPEN - 1:
            state[_OVER] += 1
            n_tokens = first_token
            continue
        if bits & KEEP or n_tokens > first_token or is_hidden:
            elements[n_elements, PARENT], elements[n_elements, NAME] = current, tag
            elements[n_elements, HIDDEN], elements[n_elements, CONTROLS] = is_hidden, (bits & CONTROL) != 0
            elements[n_elements, IMAGES], elements[n_elements, FIRST] = 0, n_blocks
            elements[n_elements, LAST], elements[n_elements, LEVEL] = -1, elements[current, LEVEL] + 1
            classes[n_elements] = class_hash
            tokens[n_tokens], owners[n_tokens] = (FNV ^ TAG_NAME ^ np.uint64(tag)) * PRIME, n_elements
            n_tokens += 1
            current = n_elements
            n_elements += 1
        # Formulas in MathML: their source if it is given, else what is in them, with operators between.
        drop = np.int64((bits & DROP) != 0 or is_typeset != 0)
        if tag == _MATH_TAG and state[_DROP] == 0:
            if size == begin:
                owner, is_pre = stack[top - 1, 1], 0
            elif space or line_breaks:
                text[size] = 32
                size += 1
            space, line_breaks = 0, 0
            formula, formula_done, formula_display = size, 0, is_display
            state[_MATH] = 1
            if alt_last > alt_first:
                size = _put_formula(
                    data, alt_first, alt_last, is_display, entity_keys, entity_bounds, entity_letters, text, size, 1
                )
                drop, formula_done = 1, 1
        elif state[_MATH] and tag == _ANNOTATION:
            drop = 1
            if is_tex and state[_DROP] == 0 and not formula_done:
                stop = _find_byte(data, at, end, 60)
                size = max(formula, begin)
                size = _put_formula(
                    data, at, stop, formula_display, entity_keys, entity_bounds, entity_letters, text, size, 1
                )
                formula_done, space, line_breaks = 1, 0, 0
                at = stop
        elif state[_MATH] and state[_DROP] == 0:
            parent = stack[top - 1, 0]
            child = stack[top - 1, 3]
            stack[top - 1, 3] += 1
            sign = 0
            if child == 1:
                sign = 47 if parent == _MFRAC else 94 if parent in (_MSUP, _MOVER) else 0
                sign = 95 if parent in (_MSUB, _MUNDER, _MSUBSUP, _MUNDEROVER) else sign
            elif child == 2 and parent in (_MSUBSUP, _MUNDEROVER):
                sign = 94
            if sign and size > begin:
                text[size] = sign
                size += 1
                space = 0
            if tag in (_MSQRT, _MROOT):
                for letter in _SQRT:
                    text[size] = letter
                    size += 1
                space = 0
            elif tag == _MROW and parent in (_MFRAC, _MSUP, _MSUB, _MSUBSUP):
                text[size] = 40
                size += 1
                space = 0
            elif tag in (_MTD, _MTR):
                space = 1
        stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3] = tag, current, drop, 0
        names[top] = raw_name
        state[_TOP] = top + 1
        opened[tag] += 1
        state[_LINK] += tag == _A
        state[_BOLD] += (bits & BOLD) != 0
        state[_DROP] += drop
        state[_PRE] += tag == _PRE_TAG or tag == _LISTING
        if tag == _A:
            link_open = size
    for element in range(n_elements):
        if element == 0 or elements[element, LAST] < 0:
            elements[element, LAST] = n_blocks
    counts[_N_ELEMENTS], counts[_N_BLOCKS], counts[_N_TOKENS] = n_elements, n_blocks, n_tokens
    counts[_N_MARKS], counts[_N_TEXT] = n_marks, size
    return True
