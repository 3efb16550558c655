"""What is known of each block of a page: its text, its place, its neighbours and all that it stands in, in numbers.

Only sums, ratios and comparisons: no logarithm or root, which another machine might round in another way.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types

from curation.kernels import unicode
from curation.kernels.compiled import array, helper, kernel, out
from curation.kernels.html import (
    _FNV,
    _PRIME,
    BLOCK,
    BOLDED,
    BREAKS,
    CONTROLS,
    ELEMENT,
    END,
    FIRST,
    HIDDEN,
    IMAGES,
    LAST,
    LEVEL,
    LINKED,
    LINKS,
    NAME,
    PARENT,
    PRE,
    START,
    TAG,
    TEXT,
    WORD,
    find,
    hash_name,
)  # fmt: skip
from curation.kernels.utf8 import decode, property_of

#: Of elements that a block lies in, directly or not: each a bit of what `inherit` gives.
INSIDE = (
    "nav header footer aside article main form figure figcaption blockquote li dl table pre a button label section"
    " details time th"
).split()  # fmt: skip

#: Words of classes and ids, those in one group alike, that elements around a block may be named by.
NAMED = (
    "comment comments respond disqus", "reply replies", "sidebar aside", "related recommended recommendations similar",
    "share sharing social follow", "widget widgets", "footer foot", "nav navigation menu navbar breadcrumb breadcrumbs",
    "author byline bio", "meta date info", "post entry", "content contents text", "article story", "main primary",
    "thread topic discussion", "message messages", "forum", "product products", "price cart buy shop", "review reviews",
    "description desc summary", "ad ads advert advertisement sponsored promo banner",
    "newsletter subscribe signup login",
    "modal popup cookie overlay", "tag tags category categories", "body", "list items grid", "header masthead top",
    "caption figure image gallery", "toc sitemap", "user profile avatar", "more next previous pagination",
)  # fmt: skip

LOCAL = (
    "characters words word_size linked links sentences commas digits capitals starts_capital ends_sentence ends_colon"
    " bold breaks punctuation bars other repeated preformatted"
).split()  # fmt: skip
PLACE = (
    "heading kind depth lists tables hidden near far text_score heading_score own"
    " index before blocks_since_heading heading_above since_first_heading is_first_heading"
    " long_before long_after to_long_before to_long_after heading_words"
    " outer_heading_score worst_heading_score worst_text_score plain_before"
    " in_title to_title"
).split()  # fmt: skip
NEIGHBOUR = "words linked sentences kind near same".split()
OFFSETS = (-3, -2, -1, 1, 2, 3)
CONTAINER = "blocks words linked sentences share long controls images place".split()
CONTAINERS = ("own", "parent", "grandparent", "group", "part", "member", "outer_member")
SIBLINGS = "count words linked long share member place headings before after kind".split()
#: Of the blocks of the page whose elements and the three around each have equal tags and classes.
TEMPLATE = "count words linked share distinct".split()
PAGE = (
    "page_words page_blocks page_linked page_words_a_block page_long page_groups page_group_share page_controls"
    " page_bars page_lists page_tables page_pre page_headings page_items page_comments"
    " page_main page_article page_articles"
).split()  # fmt: skip

#: The columns that `measure` fills, in order; those of the page's type follow, from outside.
NAMES: tuple[str, ...] = (
    *LOCAL, *PLACE, *(f"in_{name}" for name in INSIDE), *(f"named_{names.split()[0]}" for names in NAMED),
    *(f"at{offset:+d}_{name}" for offset in OFFSETS for name in NEIGHBOUR),
    *(f"{where}_{name}" for where in CONTAINERS for name in CONTAINER),
    *(f"{which}_{name}" for which in ("inner", "outer") for name in SIBLINGS),
    *(f"template_{name}" for name in TEMPLATE),
    *PAGE,
)  # fmt: skip

#: How many of the columns tell of the block itself.
OWN = len(LOCAL) + len(PLACE)
_N_LOCAL, _N_PLACE, _N_INSIDE, _N_NAMED = len(LOCAL), len(PLACE), len(INSIDE), len(NAMED)
_INSIDE_TAGS = tuple(TAG[name] for name in INSIDE)
_IN_MAIN, _IN_ARTICLE, _ARTICLE = 1 << INSIDE.index("main"), 1 << INSIDE.index("article"), TAG["article"]
_AT_PLACE = _N_LOCAL
_AT_INSIDE = _AT_PLACE + _N_PLACE
_AT_NAMED = _AT_INSIDE + _N_INSIDE
_AT_NEIGHBOURS = _AT_NAMED + len(NAMED)
_AT_CONTAINERS = _AT_NEIGHBOURS + len(OFFSETS) * len(NEIGHBOUR)
_AT_SIBLINGS = _AT_CONTAINERS + len(CONTAINERS) * len(CONTAINER)
_AT_PAGE = _AT_SIBLINGS + 2 * len(SIBLINGS) + len(TEMPLATE)
_OFFSETS = OFFSETS
_COMMENTS = 0b11  # the first two of NAMED
_H1, _H6, _P, _LI, _DIV, _TR, _TD, _TH, _DD, _DT, _PRE_TAG, _QUOTE, _A, _CAPTION, _UL, _OL, _TABLE = (
    TAG[name] for name in "h1 h6 p li div tr td th dd dt pre blockquote a figcaption ul ol table".split()
)

_F = np.float32
#: The lowest bits of a token's hash are left to those who learn what it says.
_WITHOUT_SLOT = np.uint64(0xFFFFFFFFFFFFFFFC)

#: Words that a block must have to count as running text, if at most 0.3 of it is linked.
LONG = 15
_MOST_WORDS = 15  # of a block that is known by its words


@cache
def named_words() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The hashes of the words of NAMED in order, and the bit of each."""
    pairs = sorted((hash_name(word, int(WORD)), 1 << bit) for bit, words in enumerate(NAMED) for word in words.split())
    return np.array([pair[0] for pair in pairs], np.uint64), np.array([pair[1] for pair in pairs], np.int64)


@helper
def _kind(tag: int) -> int:
    """A small number for what a block is, alike for alike ones."""
    if tag == _P:
        return 1
    if _H1 <= tag <= _H6:
        return 2
    if tag == _LI:
        return 3
    if tag == _TD or tag == _TH:
        return 4
    if tag == _DT or tag == _DD:
        return 5
    if tag == _PRE_TAG:
        return 6
    if tag == _QUOTE:
        return 7
    if tag == _CAPTION:
        return 8
    if tag == _A:
        return 9
    if tag == _DIV:
        return 0
    return 10


@kernel(
    types.void(
        array(types.int32), array(types.uint64), array(types.uint64), array(types.float32, 2), array(types.uint64),
        array(types.int64), out(types.float32, 2), out(types.int64),
    )
)  # fmt: skip
def weigh(
    owners: Any, tokens: Any, keys: Any, weights: Any, named_keys: Any, named_bits: Any, sums: Any, named: Any
) -> None:
    """The weights of each element's tokens: `sums` [elements, 2] of its own, as if near and as if far of a block.

    `named` [elements] has a bit for each of NAMED that one of its tokens is among, as `named_bits` of `named_keys`.
    """
    sums[:] = 0
    named[:] = 0
    for place in range(len(tokens)):
        which = find(named_keys, tokens[place])
        if which >= 0:
            named[owners[place]] |= named_bits[which]
        which = find(keys, tokens[place] & _WITHOUT_SLOT)
        if which >= 0:
            sums[owners[place], 0] += weights[which, 0]
            sums[owners[place], 1] += weights[which, 1]


@helper
def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def hash_word(word: str) -> int:
    """The hash that `read_text` gives a word of letters in lower case."""
    value = int(_FNV ^ TEXT)
    for letter in word:
        value = (value ^ ord(letter)) * int(_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


@kernel(
    types.int64(
        array(types.uint8), array(types.int32, 2), array(types.uint32), out(types.float32, 2), out(types.uint64),
        out(types.uint64), out(types.int32),
    )
)  # fmt: skip
def read_text(text: Any, blocks: Any, table: Any, local: Any, whole: Any, words: Any, word_blocks: Any) -> int:
    """Fill the columns LOCAL, a hash of each block's text, and the hashes of the words of short blocks.

    Gives how many words those are; digits and signs are left out of them.
    """
    count = 0
    for row in range(len(blocks)):
        at, end = blocks[row, START], blocks[row, END]
        chars, word_count, sentences, commas, digits, capitals, letters = 0, 0, 0, 0, 0, 0, 0
        punctuation, bars, other = 0, 0, 0
        value, word = _FNV, _FNV ^ TEXT
        in_word, word_letters = False, 0
        starts, last, first_words = 0, 0, count
        while at < end:
            point, width = decode(text, at, end)
            bits = property_of(table, point)
            at += width
            is_space = point == 32 or point == 10 or point == 9
            if not is_space:
                if chars == 0:
                    starts = np.int64((bits & unicode.UPPER) != 0)
                chars += 1
                value = (value ^ np.uint64(point)) * _PRIME
                last = point
            is_letter = (bits & (unicode.LETTER | unicode.MARK)) != 0
            is_alone = (bits & unicode.SPACELESS) != 0
            if is_space or is_alone:
                word_count += np.int64(in_word) + np.int64(is_alone)
                in_word = False
            else:
                in_word = True
            if is_letter and not is_alone:
                lower = point + 32 if 65 <= point <= 90 or 0xC0 <= point <= 0xDE or 0x410 <= point <= 0x42F else point
                word = (word ^ np.uint64(lower)) * _PRIME
                word_letters += 1
            elif word_letters:
                if word_count <= _MOST_WORDS + 1 and count - first_words <= _MOST_WORDS:
                    words[count], word_blocks[count] = word, row
                    count += 1
                word, word_letters = _FNV ^ TEXT, 0
            if is_letter:
                letters += 1
                capitals += (bits & unicode.UPPER) != 0
            elif (bits & unicode.DIGIT) != 0:
                digits += 1
            elif not is_space:
                if point == 46 or point == 33 or point == 63:  # an ASCII mark ends a sentence before a space
                    following = np.int64(text[at]) if at < end else 32
                    sentences += following in (32, 10, 34, 39, 41)
                elif (bits & unicode.TERMINAL) != 0:
                    sentences += 1
                elif point in (44, 0x3001, 0xFF0C, 0x60C):
                    commas += 1
                elif point in (0x7C, 0xA9, 0xBB, 0x203A, 0x2022, 0xB7, 0x2192, 0xAB, 0x2190, 0xAE, 0x25B8, 0x2191):
                    bars += 1
                elif (bits & unicode.PUNCTUATION) != 0:
                    punctuation += 1
                else:
                    other += 1
        word_count += np.int64(in_word)
        if word_letters and word_count <= _MOST_WORDS and count - first_words <= _MOST_WORDS:
            words[count], word_blocks[count] = word, row
            count += 1
        if word_count > _MOST_WORDS:
            count = first_words
        size = np.float32(blocks[row, END] - blocks[row, START])
        whole[row] = value
        bits = property_of(table, last)
        ends = (bits & unicode.TERMINAL) != 0
        figures = (
            _F(chars), _F(word_count), _F(_share(chars, word_count)), _F(blocks[row, LINKED] / size),
            _F(blocks[row, LINKS]), _F(sentences), _F(commas), _F(_share(digits, chars)),
            _F(_share(capitals, letters)), _F(starts), _F(np.int64(ends)), _F(np.int64(last == 58)),
            _F(blocks[row, BOLDED] / size), _F(blocks[row, BREAKS]), _F(_share(punctuation, chars)), _F(bars),
            _F(_share(other, chars)), _F(0), _F(blocks[row, PRE]),
        )  # fmt: skip
        for column in range(_N_LOCAL):
            local[row, column] = figures[column]
    return count


@kernel(
    types.void(
        array(types.int32, 2), array(types.uint64), array(types.int32, 2), array(types.float32, 2),
        array(types.int64), array(types.uint64), array(types.uint64), array(types.int32), array(types.uint64),
        array(types.uint64), array(types.float32, 2), array(types.int32), out(types.float32, 2), out(types.int32, 2),
    )
)  # fmt: skip
def measure(
    elements: Any, classes: Any, blocks: Any, sums: Any, named: Any, whole: Any, words: Any, word_blocks: Any,
    title: Any, keys: Any, weights: Any, properties: Any, table: Any, alike: Any,
) -> None:  # fmt: skip
    """Fill `table` [blocks, NAMES], whose columns LOCAL `read_text` has filled, and `alike` [blocks, 3].

    `alike` numbers the innermost and the outermost set of repeated siblings that a block is in, -1 for none, and its
    template.

    `sums` and `named` are those of `weigh`; `weights` [keys, 4] give in columns 2 and 3 what a word says in a block
    and in the heading above it; `title` are the hashes of the words of the page's title, in order.
    """
    rows, count = len(blocks), len(elements)
    # What elements inherit.
    inside, called = np.zeros(count, np.int64), np.zeros(count, np.int64)
    called[0] = named[0]
    hidden, heading = np.zeros(count, np.int64), np.zeros(count, np.int64)
    lists, tables = np.zeros(count, np.int64), np.zeros(count, np.int64)
    path = np.zeros(count, np.float32)  # the far weights from the root to here
    template, chain = np.zeros(count, np.uint64), np.zeros((count, 2), np.uint64)
    for element in range(1, count):
        parent, tag = elements[element, PARENT], elements[element, NAME]
        bits = inside[parent]
        for place in range(_N_INSIDE):
            if tag == _INSIDE_TAGS[place]:
                bits |= 1 << place
        inside[element] = bits
        called[element] = called[parent] | named[element]
        hidden[element] = hidden[parent] + elements[element, HIDDEN]
        heading[element] = tag - _H1 + 1 if _H1 <= tag <= _H6 else heading[parent]
        lists[element] = lists[parent] + (tag == _UL or tag == _OL)
        tables[element] = tables[parent] + (tag == _TABLE)
        path[element] = path[parent] + sums[element, 1]
        template[element] = (classes[element] ^ (chain[parent, 0] * _PRIME)) * _PRIME
        chain[element, 0] = (classes[element] ^ (chain[parent, 1] * _PRIME)) * _PRIME
        chain[element, 1] = (classes[element] ^ (classes[parent] * _PRIME)) * _PRIME
    path_root = sums[0, 1]
    controls, images = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for element in range(count - 1, 0, -1):
        controls[element] += elements[element, CONTROLS]
        images[element] += elements[element, IMAGES]
        controls[elements[element, PARENT]] += controls[element]
        images[elements[element, PARENT]] += images[element]
    # Sums over the blocks before each: words, bytes, linked bytes, sentences, bytes of long blocks, those outside of
    # comments, headings.
    before = np.zeros((rows + 1, 7), np.int64)
    for row in range(rows):
        is_long = table[row, 1] >= LONG and table[row, 3] <= 0.3
        before[row + 1, 0] = before[row, 0] + np.int64(table[row, 1])
        before[row + 1, 1] = before[row, 1] + np.int64(blocks[row, END] - blocks[row, START])
        before[row + 1, 2] = before[row, 2] + np.int64(blocks[row, LINKED])
        before[row + 1, 3] = before[row, 3] + np.int64(table[row, 5])
        before[row + 1, 4] = before[row, 4] + (np.int64(blocks[row, END] - blocks[row, START]) if is_long else 0)
        is_plain = is_long and not called[blocks[row, ELEMENT]] & _COMMENTS
        before[row + 1, 5] = before[row, 5] + (np.int64(blocks[row, END] - blocks[row, START]) if is_plain else 0)
        before[row + 1, 6] = before[row, 6] + (heading[blocks[row, ELEMENT]] > 0)
    all_words, all_bytes, all_long = before[rows, 0], before[rows, 1], before[rows, 4]
    # Elements of the same parent, tag and class, and what is in them together.
    slots = 64
    while slots < 2 * count:
        slots *= 2
    keys_of, group_of = np.zeros(slots, np.uint64), np.full(slots, -1, np.int64)
    group = np.full(count, -1, np.int64)
    # Elements, words, bytes, linked, bytes of long blocks, elements with headings, the first block, behind the last.
    figures = np.zeros((count, 8), np.int64)
    member = np.zeros(count, np.int64)
    groups = 0
    for element in range(1, count):
        first, last = elements[element, FIRST], elements[element, LAST]
        if last <= first or not properties[elements[element, NAME]] & BLOCK:
            continue
        key = (classes[element] ^ np.uint64(elements[element, PARENT] + 1)) * _PRIME
        key ^= key >> np.uint64(29)
        slot = np.int64(key & np.uint64(slots - 1))
        while group_of[slot] >= 0 and keys_of[slot] != key:
            slot = (slot + 1) & (slots - 1)
        if group_of[slot] < 0:
            group_of[slot], keys_of[slot] = groups, key
            groups += 1
        which = group_of[slot]
        group[element] = which
        member[element] = figures[which, 0]
        if figures[which, 0] == 0:
            figures[which, 6] = first
        figures[which, 7] = last
        figures[which, 5] += before[last, 6] > before[first, 6]
        figures[which, 0] += 1
        figures[which, 1] += before[last, 0] - before[first, 0]
        figures[which, 2] += before[last, 1] - before[first, 1]
        figures[which, 3] += before[last, 2] - before[first, 2]
        figures[which, 4] += before[last, 4] - before[first, 4]
    # The member of the innermost and of the outermost group of siblings that an element lies in, -1 for none.
    members = np.full((count, 2), -1, np.int64)
    for element in range(1, count):
        parent, which = elements[element, PARENT], group[element]
        is_group = which >= 0 and figures[which, 0] >= 3
        members[element, 0] = element if is_group else members[parent, 0]
        members[element, 1] = members[parent, 1] if members[parent, 1] >= 0 or not is_group else element
    # The page.
    long_groups, group_bytes, items = 0, 0, 0
    for which in range(groups):
        if figures[which, 0] >= 3 and figures[which, 1] >= 20 * figures[which, 0]:
            long_groups += 1
            if figures[which, 2] > group_bytes:
                group_bytes, items = figures[which, 2], figures[which, 0]
    bars, list_bytes, table_bytes, pre_bytes, headings, main_bytes, article_bytes, articles = 0, 0, 0, 0, 0, 0, 0, 0
    for row in range(rows):
        size = blocks[row, END] - blocks[row, START]
        element = blocks[row, ELEMENT]
        bars += np.int64(table[row, 15])
        list_bytes += size if lists[element] else 0
        table_bytes += size if tables[element] else 0
        pre_bytes += size if blocks[row, PRE] else 0
        headings += heading[element] > 0
        main_bytes += size if inside[element] & _IN_MAIN else 0
        article_bytes += size if inside[element] & _IN_ARTICLE else 0
    for element in range(1, count):
        articles += elements[element, NAME] == _ARTICLE
    page = (
        _F(all_words), _F(rows), _F(_share(before[rows, 2], all_bytes)), _F(_share(all_words, rows)),
        _F(_share(all_long, all_bytes)), _F(long_groups), _F(_share(group_bytes, all_bytes)), _F(controls[0]),
        _F(bars), _F(_share(list_bytes, all_bytes)), _F(_share(table_bytes, all_bytes)),
        _F(_share(pre_bytes, all_bytes)), _F(headings), _F(items),
        _F(_share(all_long - before[rows, 5], all_long)), _F(_share(main_bytes, all_bytes)),
        _F(_share(article_bytes, all_bytes)), _F(articles),
    )  # fmt: skip
    # What each block's text was before.
    slots = 64
    while slots < 2 * rows:
        slots *= 2
    text_keys, text_rows = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    slot_of = np.zeros(rows, np.int64)
    for row in range(rows):
        key = whole[row] | np.uint64(1)
        slot = np.int64((key >> np.uint64(7)) & np.uint64(slots - 1))
        while text_rows[slot] and text_keys[slot] != key:
            slot = (slot + 1) & (slots - 1)
        text_keys[slot] = key
        text_rows[slot] += 1
        slot_of[row] = slot
    # The blocks of each template.
    slots = 64
    while slots < 2 * rows:
        slots *= 2
    template_keys, template_of = np.zeros(slots, np.uint64), np.full(slots, -1, np.int64)
    templates = np.zeros((rows, 5), np.int64)  # blocks, words, bytes, linked, texts that stand there once
    of_template = np.zeros(rows, np.int64)
    kinds = 0
    for row in range(rows):
        key = template[blocks[row, ELEMENT]]
        key ^= key >> np.uint64(29)
        slot = np.int64(key & np.uint64(slots - 1))
        while template_of[slot] >= 0 and template_keys[slot] != key:
            slot = (slot + 1) & (slots - 1)
        if template_of[slot] < 0:
            template_of[slot], template_keys[slot] = kinds, key
            kinds += 1
        which = template_of[slot]
        of_template[row] = which
        templates[which, 0] += 1
        templates[which, 1] += np.int64(table[row, 1])
        templates[which, 2] += blocks[row, END] - blocks[row, START]
        templates[which, 3] += blocks[row, LINKED]
        templates[which, 4] += text_rows[slot_of[row]] == 1
    # What the words say.
    said = np.zeros((rows, 2), np.float32)
    titled = np.zeros((rows, 2), np.int64)  # words, and those that are in the title
    for place in range(len(words)):
        titled[word_blocks[place], 0] += 1
        titled[word_blocks[place], 1] += find(title, words[place]) >= 0
        which = find(keys, words[place] & _WITHOUT_SLOT)
        if which >= 0:
            said[word_blocks[place], 0] += weights[which, 2]
            said[word_blocks[place], 1] += weights[which, 3]
    best, title_row = 0.5, -1  # the first block that is most like the title
    for row in range(rows):
        here = titled[row, 1] / max(titled[row, 0], 1) * min(1.0, titled[row, 1] / max(min(4, len(title)), 1))
        if here > best:
            best, title_row = here, row
    next_long = np.full(rows + 1, rows + 100, np.int64)
    for row in range(rows - 1, -1, -1):
        is_long = table[row, 1] >= LONG and table[row, 3] <= 0.3
        next_long[row] = row if is_long else next_long[row + 1]
    last_heading, heading_level, first_heading, last_long = -1, 0, -1, -100
    levels = np.full(7, -1, np.int64)  # the last heading of each level, within those above it
    worst_heading, worst_text = np.float32(0), np.float32(0)
    for row in range(rows):
        element = blocks[row, ELEMENT]
        parent = max(0, elements[element, PARENT])
        grand = max(0, elements[parent, PARENT])
        level = heading[element]
        near = sums[element, 0] + (sums[parent, 0] if element else np.float32(0))
        far = path_root + (path[grand] if parent else np.float32(0))
        table[row, 17] = text_rows[slot_of[row]]
        is_first = level == 1 and first_heading < 0
        if is_first:
            first_heading = row
        around_heading = -1
        for above in range(1, heading_level):
            around_heading = levels[above] if levels[above] >= 0 else around_heading
        place = (
            _F(level), _F(_kind(elements[element, NAME])), _F(elements[element, LEVEL]), _F(lists[element]),
            _F(tables[element]), _F(hidden[element]), _F(near), _F(far), _F(said[row, 0]),
            _F(said[last_heading, 1] if last_heading >= 0 else np.float32(0)), _F(sums[element, 0]),
            _F(_share(row, rows)), _F(_share(before[row, 1], all_bytes)),
            _F(row - last_heading if last_heading >= 0 else 1000), _F(heading_level),
            _F(_share(before[row, 1] - before[first_heading, 1], all_bytes) if first_heading >= 0 else -1.0),
            _F(np.int64(is_first)), _F(_share(before[row, 4], all_long)),
            _F(_share(all_long - before[row + 1, 4], all_long)), _F(min(100, row - last_long)),
            _F(min(100, next_long[row + 1] - row)),
            _F(table[last_heading, 1] if last_heading >= 0 else np.float32(0)),
            _F(said[around_heading, 1] if around_heading >= 0 else np.float32(0)), worst_heading, worst_text,
            _F(_share(before[row, 5], all_long)), _F(_share(titled[row, 1], titled[row, 0])),
            _F(row - title_row if title_row >= 0 else -1000),
        )  # fmt: skip
        for column in range(_N_PLACE):
            table[row, _AT_PLACE + column] = place[column]  # type: ignore[index]
        if table[row, 1] >= LONG and table[row, 3] <= 0.3:
            last_long = row
        if level:
            last_heading, heading_level = row, level
            levels[level] = row
            for above in range(level + 1, 7):
                levels[above] = -1
            worst_heading = np.float32(min(worst_heading, said[row, 1]))
        if last_long >= 0:
            worst_text = np.float32(min(worst_text, said[row, 0]))
        for column in range(_N_INSIDE):
            table[row, _AT_INSIDE + column] = inside[element] >> column & 1
        for column in range(_N_NAMED):
            table[row, _AT_NAMED + column] = called[element] >> column & 1
        # The smallest container with 8 blocks, and with 30 % of the text.
        small, part = element, element
        while small and elements[small, LAST] - elements[small, FIRST] < 8:
            small = elements[small, PARENT]
        part = small
        while part and (before[elements[part, LAST], 1] - before[elements[part, FIRST], 1]) * 10 < 3 * all_bytes:
            part = elements[part, PARENT]
        inner, outer = members[element, 0], members[element, 1]
        containers = (
            np.int64(element), np.int64(parent), np.int64(grand), np.int64(small), np.int64(part),
            np.int64(inner if inner >= 0 else element), np.int64(outer if outer >= 0 else element),
        )  # fmt: skip
        column = _AT_CONTAINERS
        for which in range(7):
            container = containers[which]
            first, last = elements[container, FIRST], elements[container, LAST]
            size = before[last, 1] - before[first, 1]
            inside_words = before[last, 0] - before[first, 0]
            table[row, column] = last - first
            table[row, column + 1] = _share(inside_words, last - first)
            table[row, column + 2] = _share(before[last, 2] - before[first, 2], size)
            table[row, column + 3] = _share(before[last, 3] - before[first, 3], inside_words)
            table[row, column + 4] = _share(size, all_bytes)
            table[row, column + 5] = _share(before[last, 4] - before[first, 4], size)
            table[row, column + 6] = controls[container]
            table[row, column + 7] = images[container]
            table[row, column + 8] = _share(row - first, last - first)
            column += 9
        for which in range(2):
            one = members[element, which]
            siblings = group[one] if one >= 0 else -1
            alike[row, which] = siblings
            if siblings >= 0:
                first, last = elements[one, FIRST], elements[one, LAST]
                long_bytes = max(figures[siblings, 4], 1)
                table[row, column + 5] = member[one]
                table[row, column + 6] = _share(row - first, last - first)
                table[row, column + 7] = _share(figures[siblings, 5], figures[siblings, 0])
                table[row, column + 8] = min(10.0, before[figures[siblings, 6], 4] / long_bytes)
                table[row, column + 9] = min(10.0, (all_long - before[figures[siblings, 7], 4]) / long_bytes)
                table[row, column + 10] = _kind(elements[one, NAME])
                table[row, column] = figures[siblings, 0]
                table[row, column + 1] = _share(figures[siblings, 1], figures[siblings, 0])
                table[row, column + 2] = _share(figures[siblings, 3], figures[siblings, 2])
                table[row, column + 3] = _share(figures[siblings, 4], figures[siblings, 2])
                table[row, column + 4] = _share(figures[siblings, 2], all_bytes)
            else:
                for place_of in range(11):
                    table[row, column + place_of] = 0
            column += 11
        which = of_template[row]
        alike[row, 2] = which
        table[row, column] = templates[which, 0]
        table[row, column + 1] = _share(templates[which, 1], templates[which, 0])
        table[row, column + 2] = _share(templates[which, 3], templates[which, 2])
        table[row, column + 3] = _share(templates[which, 2], all_bytes)
        table[row, column + 4] = _share(templates[which, 4], templates[which, 0])
        column += 5
        for number in range(len(page)):
            table[row, column + number] = page[number]
    for row in range(rows):
        column = _AT_NEIGHBOURS
        for offset in _OFFSETS:
            other = row + offset
            if 0 <= other < rows:
                table[row, column] = table[other, 1]
                table[row, column + 1] = table[other, 3]
                table[row, column + 2] = table[other, 5]
                table[row, column + 3] = table[other, _AT_PLACE + 1]
                table[row, column + 4] = table[other, _AT_PLACE + 6]
                table[row, column + 5] = np.int64(
                    elements[blocks[row, ELEMENT], PARENT] == elements[blocks[other, ELEMENT], PARENT]
                )
            else:
                for place_of in range(6):
                    table[row, column + place_of] = -1
            column += 6


#: What `surround` tells of a block from the scores that a first model gave.
AROUND = (
    "score before_1 before_2 before_3 after_1 after_2 after_3 element parent grandparent ancestor group page alike"
    " all_alike template heading kept_before kept_after kept next_10 last_10"
).split()  # fmt: skip


@helper
def _mean(total: Any, weight: Any, first: int, last: int) -> float:
    size = weight[last] - weight[first]
    return (total[last] - total[first]) / size if size > 0 else 0.0


@kernel(
    types.void(
        array(types.int32, 2), array(types.int32, 2), array(types.int32, 2), array(types.float32, 2),
        array(types.float64), out(types.float32, 2),
    )
)  # fmt: skip
def surround(elements: Any, blocks: Any, alike: Any, table: Any, scores: Any, around: Any) -> None:
    """Fill `around` [blocks, AROUND] from the `scores` of blocks (positive: kept) and what `measure` has filled.

    Scores are brought between -1 and 1; means are by bytes.
    """
    rows = len(blocks)
    squashed = np.zeros(rows, np.float64)
    total, weight, kept = np.zeros(rows + 1), np.zeros(rows + 1), np.zeros(rows + 1)
    groups = 0
    for row in range(rows):
        groups = max(groups, np.int64(max(alike[row, 0], alike[row, 1], alike[row, 2])) + 1)
    of_group = np.zeros((groups, 6))
    for row in range(rows):
        size = np.float64(blocks[row, END] - blocks[row, START])
        squashed[row] = scores[row] / (1.0 + abs(scores[row]))
        total[row + 1] = total[row] + squashed[row] * size
        weight[row + 1] = weight[row] + size
        kept[row + 1] = kept[row] + (size if scores[row] > 0 else 0.0)
        for which in range(3):
            siblings = np.int64(alike[row, which])
            if siblings >= 0:
                of_group[siblings, 2 * which] += squashed[row] * size
                of_group[siblings, 2 * which + 1] += size
    page, all_kept = _mean(total, weight, 0, rows), kept[rows]
    last_heading = -1
    for row in range(rows):
        element = np.int64(blocks[row, ELEMENT])
        parent = max(np.int64(0), np.int64(elements[element, PARENT]))
        grand = max(np.int64(0), np.int64(elements[parent, PARENT]))
        ancestor = max(np.int64(0), np.int64(elements[grand, PARENT]))
        small = element
        while small and elements[small, LAST] - elements[small, FIRST] < 8:
            small = np.int64(elements[small, PARENT])
        around[row, 0] = scores[row]
        for step in range(3):
            around[row, 1 + step] = squashed[row - 1 - step] if row - 1 - step >= 0 else -1.0
            around[row, 4 + step] = squashed[row + 1 + step] if row + 1 + step < rows else -1.0
        around[row, 7] = _mean(total, weight, elements[element, FIRST], elements[element, LAST])
        around[row, 8] = _mean(total, weight, elements[parent, FIRST], elements[parent, LAST])
        around[row, 9] = _mean(total, weight, elements[grand, FIRST], elements[grand, LAST])
        around[row, 10] = _mean(total, weight, elements[ancestor, FIRST], elements[ancestor, LAST])
        around[row, 11] = _mean(total, weight, elements[small, FIRST], elements[small, LAST])
        around[row, 12] = page
        for which in range(3):
            siblings = np.int64(alike[row, which])
            around[row, 13 + which] = (
                of_group[siblings, 2 * which] / of_group[siblings, 2 * which + 1] if siblings >= 0 else 0.0
            )
        around[row, 16] = squashed[last_heading] if last_heading >= 0 else -2.0
        around[row, 17] = _share(kept[row], all_kept)
        around[row, 18] = _share(all_kept - kept[row + 1], all_kept)
        around[row, 19] = _share(all_kept, weight[rows])
        around[row, 20] = _mean(total, weight, row + 1, min(rows, row + 11)) if row + 1 < rows else 0.0
        around[row, 21] = _mean(total, weight, max(0, row - 10), row)
        if table[row, _AT_PLACE] > 0:
            last_heading = row


# What `style` tells of each block, for those who write it.
HEADING, LISTS, ITEM, ITEM_NUMBER, ROW, COLUMN, TABLE, QUOTE, TABLES = range(9)


@kernel(types.void(array(types.int32, 2), array(types.int32, 2), out(types.int32, 2)))
def style(elements: Any, blocks: Any, styles: Any) -> None:
    """Fill `styles` [blocks, 9]: how each block is to be written.

    Its heading's level, the lists around it, the element of its list item (-1: none) and the item's number in an
    ordered list (0: in none), the element of its table row (-1: none), its column, the element of its table (-1:
    none), the quotations around it, the tables around it.
    """
    count = len(elements)
    found = np.zeros((count, 9), np.int32)
    children = np.zeros(count, np.int32)  # items of a list, or cells of a row
    found[0, ITEM] = found[0, ROW] = found[0, TABLE] = -1
    for element in range(1, count):
        parent, tag = elements[element, PARENT], elements[element, NAME]
        for column in range(9):
            found[element, column] = found[parent, column]
        if _H1 <= tag <= _H6:
            found[element, HEADING] = tag - _H1 + 1
        elif tag == _UL or tag == _OL:
            found[element, LISTS] += 1
        elif tag == _LI:
            children[parent] += 1
            found[element, ITEM] = element
            found[element, ITEM_NUMBER] = children[parent] if elements[parent, NAME] == _OL else 0
        elif tag == _TABLE:
            found[element, TABLE], found[element, ROW], found[element, COLUMN] = element, -1, 0
            found[element, TABLES] += 1
            found[element, LISTS], found[element, ITEM], found[element, ITEM_NUMBER] = 0, -1, 0
        elif tag == _TR:
            found[element, ROW] = element
        elif tag == _TD or tag == _TH:
            found[element, COLUMN] = children[parent]
            children[parent] += 1
        elif tag == _QUOTE:
            found[element, QUOTE] += 1
    for row in range(len(blocks)):
        for column in range(9):
            styles[row, column] = found[blocks[row, ELEMENT], column]
