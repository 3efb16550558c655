"""Where personal data and secrets may stand: places that have the outward form of one. The verdict is `signals.pii`'s.

A place is where the form begins: for an address of e-mail the first byte of its local part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from curation.kernels import masks
from curation.kernels.compiled import array, helper, kernel, out

EMAIL, PHONE, NATIONAL, IPV4, IPV6, IBAN, CARD, KEY = range(8)

_UPPER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = frozenset(b"abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset(b"0123456789")

# What a byte is, by its value. No Python integers: helpers would be compiled for each of them.
_IS_DIGIT, _IS_UPPER, _IS_ALNUM, _IS_HEX, _IS_LABEL, _IS_LOCAL, _IS_PHONE = np.uint8(1) << np.arange(7, dtype=np.uint8)
_SETS = {
    _IS_DIGIT: _DIGITS,
    _IS_UPPER: _UPPER,
    _IS_ALNUM: _UPPER | _LOWER | _DIGITS | frozenset(b"_"),  # what may not stand beside
    _IS_HEX: frozenset(b"0123456789abcdefABCDEF"),
    _IS_LABEL: _UPPER | _LOWER | _DIGITS | frozenset(b"-"),  # of a domain
    _IS_LOCAL: _UPPER | _LOWER | _DIGITS | frozenset(b"._%+'-"),  # what stands before an at sign
    _IS_PHONE: _DIGITS | frozenset(b" ./-()\xc2\xa0\xe2\x80\x90\x91\x92\x93"),
}
_CLASS = np.array(
    [sum(int(bit) for bit, members in _SETS.items() if value in members) for value in range(256)], np.uint8
)
#: What may stand between a word and the number that it announces: ASCII, and the full-width colon.
_BETWEEN = np.array([value in b" \t\n\r.:#(\xef\xbc\x9a" for value in range(256)])
#: The last two letters of the words that announce a telephone number, case set aside.
_ENDINGS = np.zeros(32 * 32, np.bool_)
for _ending in "ne ax at ll el il le ob ce ph on dy sm no re ar nr er ro om n\xb0 l\xe9".encode().split():
    _ENDINGS[(_ending[0] & 31) * 32 + (_ending[1] & 31)] = True
_MAY_NOT_BEGIN = np.array([chr(value) in "%'-." for value in range(256)])  # a local part

#: What keys begin with, and which of these bytes is the rarest. `signals.pii` knows how they go on.
_BEGINNINGS = (
    ("-----BEGIN ", 4), ("AKIA", 1), ("ASIA", 1), ("ghp_", 3), ("gho_", 3), ("ghu_", 3), ("ghs_", 3), ("ghr_", 3),
    ("github_pat_", 10), ("glpat-", 5), ("xoxa-", 4), ("xoxb-", 4), ("xoxe-", 4), ("xoxo-", 4), ("xoxp-", 4),
    ("xoxr-", 4), ("xoxs-", 4), ("AIza", 2), ("sk_live_", 7), ("rk_live_", 7), ("sk-", 2), ("hf_", 2), ("npm_", 3),
    ("pypi-AgE", 4), ("eyJ", 2),
)  # fmt: skip
_SORTED = sorted((text[place], text, place) for text, place in _BEGINNINGS)
_MARKS = np.array([list(text.encode().ljust(12, b"\0")) for _, text, _ in _SORTED], np.uint8)
_RAREST = np.array([place for _, _, place in _SORTED], np.int64)
#: For each byte from where to where those marks are whose rarest byte it is.
_FROM = np.searchsorted([ord(byte) for byte, _, _ in _SORTED], np.arange(257))


@helper
def _triggers(data: Any, at: int) -> Any:
    """Where to look closer: the rarest byte of each form."""
    found = masks.within(data, at, 0x30, 0x39) | masks.equal(data, at, 0x40) | masks.equal(data, at, 0x2B)  # 0-9 @ +
    found |= masks.equal(data, at, 0x3A) | masks.equal(data, at, 0x5F) | masks.equal(data, at, 0x2D)  # : _ -
    found |= masks.equal(data, at, 0x7A) | masks.within(data, at, 0x4A, 0x4B) | masks.equal(data, at, 0x53)  # z J K S
    return found


@helper
def _is(data: Any, at: int, start: int, end: int, classes: int) -> bool:
    """Whether there is a byte at `at`, and one of these classes."""
    return start <= at < end and (_CLASS[data[at]] & classes) != 0


@helper
def _digits(data: Any, at: int, end: int) -> int:
    """Where the run of digits from `at` ends."""
    while at < end and _CLASS[data[at]] & _IS_DIGIT:
        at += 1
    return at


@helper
def _email(data: Any, at: int, start: int, end: int) -> int:
    """Where the local part before an at sign begins, up to 64 bytes of ASCII, if two labels of a domain follow; or -1.

    It may end in letters beyond ASCII: then that is the at sign.
    """
    dot = at + 1
    while dot < min(end, at + 65) and _CLASS[data[dot]] & _IS_LABEL:
        dot += 1
    if dot == at + 1 or dot >= end or data[dot] != 46 or not _is(data, dot + 1, start, end, _IS_LABEL):
        return -1
    first = at
    while first > start and at - first < 65 and _CLASS[data[first - 1]] & _IS_LOCAL:
        first -= 1
    while first < at and _MAY_NOT_BEGIN[data[first]]:
        first += 1
    if first == at:
        return at if at > start and data[at - 1] >= 128 else -1
    return -1 if at - first > 64 or data[at - 1] == 46 else first


@helper
def _is_phone(data: Any, at: int, start: int, end: int) -> bool:
    """Whether the plus stands alone, and eight digits follow with no more than separators between."""
    if not _is(data, at + 1, start, end, _IS_DIGIT) or data[at + 1] == 48:
        return False
    if _is(data, at - 1, start, end, _IS_ALNUM) or (at > start and data[at - 1] == 43):
        return False
    count = 0
    for place in range(at + 1, min(end, at + 128)):
        if not _CLASS[data[place]] & _IS_PHONE:
            break
        count += _CLASS[data[place]] & _IS_DIGIT
        if count == 8:
            return True
    return False


@helper
def _is_national(data: Any, at: int, start: int, end: int) -> bool:
    """Whether digits are grouped as in North America, or seven follow behind a word that may say telephone."""
    if at + 12 <= end and _digits(data, at, at + 4) == at + 3:
        second = at + 4 + (data[at + 3] == 41 and data[at + 4] == 32)  # ") "
        if _digits(data, second, min(end, second + 4)) == second + 3:
            third = second + 4
            dashed = data[at + 3] != 32 and (data[third - 1] != 32 or data[at + 3] == 41)
            grouped = third + 4 <= end and dashed and data[third - 1] < 48
            if grouped and _digits(data, third, min(end, third + 5)) == third + 4:
                return True
    count, place = 0, at
    while count < 7:
        if place >= end or place >= at + 24 or not _CLASS[data[place]] & _IS_PHONE:
            return False
        count += _CLASS[data[place]] & _IS_DIGIT
        place += 1
    before = at - 1
    while before >= start and before >= at - 6 and _BETWEEN[data[before]]:
        before -= 1
    if before <= start or before == at - 1:
        return False
    return bool(data[before] >= 128 or _ENDINGS[(data[before - 1] & 31) * 32 + (data[before] & 31)])


@helper
def _is_ipv4(data: Any, at: int, start: int, end: int) -> bool:
    """Whether four runs of one to three digits between dots stand alone."""
    if at > start and (data[at - 1] == 45 or data[at - 1] == 46):
        return False
    for number in range(4):
        after = _digits(data, at, min(end, at + 4))
        if not 1 <= after - at <= 3:
            return False
        if number == 3:
            return not _is(data, after, start, end, _IS_ALNUM)
        if after >= end or data[after] != 46:
            return False
        at = after + 1
    return False


@helper
def _is_card(data: Any, at: int, first: int, start: int, end: int) -> bool:
    """Whether digits, of which `first` stand together, are grouped as on a card, and stand alone."""
    if 14 <= first <= 16:
        return not _is(data, at + first, start, end, _IS_ALNUM)
    if first != 4 or at + 16 > end or (data[at + 4] != 32 and data[at + 4] != 45):
        return False
    separator = data[at + 4]
    second = _digits(data, at + 5, min(end, at + 12)) - at - 5
    if second == 6 and data[at + 11] == separator:
        last = _digits(data, at + 12, min(end, at + 18)) - at - 12
        return 4 <= last <= 5 and not _is(data, at + 12 + last, start, end, _IS_ALNUM)
    for group in range(1, 4):
        place = at + 5 * group
        if place + 4 > end or data[place - 1] != separator or _digits(data, place, place + 4) != place + 4:
            return False
    return not _is(data, at + 19, start, end, _IS_ALNUM)


@helper
def _is_iban(data: Any, at: int, start: int, end: int, lengths: Any) -> bool:
    """Whether as many letters and digits as the country's accounts have follow, together or in fours."""
    if _is(data, at - 1, start, end, _IS_ALNUM):
        return False
    length = lengths[(np.int64(data[at]) - 65) * 26 + np.int64(data[at + 1]) - 65]
    if length == 0:
        return False
    spaced = at + 4 < end and data[at + 4] == 32
    place = at + 4
    for number in range(4, length):
        if spaced and number % 4 == 0:
            if place >= end or data[place] != 32:
                return False
            place += 1
        if not _is(data, place, start, end, _IS_DIGIT | _IS_UPPER):
            return False
        place += 1
    return not _is(data, place, start, end, _IS_ALNUM)


@helper
def _key(data: Any, at: int, start: int, end: int) -> int:
    """Where a key begins one of whose marks has its rarest byte at `at`; -1 if none does."""
    for mark in range(_FROM[data[at]], _FROM[data[at] + 1]):
        first, size = at - _RAREST[mark], 0
        while start <= first < end - size and _MARKS[mark, size] and data[first + size] == _MARKS[mark, size]:
            size += 1
        if _MARKS[mark, size] == 0 and not _is(data, first - 1, start, end, _IS_ALNUM):
            return first
    return -1


_SIGNATURE = types.int64(
    array(types.uint8), array(types.int64), array(types.uint8), out(types.int64), out(types.int64), out(types.uint8)
)


@kernel(_SIGNATURE)
def candidates(data: Any, bounds: Any, lengths: Any, state: Any, places: Any, kinds: Any) -> int:
    """Write places and kinds until all rows are done or `places` is full; how many there are.

    `state` holds the row and the byte to go on from, (0, 0) at first; its row is the number of rows when all is done.
    `lengths` has the length of an IBAN for each country, uint8[26 * 26], 0 where there are none.
    """
    count = 0
    row, at = state[0], state[1]
    block, triggers = at - masks.SIZE, np.uint64(0)  # those of 64 bytes from `block` on
    while row < len(bounds) - 1:
        start, end = bounds[row], bounds[row + 1]
        at = max(at, start)
        colons = state[2]  # up to here they belong to a run that was looked at
        while at < end:
            if at >= block + masks.SIZE or at < block:
                block = at
                triggers = _triggers(data, at)
            left = triggers & ~masks.below(at - block)
            at = block + masks.first(left)
            if left == 0 or at >= end:
                continue
            byte = data[at]
            if count == len(places):
                state[0], state[1], state[2] = row, at, colons
                return count
            place, kind, following = -1, 0, at + 1
            if _CLASS[byte] & _IS_DIGIT:
                following = _digits(data, at, end)
                size = following - at
                if not _is(data, at - 1, start, end, _IS_ALNUM):
                    if size <= 3 and following < end and data[following] == 46 and _is_ipv4(data, at, start, end):
                        place, kind = at, IPV4
                    elif 50 <= byte <= 54 and 4 <= size <= 16 and _is_card(data, at, size, start, end):
                        place, kind = at, CARD
                    elif 2 <= size <= 14 and _is_national(data, at, start, end):
                        place, kind = at, NATIONAL
                elif (
                    size >= 2
                    and _is(data, at - 1, start, end, _IS_UPPER)
                    and _is(data, at - 2, start, end, _IS_UPPER)
                    and _is_iban(data, at - 2, start, end, lengths)
                ):
                    place, kind = at - 2, IBAN
            elif byte == 64:
                place, kind = _email(data, at, start, end), EMAIL
            elif byte == 43:
                if _is_phone(data, at, start, end):
                    place, kind = at, PHONE
            elif byte == 58:
                if at >= colons and at + 1 < end and (data[at + 1] == 58 or _CLASS[data[at + 1]] & _IS_HEX):
                    first = at
                    while first > start and at - first < 48 and _CLASS[data[first - 1]] & _IS_HEX:
                        first -= 1
                    colons, number, double = at, 0, False
                    while colons < end and (data[colons] == 58 or _CLASS[data[colons]] & _IS_HEX):
                        if data[colons] == 58:
                            number += 1
                            double |= colons > at and data[colons - 1] == 58
                        colons += 1
                    last = colons
                    if data[last - 1] == 58 and data[last - 2] != 58:  # the colon behind an address
                        last -= 1
                        number -= 1
                    if (
                        (double or number == 7)
                        and last - first <= 48
                        and not _is(data, first - 1, start, end, _IS_ALNUM)
                        and not _is(data, last, start, end, _IS_ALNUM)
                    ):
                        place, kind = first, IPV6
            else:
                place, kind = _key(data, at, start, end), KEY
            if place >= 0:
                places[count], kinds[count] = place, kind
                count += 1
            at = following
        row += 1
        state[2] = 0
    state[0], state[1] = row, at
    return count
