"""How well contamination is found: benchmark items planted into copies of clean documents, and look-alikes.

Every run that has benchmarks plants some items, altered in the ways in which they turn up on the web, and counts how
many the signal finds; and it looks for the other items in some that it was not told of, where it should find none.
What is planted depends on the recipe's seed, the items and the documents alone.
"""

from __future__ import annotations

import html
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from curation.signals import contamination
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curation.signals.contamination import Index, Item

#: Items that are planted in each way, look-alikes, and clean documents that are used in turn.
PLANTED = 200
#: Questions of fewer words are planted as `short` alone.
SHORT = 13
#: One word in so many is changed.
CHANGED = 25

_WORD = re.compile(r"[^\W_]+")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def _pick(most: int, *key: object) -> int:
    """A number below `most`, always the same for one key."""
    return xxh3_64_intdigest("\x1f".join(map(str, key)).encode()) % most


def _as_it_is(text: str) -> str:
    return text


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 40, break_long_words=False, break_on_hyphens=True)


def _other_case(text: str) -> str:
    return text.swapcase()


def _other_punctuation(text: str) -> str:
    """Each mark left out or changed for another, or an apostrophe or hyphen inside a word; new ones between words.

    >>> _other_punctuation("Don't e-mail me, Ann.")
    'Don’t email — me Ann!'
    """

    def other(found: re.Match[str]) -> str:
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        inside = before.isalnum() and after.isalnum()
        marks = ("’", "-", "") if inside else (",", ";", "!", "", "…")
        return marks[_pick(len(marks), text, found.start())]

    changed = _PUNCTUATION.sub(other, text)
    return re.sub(r" (?=\w)", lambda found: (" ", " — ", " “", ", ")[max(0, _pick(40, text, found.start()) - 36)], changed)


def _escaped(text: str) -> str:
    return html.escape(text).replace("  ", "&nbsp; ").replace("\u2019", "&rsquo;")


def _indented(text: str) -> str:
    """Every line at another depth, with space around what is written without."""
    lines = [f"\t{' ' * 3 * (len(line) - len(line.lstrip()))}{line.lstrip()}" for line in text.splitlines()]
    return "\r\n".join(re.sub(r"(?<=[\w)\]])([=+*/,:])(?=[\w(\[])", r" \1 ", line) for line in lines)


def _changed(text: str) -> str:
    """One word in `CHANGED` changed for another, at least one."""
    words = list(_WORD.finditer(text))
    places = [CHANGED * n + _pick(min(CHANGED, len(words) - CHANGED * n), text, n) for n in range(max(1, len(words) // CHANGED))]
    for place in reversed(places):
        word = words[place]
        text = f"{text[: word.start()]}{'some' if word[0].lower() != 'some' else 'other'}{text[word.end() :]}"
    return text


#: The ways in which items are planted; `short` is that of questions of fewer than `SHORT` words.
WAYS: dict[str, Callable[[str], str]] = {
    "verbatim": _as_it_is,
    "wrapped": _wrapped,
    "case": _other_case,
    "punctuation": _other_punctuation,
    "escaped": _escaped,
    "indented": _indented,
    "changed": _changed,
    "short": _as_it_is,
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What was planted and found, by way; and of so many look-alikes how many were taken for items."""

    planted: dict[str, int]
    found: dict[str, int]
    lookalikes: int
    false_alarms: int


def planted(document: str, text: str, *key: object) -> str:
    """The document with the text between two of its words, in its line or as a paragraph."""
    gaps = [gap.start() for gap in re.finditer(r"\s", document)]
    place = gaps[_pick(len(gaps), "place", *key)] if gaps else len(document)
    between = ("\n\n", " ")[_pick(2, "between", *key)]
    return f"{document[:place]}{between}{text}{between}{document[place:]}"


def chosen(items: Sequence[Item], most: int, *key: object) -> list[Item]:
    """At most so many of the items, in an order that depends on the key and their names."""
    return sorted(items, key=lambda item: (_pick(1 << 63, *key, item.name), item.name))[:most]


def try_out(known: Index, items: Sequence[Item], documents: Sequence[str], seed: int, most: int = PLANTED) -> Findings:
    """Plant items into the documents, which hold none, and look for them."""
    short = [item for item in items if len(_WORD.findall(item.question)) < SHORT]
    long = [item for item in items if len(_WORD.findall(item.question)) >= SHORT]
    sown, found = {}, {}
    for way, alter in WAYS.items():
        mine = chosen(short if way == "short" else long, most, seed, way)
        texts = [
            planted(documents[number % len(documents)], alter(item.question), seed, way, item.name)
            for number, item in enumerate(mine)
        ]
        sown[way] = len(mine)
        found[way] = sum(item.name in names for item, names in zip(mine, _found(known, texts), strict=True))
    unknown = chosen(items, min(most, len(items) // 2), seed, "unknown")
    told = {item.name for item in unknown}
    others = contamination.index([item for item in items if item.name not in told])
    alarms = sum(map(bool, _found(others, [item.question for item in unknown])))
    return Findings(sown, found, len(unknown), alarms)


def _found(known: Index, texts: Sequence[str]) -> list[list[str]]:
    names: list[list[str]] = contamination.find(known, Batch(pa.array(texts, pa.string())))["contamination_items"].to_pylist()
    return names
