"""What two texts differ in, word by word and in bounded time, as `git diff --word-diff` tells it."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    _Operation = tuple[str, int, int, int, int]

#: How much of each text is compared, around its first difference: characters, and words among them.
CHARACTERS = 60_000
WORDS = 4_000
#: Words that both have, shown on each side of a change, and characters of one word that are shown.
CONTEXT = 6
CLIPPED = 80

#: A word and the white space before it: 1,000 and don't are one. Scripts without spaces give one character each.
_LETTERS = r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+"
_WORD = re.compile(rf"(\s?)({_LETTERS}(?:[.,'\u2019-]{_LETTERS})*|\S)")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Words in a row: `kind` is `=` where both texts have them, `-` the first alone, `+` the second alone.

    `text` begins with a space where white space comes before it in either text; all white space in it is one space.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes in the order of the text, each with some words around it; changes that are near stand together.

    `changed` words differ in all, `shown` of them are in `changes`. `is_whole` is False where the texts were too long
    to compare to their ends.
    """

    changes: list[list[Stretch]]
    changed: int
    shown: int
    is_whole: bool


def difference(first: str, second: str, most: int = 400) -> Difference:
    r"""What the second text has otherwise than the first; of the words, context among them, `most` are shown.

    White space is no difference. Of one long change a sixth of `most` is shown, so that the next ones are seen too.
    What both texts begin or end with costs next to nothing; between these the first `CHARACTERS` and `WORDS` of each
    are compared.

    >>> difference("The tide rises twice a day.", "The tide\nrises once a day.").changes[0][1:3]
    [Stretch(kind='-', text=' twice'), Stretch(kind='+', text=' once')]
    """
    begin, behind = _alike(first, second)
    texts = [text[begin : len(text) - behind] for text in (first, second)]
    cut = [_WORD.findall(text[:CHARACTERS]) for text in texts]
    is_whole = all(len(text) <= CHARACTERS for text in texts) and all(len(words) <= WORDS for words in cut)
    x, y = ([(" " if space else "", word) for space, word in words[:WORDS]] for words in cut)
    matcher = SequenceMatcher(None, [word for _, word in x], [word for _, word in y])
    operations = matcher.get_opcodes()
    if not is_whole and len(operations) > 1 and operations[-1][0] != "equal":
        operations.pop()  # where one text is ahead, its last words are only those whose like was not looked at
    changes: list[list[Stretch]] = []
    changed = shown = 0
    left, longest = most, max(2 * CONTEXT, most // 6)
    for group in _near(operations):
        stretches: list[Stretch] = []
        for kind, start, stop, others, end in group:
            both = [
                (space or other, word) for (space, word), (other, _) in zip(x[start:stop], y[others:end], strict=False)
            ]
            sides = [("=", both)] if kind == "equal" else [("-", x[start:stop]), ("+", y[others:end])]
            for sign, words in sides:
                taken = words[: min(left, longest)]
                left -= len(taken)
                if sign != "=":
                    changed += len(words)
                    shown += len(taken)
                if taken:
                    stretches.append(Stretch(sign, _joined(taken) + ("…" if len(taken) < len(words) else "")))
        if any(stretch.kind != "=" for stretch in stretches):
            changes.append(stretches)
    return Difference(changes, changed, shown, is_whole)


def _alike(first: str, second: str) -> tuple[int, int]:
    """How many characters both texts begin and end with, less some words for context."""
    begin = _common(first, second)
    end = _common(first[begin:][::-1], second[begin:][::-1])
    margin = 20 * CONTEXT
    begin = max(begin - margin, first.find(" ", begin - margin, begin) + 1) if begin > margin else 0
    if end > margin:
        behind = len(first) - end
        space = first.rfind(" ", behind, behind + margin)
        end = len(first) - (space if space >= 0 else behind + margin)
    else:
        end = 0
    return begin, end


def _common(first: str, second: str) -> int:
    """How many characters both begin with."""
    block, place, most = 65_536, 0, min(len(first), len(second))
    while place < most and first[place : place + block] == second[place : place + block]:
        place += block
    if place >= most:
        return most
    one, other = first[place : place + block], second[place : place + block]
    return place + bisect_left(range(min(len(one), len(other))), 1, key=lambda n: one[: n + 1] != other[: n + 1])


def _near(operations: Sequence[_Operation]) -> Iterator[list[_Operation]]:
    """The operations in groups, parted where both texts have many words in a row; of these the nearest are left."""
    group: list[_Operation] = []
    last = len(operations) - 1
    for number, operation in enumerate(operations):
        kind, start, stop, others, end = operation
        before, after = (CONTEXT if number else 0), (CONTEXT if number < last else 0)
        if kind != "equal" or stop - start <= before + after:
            group.append(operation)
            continue
        if before:
            yield [*group, (kind, start, start + before, others, others + before)]
        group = [(kind, stop - after, stop, end - after, end)] if after else []
    if group:
        yield group


def _joined(words: list[tuple[str, str]]) -> str:
    return "".join(space + (word if len(word) <= CLIPPED else word[:CLIPPED] + "…") for space, word in words)
