"""What one release has that another has not: documents and tokens, by source and by reason, changed rules, samples."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation import schema
from curation.dataset import Dataset, Part, connect
from curation.errors import CurationError
from curation.explain import is_judged, parts_of_run
from curation.releases import latest
from curation.report.changes import changes
from curation.run import workspace

if TYPE_CHECKING:
    import duckdb

    from curation.recipe import Recipe
    from curation.releases import Release

#: Characters of a sample's text.
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Moved:
    """Documents and their tokens, with repetitions, that came or went."""

    documents: int
    tokens: int


@dataclass(frozen=True, slots=True)
class BySource:
    """What a source has in both releases, what it gained and lost, and the tokens that copies of the same came to."""

    source: str
    both: int
    gained: Moved
    lost: Moved
    repeated_tokens: int


@dataclass(frozen=True, slots=True)
class Diff:
    """What the release `new` has otherwise than `old`.

    `why_gained` and `why_lost` are reasons with what they moved, None where no workspace tells them: `why_not` says why
    then. `gained` and `lost` are samples: `id source uri tokens text`. `changes` is what the manifests differ in.
    """

    old: str
    new: str
    sources: list[BySource]
    why_gained: dict[str, Moved] | None
    why_lost: dict[str, Moved] | None
    why_not: str | None
    gained: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    changes: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def diff(old: Release, new: Release, recipe: Recipe | None = None, *, samples: int = 3) -> Diff:
    """Compare two finished releases by the ids of their documents; of texts those of the samples alone are read.

    Why documents came and went tells the workspace of `recipe`, if its last run made `new`.
    """
    manifests = [release.manifest() or {} for release in (old, new)]
    changed = changes(*manifests)
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        connection = connect()
        connection.execute("SET temp_directory = ?", [folder])
        for name, release in (("old", old), ("new", new)):
            _load(connection, name, release)
        connection.execute("""
            CREATE TABLE moved AS
            SELECT coalesce(n.id, o.id) AS id, coalesce(n.source, o.source) AS source, n.id IS NULL AS is_lost,
                coalesce(n.tokens, o.tokens) AS tokens, coalesce(n.place, o.place) AS place
            FROM old o FULL JOIN new n USING (id) WHERE o.id IS NULL OR n.id IS NULL
        """)
        gained, lost, why_not = _reasons(connection, new, manifests, recipe)
        return Diff(
            f"{old.name}/{old.version}", f"{new.name}/{new.version}", _sources(connection), gained, lost, why_not,
            _samples(connection, new, "NOT is_lost", samples), _samples(connection, old, "is_lost", samples), changed,
        )  # fmt: skip


def _load(connection: duckdb.DuckDBPyConnection, name: str, release: Release) -> None:
    """A table with each document of a release: its tokens with repetitions, and the place of one of its rows."""
    connection.execute(f"CREATE TEMP TABLE rows_{name} (id TEXT, source TEXT, tokens BIGINT, place BIGINT)")
    for number, part in enumerate(_parts(release)):
        rows = _shards(release).read(part, ["id", "source", "tokens"])
        connection.register("shard", rows.append_column("row", pa.array(np.arange(rows.num_rows))))
        connection.execute(f"INSERT INTO rows_{name} SELECT id, source, tokens, {number << 40} + row FROM shard")
        connection.unregister("shard")
    connection.execute(f"""
        CREATE TABLE {name} AS SELECT id, any_value(source) AS source, sum(tokens)::BIGINT AS tokens,
            min(place) AS place
        FROM rows_{name} GROUP BY id
    """)
    connection.execute(f"DROP TABLE rows_{name}")


def _shards(release: Release) -> Dataset:
    return Dataset(release.storage, release.folder, schema.SHARD)


def _parts(release: Release) -> list[Part]:
    paths = [shard["path"] for shard in (release.manifest() or {})["shards"]]
    return [Part(*path.removesuffix(".parquet").split("/", 1)) for path in paths]


def _sources(connection: duckdb.DuckDBPyConnection) -> list[BySource]:
    rows = connection.execute("""
        WITH stayed AS (
            SELECT o.source, count(*) AS documents, sum(n.tokens - o.tokens)::BIGINT AS more
            FROM old o JOIN new n USING (id) GROUP BY ALL
        ), apart AS (
            SELECT source, count(*) FILTER (NOT is_lost) AS gained, count(*) FILTER (is_lost) AS lost,
                coalesce(sum(tokens) FILTER (NOT is_lost), 0)::BIGINT AS gained_tokens,
                coalesce(sum(tokens) FILTER (is_lost), 0)::BIGINT AS lost_tokens
            FROM moved GROUP BY ALL
        )
        SELECT source, coalesce(documents, 0), coalesce(gained, 0), coalesce(gained_tokens, 0), coalesce(lost, 0),
            coalesce(lost_tokens, 0), coalesce(more, 0)
        FROM stayed FULL JOIN apart USING (source) ORDER BY source
    """).fetchall()
    return [BySource(row[0], row[1], Moved(*row[2:4]), Moved(*row[4:6]), row[6]) for row in rows]


def _reasons(
    connection: duckdb.DuckDBPyConnection, new: Release, manifests: list[dict[str, Any]], recipe: Recipe | None
) -> tuple[dict[str, Moved] | None, dict[str, Moved] | None, str | None]:
    """What moved by reason: gained, lost; or None twice and why that cannot be told."""
    if recipe is None:
        return None, None, "name the recipe instead of the folder to be told why"
    try:
        work, _ = workspace(recipe)
        parts = parts_of_run(recipe, work)
        is_its = is_judged(recipe) and latest(new.storage, new.name) == new
        blended = None not in work.storage.each(work.blend.footer, parts)
    except CurationError as error:
        return None, None, error.message
    if not is_its or not blended:
        return None, None, f"the last run in {work.storage} was not the one that made {new.version}"
    connection.register("documents", work.documents.scan(parts, ["id", "source", "origin"]))
    connection.register("verdicts", work.verdicts.scan(parts, ["id", "keep", "reasons", "duplicate_of"]))
    connection.register("blend", work.blend.scan(parts, ["id", "copies"]))
    lost = _by_reason(connection, """
        SELECT CASE
            WHEN verdicts.id IS NULL THEN 'not among the inputs any more'
            WHEN len(reasons) > 0 THEN 'rule ' || reasons[1]
            WHEN duplicate_of IS NOT NULL THEN 'copy of a kept document'
            WHEN copies = 0 THEN 'not taken by the blend'
            ELSE 'another reason' END AS reason, tokens
        FROM moved LEFT JOIN verdicts USING (id) LEFT JOIN blend USING (id) WHERE is_lost
    """)  # fmt: skip
    return _gained(connection, *manifests), lost, None


def _gained(connection: duckdb.DuckDBPyConnection, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Moved]:
    """By what came with them: a new input, a changed one, or none, so that a rule, a copy or the blend let them in."""
    was = {(entry["source"], entry["uri"]): entry["sha256"] for entry in old["inputs"]}
    is_ = [(entry["source"], entry["uri"], was.get((entry["source"], entry["uri"])), entry["sha256"])
           for entry in new["inputs"]]  # fmt: skip
    columns = ("source", "name", "was", "is")
    kinds = {name: pa.array([row[n] for row in is_], pa.string()) for n, name in enumerate(columns)}
    connection.register("inputs", pa.table(kinds))
    return _by_reason(connection, """
        SELECT CASE
            WHEN inputs.name IS NULL THEN 'new'
            WHEN inputs.was IS NULL THEN 'of a new input'
            WHEN inputs.was <> inputs."is" THEN 'of a changed input'
            ELSE 'read before, let in by a rule, a copy or the blend' END AS reason, tokens
        FROM moved LEFT JOIN (
            SELECT id, documents.source, regexp_extract(origin, '^(.*?)(!/.*|#[0-9]+)?$', 1) AS name FROM documents
        ) AS origins USING (id)
        LEFT JOIN inputs ON inputs.source = origins.source AND inputs.name = origins.name
        WHERE NOT is_lost
    """)  # fmt: skip


def _by_reason(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Moved]:
    rows = connection.execute(f"""
        SELECT reason, count(*), sum(tokens)::BIGINT FROM ({sql}) GROUP BY reason ORDER BY count(*) DESC, reason
    """).fetchall()
    return {reason: Moved(documents, tokens) for reason, documents, tokens in rows}


def _samples(connection: duckdb.DuckDBPyConnection, release: Release, where: str, count: int) -> list[dict[str, Any]]:
    """Some of the documents that moved, as a hash of their ids draws them."""
    places = [place for (place,) in connection.execute(f"""
        SELECT place FROM moved WHERE {where} ORDER BY md5(id), id LIMIT {count}
    """).fetchall()]  # fmt: skip
    parts, found = _parts(release), []
    for place in sorted(places):
        row = np.array([place & ((1 << 40) - 1)])
        for table in _shards(release).pick(parts[place >> 40], row, ["id", "source", "uri", "tokens", "text"]):
            (one,) = table.to_pylist()
            text = " ".join(one["text"][: 2 * _SHOWN].split())
            found.append({**one, "text": text[:_SHOWN] + ("…" if len(text) > _SHOWN else "")})
    return found
