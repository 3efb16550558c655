"""How hard English texts are to read, by the formula of Flesch and Kincaid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from curation.textbooks.code import FENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = re.compile(r"[a-z]+(?:['\u2019][a-z]+)?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?]+[\"'\u201d\u2019)]*(?=\s|\Z)|\n\s*\n")
_HEADING = re.compile(r"^#{1,6}[^\n]*$", re.MULTILINE)


def grade(texts: Iterable[str]) -> float | None:
    """The school year (as in America, 1 at six years of age) that reads them with ease; None where there are no words.

    Code and headings do not count. 0.39 words a sentence + 11.8 syllables a word - 15.59: Kincaid and others,
    Derivation of New Readability Formulas for Navy Enlisted Personnel, 1975.

    >>> grade(["The cat sat on the mat. It was glad."])
    -2.0
    """
    words = sentences = beats = 0
    for text in texts:
        prose = _HEADING.sub("", FENCE.sub("\n\n", text))
        for sentence in _SENTENCE_END.split(prose):
            found = _WORD.findall(sentence)
            words += len(found)
            sentences += bool(found)
            beats += sum(map(syllables, found))
    return round(0.39 * words / sentences + 11.8 * beats / words - 15.59, 1) if words else None


def syllables(word: str) -> int:
    """About how many syllables a word has: its runs of vowels, without an e that is not spoken.

    >>> [syllables(word) for word in ("cat", "table", "make", "reading", "beautiful", "asked", "wanted", "the")]
    [1, 2, 1, 2, 3, 1, 2, 1]
    """
    word = word.lower().replace("'", "").replace("\u2019", "")
    count = len(re.findall(r"[aeiouy]+", word))
    is_silent = re.search(r"[^aeiouylr]e$|[^aeiouytd]ed$|[aeiouy][lr]e$|[^aeiouysxzcgh]es$", word)
    return max(1, count - bool(is_silent))
