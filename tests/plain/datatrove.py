"""The figures that datatrove's filters judge by, in plain Python: the reference of the columns `datatrove_…`.

Words and sentences are ours (they are given, or asked of `plain.text`); what a line, a paragraph and a share
is follows datatrove 0.10's GopherQualityFilter, GopherRepetitionFilter, C4QualityFilter and FineWebQualityFilter, as
docs/peers.md says in words. A share over nothing is 0.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from plain import text as units

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")


def measured(text: str) -> dict[str, Any]:
    """Every column of the signal."""
    return gopher_quality(text) | gopher_repetition(text) | c4(text) | fineweb(text)


def gopher_quality(text: str) -> dict[str, float]:
    """Bullets and ellipses of all lines, blank ones included, and stop words in lower case only."""
    lines = text.splitlines()
    return {
        "datatrove_bullet_line_ratio": _share(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        "datatrove_ellipsis_line_ratio": _share(
            sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)
        ),
        "datatrove_stop_word_count": len(STOP_WORDS.intersection(units.words(text))),
    }


def gopher_repetition(text: str) -> dict[str, float]:
    """Repetition as shares of all characters of the text, white space included."""
    size = len(text)
    lines = re.split("\n+", text) if text else []
    paragraphs = re.split("\n\n+", text.strip()) if text else []
    words = units.words(text)
    line_items, line_chars = _duplicates(lines)
    paragraph_items, paragraph_chars = _duplicates(paragraphs)
    return {
        "datatrove_duplicate_line_ratio": _share(line_items, len(lines)),
        "datatrove_duplicate_line_char_ratio": _share(line_chars, size),
        "datatrove_duplicate_paragraph_ratio": _share(paragraph_items, len(paragraphs)),
        "datatrove_duplicate_paragraph_char_ratio": _share(paragraph_chars, size),
        **{f"datatrove_top_{n}gram_per_char": _share(_top(words, n), size) for n in TOP},
        **{f"datatrove_duplicate_{n}gram_char_ratio": _share(_walked(words, n), size) for n in DUPLICATE},
    }


def c4(text: str) -> dict[str, Any]:
    """What is left after C4's line rules, and whether a line that was looked at so far holds what drops the page."""
    sentences, lorem, curly = 0, False, False
    removed = []
    end = 0
    for whole in text.splitlines(keepends=True):
        start, end = end, end + len(whole.encode())
        (raw,) = whole.splitlines() or [""]
        if not raw.strip():
            continue
        removed.append({"start": start, "end": end})
        tokens = raw.split()
        line = _CITATION.sub("", raw.strip())  # not stripped again: "so. [12]" ends in a space now
        if any(len(token) > 1_000 for token in tokens) or len(tokens) < 3:
            continue
        if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("..."):
            continue
        folded = line.lower()
        lorem = lorem or "lorem ipsum" in folded
        if "javascript" in folded:
            continue
        curly = curly or "{" in line
        if any(phrase in folded for phrase in POLICIES):
            continue
        removed.pop()
        sentences += max(1, len(units.sentences(line)))
    return {
        "datatrove_c4_lines": removed,
        "datatrove_c4_sentence_count": sentences,
        "has_datatrove_lorem_ipsum": lorem,
        "has_datatrove_curly_bracket": curly,
    }


def fineweb(text: str) -> dict[str, float]:
    """The shape of the lines that are not blank, as they stand: white space at their ends is a part of them."""
    lines = [line for line in text.split("\n") if line.strip()]
    return {
        "datatrove_terminal_punctuation_line_ratio": _share(sum(line[-1] in TERMINALS for line in lines), len(lines)),
        "datatrove_short_line_ratio": _share(sum(len(line) <= 30 for line in lines), len(lines)),
        "datatrove_filled_duplicate_char_ratio": _share(_duplicates(lines)[1], len(text) - text.count("\n")),
    }


#: Sentence_Terminal without the ellipsis characters and what Unicode added after datatrove's list was made.
TERMINALS = frozenset(chr(point) for first, last in units.SENTENCE_TERMINALS for point in range(first, last + 1)) - {
    "…",
    "\u2024",
}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _duplicates(items: Sequence[str]) -> tuple[int, int]:
    """How many items occurred earlier, and their characters."""
    times = Counter(items)
    return len(items) - len(times), sum(len(item) * (number - 1) for item, number in times.items())


def _top(words: Sequence[str], n: int) -> int:
    """The length of the most frequent n-gram with single spaces, times its occurrences; of several the earliest."""
    grams = Counter(zip(*(words[place:] for place in range(n)), strict=False))
    if not grams:
        return 0
    best, times = max(grams.items(), key=lambda item: item[1])  # the first of the most frequent
    return (sum(map(len, best)) + n - 1) * times


def _walked(words: Sequence[str], n: int) -> int:
    """Characters of the n-grams met before on a walk that goes one word on, and n words after such a one."""
    known: set[tuple[str, ...]] = set()
    characters = place = 0
    while place + n <= len(words):
        gram = tuple(words[place : place + n])
        if gram in known:
            characters += sum(map(len, gram))
            place += n
        else:
            known.add(gram)
            place += 1
    return characters
