"""The cluster of a document: all that verified pairs connect it to, what became of each, and how two of them differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import against
from curation.compare import COPIES, pair_parts
from curation.dataset import connect
from curation.difference import Difference, difference
from curation.errors import StorageError, UsageError
from curation.explain import find, parts_of_run
from curation.judge import fate_of
from curation.run import workspace

if TYPE_CHECKING:
    import duckdb

    from curation.dataset import Part, Workspace
    from curation.recipe import Recipe

#: Where following the pairs ends, since each step reads them all: about so many documents, or so many steps away.
DOCUMENTS = 10_000
STEPS = 50
#: What becomes of a document, in the order in which it is told.
FATES = ("kept", "duplicate", "dropped", "error", "outside")


@dataclass(frozen=True, slots=True)
class Member:
    """A document of a cluster.

    `fate` is error, dropped, duplicate or kept, `reasons` are the rules that drop it. A document of an entry of
    `dedup.against` has the fate `outside`, and the entry for its `source`. `similarity` is that to the cluster's
    `centre`, null where no pair of the two was verified; `kept_similarity` that of a duplicate to `duplicate_of`, a
    document of the run or of the entry `duplicate_in`.
    """

    id: str
    source: str
    uri: str | None
    origin: str | None
    fate: str
    reasons: list[str]
    duplicate_of: str | None
    duplicate_in: str | None
    kept_similarity: float | None
    similarity: float | None

    def __str__(self) -> str:
        return f"{self.id} in {self.source}" if self.fate == "outside" else self.id


@dataclass(frozen=True, slots=True)
class Pair:
    """Two documents and how their texts differ: `first` is the one that went, where the other stays.

    `similarity` is null where the two are no verified pair. `same` is `exact` for the same characters, `normalised`
    for texts that are the same after normalisation; else it is null, and `difference` tells the words.
    """

    first: Member
    second: Member
    similarity: float | None
    same: str | None
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """What there is to see of the cluster of a document.

    `also` are other documents with the URI that was asked for. `centre` is the document that similarities are to: the
    one that the asked one is a copy of, in the run or in the entry `centre_in`, else the asked one itself. `documents`
    counts the cluster and `fates` what became of it; `is_whole` is False where there may be more of it. `members` come
    as the centre, then the most similar; `more` are not among them. `pair` is null where there is nothing to compare.
    """

    asked: Member
    also: list[str]
    centre: str
    centre_in: str | None
    documents: int
    fates: dict[str, int]
    is_whole: bool
    members: list[Member]
    more: int
    pair: Pair | None


def cluster(recipe: Recipe, wanted: str, other: str | None = None, *, limit: int = 20, words: int = 400) -> Cluster:
    """The cluster of the document with this id or URI: `limit` members at most, and a difference of so many `words`.

    The difference is that to `other`, an id or URI in the cluster or not; left out, that of a copy to the kept one, or
    else to the most similar member, for a kept one to one that went. The texts of these two are all that is read.

    Raises `UsageError` where deduplication is off or a document is not there, `StorageError` where copies were not
    looked for yet.
    """
    if not recipe.dedup.enabled:
        raise UsageError(
            "dedup.enabled is false: no copies are looked for",
            remedy=f"look for them: curate run {recipe.shown} --set dedup.enabled=true --until judge",
        )
    work, _ = workspace(recipe)
    parts = parts_of_run(recipe, work)
    pairs = list(pair_parts(work))
    if COPIES not in pairs or None in work.storage.each(work.verdicts.footer, parts):
        raise StorageError(
            f"{work.storage}: copies were not looked for yet, or not among all documents",
            remedy=f"have them looked for: curate run {recipe.shown} --until judge",
        )
    found = {document: part for part, document in find(recipe, work, parts, wanted)}
    others = {document: part for part, document in find(recipe, work, parts, other)} if other else {}
    connection = connect(work, threads=2, memory="2GB")
    _open_views(connection, work, pairs, parts)
    document = _in_a_pair(connection, list(found))
    centre, is_whole = _follow(connection, document)
    ranked = _judged(connection, "FROM cluster", centre)
    fates = Counter(row["fate"] for row in ranked)
    if others:
        inside = [row["key"] for row in ranked if row["key"] in others]
        beside = (inside or list(others))[0]
    else:
        beside = _most_telling(ranked, document, centre)
    if beside == document:
        raise UsageError(f"{document}: it does not differ from itself", remedy="name another document: --with OTHER")
    shown = ranked[:limit]
    keys = list(dict.fromkeys([*(row["key"] for row in shown), document, *([beside] if beside else [])]))
    connection.register("asked", pa.table({"id": pa.array(keys, pa.string())}))
    outside = against.parts_there(recipe, work) if any("\n" in key for key in keys) else {}
    texts = _Texts(recipe, work, parts, outside)
    members = _described(texts, _judged(connection, "FROM asked", centre))
    if len(members) < len(keys):
        raise StorageError(
            f"{work.storage}: documents were pulled since copies were looked for",
            remedy=f"have them looked for again: curate run {recipe.shown} --until judge",
        )
    pair = None
    if beside:
        first, second = document, beside
        if members[first].fate == "kept" != members[second].fate:
            first, second = second, first
        (similarity,) = (row["similarity"] for row in _judged(connection, "FROM asked", second) if row["key"] == first)
        pair = _pair(texts, (first, members[first]), (second, members[second]), similarity, words)
    *entry, centre_id = centre.split("\n", 1)
    return Cluster(
        asked=members[document],
        also=[one for one in found if one != document],
        centre=centre_id,
        centre_in=entry[0] if entry else None,
        documents=len(ranked),
        fates={fate: fates[fate] for fate in FATES if fates[fate]},
        is_whole=is_whole,
        members=[members[row["key"]] for row in shown],
        more=len(ranked) - len(shown),
        pair=pair,
    )


def _open_views(connection: duckdb.DuckDBPyConnection, work: Workspace, pairs: list[Part], parts: list[Part]) -> None:
    """Make the views `pairs`, `copies`, `near` and `verdicts`, in which documents are called by their keys.

    A key is that of `judge.key_of`. What near pairs say of one copy stands there for the first of its group.
    """
    key = "coalesce(against || chr(10), '') || id_a AS id_a"
    connection.register("all_pairs", work.pairs.scan(pairs))
    connection.register("all_copies", work.pairs.scan([COPIES]))
    connection.register("all_near", work.pairs.scan([part for part in pairs if part != COPIES]))
    connection.register("all_verdicts", work.verdicts.scan(parts))
    connection.execute(f"""
        CREATE TEMP VIEW pairs AS SELECT {key}, id_b FROM all_pairs;
        CREATE TEMP VIEW copies AS SELECT {key}, id_b FROM all_copies;
        CREATE TEMP VIEW near AS
        SELECT coalesce(one.id_a, pairs.id_a) AS id_a, coalesce(other.id_a, pairs.id_b) AS id_b, similarity
        FROM (SELECT {key}, id_b, similarity FROM all_near) pairs
            LEFT JOIN copies one ON one.id_b = pairs.id_a LEFT JOIN copies other ON other.id_b = pairs.id_b;
        CREATE TEMP VIEW verdicts AS
        SELECT id, reasons, coalesce(duplicate_in || chr(10), '') || duplicate_of AS duplicate_of, similarity
        FROM all_verdicts;
    """)


def _in_a_pair(connection: duckdb.DuckDBPyConnection, ids: list[str]) -> str:
    """The first of these documents, which have one URI, that stands in a pair; the first of all where none does."""
    if len(ids) == 1:
        return ids[0]
    there = connection.execute(
        "SELECT DISTINCT unnest([id_a, id_b]) FROM pairs WHERE id_a IN $ids OR id_b IN $ids", {"ids": ids}
    ).fetchall()
    paired = {row[0] for row in there}
    return next((one for one in ids if one in paired), ids[0])


def _follow(connection: duckdb.DuckDBPyConnection, document: str) -> tuple[str, bool]:
    """Make the table `cluster` of the ids that pairs lead to from here; its centre, and whether there are no others."""
    connection.execute(
        "CREATE TEMP TABLE cluster AS SELECT $id AS id, 0 AS step "
        "UNION ALL SELECT duplicate_of, 0 FROM verdicts WHERE id = $id AND duplicate_of IS NOT NULL",
        {"id": document},
    )
    [(kept,)] = connection.execute("SELECT any_value(id) FILTER (id <> ?) FROM cluster", [document]).fetchall()
    documents = 1 + (kept is not None)
    is_whole = False
    for step in range(STEPS):
        [(found,)] = connection.execute(
            """
            INSERT INTO cluster
            SELECT DISTINCT id, $step + 1
            FROM (
                SELECT unnest([id_a, id_b]) AS id FROM pairs
                WHERE id_a IN (SELECT id FROM cluster WHERE step = $step)
                OR id_b IN (SELECT id FROM cluster WHERE step = $step)
            )
            WHERE id NOT IN (SELECT id FROM cluster)
            ORDER BY id LIMIT $most
            """,
            {"step": step, "most": DOCUMENTS - documents},
        ).fetchall()
        documents += found
        if not found or documents >= DOCUMENTS:
            is_whole = not found
            break
    return kept or document, is_whole


def _judged(connection: duckdb.DuckDBPyConnection, ids: str, centre: str) -> list[dict[str, Any]]:
    """What became of documents, and how similar each is to the centre, which comes first, then the most similar.

    Copies stand in the pairs with the first of their group alone, and what pairs say of it holds for each of them.
    """
    [(first,)] = connection.execute(
        "SELECT coalesce((SELECT id_a FROM copies WHERE id_b = $centre), $centre)", {"centre": centre}
    ).fetchall()
    rows = connection.execute(
        f"""
        WITH grouped AS (
            SELECT ids.id, coalesce(copies.id_a, ids.id) AS first
            FROM (SELECT id {ids}) ids LEFT JOIN copies ON copies.id_b = ids.id
        ),
        beside AS (
            SELECT first, max(similarity) AS similarity
            FROM (
                SELECT CASE WHEN id_a = $first THEN id_b ELSE id_a END AS first, similarity
                FROM near WHERE id_a = $first OR id_b = $first
                UNION ALL SELECT $first, 1
            )
            GROUP BY first
        )
        SELECT grouped.id, reasons, duplicate_of, verdicts.similarity, beside.similarity
        FROM grouped LEFT JOIN verdicts USING (id) LEFT JOIN beside USING (first)
        WHERE verdicts.id IS NOT NULL OR contains(grouped.id, chr(10))
        ORDER BY grouped.id <> $centre, beside.similarity DESC NULLS LAST, grouped.id
        """,
        {"centre": centre, "first": first},
    ).fetchall()
    return [
        {
            "key": document,
            "fate": "outside" if reasons is None else fate_of(reasons, duplicate_of),
            "reasons": reasons or [],
            "duplicate_of": duplicate_of and duplicate_of.split("\n", 1)[-1],
            "duplicate_in": duplicate_of.split("\n", 1)[0] if duplicate_of and "\n" in duplicate_of else None,
            "kept_similarity": _rounded(to_kept),
            "similarity": _rounded(similarity),
        }
        for document, reasons, duplicate_of, to_kept, similarity in rows
    ]


def _rounded(similarity: float | None) -> float | None:
    return None if similarity is None else round(similarity, 4)


def _most_telling(ranked: list[dict[str, Any]], document: str, centre: str) -> str | None:
    """What to compare with: the one that it is a copy of, else the most similar, one that went if it is kept."""
    if centre != document:
        return centre
    fates = {row["key"]: row["fate"] for row in ranked}
    others = [row for row in ranked if row["key"] != document]
    others.sort(key=lambda row: (row["similarity"] is None, fates[document] == "kept" == row["fate"]))
    return others[0]["key"] if others else None


def _described(texts: _Texts, judged: list[dict[str, Any]]) -> dict[str, Member]:
    """Each document with where it comes from, by key; without those that are no longer there."""
    own = [row["key"] for row in judged if row["fate"] != "outside"]
    scan = texts.work.documents.scan(texts.parts, ["id", "source", "uri", "origin"])
    known = {
        row["id"]: row for row in scan.to_table(filter=pc.field("id").isin(pa.array(own, pa.string()))).to_pylist()
    }
    for row in judged:
        if row["fate"] == "outside":
            entry, document = row["key"].split("\n", 1)
            *_, uri = texts.outside_place(entry, document)
            known[row["key"]] = {"id": document, "source": entry, "uri": uri, "origin": None}
    return {
        row["key"]: Member(**known[row["key"]], **{name: value for name, value in row.items() if name != "key"})
        for row in judged
        if row["key"] in known
    }


def _pair(
    texts: _Texts, first: tuple[str, Member], second: tuple[str, Member], similarity: float | None, words: int
) -> Pair:
    (one, hashed), (other, hashed_too) = (texts.read(key) for key, _ in (first, second))
    same = "exact" if one == other else "normalised" if hashed == hashed_too else None
    return Pair(first[1], second[1], similarity, same, None if same else difference(one, other, words))


@dataclass(frozen=True, slots=True)
class _Texts:
    """Where the texts of a run's documents are, and of those from outside."""

    recipe: Recipe
    work: Workspace
    parts: list[Part]
    outside: dict[Part, against.Outside]

    def outside_place(self, entry: str, document: str) -> tuple[Part, int, str | None]:
        """The part and row of a document from outside, and its URI."""
        return against.look_up(self.work, self.outside, self.recipe.dedup.against.index(entry), document)

    def read(self, key: str) -> tuple[str, str]:
        """A document's text, of which one row group is read, and the hash that its exact copies share."""
        if "\n" in key:
            part, row, _ = self.outside_place(*key.split("\n", 1))
            signatures, asked = self.work.against, np.array([row])
            text = next(against.texts(self.outside[part], asked))[0].as_py()
        else:
            part = next(part for part, document in find(self.recipe, self.work, self.parts, key) if document == key)
            row = self.work.documents.read(part, ["id"])["id"].to_pylist().index(key)
            signatures, asked = self.work.signal("signature"), np.array([row])
            text = next(self.work.documents.pick(part, asked, ["text"]))["text"][0].as_py()
        if not text:
            raise UsageError(f"{key}: it has no text to compare", remedy=f"curate explain {self.recipe.shown} {key}")
        return text, next(signatures.pick(part, asked, ["text_hash"]))["text_hash"][0].as_py()
