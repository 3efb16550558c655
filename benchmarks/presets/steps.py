"""From our words and sentences to spaCy's in steps: each is one way in which they differ, taken or left by itself.

With no step the units are ours, with all of them spaCy's. Nothing of datatrove or spaCy is imported here: their units
are given.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from plain import text as units  # tests/plain, put on the path by whoever runs this

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What a step from our words to spaCy's does.
WORDS = {
    "single marks": "a token without a letter or number is a word",
    "rows of marks": "so is each of a row of them: ``` is three words",
    "hyphens": "a word is divided at a hyphen or dash",
    "inner marks": "at another mark inside it: / = < > : , . ^",
    "contractions": "at an apostrophe, or as cannot and gonna are",
    "units": "between a number and a letter, as in 5km",
    "edges": "marks stay on the word, as in Mr., -5, #tag, C++",
    "scripts": "a run of a script without spaces is one word",
}
#: What a step from our sentences to spaCy's does.
SENTENCES = {
    "ellipses": "three dots end none",
    "abbreviations": "a full stop that stays on its word ends none",
    "wordless pieces": "a piece without a word is one",
    "other ends": "what is left",
}

_WHITE = re.compile(f"[{re.escape(units.WHITE_SPACE)}]+")
_LETTER_OR_NUMBER = re.compile(r"[^\W_]")
_APOSTROPHES = "'`\u00b4\u2018\u2019"
_HYPHENS = "-~\u2010\u2011\u2012\u2013\u2014\u2015"
_TWICE = re.compile(r"(.)\1", re.DOTALL)


def divided(text: str, tokens: Sequence[str]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Each run without white space, with spaCy's tokens in it; with each token the step that makes it a word, or "".

    >>> divided("Oh -- yes!", ["Oh", "--", "yes", "!"])  # doctest: +NORMALIZE_WHITESPACE
    [('Oh', (('Oh', ''),)), ('--', (('--', 'rows of marks'),)),
     ('yes!', (('yes', ''), ('!', 'single marks')))]
    """
    kinds = [_kind(*near) for near in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False)]
    rest = zip(tokens, kinds, strict=True)
    found = []
    for run in filter(None, _WHITE.split(text)):
        inside = []
        left = len("".join(run.split()))  # U+001C to U+001F are white space to spaCy, and not to Unicode
        while left > 0:
            inside.append(next(rest))
            left -= len(inside[-1][0])
        found.append((run, tuple(inside)))
    return found


def words(division: Iterable[tuple[str, tuple[tuple[str, str], ...]]], steps: frozenset[str]) -> list[str]:
    """The words of a divided text when these steps are taken.

    >>> division = divided("Mr. Fox can't e-mail!", "Mr. Fox ca n't e - mail !".split())
    >>> [" ".join(words(division, frozenset(steps))) for steps in ((), ("hyphens",), ("single marks", "edges"), WORDS)]
    ["Mr Fox can't e-mail", "Mr Fox can't e mail", "Mr. Fox can't e-mail !", "Mr. Fox ca n't e - mail !"]
    """
    return [word for run, tokens in division for word in _words(run, tokens, steps)]


def sentence_count(line: str, theirs: Sequence[tuple[int, int]], steps: frozenset[str]) -> int:
    """How many sentences a line has when these steps are taken from ours to spaCy's, whose (start, end) are given.

    >>> line = "Well... no. See Ala. 443."
    >>> [sentence_count(line, [(0, 11), (12, 25)], frozenset(steps)) for steps in ((), ("ellipses",), SENTENCES)]
    [4, 3, 2]
    """
    mine = {start for start, _ in spans(line, units.sentences(line))}
    starts = sorted({len(line) - len(line[start:].lstrip()) for start, _ in theirs})
    found = mine.intersection(starts)
    found |= {start for start in mine.difference(starts) if _missing_end(line[:start].rstrip()) not in steps}
    for before, start, after in zip([0, *starts], starts, [*starts[1:], len(line)], strict=False):
        if start not in mine and _further_end(line[before:start], line[start:after]) in steps:
            found.add(start)
    return max(1, len(found))


def spans(text: str, pieces: Iterable[str]) -> list[tuple[int, int]]:
    """Where the pieces stand, which come in order and leave out nothing that holds a letter or number."""
    found = []
    end = 0
    for piece in pieces:
        start = text.index(piece, end)
        end = start + len(piece)
        found.append((start, end))
    return found


def _kind(before: str, token: str, after: str) -> str:
    """The step by which a token is a word of spaCy's and none of ours, "" if it is one of ours as well."""
    if _LETTER_OR_NUMBER.search(token):
        return ""
    in_row = before[-1:] == token[0] or after[:1] == token[-1] or _TWICE.search(token)
    return "rows of marks" if in_row else "single marks"


@lru_cache(200_000)
def _words(run: str, tokens: tuple[tuple[str, str], ...], steps: frozenset[str]) -> tuple[str, ...]:
    """The words of one run without white space."""
    mine, theirs = spans(run, units.words(run)), spans(run, [token for token, _ in tokens])
    marks = {span for span, (_, kind) in zip(theirs, tokens, strict=True) if kind in steps}
    ends, others = _ends(mine), _ends(theirs)
    cuts = {0, len(run)} | (ends & others)
    if missing := ends - others - cuts:  # only scripts without spaces have several of our tokens in a run
        between = _ends(spans(run, units.tokens(run)))
        cuts |= {at for at in missing if ("scripts" if at in between else "edges") not in steps}
    cuts |= {at for at in others - ends - cuts if not _inside(mine, at) or _further_cut(run[at - 1], run[at]) in steps}
    pieces = pairwise(sorted(cuts))
    return tuple(run[a:b] for a, b in pieces if (a, b) in marks or _LETTER_OR_NUMBER.search(run, a, b))


def _ends(found: Iterable[tuple[int, int]]) -> set[int]:
    return {end for span in found for end in span}


def _inside(found: Sequence[tuple[int, int]], at: int) -> bool:
    """Whether a cut there would divide one of them."""
    place = bisect_right(found, (at, -1)) - 1
    return place >= 0 and found[place][0] < at < found[place][1]


def _further_cut(before: str, after: str) -> str:
    """The step by which spaCy cuts one of our words between these characters."""
    if before in _APOSTROPHES or after in _APOSTROPHES or (before.isalpha() and after.isalpha()):
        return "contractions"
    marks = [mark for mark in (before, after) if not mark.isalnum()]
    if not marks:
        return "units"
    return "hyphens" if marks[-1] in _HYPHENS else "inner marks"


def _missing_end(before: str) -> str:
    """The step by which a sentence of ours ends behind this, and none of spaCy's."""
    if before.endswith(("...", "…")):
        return "ellipses"
    return "abbreviations" if before.endswith(".") else "other ends"


def _further_end(before: str, after: str) -> str:
    """The step by which a sentence of spaCy's begins between these two, and none of ours."""
    wordless = not _LETTER_OR_NUMBER.search(before) or not _LETTER_OR_NUMBER.search(after)
    return "wordless pieces" if wordless else "other ends"
