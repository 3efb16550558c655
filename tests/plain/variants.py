"""Rules of Gopher and C4 as other peers define them, in plain Python and over our words: what they come to.

Written after what Dolma 1.2, NeMo Curator (2026-08) and DCLM do; docs/peers.md has the list in words.
"""

from __future__ import annotations

from collections import Counter
from statistics import median

from plain import text as units

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})


def verdicts(text: str) -> dict[str, bool]:
    """For `peer, what differs: our rule` whether the peer would drop the text by it."""
    words, lines = units.words(text), units.lines(text)
    count = len(words) or 1
    occurring = Counter(words)
    repeated = {line for line, times in Counter(lines).items() if times > 1}
    first_too = [line for line in lines if line in repeated]
    characters = sum(map(len, lines)) or 1
    return {
        "Dolma, median: gopher_words_too_short": median(map(len, words or [""])) < 3,
        "Dolma, median: gopher_words_too_long": median(map(len, words or [""])) > 10,
        "Dolma, words that hold #: gopher_too_many_hashes": sum("#" in token for token in text.split()) / count > 0.1,
        "Dolma, * and - only: gopher_bullet_lines": _share(lines, ("*", "-")) > 0.9,
        "Dolma, … only: gopher_ellipsis_lines": sum(line.endswith("…") for line in lines) / (len(lines) or 1) > 0.3,
        "Dolma, all, lower case: gopher_too_few_stop_words": sum(occurring[word] for word in STOP_WORDS) < 2,
        "DCLM, all, any case: gopher_too_few_stop_words": sum(word.lower() in STOP_WORDS for word in words) < 2,
        "Dolma, first copies too: gopher_duplicate_lines": len(first_too) / (len(lines) or 1) > 0.3,
        "Dolma, first copies too: gopher_duplicate_line_chars": sum(map(len, first_too)) / characters > 0.3,
        "NeMo, unique < 0.7: gopher_duplicate_lines": len(set(lines)) < 0.7 * len(lines),
        "NeMo, unique < 0.8: gopher_duplicate_line_chars": sum(map(len, set(lines))) < 0.8 * sum(map(len, lines)),
        "whitespace words, as most: gopher_too_short": len(text.split()) < 50,
    }


def _share(lines: list[str], beginnings: tuple[str, ...]) -> float:
    return sum(line.startswith(beginnings) for line in lines) / (len(lines) or 1)
