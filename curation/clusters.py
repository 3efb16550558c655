"""The cluster of a document: all that verified pairs connect it to, what became of each, and how two of them differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

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


@dataclass(frozen=True, slots=True)
class Member:
    """A document of a cluster.

    `fate` is error, dropped, duplicate or kept, `reasons` are the rules that drop it. `similarity` is that to the
    cluster's `centre`, null where no pair of the two was verified; `kept_similarity` that of a duplicate to
    `duplicate_of`.
    """

    id: str
    source: str
    uri: str | None
    origin: str
    fate: str
    reasons: list[str]
    duplicate_of: str | None
    kept_similarity: float | None
    similarity: float | None


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
    kept one that the asked one is a copy of, else the asked one itself. `documents` counts the cluster and `fates` what
    became of it; `is_whole` is False where there may be more of it. `members` come as the centre, then the most
    similar; `more` are not among them. `pair` is null where there is nothing to compare.
    """

    asked: Member
    also: list[str]
    centre: str
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
    connection.register("pairs", work.pairs.scan(pairs, ["id_a", "id_b"]))
    connection.register("copies", work.pairs.scan([COPIES], ["id_a", "id_b"]))
    connection.register("near", work.pairs.scan([part for part in pairs if part != COPIES]))
    connection.register("verdicts", work.verdicts.scan(parts))
    document = _in_a_pair(connection, list(found))
    centre, is_whole = _follow(connection, document)
    ranked = _judged(connection, "FROM cluster", centre)
    fates = Counter(row["fate"] for row in ranked)
    if others:
        inside = [row["id"] for row in ranked if row["id"] in others]
        beside = (inside or list(others))[0]
    else:
        beside = _most_telling(ranked, document, centre)
    if beside == document:
        raise UsageError(f"{document}: it does not differ from itself", remedy="name another document: --with OTHER")
    shown = ranked[:limit]
    ids = list(dict.fromkeys([*(row["id"] for row in shown), document, *([beside] if beside else [])]))
    connection.register("asked", pa.table({"id": pa.array(ids, pa.string())}))
    members = _described(work, parts, _judged(connection, "FROM asked", centre))
    if len(members) < len(ids):
        raise StorageError(
            f"{work.storage}: documents were pulled since copies were looked for",
            remedy=f"have them looked for again: curate run {recipe.shown} --until judge",
        )
    pair = None
    if beside:
        first, second = members[document], members[beside]
        if first.fate == "kept" != second.fate:
            first, second = second, first
        pair = _pair(recipe, connection, work, parts, first, second, words)
    return Cluster(
        asked=members[document],
        also=[one for one in found if one != document],
        centre=centre,
        documents=len(ranked),
        fates={fate: fates[fate] for fate in ("kept", "duplicate", "dropped", "error") if fates[fate]},
        is_whole=is_whole,
        members=[members[row["id"]] for row in shown],
        more=len(ranked) - len(shown),
        pair=pair,
    )


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
            SELECT CASE WHEN id_a = $first THEN id_b ELSE id_a END AS first, similarity
            FROM near WHERE id_a = $first OR id_b = $first
            UNION ALL SELECT $first, 1
        )
        SELECT verdicts.id, reasons, duplicate_of, verdicts.similarity, beside.similarity
        FROM verdicts JOIN grouped USING (id) LEFT JOIN beside USING (first)
        ORDER BY id <> $centre, beside.similarity DESC NULLS LAST, id
        """,
        {"centre": centre, "first": first},
    ).fetchall()
    return [
        {
            "id": document,
            "fate": fate_of(reasons, duplicate_of),
            "reasons": reasons,
            "duplicate_of": duplicate_of,
            "kept_similarity": _rounded(to_kept),
            "similarity": _rounded(similarity),
        }
        for document, reasons, duplicate_of, to_kept, similarity in rows
    ]


def _rounded(similarity: float | None) -> float | None:
    return None if similarity is None else round(similarity, 4)


def _most_telling(ranked: list[dict[str, Any]], document: str, centre: str) -> str | None:
    """What to compare with: the kept one that it is a copy of, else the most similar, one that went if it is kept."""
    if centre != document:
        return centre
    fates = {row["id"]: row["fate"] for row in ranked}
    others = [row for row in ranked if row["id"] != document]
    others.sort(key=lambda row: (row["similarity"] is None, fates[document] == "kept" == row["fate"]))
    return others[0]["id"] if others else None


def _described(work: Workspace, parts: list[Part], judged: list[dict[str, Any]]) -> dict[str, Member]:
    """Each document with where it comes from, by id; without those that are no longer there."""
    ids = pa.array([row["id"] for row in judged], pa.string())
    scan = work.documents.scan(parts, ["id", "source", "uri", "origin"])
    known = {row["id"]: row for row in scan.to_table(filter=pc.field("id").isin(ids)).to_pylist()}
    return {row["id"]: Member(**{**known[row["id"]], **row}) for row in judged if row["id"] in known}


def _pair(
    recipe: Recipe, connection: duckdb.DuckDBPyConnection, work: Workspace, parts: list[Part],
    first: Member, second: Member, words: int,
) -> Pair:  # fmt: skip
    (similarity,) = (row["similarity"] for row in _judged(connection, "FROM asked", second.id) if row["id"] == first.id)
    (one, hashed), (other, hashed_too) = (_text(recipe, work, parts, member) for member in (first, second))
    same = "exact" if one == other else "normalised" if hashed == hashed_too else None
    return Pair(first, second, similarity, same, None if same else difference(one, other, words))


def _text(recipe: Recipe, work: Workspace, parts: list[Part], member: Member) -> tuple[str, str]:
    """A document's text, of which the one row group is read that holds it, and the hash that its exact copies share."""
    part = next(part for part, document in find(recipe, work, parts, member.id) if document == member.id)
    row = work.documents.read(part, ["id"])["id"].to_pylist().index(member.id)
    ends = list(accumulate(rows for rows, _ in work.documents.groups(part, "text")))
    group = next(number for number, end in enumerate(ends) if row < end)
    text = work.documents.read_groups(part, [group], ["text"])["text"][row - ([0, *ends][group])].as_py()
    if not text:
        raise UsageError(f"{member.id}: it has no text to compare", remedy=f"curate explain {recipe.shown} {member.id}")
    return text, work.signal("signature").read(part, ["text_hash"])["text_hash"][row].as_py()
