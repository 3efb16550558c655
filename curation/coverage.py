"""What the documents of the last run have of a curriculum: how many treat each topic, and which can be rewritten."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from classifiers.rubric import Document
from curation.errors import InputError, StorageError
from curation.pull import inputs_of
from curation.query import open_views
from curation.textbooks.curriculum import terms

if TYPE_CHECKING:
    import duckdb

    from curation.recipe import Recipe, Source
    from curation.textbooks.curriculum import Curriculum, Topic

#: Documents for each topic, and for any, that grounded kinds rewrite in turn.
SEEDS, SEEDS_OF_ANY = 20, 200
#: What grounded kinds rewrite has so many bytes.
_SEED_BYTES = (500, 60_000)


@dataclass(frozen=True, slots=True)
class Found:
    """What the corpus has of a topic: kept documents that mention it, their tokens, and their mean education score."""

    documents: int
    tokens: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """By topic what the corpus has, by cell how many kept documents were written, and what can be rewritten."""

    topics: dict[str, Found] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    seeds: dict[str | None, list[Document]] = field(default_factory=dict)


def coverage(recipe: Recipe, curriculum: Curriculum) -> Coverage | None:
    """What the last run's kept documents have of a curriculum; None where nothing was run.

    What models wrote counts by its cell, not as mentions: a plan that was carried out is made good from the corpus, not
    from itself. Copies and what rules drop do not count, where the run was judged.
    """
    there = [source for source in recipe.source if source.kind != "textbooks" or _has_inputs(recipe, source)]
    if not there:
        return None
    try:
        connection = open_views(recipe.model_copy(update={"source": there}))
    except (StorageError, InputError):
        return None
    columns = {row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE corpus)").fetchall()}
    kept = "keep" if "keep" in columns else "error IS NULL AND text IS NOT NULL"
    score = "education_score" if "education_score" in columns else "NULL::FLOAT"
    writers = [source.name for source in there if source.kind == "textbooks"]
    connection.execute(
        f"""
        CREATE TEMP VIEW read AS
        SELECT id, source, uri, text, lower(text) AS lowered, strlen(text) AS bytes, {score} AS score
        FROM corpus WHERE {kept} AND NOT list_contains($writers, source)
        """.replace("$writers", _listed(writers))
    )
    topics = [topic for _, _, topic in curriculum.topics]
    grounded = {cell.topic.name for cell in curriculum.cells if curriculum.kinds[cell.kind].grounded}
    seeds: dict[str | None, list[Document]] = {}
    if grounded:
        seeds[None] = _seeds(connection, "true", SEEDS_OF_ANY)
        seeds |= {topic.name: _seeds(connection, _mentions(topic), SEEDS) for topic in topics if topic.name in grounded}
    return Coverage(_topics(connection, topics), _written(connection, kept, writers, curriculum), seeds)


def _has_inputs(recipe: Recipe, source: Source) -> bool:
    with suppress(InputError):
        return bool(inputs_of(recipe, source))
    return False


def _topics(connection: duckdb.DuckDBPyConnection, topics: list[Topic]) -> dict[str, Found]:
    """Sums are of whole numbers, so that they are the same whatever the order."""
    asked = ",\n".join(
        f"count(*) FILTER ({mentions}), coalesce(sum(bytes) FILTER ({mentions}), 0)::BIGINT, "
        f"sum(round(score * 10000)::BIGINT) FILTER ({mentions})"
        for mentions in map(_mentions, topics)
    )
    row = connection.execute(f"SELECT {asked} FROM read").fetchone() or ()
    found = {}
    for number, topic in enumerate(topics):
        documents, size, score = row[3 * number : 3 * number + 3]
        mean = round(score / 10_000 / documents, 2) if documents and score is not None else None
        found[topic.name] = Found(documents, size // 4, mean)
    return found


def _mentions(topic: Topic) -> str:
    """SQL over `lowered`: terms are looked for as they stand first, which is many times faster than the pattern."""
    first = " OR ".join(f"contains(lowered, {_quoted(term.lower())})" for term in topic.terms or [topic.name])
    return f"({first}) AND regexp_matches(lowered, {_quoted(terms(topic))})"


def _written(
    connection: duckdb.DuckDBPyConnection, kept: str, writers: list[str], curriculum: Curriculum
) -> dict[str, int]:
    rows = connection.execute(
        f"SELECT meta FROM corpus WHERE {kept} AND list_contains({_listed(writers)}, source)"
    ).fetchall()
    counts: dict[str, int] = {}
    for (meta,) in rows:
        values: dict[str, Any] = json.loads(meta)
        if values.get("curriculum") == curriculum.name:
            counts[values["cell"]] = counts.get(values["cell"], 0) + 1
    return counts


def _seeds(connection: duckdb.DuckDBPyConnection, where: str, most: int) -> list[Document]:
    """The best documents that are neither too short nor too long to rewrite."""
    least, longest = _SEED_BYTES
    rows = connection.execute(
        f"""
        SELECT id, source, uri, text, score FROM read WHERE bytes BETWEEN {least} AND {longest} AND {where}
        ORDER BY score DESC NULLS LAST, id LIMIT {most}
        """
    ).fetchall()
    return [
        Document.of(text, id=document, source=source, uri=uri, group=None, score=score)
        for document, source, uri, text, score in rows
    ]


def _listed(names: list[str]) -> str:
    return f"[{', '.join(map(_quoted, names))}]::VARCHAR[]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
