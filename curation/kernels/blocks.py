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
from curation.kernels.markup import (
    BLOCK,
    BOLDED,
    BREAKS,
    CONTROLS,
    ELEMENT,
    END,
    FIRST,
    FNV,
    HIDDEN,
    IMAGES,
    LAST,
    LEVEL,
    LINKED,
    LINKS,
    NAME,
    PARENT,
    PRE,
    PRIME,
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
_N_CONTAINERS, _N_SIBLINGS = len(CONTAINERS), len(SIBLINGS)
_AT_PAGE = _AT_SIBLINGS + 2 * len(SIBLINGS) + len(TEMPLATE)
_OFFSETS = OFFSETS
_COMMENTS = 0b11  # the first two of NAMED
_H1, _H6, _P, _LI, _DIV, _TR, _TD, _TH, _DD, _DT, _PRE_TAG, _QUOTE, _A, _CAPTION, _UL, _OL, _TABLE = (
    TAG[name] for name in "h1 h6 p li div tr td th dd dt pre blockquote a figcaption ul ol table".split()
)

#: The columns of what an element has of those around it: the bits of INSIDE and NAMED, how many are hidden, the level
#: of a heading, how many lists and tables.
_INSIDE, _CALLED, _HIDDEN, _HEADING, _LISTS, _TABLES = range(6)
#: The columns of sums: words, bytes, linked bytes, sentences, bytes of running text and of that outside of comments,
#: blocks in headings. Of siblings also how many there are, how many have headings, and their first and last block.
_WORDS, _BYTES, _LINKED, _SENTENCES, _LONG, _PLAIN, _HEADINGS = range(7)
_MEMBERS, _HEADED, _BEGIN, _STOP = 3, 5, 6, 7

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
    value = int(FNV ^ TEXT)
    for letter in word:
        value = (value ^ ord(letter)) * int(PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


@helper
def _lower(point: int) -> int:
    """A letter of ASCII, Latin-1 or Cyrillic in lower case, any other as it is."""
    return point + 32 if 65 <= point <= 90 or 0xC0 <= point <= 0xDE or 0x410 <= point <= 0x42F else point


@kernel(
    types.int64(array(types.uint8), array(types.int64, 2), array(types.uint32), out(types.uint64), out(types.int32))
)
def hash_pairs(text: Any, ranges: Any, table: Any, pairs: Any, owners: Any) -> int:
    """A hash for each two words in a row in each of `ranges` [n, 2] of a text, and which range it is of; how many.

    A word is letters and digits in a row, each character of a script without spaces one of its own. There are fewer
    pairs than bytes.
    """
    count = 0
    for row in range(len(ranges)):
        at, end = ranges[row, 0], ranges[row, 1]
        before, word = np.uint64(0), FNV
        in_word = False
        while at <= end:
            point, bits, width = 32, 0, 1
            if at < end:
                point, width = decode(text, at, end)
                bits = property_of(table, point)
            at += width
            is_part = (bits & (unicode.LETTER | unicode.MARK | unicode.DIGIT)) != 0
            is_alone = (bits & unicode.SPACELESS) != 0
            if in_word and (is_alone or not is_part):
                if before:
                    pairs[count], owners[count] = (word ^ (before * PRIME)) * PRIME, row
                    count += 1
                before, word, in_word = word, FNV, False
            if is_part or is_alone:
                word = (word ^ np.uint64(_lower(point))) * PRIME
                in_word = True
    return count


@kernel(types.void(array(types.uint64), array(types.int32), array(types.uint64), out(types.float32)))
def share_found(pairs: Any, owners: Any, keys: Any, shares: Any) -> None:
    """Set `shares` to the share of each owner's pairs that are among the sorted `keys`, 0 for one without pairs."""
    shares[:] = 0
    start = 0
    while start < len(pairs):
        end, count = start, 0
        while end < len(pairs) and owners[end] == owners[start]:
            count += find(keys, pairs[end]) >= 0
            end += 1
        shares[owners[start]] = count / (end - start)
        start = end


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
        value, word = FNV, FNV ^ TEXT
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
                value = (value ^ np.uint64(point)) * PRIME
                last = point
            is_letter = (bits & (unicode.LETTER | unicode.MARK)) != 0
            is_alone = (bits & unicode.SPACELESS) != 0
            if is_space or is_alone:
                word_count += np.int64(in_word) + np.int64(is_alone)
                in_word = False
            else:
                in_word = True
            if is_letter and not is_alone:
                word = (word ^ np.uint64(_lower(point))) * PRIME
                word_letters += 1
            elif word_letters:
                if word_count <= _MOST_WORDS + 1 and count - first_words <= _MOST_WORDS:
                    words[count], word_blocks[count] = word, row
                    count += 1
                word, word_letters = FNV ^ TEXT, 0
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


@helper
def _inherit(
    elements: Any, classes: Any, named: Any, sums: Any, has: Any, path: Any, template: Any, chain: Any
) -> None:  # fmt: skip
    """What elements have of those around them: `has` by _INSIDE and so on, the far weights from the root to here."""
    has[0, _CALLED] = named[0]
    for element in range(1, len(elements)):
        parent, tag = elements[element, PARENT], elements[element, NAME]
        bits = has[parent, _INSIDE]
        for place in range(_N_INSIDE):
            if tag == _INSIDE_TAGS[place]:
                bits |= 1 << place
        has[element, _INSIDE] = bits
        has[element, _CALLED] = has[parent, _CALLED] | named[element]
        has[element, _HIDDEN] = has[parent, _HIDDEN] + elements[element, HIDDEN]
        has[element, _HEADING] = tag - _H1 + 1 if _H1 <= tag <= _H6 else has[parent, _HEADING]
        has[element, _LISTS] = has[parent, _LISTS] + (tag == _UL or tag == _OL)
        has[element, _TABLES] = has[parent, _TABLES] + (tag == _TABLE)
        path[element] = path[parent] + sums[element, 1]
        template[element] = (classes[element] ^ (chain[parent, 0] * PRIME)) * PRIME
        chain[element, 0] = (classes[element] ^ (chain[parent, 1] * PRIME)) * PRIME
        chain[element, 1] = (classes[element] ^ (classes[parent] * PRIME)) * PRIME


@helper
def _hold(elements: Any, holds: Any) -> None:
    """How many controls and images are in each element, at any depth."""
    for element in range(len(elements) - 1, 0, -1):
        holds[element, 0] += elements[element, CONTROLS]
        holds[element, 1] += elements[element, IMAGES]
        holds[elements[element, PARENT], 0] += holds[element, 0]
        holds[elements[element, PARENT], 1] += holds[element, 1]


@helper
def _is_long(table: Any, row: int) -> bool:
    """Whether a block counts as running text."""
    return table[row, 1] >= LONG and table[row, 3] <= 0.3


@helper
def _sum_before(blocks: Any, table: Any, has: Any, before: Any) -> None:
    """Sums over the blocks before each, by _WORDS and so on."""
    for row in range(len(blocks)):
        size, is_long = np.int64(blocks[row, END] - blocks[row, START]), _is_long(table, row)
        is_plain = is_long and not has[blocks[row, ELEMENT], _CALLED] & _COMMENTS
        before[row + 1, _WORDS] = before[row, _WORDS] + np.int64(table[row, 1])
        before[row + 1, _BYTES] = before[row, _BYTES] + size
        before[row + 1, _LINKED] = before[row, _LINKED] + np.int64(blocks[row, LINKED])
        before[row + 1, _SENTENCES] = before[row, _SENTENCES] + np.int64(table[row, 5])
        before[row + 1, _LONG] = before[row, _LONG] + (size if is_long else 0)
        before[row + 1, _PLAIN] = before[row, _PLAIN] + (size if is_plain else 0)
        before[row + 1, _HEADINGS] = before[row, _HEADINGS] + (has[blocks[row, ELEMENT], _HEADING] > 0)


@helper
def _number(keys: Any, slots: Any, numbers: Any, which: Any) -> int:
    """Number the places that have a key, equal keys alike, in the order of the first; how many numbers there are.

    Those with the key 0 get -1. `slots` and `numbers`, all -1, are a table of twice as many slots, a power of two.
    """
    found, last = 0, len(slots) - 1
    for place in range(len(keys)):
        key = keys[place]
        which[place] = -1
        if key == 0:
            continue
        slot = np.int64((key ^ (key >> np.uint64(29))) & np.uint64(last))
        while numbers[slot] >= 0 and slots[slot] != key:
            slot = (slot + 1) & last
        if numbers[slot] < 0:
            numbers[slot], slots[slot] = found, key
            found += 1
        which[place] = numbers[slot]
    return found


@helper
def _key_siblings(elements: Any, classes: Any, properties: Any, keys: Any) -> None:
    """A key for each block element that holds blocks, the same for those of one parent, tag and class; else 0."""
    for element in range(1, len(elements)):
        if elements[element, LAST] > elements[element, FIRST] and properties[elements[element, NAME]] & BLOCK:
            keys[element] = (classes[element] ^ np.uint64(elements[element, PARENT] + 1)) * PRIME | np.uint64(1)


@helper
def _sum_siblings(elements: Any, group: Any, before: Any, member: Any, figures: Any) -> None:
    """What is in each set of siblings together, by _MEMBERS and so on; and of each element how many are before it."""
    for element in range(1, len(elements)):
        which = group[element]
        if which < 0:
            continue
        first, last = elements[element, FIRST], elements[element, LAST]
        member[element] = figures[which, _MEMBERS]
        if member[element] == 0:
            figures[which, _BEGIN] = first
        figures[which, _STOP] = last
        figures[which, _MEMBERS] += 1
        figures[which, _HEADED] += before[last, _HEADINGS] > before[first, _HEADINGS]
        for column in (_WORDS, _BYTES, _LINKED, _LONG):
            figures[which, column] += before[last, column] - before[first, column]


@helper
def _find_members(elements: Any, group: Any, figures: Any, members: Any) -> None:
    """The member of the innermost and of the outermost set of siblings that an element lies in, -1 for none."""
    members[0, 0], members[0, 1] = -1, -1
    for element in range(1, len(elements)):
        parent, which = elements[element, PARENT], group[element]
        is_group = which >= 0 and figures[which, _MEMBERS] >= 3
        members[element, 0] = element if is_group else members[parent, 0]
        members[element, 1] = members[parent, 1] if members[parent, 1] >= 0 or not is_group else element


@helper
def _page(
    elements: Any, blocks: Any, table: Any, has: Any, before: Any, figures: Any, groups: int, controls: int
) -> tuple[Any, ...]:  # fmt: skip
    """What is told of the page, in the order of PAGE."""
    rows = len(blocks)
    all_words, all_bytes, all_long = before[rows, _WORDS], before[rows, _BYTES], before[rows, _LONG]
    long_groups, group_bytes, items = 0, 0, 0
    for which in range(groups):
        if figures[which, _MEMBERS] >= 3 and figures[which, _WORDS] >= 20 * figures[which, _MEMBERS]:
            long_groups += 1
            if figures[which, _BYTES] > group_bytes:
                group_bytes, items = figures[which, _BYTES], figures[which, _MEMBERS]
    bars, list_bytes, table_bytes, pre_bytes, main_bytes, article_bytes, articles = 0, 0, 0, 0, 0, 0, 0
    for row in range(rows):
        size, element = blocks[row, END] - blocks[row, START], blocks[row, ELEMENT]
        bars += np.int64(table[row, 15])
        list_bytes += size if has[element, _LISTS] else 0
        table_bytes += size if has[element, _TABLES] else 0
        pre_bytes += size if blocks[row, PRE] else 0
        main_bytes += size if has[element, _INSIDE] & _IN_MAIN else 0
        article_bytes += size if has[element, _INSIDE] & _IN_ARTICLE else 0
    for element in range(1, len(elements)):
        articles += elements[element, NAME] == _ARTICLE
    return (
        _F(all_words), _F(rows), _F(_share(before[rows, _LINKED], all_bytes)), _F(_share(all_words, rows)),
        _F(_share(all_long, all_bytes)), _F(long_groups), _F(_share(group_bytes, all_bytes)), _F(controls),
        _F(bars), _F(_share(list_bytes, all_bytes)), _F(_share(table_bytes, all_bytes)),
        _F(_share(pre_bytes, all_bytes)), _F(before[rows, _HEADINGS]), _F(items),
        _F(_share(all_long - before[rows, _PLAIN], all_long)), _F(_share(main_bytes, all_bytes)),
        _F(_share(article_bytes, all_bytes)), _F(articles),
    )  # fmt: skip


@helper
def _sum_templates(blocks: Any, table: Any, template: Any, figures: Any) -> None:
    """What the blocks of each template have together: blocks, words, bytes, linked bytes, texts that are there once."""
    for row in range(len(blocks)):
        which = template[row]
        figures[which, 0] += 1
        figures[which, 1] += np.int64(table[row, 1])
        figures[which, 2] += blocks[row, END] - blocks[row, START]
        figures[which, 3] += blocks[row, LINKED]
        figures[which, 4] += table[row, 17] == 1


@helper
def _listen(
    words: Any, word_blocks: Any, title: Any, keys: Any, weights: Any, said: Any, titled: Any
) -> int:  # fmt: skip
    """What the words of each block say, how many there are and are in the title; the block most like it, or -1."""
    for place in range(len(words)):
        titled[word_blocks[place], 0] += 1
        titled[word_blocks[place], 1] += find(title, words[place]) >= 0
        which = find(keys, words[place] & _WITHOUT_SLOT)
        if which >= 0:
            said[word_blocks[place], 0] += weights[which, 2]
            said[word_blocks[place], 1] += weights[which, 3]
    best, found = 0.5, -1
    for row in range(len(titled)):
        here = titled[row, 1] / max(titled[row, 0], 1) * min(1.0, titled[row, 1] / max(min(4, len(title)), 1))
        if here > best:
            best, found = here, row
    return found


@helper
def _place(
    elements: Any, blocks: Any, sums: Any, has: Any, path: Any, before: Any, said: Any, titled: Any, title_row: int,
    next_long: Any, levels: Any, table: Any,
) -> None:  # fmt: skip
    """Fill the columns PLACE, of one block after the other; `levels`, all -1, are headings above it by their level."""
    rows = len(blocks)
    all_bytes, all_long = before[rows, _BYTES], before[rows, _LONG]
    last_heading, heading_level, first_heading, last_long = -1, 0, -1, -100
    worst_heading, worst_text = np.float32(0), np.float32(0)
    for row in range(rows):
        element = blocks[row, ELEMENT]
        parent = max(0, elements[element, PARENT])
        grand = max(0, elements[parent, PARENT])
        level = has[element, _HEADING]
        near = sums[element, 0] + (sums[parent, 0] if element else np.float32(0))
        far = sums[0, 1] + (path[grand] if parent else np.float32(0))
        is_first = level == 1 and first_heading < 0
        if is_first:
            first_heading = row
        around_heading = -1
        for above in range(1, heading_level):
            around_heading = levels[above] if levels[above] >= 0 else around_heading
        place = (
            _F(level), _F(_kind(elements[element, NAME])), _F(elements[element, LEVEL]), _F(has[element, _LISTS]),
            _F(has[element, _TABLES]), _F(has[element, _HIDDEN]), _F(near), _F(far), _F(said[row, 0]),
            _F(said[last_heading, 1] if last_heading >= 0 else np.float32(0)), _F(sums[element, 0]),
            _F(_share(row, rows)), _F(_share(before[row, _BYTES], all_bytes)),
            _F(row - last_heading if last_heading >= 0 else 1000), _F(heading_level),
            _F(_share(before[row, _BYTES] - before[first_heading, _BYTES], all_bytes) if first_heading >= 0 else -1.0),
            _F(np.int64(is_first)), _F(_share(before[row, _LONG], all_long)),
            _F(_share(all_long - before[row + 1, _LONG], all_long)), _F(min(100, row - last_long)),
            _F(min(100, next_long[row + 1] - row)),
            _F(table[last_heading, 1] if last_heading >= 0 else np.float32(0)),
            _F(said[around_heading, 1] if around_heading >= 0 else np.float32(0)), worst_heading, worst_text,
            _F(_share(before[row, _PLAIN], all_long)), _F(_share(titled[row, 1], titled[row, 0])),
            _F(row - title_row if title_row >= 0 else -1000),
        )  # fmt: skip
        for column in range(_N_PLACE):
            table[row, _AT_PLACE + column] = place[column]
        if _is_long(table, row):
            last_long = row
        if level:
            last_heading, heading_level = row, level
            levels[level] = row
            for above in range(level + 1, 7):
                levels[above] = -1
            worst_heading = np.float32(min(worst_heading, said[row, 1]))
        if last_long >= 0:
            worst_text = np.float32(min(worst_text, said[row, 0]))


@helper
def _contain(elements: Any, blocks: Any, has: Any, holds: Any, before: Any, members: Any, table: Any) -> None:
    """Fill what elements a block is in, how they are named, and the columns of CONTAINERS."""
    rows = len(blocks)
    all_bytes = before[rows, _BYTES]
    for row in range(rows):
        element = blocks[row, ELEMENT]
        parent = max(0, elements[element, PARENT])
        for column in range(_N_INSIDE):
            table[row, _AT_INSIDE + column] = has[element, _INSIDE] >> column & 1
        for column in range(_N_NAMED):
            table[row, _AT_NAMED + column] = has[element, _CALLED] >> column & 1
        # The smallest container with 8 blocks, and with 30 % of the text.
        small = np.int64(element)
        while small and elements[small, LAST] - elements[small, FIRST] < 8:
            small = np.int64(elements[small, PARENT])
        part = small
        while part and _within(elements, before, part, _BYTES) * 10 < 3 * all_bytes:
            part = np.int64(elements[part, PARENT])
        inner, outer = members[element, 0], members[element, 1]
        containers = (
            np.int64(element), np.int64(parent), np.int64(max(0, elements[parent, PARENT])), small, part,
            np.int64(inner if inner >= 0 else element), np.int64(outer if outer >= 0 else element),
        )  # fmt: skip
        column = _AT_CONTAINERS
        for which in range(_N_CONTAINERS):
            container = containers[which]
            first, last = elements[container, FIRST], elements[container, LAST]
            size = _within(elements, before, container, _BYTES)
            inside_words = _within(elements, before, container, _WORDS)
            table[row, column] = last - first
            table[row, column + 1] = _share(inside_words, last - first)
            table[row, column + 2] = _share(_within(elements, before, container, _LINKED), size)
            table[row, column + 3] = _share(_within(elements, before, container, _SENTENCES), inside_words)
            table[row, column + 4] = _share(size, all_bytes)
            table[row, column + 5] = _share(_within(elements, before, container, _LONG), size)
            table[row, column + 6] = holds[container, 0]
            table[row, column + 7] = holds[container, 1]
            table[row, column + 8] = _share(row - first, last - first)
            column += 9


@helper
def _within(elements: Any, before: Any, element: int, column: int) -> int:
    """What the blocks of an element have together."""
    return np.int64(before[elements[element, LAST], column] - before[elements[element, FIRST], column])


@helper
def _compare(
    elements: Any, blocks: Any, before: Any, members: Any, group: Any, member: Any, figures: Any, template: Any,
    templates: Any, table: Any, alike: Any,
) -> None:  # fmt: skip
    """Fill the columns of SIBLINGS, twice, those of TEMPLATE, and `alike`."""
    rows = len(blocks)
    all_bytes, all_long = before[rows, _BYTES], before[rows, _LONG]
    for row in range(rows):
        column = _AT_SIBLINGS
        for which in range(2):
            one = members[blocks[row, ELEMENT], which]
            siblings = group[one] if one >= 0 else -1
            alike[row, which] = siblings
            if siblings >= 0:
                first, last = elements[one, FIRST], elements[one, LAST]
                mine, long_bytes = figures[siblings], max(figures[siblings, _LONG], 1)
                table[row, column] = mine[_MEMBERS]
                table[row, column + 1] = _share(mine[_WORDS], mine[_MEMBERS])
                table[row, column + 2] = _share(mine[_LINKED], mine[_BYTES])
                table[row, column + 3] = _share(mine[_LONG], mine[_BYTES])
                table[row, column + 4] = _share(mine[_BYTES], all_bytes)
                table[row, column + 5] = member[one]
                table[row, column + 6] = _share(row - first, last - first)
                table[row, column + 7] = _share(mine[_HEADED], mine[_MEMBERS])
                table[row, column + 8] = min(10.0, before[mine[_BEGIN], _LONG] / long_bytes)
                table[row, column + 9] = min(10.0, (all_long - before[mine[_STOP], _LONG]) / long_bytes)
                table[row, column + 10] = _kind(elements[one, NAME])
            else:
                table[row, column : column + _N_SIBLINGS] = 0
            column += _N_SIBLINGS
        which_template = template[row]
        alike[row, 2] = which_template
        table[row, column] = templates[which_template, 0]
        table[row, column + 1] = _share(templates[which_template, 1], templates[which_template, 0])
        table[row, column + 2] = _share(templates[which_template, 3], templates[which_template, 2])
        table[row, column + 3] = _share(templates[which_template, 2], all_bytes)
        table[row, column + 4] = _share(templates[which_template, 4], templates[which_template, 0])


@helper
def _look_around(elements: Any, blocks: Any, table: Any) -> None:
    """Fill the columns of NEIGHBOUR for each of OFFSETS."""
    rows = len(blocks)
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
                table[row, column : column + 6] = -1
            column += 6


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
    has, path = np.zeros((count, 6), np.int64), np.zeros(count, np.float32)
    template, chain = np.zeros(count, np.uint64), np.zeros((count, 2), np.uint64)
    _inherit(elements, classes, named, sums, has, path, template, chain)
    holds = np.zeros((count, 2), np.int64)
    _hold(elements, holds)
    before = np.zeros((rows + 1, 7), np.int64)
    _sum_before(blocks, table, has, before)
    slots = 64
    while slots < 2 * max(rows, count):
        slots *= 2
    slot_keys, numbers = np.empty(slots, np.uint64), np.full(slots, -1, np.int64)
    group_keys, group = np.zeros(count, np.uint64), np.empty(count, np.int64)
    _key_siblings(elements, classes, properties, group_keys)
    groups = _number(group_keys, slot_keys, numbers, group)
    member, figures, members = np.zeros(count, np.int64), np.zeros((count, 8), np.int64), np.empty((count, 2), np.int64)
    _sum_siblings(elements, group, before, member, figures)
    _find_members(elements, group, figures, members)
    page = _page(elements, blocks, table, has, before, figures, groups, holds[0, 0])
    text_keys, text, times = np.empty(rows, np.uint64), np.empty(rows, np.int64), np.zeros(rows, np.int64)
    template_keys, of_template, templates = (
        np.empty(rows, np.uint64), np.empty(rows, np.int64), np.zeros((rows, 5), np.int64),
    )  # fmt: skip
    for row in range(rows):
        text_keys[row] = whole[row] | np.uint64(1)
        template_keys[row] = template[blocks[row, ELEMENT]] | np.uint64(1)
    numbers[:] = -1
    _number(text_keys, slot_keys, numbers, text)
    for row in range(rows):
        times[text[row]] += 1
    for row in range(rows):
        table[row, 17] = times[text[row]]
    numbers[:] = -1
    _number(template_keys, slot_keys, numbers, of_template)
    _sum_templates(blocks, table, of_template, templates)
    said, titled = np.zeros((rows, 2), np.float32), np.zeros((rows, 2), np.int64)
    title_row = _listen(words, word_blocks, title, keys, weights, said, titled)
    next_long = np.full(rows + 1, rows + 100, np.int64)
    for row in range(rows - 1, -1, -1):
        next_long[row] = row if _is_long(table, row) else next_long[row + 1]
    levels = np.full(7, -1, np.int64)
    _place(elements, blocks, sums, has, path, before, said, titled, title_row, next_long, levels, table)
    _contain(elements, blocks, has, holds, before, members, table)
    _compare(elements, blocks, before, members, group, member, figures, of_template, templates, table, alike)
    for row in range(rows):
        for number in range(len(page)):
            table[row, _AT_PAGE + number] = page[number]
    _look_around(elements, blocks, table)


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
