"""Contamination in plain Python, word by word over strings: the reference for the kernel and the index."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from plain.text import SPACELESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curation.signals.contamination import Item

SEED, REACH, JUMP, JOINED, COMMON, REPEATED = 5, 2048, 8, 4, 8, 4
LONG, LEAST, LEAST_OF_ANSWER, LONGEST = 13, 5, 25, 1024

_NAME = r"(?:#[xX]?+)?+[0-9A-Za-z]{1,31}+;"
_REFERENCE = re.compile(rf"&(?:amp;)*+(?:{_NAME})?")


class Word(NamedTuple):
    """A word as it is compared, and the characters where it begins and ends."""

    text: str
    start: int
    end: int


class Passage(NamedTuple):
    """What is looked for."""

    item: str
    words: list[str]
    evidence: list[bool]
    least: int
    told: int
    room: int
    seeds: list[int]


def _kind(character: str) -> str:
    """What a character is: nothing, a mark, a letter, or a letter that is a word."""
    if ord(character) >= 0x40000:
        return "mark"
    major = unicodedata.category(character)[0]
    if major in "LN":
        alone = any(first <= ord(character) <= last for first, last in SPACELESS)
        return "word" if alone and (major == "L" or ord(character) >= 0x20000) else "letter"
    return "mark" if major == "M" else ""


def _folded(character: str) -> str:
    first, *rest = unicodedata.normalize("NFD", character)
    base = first if all(unicodedata.category(mark)[0] == "M" for mark in rest) else character
    return base.lower()[0]


def words(text: str) -> list[Word]:
    """The words of a text."""
    found: list[Word] = []
    at, open_, alone = 0, False, False
    while at < len(text):
        kind = _kind(text[at])
        if kind == "mark":
            if open_:
                found[-1] = found[-1]._replace(end=at + 1)
        elif not kind:
            open_ = False
            reference = _REFERENCE.match(text, at)
            at += len(reference[0]) - 1 if reference else 0
        elif open_ and not alone and kind == "letter":
            found[-1] = Word(found[-1].text + _folded(text[at]), found[-1].start, at + 1)
        else:
            found.append(Word(_folded(text[at]), at, at + 1))
            open_, alone = True, kind == "word"
        at += 1
    return found


def _seeds(stream: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(stream[at : at + SEED]) for at in range(len(stream) - SEED + 1)]


def passages(items: Sequence[Item], share: float) -> list[Passage]:  # noqa: C901  # the rule, step by step
    """The passages of items."""
    holders: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, item in enumerate(items):
        for text in (item.question, *item.answers):
            for seed in _seeds([word.text for word in words(text)]):
                holders[seed].add(number)
    common = {seed for seed, numbers in holders.items() if len(numbers) > COMMON}

    def evidence(stream: list[str]) -> list[bool]:
        told = [True] * len(stream)
        for at, seed in enumerate(_seeds(stream)):
            if seed in common:
                told[at : at + SEED] = [False] * SEED
        return told

    def weight(text: str) -> int:
        return sum(evidence([word.text for word in words(text)]))

    found = []
    for item in items:
        alone = weight(item.question) >= LEAST
        texts = [(item.question if alone else "\n".join([item.question, *item.answers]), not alone)]
        texts += [(text, True) for text in item.answers if weight(text) >= LEAST_OF_ANSWER]
        for text, spacious in texts:
            stream = [word.text for word in words(text)]
            told = [value and at < LONGEST for at, value in enumerate(evidence(stream))]
            size, sure = min(len(stream), LONGEST), sum(told)
            if sure < LEAST:
                continue
            long = sure >= LONG
            part = share if long else 1.0
            seen: Counter[tuple[str, ...]] = Counter()
            places = []
            for at, seed in enumerate(_seeds(stream)):
                if at <= LONGEST - SEED and seed not in common and len(set(seed)) >= 3:
                    seen[seed] += 1
                    if seen[seed] <= REPEATED:
                        places.append(at)
            room = 2 * size if long or spacious else size + size // 8
            found.append(
                Passage(item.name, stream, told, -int(-size * part // 1), -int(-sure * part // 1), room, places)
            )
    return found


def _follow(text: list[str], known: Passage, i: int, j: int, step: int) -> tuple[int, int, int]:
    """How many words of the text a passage is followed for from i and j on, and how many of its words are found."""
    ahead = text[i : i + REACH - SEED] if step > 0 else text[max(0, i - REACH + 2) : i + 1][::-1]
    left = list(zip(known.words, known.evidence, strict=True))
    left = left[j:] if step > 0 else left[: j + 1][::-1]
    at = place = reached = found = told = 0
    while at < len(ahead) and place < len(left):
        a, b = _agreeing(ahead[at:], [word for word, _ in left[place:]], step)
        if a == 0:
            jump = _jump(ahead[at:], [word for word, _ in left[place:]])
            if jump is None:
                break
            at, place = at + jump[0], place + jump[1]
            a = b = 1
        found += b
        told += sum(sure for _, sure in left[place : place + b])
        at, place = at + a, place + b
        reached = at
    return reached, found, told


def _agreeing(text: list[str], known: list[str], step: int) -> tuple[int, int]:
    """The least numbers of words that make the same letters when written together."""
    for size in range(2, 2 * JOINED + 1):
        for a in range(max(1, size - JOINED), min(JOINED, size - 1) + 1):
            b = size - a
            if a <= len(text) and b <= len(known) and "".join(text[:a][::step]) == "".join(known[:b][::step]):
                return a, b
    return 0, 0


def _jump(text: list[str], known: list[str]) -> tuple[int, int] | None:
    for total in range(1, 2 * JUMP + 1):
        for b in range(max(0, total - JUMP), min(total, JUMP) + 1):
            a = total - b
            if a < len(text) and b < len(known) and text[a] == known[b]:
                last = b + 1 == len(known)
                if last or (a + 1 < len(text) and text[a + 1] == known[b + 1]):
                    return a, b
    return None


def matches(known: Sequence[Passage], text: str) -> tuple[list[tuple[str, int, int]], list[Word]]:
    """The item, first word and the one after the last of each match, and the words of the text."""
    stream = words(text)
    plain = [word.text for word in stream]
    places: defaultdict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for number, passage in enumerate(known):
        for at in passage.seeds:
            places[tuple(passage.words[at : at + SEED])].append((number, at))
    until: dict[int, int] = {}
    found = []
    for i, seed in enumerate(_seeds(plain)):
        before = dict(until)
        for number, j in places.get(seed, []):
            if i < before.get(number, 0):
                continue
            passage = known[number]
            right, words_right, told_right = _follow(plain, passage, i + SEED, j + SEED, 1)
            left, words_left, told_left = _follow(plain, passage, i - 1, j - 1, -1) if i and j else (0, 0, 0)
            first, last = i - left, i + SEED + right
            until[number] = max(last, until[number]) if number in until and until[number] > i else last
            told = sum(passage.evidence[j : j + SEED]) + told_left + told_right
            enough = SEED + words_left + words_right >= passage.least and told >= passage.told
            if enough and last - first <= passage.room:
                found.append((passage.item, first, last))
    return found, stream


def columns(items: Sequence[Item], text: str, share: float) -> dict[str, object]:
    """The columns of the signal for one text."""
    found, stream = matches(passages(items, share), text)
    covered: list[list[int]] = []
    for _, first, last in sorted(found, key=lambda match: match[1:]):
        if covered and first <= covered[-1][1]:
            covered[-1][1] = max(covered[-1][1], last)
        else:
            covered.append([first, last])
    names = list(dict.fromkeys(item for item, _, _ in found))
    spans = []
    for first, last in covered:
        start, end = stream[first].start, stream[last - 1].end
        while end < len(text) and not _kind(text[end]) and text[end] not in "&\x85\xa0\u3000" and text[end] > " ":
            end += 1
        spans.append({"start": len(text[:start].encode()), "end": len(text[:end].encode())})
    return {
        "contamination_ratio": sum(last - first for first, last in covered) / max(1, len(stream)),
        "is_contaminated": bool(names),
        "contamination_item_count": len(names),
        "contamination_items": names[:100],
        "contamination": spans,
    }
