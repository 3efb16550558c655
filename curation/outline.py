"""A curriculum drawn from the documents of the last run: their titles as topics, in units that belong together.

Documents are grouped by the words that tell them apart (spherical k-means over tf-idf). It is a draft, for a person to
read, shorten and correct: a topic's name becomes part of every prompt about it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation.errors import InputError, StorageError, UsageError
from curation.query import open_views
from curation.textbooks.curriculum import lot

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from curation.recipe import Recipe

#: The best documents that are looked at, and characters of each.
DOCUMENTS, _CHARACTERS = 5_000, 20_000
#: Words that tell documents apart, at most; and rounds in which groups are made better.
_WORDS, _ROUNDS = 4_000, 25
#: A part that so many titles have is the name of a site.
_SITE = 3
#: Headings of a document that say what a topic is about.
_HEADINGS = 5
_TITLE = re.compile(r"[^\W\d_][\w ,:;'\u2019()/+#&?-]{2,79}")

_FRAME = """\
# Drawn from the documents of {recipe}: a draft. Read it, strike what is no topic, and correct names and
# terms: names go into prompts as they stand. docs/textbooks.md says what each key means.
name = {name}
title = {title}

[kinds]
section = 3
exercise = 1
questions = 1
explain = 1

[audience.newcomer]
reader = "a reader who is new to the subject and willing to think"
[audience.practitioner]
reader = "a person who works in the field and wants the reasons behind what they do"

[styles]
plain = "plain and short: one idea a paragraph, an example after every idea"
dialogue = "questions of a learner and answers of a patient colleague"
mistakes = "begins with what commonly goes wrong, and finds out why"
precise = "exact: says what holds, when it does not, and what it costs"

[[subject]]
name = {title}
"""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its name, headings of the document that it is the title of, and the words that find others on it."""

    name: str
    about: tuple[str, ...]
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """Topics that belong together, named after the words that they have and others have not."""

    name: str
    topics: list[Topic]


def draw(recipe: Recipe, topics: int) -> str:
    """A curriculum of at most so many topics, as TOML.

    Raises `StorageError` where nothing was run, `UsageError` where no kept document has a title or a heading.
    """
    rows = _documents(recipe)
    if not rows:
        raise UsageError(
            f"{recipe.path}: no kept document has a title or a heading that could be a topic",
            remedy="write a curriculum by hand, as docs/textbooks.md shows",
        )
    units = units_of(rows, topics, recipe.seed)
    frame = _FRAME.format(recipe=recipe.path.name, name=_toml(recipe.name), title=_toml(recipe.name.replace("-", " ")))
    return frame + "".join(map(_written, units))


def _documents(recipe: Recipe) -> list[tuple[str, str]]:
    """Title and text of kept documents that no model wrote, the best first, each title once."""
    try:
        connection = open_views(recipe)
    except InputError as error:
        raise StorageError(error.message, remedy=f"run it first: curate run {recipe.shown}") from error
    columns = {row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE corpus)").fetchall()}
    kept = "keep" if "keep" in columns else "error IS NULL AND text IS NOT NULL"
    score = "education_score DESC NULLS LAST," if "education_score" in columns else ""
    writers = [source.name for source in recipe.source if source.kind == "textbooks"]
    rows = connection.execute(
        f"""
        SELECT title, text[:{_CHARACTERS}] FROM corpus
        WHERE {kept} AND NOT list_contains(?::VARCHAR[], source)
        ORDER BY {score} id LIMIT {DOCUMENTS}
        """,
        [writers],
    ).fetchall()
    spread = Counter(part for title, _ in rows for part in set(_parts(title or "")))
    sites = {part for part, count in spread.items() if count >= _SITE}
    found: dict[str, tuple[str, str]] = {}
    for title, text in rows:
        name = topic_name(title or "", sites) or next(iter(_headings(text)), "")
        if name:
            found.setdefault(name.lower(), (name, text))
    return list(found.values())


def topic_name(title: str, sites: Collection[str] = ()) -> str:
    """A title as the name of a topic, without the name of its site; nothing where it is no name.

    >>> topic_name("Kitchenlab - How soap works"), topic_name("Tides | On the shore", ["On the shore"])
    ('How soap works', 'Tides')
    >>> topic_name("{{ 7 * 7 }}")
    ''
    """
    parts = [part for part in _parts(title) if part not in sites]
    longest = max(parts, key=lambda part: len(part.split()), default="")
    return longest if _TITLE.fullmatch(longest) else ""


def _parts(title: str) -> list[str]:
    return [part.strip() for part in re.split(r"\s+(?:[|·»]|[-\u2013\u2014])\s+", " ".join(title.split()))]


def _headings(text: str) -> list[str]:
    return [name for line in re.findall(r"^#{1,3}[ \t]+([^\n]{3,100})$", text, re.MULTILINE)
            if (name := topic_name(line.strip(" #*")))]  # fmt: skip


def units_of(rows: Sequence[tuple[str, str]], topics: int, seed: int) -> list[Unit]:
    """Units of topics, out of titles and texts; the largest first, and in each those in the middle of it first."""
    counts = [Counter(_words(f"{title}\n{text}")) for title, text in rows]
    spread = Counter(word for counted in counts for word in counted)
    vectors, words = _vectors(counts, spread)
    count = max(1, min(round(topics**0.5), len(rows) // 2))
    groups, centres = _groups(vectors, count, seed)
    near = np.einsum("ij,ij->i", vectors, centres[groups])
    mean = vectors.mean(axis=0)
    units = []
    for group in sorted(range(count), key=lambda one: (-int((groups == one).sum()), one)):
        members = [int(row) for row in np.flatnonzero(groups == group)]
        members.sort(key=lambda row: (-round(float(near[row]), 6), row))
        most = max(1, round(topics * len(members) / len(rows)))
        found = [_topic(*rows[row], counts[row], spread, len(rows)) for row in members[:most]]
        telling = np.argsort(-(centres[group] - mean), kind="stable")[:3]
        if found:
            units.append(Unit(", ".join(words[word] for word in telling), found))
    return units


def _topic(title: str, text: str, counts: Counter[str], spread: Counter[str], texts: int) -> Topic:
    """Its terms are the one or two words of the title that the text has most and others least."""
    rare = [word for word in _words(title) if spread[word] <= max(2, texts // 2)] or _words(title)
    weights = {word: counts[word] * float(np.log(texts / spread[word] + 1)) for word in rare}
    telling = sorted(weights, key=lambda word: (-round(weights[word], 6), word))
    terms = [word for word in telling[:2] if weights[word] >= weights[telling[0]] / 2]
    about = [heading for heading in _headings(text) if heading.lower() != title.lower()][:_HEADINGS]
    return Topic(title, tuple(about), tuple(terms))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{3,}", text.lower())


def _vectors(counts: Sequence[Counter[str]], spread: Counter[str]) -> tuple[NDArray[np.float64], list[str]]:
    """tf-idf of the words that some documents have and not most, a row of length 1 for each; and these words."""
    most = max(2, len(counts) // 2)
    shared = [word for word, times in spread.items() if (times > 1 or len(counts) < 10) and times <= most]
    words = sorted(shared, key=lambda word: (-spread[word], word))[:_WORDS]
    place = {word: number for number, word in enumerate(words)}
    vectors = np.zeros((len(counts), max(1, len(words))))
    for row, counted in enumerate(counts):
        for word, times in counted.items():
            if word in place:
                vectors[row, place[word]] = (1 + np.log(times)) * np.log(len(counts) / spread[word] + 1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1), words or [""]


def _groups(vectors: NDArray[np.float64], count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The group of each row and the middle of each group: first rows far from each other, then made better in turns."""
    chosen = [lot(seed, "outline") % len(vectors)]
    while len(chosen) < count:
        chosen.append(int(np.argmin(np.round(vectors @ vectors[chosen].T, 9).max(axis=1))))
    centres = vectors[chosen]
    groups = np.zeros(len(vectors), np.int64)
    for _ in range(_ROUNDS):
        found = np.argmax(np.round(vectors @ centres.T, 9), axis=1)
        if (found == groups).all():
            break
        groups = found
        for group in range(count):
            if (groups == group).any():
                middle = vectors[groups == group].sum(axis=0)
                centres[group] = middle / max(float(np.linalg.norm(middle)), 1e-12)
    return groups, centres


def _written(unit: Unit) -> str:
    lines = [f"[[subject.unit]]\nname = {_toml(unit.name)}\ntopics = [\n"]
    for topic in unit.topics:
        about = f", about = {_toml('; '.join(topic.about)[:300])}" if topic.about else ""
        lines.append(f"  {{ name = {_toml(topic.name)}{about}, terms = {_toml(list(topic.terms))} }},\n")
    return "".join([*lines, "]\n"])


def _toml(value: str | list[str]) -> str:
    """A value as it stands in TOML: JSON's strings and lists are TOML's."""
    return json.dumps(value, ensure_ascii=False)
