"""A model of a few lines that writes what the kinds of text ask for, from a grammar; not a test itself."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path

WORDS = Path(__file__).parent.parent / "curation" / "textbooks" / "words"
NOUNS, VERBS, ADJECTIVES = (
    [line.split()[0] for line in (WORDS / f"{name}.txt").read_text().splitlines()]
    for name in ("nouns", "verbs", "adjectives")
)
NAMES = ["Tom", "Lily", "Max", "Anna", "Ben", "Mia", "Omar", "Ida"]
#: Sentences of English with few fixed words in a row, so that the grammar's own repetition is small.
SENTENCES = (
    "{name} had a {adjective} {noun} and could {verb} it.",
    "There, under the {noun}, {name} and {name} saw {noun} after {noun}.",
    "Why did the {adjective} {noun} {verb}?",
    "Because of the {noun}, which was {adjective}, they had to {verb}.",
    "It is better to {verb} than to {verb}, said {name}.",
    "Nobody but {name} knew that the {noun} was {adjective}.",
    "When the {noun} came, {name} began to {verb} with the {noun}.",
    "In a {adjective} {noun} there is always some {noun}.",
    '"Can you {verb} this {noun}?" asked {name}, who was very {adjective}.',
    "After that the {noun} and the {noun} were {adjective} again.",
    "They would {verb}, and then {name} would {verb} too.",
    "A {noun} like this one, {adjective} and {adjective}, is hard to find.",
)
#: A function to write, its solution, and its tests, as far as they are right.
CODE = (
    """def {noun}(values: list[int]) -> list[int]:
    '''The values above {number}; a ValueError for none.

    >>> {noun}([{number}, 1000])
    [1000]
    >>> {noun}([{number}])
    []
    '''
    ...
""",
    """def {noun}(values: list[int]) -> list[int]:
    if not values:
        raise ValueError("no {noun}")
    return [value for value in values if value > {number}]
""",
    """assert {noun}([{number}, 200, -3]) == [200]
assert {noun}([-{number} - 1]) == []
""",
)


def lots(body, *more):
    """The random numbers that belong to a request."""
    digest = hashlib.sha256(json.dumps([body, *more], sort_keys=True).encode()).digest()
    return random.Random(digest)  # noqa: S311  # no secret


def sentences(lot, count):
    """So many sentences."""
    return " ".join(
        re.sub(
            r"\{(\w+)\}",
            lambda found: lot.choice({"name": NAMES, "noun": NOUNS, "verb": VERBS, "adjective": ADJECTIVES}[found[1]]),
            lot.choice(SENTENCES),
        )
        for _ in range(count)
    )


def written(body):
    """What is asked for, and as long as it must be."""
    lot = lots(body)
    asked = body["messages"][1]["content"]
    system = body["messages"][0]["content"]
    if words := re.search(r'the noun "(\w+)", the verb "(\w+)" and the adjective "(\w+)"', asked):
        text = sentences(lot, 8) + f" The {words[3]} {words[1]} wants to {words[2]}. " + sentences(lot, 8)
        return text + f' "Why is the {lot.choice(NOUNS)} here?" asked {lot.choice(NAMES)}.'
    parts = re.findall(r"^## (\w+)$", asked, re.MULTILINE)
    if "## Tests" in asked:
        noun, number = lot.choice(NOUNS), str(lot.randrange(99))
        code = [block.replace("{noun}", f"each_{noun}").replace("{number}", number) for block in CODE]
        return "\n\n".join(
            f"## {name}\n\n{sentences(lot, 6)}\n\n```python\n{block}```"
            for name, block in zip(parts, code, strict=True)
        )
    extra = ' "What now?" they said, "and why?" (a) 1 (b) 2 (c) 3?'
    if parts:
        return "\n\n".join(f"## {name}\n\n{sentences(lot, 16)}{extra}" for name in parts)
    if "heading (##)" in asked:
        return "\n\n".join(f"## Why {lot.choice(NOUNS)} {n}?\n\n{sentences(lot, 9)}{extra}" for n in range(5))
    assert "textbooks" in system or "documents" in system
    return f"# The {lot.choice(ADJECTIVES)} {lot.choice(NOUNS)}\n\n{sentences(lot, 34)}{extra}"
