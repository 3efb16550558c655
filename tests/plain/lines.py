"""Lines that many documents have: with a set for each line, and the hash of a line in Python's own integers."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple
from urllib.parse import urlsplit

from plain import text as units
from plain.hashing import folded, hashed, mixed

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


class Document(NamedTuple):
    """A document of a corpus; one that is a copy counts for no line."""

    source: str
    uri: str | None
    text: str | None
    is_copy: bool = False


def key(line: str) -> tuple[str, ...] | None:
    """What equal lines have in common; None for a line of fewer than three words."""
    words = tuple(map(folded, units.words(line)))
    return words if len(words) >= 3 else None


def hash_of(line: str) -> int:
    """The hash of a line: its folded words' hashes, each mixed into what came before; never 0."""
    words = [folded(word) for word in units.words(line)]
    value = len(words) * _GOLDEN & _MASK
    for word in words:
        value = mixed(value ^ hashed(word.encode())) + _GOLDEN & _MASK
    return value or 1


def shared(corpus: list[Document], documents: int, hosts: int) -> list[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """For each document the code points in shared lines and in all lines, and the spans of the shared ones."""
    counts: Counter[tuple[str, ...]] = Counter()
    places = defaultdict(set)
    for document in corpus:
        if not document.is_copy:
            for line in {key(line) for line in units.lines(document.text or "")} - {None}:
                counts[line] += 1
                places[line].add(urlsplit(document.uri or "").hostname or f"source {document.source}")
    found = {line for line, count in counts.items() if count > documents and len(places[line]) >= hosts}
    answers = []
    for document in corpus:
        lines = list(units.line_spans(document.text or ""))
        mine = [(line, start, end) for line, start, end in lines if key(line) in found]
        chars = sum(len(line) for line, _, _ in mine), sum(len(line) for line, _, _ in lines)
        answers.append((chars, [(start, end) for _, start, end in mine]))
    return answers
