"""Words that a small child knows, by part of speech, and the forms in which they occur.

`words/nouns.txt`, `verbs.txt` and `adjectives.txt` hold a word a line, with its irregular forms behind it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PARTS = {"noun": "nouns", "verb": "verbs", "adjective": "adjectives"}
_VOWELS = "aeiou"


@cache
def words(part: str) -> dict[str, tuple[str, ...]]:
    """The words of a part of speech, each with its irregular forms."""
    text = (Path(__file__).parent / "words" / f"{_PARTS[part]}.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return {line[0]: tuple(line[1:]) for line in lines}


def forms(word: str, part: str) -> set[str]:
    """The word and its forms. A form that nobody uses does no harm, since none is made that is another word here.

    >>> sorted(forms("carry", "verb"))
    ['carried', 'carries', 'carry', 'carrying']
    >>> sorted(forms("run", "verb"))
    ['ran', 'run', 'running', 'runs']
    >>> sorted(forms("big", "adjective"))
    ['big', 'bigger', 'biggest', 'bigly']
    >>> sorted(forms("leaf", "noun"))
    ['leaf', 'leafs', 'leaves']
    """
    irregular = words(part).get(word, ())
    found = {word, *irregular}
    is_consonant_y = word.endswith("y") and word[-2:-1] not in _VOWELS
    stem = word[:-1] + "i" if is_consonant_y else word
    plural = stem + "es" if is_consonant_y or word.endswith(("s", "x", "z", "ch", "sh", "o")) else word + "s"
    short = word[:-1] if word.endswith("e") else word + word[-1] if _doubles(word) else word
    if part == "noun":
        found |= {plural, word + "s"} if word.endswith("o") else {plural}
    elif part == "verb":
        found |= {plural, (word if word.endswith(("ee", "oe", "ye")) else short) + "ing"}
        if not irregular:
            found |= {(stem if is_consonant_y else short) + "ed"}
    else:
        base = stem if is_consonant_y else short
        found |= {base + "er", base + "est", stem + "ly" if not word.endswith("le") else word[:-1] + "y"}
    return found


def _doubles(word: str) -> bool:
    """Whether the last letter is doubled before an ending: one syllable, a single vowel and a consonant."""
    if len(word) < 3 or word[-1] in "aeiouwxy":
        return False
    return word[-2] in _VOWELS and word[-3] not in _VOWELS and sum(letter in _VOWELS for letter in word) == 1
