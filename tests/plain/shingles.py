"""Shingles and similarities as docs/duplicates.md defines them, computed for all pairs; the plain definition."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from plain import text as units

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


def grams(text: str, ngram: int) -> frozenset[str]:
    """The shingles of a text: n words in a row, NFC and case-folded; all of a shorter text's."""
    words = [unicodedata.normalize("NFC", unicodedata.normalize("NFC", word).casefold()) for word in units.words(text)]
    width = min(ngram, len(words))
    return frozenset(" ".join(words[start : start + width]) for start in range(len(words) - width + 1) if words)


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """The share of shingles that two documents have in common."""
    return len(a & b) / (len(a | b) or 1)


def similarities(sets: Iterable[Iterable[Hashable]], least: float) -> dict[tuple[int, int], float]:
    """The Jaccard similarity of each pair that has at least this one, by their places."""
    numbers: dict[Hashable, int] = {}
    held = [[numbers.setdefault(gram, len(numbers)) for gram in grams] for grams in sets]
    lists = pa.table({"place": pa.array(range(len(held))), "grams": pa.array(held, pa.list_(pa.int64()))})
    connection = duckdb.connect()
    connection.register("lists", lists)
    found = connection.execute(f"""
        WITH one AS (SELECT place, len(grams) AS size, unnest(grams) AS gram FROM lists)
        SELECT a.place, b.place, count(*) / (any_value(a.size) + any_value(b.size) - count(*)) AS similarity
        FROM one a JOIN one b ON a.gram = b.gram AND a.place < b.place
        GROUP BY ALL HAVING similarity >= {least}
    """).fetchall()
    return {(a, b): similarity for a, b, similarity in found}
